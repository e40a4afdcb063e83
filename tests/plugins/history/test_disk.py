"""A disk that is full, that fails, or that is too slow: recording pauses loudly, and goes on by itself."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import attrs
import pytest
from shared_history import START_MS, record
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.samples import Gap
from core.testing import StartPlantroom
from plugins.history.config import SealConfig
from plugins.history.errors import HistoryError
from plugins.history.journal import FILE_NAME
from plugins.history.store import Store

from .weeks import MakeStore, read

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("on_disk.py")
LONGEST_S = 120.0
MOUNTED = """
mkfs.ext4 -q -m 0 "$3" && mount -o loop "$3" "$2" && exec "$0" "$4" "$1" "$2" "$3"
"""
"""Makes a file system in a file, and runs the script on it, in a namespace that takes it away in the end."""
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


async def on_disk(tmp_path: Path, name: str) -> dict[str, Any]:
    """Run a scenario of the script on a small disk of its own, and return what it saw."""
    needed = [shutil.which(each, path=PATH) for each in ("unshare", "mkfs.ext4", "mount")]
    if None in needed or os.geteuid() != 0:
        _do_without("needs unshare, mkfs.ext4, mount, and to be root")
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    command = ("unshare", "--mount", "sh", "-c", MOUNTED, sys.executable, name, folder, image, SCRIPT)
    return await _run(*map(str, command))


async def _run(*command: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "PATH": PATH, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(LONGEST_S):
        out, error = await process.communicate()
    for reason in ("Operation not permitted", "permission denied", "failed to setup loop device"):
        if process.returncode and reason in error.decode():
            _do_without(f"this machine does not let us mount a file system: {reason}")
    assert process.returncode == 0, error.decode()
    found: dict[str, Any] = json.loads(out)
    # On a slow machine the housekeeping looks in between, and says that it cannot work either.
    found["log"] = [event for event in found["log"] if "housekeeping" not in event]
    return found


def check_that_it_stopped_and_went_on(saw: dict[str, Any]) -> None:
    """See what happened to seconds 0 to 19 and 30, of which 5 to 19 were recorded when nothing was taken."""
    assert all(saw["errors"]), "a flush says that it cannot"
    assert saw["paused"] is not None
    assert saw["sealing"] is not None
    assert saw["there"] == [*range(10)], "questions are answered with what is safe and with what waits"
    assert saw["waiting"] == 5
    assert saw["waiting_at_most"] == 10
    assert saw["there_then"] == [*range(15)]
    assert saw["refused"] == 5 * 500
    assert saw["log"] == ["history_paused", "history_refuses", "history_resumed"], "once each"
    assert saw["paused_then"] is None
    assert saw["in_the_end"] == saw["after_a_restart"] == [*range(15), 30]
    assert saw["gaps"] == saw["gaps_after_a_restart"] == [[15, "not_written"]]


async def test_a_disk_that_is_full_loses_nothing_that_was_safe_and_is_told_of_once(tmp_path: Path):
    saw = await on_disk(tmp_path, "fills")
    check_that_it_stopped_and_went_on(saw)
    assert "full" in saw["paused"]


async def test_a_store_that_is_started_on_a_full_disk_answers_what_it_can_and_begins_when_there_is_room(tmp_path: Path):
    saw = await on_disk(tmp_path, "starts")
    assert saw["paused"] is not None
    assert saw["there"] == [*range(4)], "what is sealed"
    assert all(saw["errors"])
    assert saw["there_then"] == [*range(6)]
    assert saw["cursor"] == saw["registered"], "a receiver is where it was"
    assert saw["batches"] == [2000, 500, 500, 500]
    assert saw["log"] == ["history_paused", "history_resumed"]
    assert saw["in_the_end"] == [*range(7)]


async def test_a_system_that_refuses_to_write_loses_nothing_that_was_safe(tmp_path: Path):
    check_that_it_stopped_and_went_on(await _run(sys.executable, str(SCRIPT), "limit", str(tmp_path)))


async def test_a_file_system_that_is_read_only_from_one_moment_to_the_next_loses_nothing_that_was_safe(tmp_path: Path):
    saw = await on_disk(tmp_path, "aborts")
    assert all(saw["errors"])
    assert saw["paused"] is not None
    assert saw["sealing"] is not None
    assert saw["there"] == [*range(6)]
    assert saw["log"] == ["history_paused"]
    assert saw["there_when_it_starts"] in ([*range(4)], [*range(5)])
    assert set(range(5)) <= set(saw["after_a_restart"]) <= set(range(6))
    assert saw["in_the_end"] == [*saw["after_a_restart"], 6]
    assert saw["damaged"] == []


async def test_recording_pauses_before_the_disk_is_full_and_goes_on_when_there_is_room(
    make_store: MakeStore, clock: ManualClock
):
    store = make_store(free_mib=10**9, waiting=3)
    with capture_logs() as logs:
        async with store.running():
            for second in range(5):
                record(store, 1, START_MS + second * 1000, float(second))
                with pytest.raises(HistoryError, match="MiB that are kept free"):
                    await store.flush()
            assert store.committer.paused is not None
            assert len(await read(store, 1)) == 3
            assert store.committer.figures.refused == 2
            (gap,) = await store.gaps(0, 2**52)
            assert (gap.start_ms, gap.reason) == (START_MS + 3000, "not_written")
            store.committer._bounds = attrs.evolve(store.committer._bounds, free_bytes=0)
            await clock.advance(6.0)
            await store.flush()
            assert store.committer.paused is None
            (gap,) = await store.gaps(0, 2**52)
            assert (gap.start_ms, gap.reason) == (START_MS + 3000, "not_written")
    assert [each["event"] for each in logs] == ["history_paused", "history_refuses", "history_resumed"]
    assert logs[0]["remedy"] == HistoryError.remedy
    store = make_store()
    async with store.running():
        assert len(await read(store, 1)) == 3
        assert gap in await store.gaps(0, 2**52)


async def test_a_disk_that_takes_too_long_lets_no_more_wait_than_may(make_store: MakeStore):
    store = make_store(waiting=3)
    async with store.running():
        record(store, 1, START_MS, 0.0)
        await store.flush()
        with closing(sqlite3.connect(store.folder / FILE_NAME, isolation_level=None)) as other, capture_logs() as logs:
            other.execute("BEGIN IMMEDIATE")
            for second in range(1, 6):
                record(store, 1, START_MS + second * 1000, float(second))
            assert (store.head.unsafe_rows, store.committer.figures.refused) == (3, 2)
            other.execute("ROLLBACK")
            await store.flush()
        assert [each["event"] for each in logs] == ["history_refuses", "history_resumed"]
        assert [value for _at, value in await read(store, 1)] == [0.0, 1.0, 2.0, 3.0]
        (gap,) = await store.gaps(0, 2**52)
        assert (gap.start_ms, gap.reason) == (START_MS + 4000, "not_written")
        record(store, 1, START_MS + 9000, 9.0)
        await store.flush()
        assert len(await read(store, 1)) == 5


async def test_where_nothing_can_be_sealed_the_memory_is_bounded_and_it_goes_on_when_that_is_mended(
    make_store: MakeStore, tmp_path: Path
):
    obstacle = tmp_path / "history" / "60d"
    obstacle.parent.mkdir()
    obstacle.write_text("a file where a folder should be")
    store = make_store(waiting=20, seal=SealConfig(samples=10, after=1e9))
    assert store.committer._bounds.unsealed_rows == 40
    async with store.running():
        with capture_logs() as logs:
            for second in range(60):
                record(store, 1, START_MS + second * 1000, float(second))
                await store.committer.flush()
            with pytest.raises(HistoryError, match="60d"):
                await store.housekeeper.look()
            assert (store.head.rows, store.committer.figures.refused) == (40, 20)
            obstacle.unlink()
            await store.housekeeper.look()
            await store.committer.flush()
            record(store, 1, START_MS + 100_000, 100.0)
            await store.committer.flush()
        assert [each["event"] for each in logs] == ["history_refuses", "history_resumed"]
        assert [value for _at, value in await read(store, 1)] == [*map(float, range(40)), 100.0]
        assert [gap.start_ms for gap in await store.gaps(0, 2**52)] == [START_MS + 40_000]


async def test_a_store_that_is_closed_says_so_to_who_waits(make_store: MakeStore):
    store: Store = make_store()
    async with store.running():
        record(store, 1, START_MS, 1.0)
    with pytest.raises(HistoryError, match="closed"):
        await store.flush()


async def test_an_unforeseen_mistake_pauses_recording_and_does_not_end_it(make_store: MakeStore):
    store = make_store()
    async with store.running():
        with capture_logs() as logs:
            batch_time = "no time at all"
            store.committer._note_gap(Gap(START_MS, batch_time, "test"))  # type: ignore[arg-type]
            store.committer._new_gaps[START_MS] = None  # type: ignore[assignment]
            record(store, 1, START_MS, 1.0)
            for _ in range(2):
                with pytest.raises(HistoryError):
                    await store.flush()
            assert len(await read(store, 1)) == 1
            store.committer._new_gaps.clear()
            await store.flush()
        assert [each["event"] for each in logs] == ["history_commit_failed", "history_paused", "history_resumed"]


async def test_health_tells_that_recording_is_paused_and_why(plantroom: StartPlantroom):
    running = await plantroom("plugins: {history: {free_mib: 1}}")
    committer = running.plugin("history").instance.store.committer
    committer._bounds, committer._space_seen = attrs.evolve(committer._bounds, free_bytes=2**62), float("-inf")
    record(running.plugin("history").instance.store, 1, START_MS, 1.0)
    with pytest.raises(HistoryError):
        await committer.flush()
    answer = await running.api.get("/api/v1/plugins/history")
    (check,) = [each for each in answer.json["health"] if each["check"] == "recording"]
    assert check["status"] == "degraded"
    assert "MiB that are kept free" in check["detail"]
    assert "1 samples wait" in check["detail"]
    metrics = await running.api.get("/metrics")
    assert "plantroom_history_paused 1" in metrics.text
