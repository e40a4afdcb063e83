"""A store on a disk that takes no more: it is run as a script, and says what it saw in a line of JSON.

``python on_disk.py fills FOLDER``: the disk of a folder is filled to its last byte, and emptied again.
``python on_disk.py starts FOLDER``: it is full when the store is started.
``python on_disk.py limit FOLDER``: the same for who has no disk to fill: the system refuses each write to a file.
``python on_disk.py aborts FOLDER IMAGE``: the file system finds an error, as when a disk fails, and takes no writes any
more, also not to files that are open; it is mounted anew from its image.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import structlog
from structlog.testing import capture_logs

from core.clock import SystemClock
from core.model import Source
from core.plugin import NoPoints
from core.readings import Chunk, Row, batch_of
from core.samples import Committed
from plugins.history.config import HistoryConfig
from plugins.history.errors import HistoryError
from plugins.history.store import Store

WAITING, ROWS = 5000, 500
CHUNK = Chunk(array("I", range(1, ROWS + 1)))
START_S = 1_790_000_000.0


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Store]:
    config, log = HistoryConfig(keep="forever", free_mib=0, waiting=WAITING), structlog.get_logger(plugin="history")
    store = Store(folder, config, points=NoPoints(), clock=SystemClock(), log=log)
    async with store.running():
        yield store


def record(store: Store, number: int) -> None:
    """Record all points for one second, with values that nothing makes smaller."""
    chance = random.Random(number)
    rows = [Row(chance.random()) for _slot in CHUNK.slots]
    store.record(batch_of(CHUNK, rows, time=START_S + number, source=Source.POLL), range(ROWS))


async def begin(store: Store) -> None:
    """Record four seconds that are sealed, and one that is only safe."""
    for number in range(4):
        record(store, number)
    await store.flush()
    await store.housekeeper.seal()
    record(store, 4)
    await store.flush()


async def there(store: Store) -> list[int]:
    """Return the seconds of which the first and the last point have their samples, and these are right."""
    found = []
    for place, slot in ((0, 1), (-1, ROWS)):
        samples = await store.samples(slot, 0, 2**52, limit=10**6)
        numbers = [round(time_ms / 1000 - START_S) for time_ms in samples.times]
        for number, value in zip(numbers, samples.values, strict=True):
            chance = random.Random(number)
            assert [chance.random() for _slot in CHUNK.slots][place] == value
        found.append(numbers)
    assert found[0] == found[1]
    return found[0]


async def refusal(work: Callable[[], Any]) -> str | None:
    try:
        await work()
    except HistoryError as error:
        return str(error)
    return None


async def stop_and_go_on(folder: Path, *, stop: Callable[[], None], go_on: Callable[[], None]) -> dict[str, Any]:
    """Record until nothing more is taken, and then some; and go on."""
    saw: dict[str, Any] = {}
    async with opened(folder) as store:
        await begin(store)
        with capture_logs() as logs:
            stop()
            try:
                for number in range(5, 10):
                    record(store, number)
                saw["errors"] = [await refusal(store.flush), await refusal(store.flush)]
                saw["sealing"] = await refusal(store.housekeeper.seal)
                saw["paused"], saw["there"], saw["waiting"] = store.committer.paused, await there(store), unsafe(store)
                for number in range(10, 20):
                    record(store, number)
                await refusal(store.flush)
                saw["waiting_at_most"], saw["refused"] = unsafe(store), store.committer.figures.refused
                saw["there_then"] = await there(store)
            finally:
                go_on()
            await store.flush()
            record(store, 30)
            await store.flush()
            await store.housekeeper.seal()
        saw["log"] = [each["event"] for each in logs if each["log_level"] in ("warning", "error")]
        saw["paused_then"], saw["gaps"] = store.committer.paused, await gaps(store)
        saw["in_the_end"] = await there(store)
    async with opened(folder) as store:
        saw["after_a_restart"], saw["gaps_after_a_restart"] = await there(store), await gaps(store)
    return saw


def unsafe(store: Store) -> int:
    return store.head.unsafe_rows // ROWS


async def gaps(store: Store) -> list[tuple[int, str]]:
    """Return from which second on nothing was taken, and why."""
    found = await store.gaps(0, 2**52)
    return [(round(gap.start_ms / 1000 - START_S), gap.reason) for gap in found if gap.reason == "not_written"]


async def until_it_aborts(folder: Path, image: Path) -> dict[str, Any]:
    """Record until the file system aborts, and go on when it is mounted anew."""
    saw: dict[str, Any] = {}
    async with opened(folder) as store:
        await begin(store)
        with capture_logs() as logs:
            system("mount", "-o", "remount,abort", folder)
            record(store, 5)
            saw["errors"] = [await refusal(store.flush), await refusal(store.flush)]
            saw["sealing"] = await refusal(store.housekeeper.seal)
            saw["paused"], saw["there"] = store.committer.paused, await there(store)
        saw["log"] = [each["event"] for each in logs if each["log_level"] in ("warning", "error")]
    async with opened(folder) as store:
        saw["there_when_it_starts"], saw["paused_when_it_starts"] = await there(store), store.committer.paused
    system("umount", folder)
    system("mount", "-o", "loop", image, folder)
    async with opened(folder) as store:
        saw["after_a_restart"] = await there(store)
        record(store, 6)
        await store.flush()
        saw["in_the_end"], saw["damaged"] = await there(store), store.catalog.damaged()
    return saw


def system(*command: str | Path) -> None:
    subprocess.run(command, check=True)


async def start_and_go_on(folder: Path, *, stop: Callable[[], None], go_on: Callable[[], None]) -> dict[str, Any]:
    """Start while nothing is taken, with something sealed and something not, and go on."""
    saw: dict[str, Any] = {}
    async with opened(folder) as store:
        saw["registered"] = attrs.astuple(await store.register("sink"))
        await begin(store)
    stop()
    with capture_logs() as logs:
        async with opened(folder) as store:
            try:
                saw["paused"], saw["there"] = store.committer.paused, await there(store)
                record(store, 5)
                saw["errors"] = [await refusal(store.flush), await refusal(lambda: store.register("sink"))]
            finally:
                go_on()
            await store.flush()
            saw["there_then"], saw["cursor"] = await there(store), attrs.astuple(await store.register("sink"))
            record(store, 6)
            await store.flush()
            found = await store.read_after(await store.register("sink"), 100)
            saw["batches"] = [len(each.rows.slots) for each in found if isinstance(each, Committed)]
    saw["log"] = [each["event"] for each in logs if each["log_level"] in ("warning", "error")]
    async with opened(folder) as store:
        saw["in_the_end"] = await there(store)
    return saw


def ballast(folder: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what fills the disk of a folder, and what empties it again."""
    path = folder / "ballast"

    def fill() -> None:
        with path.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    continue
            os.fsync(file.fileno())

    return fill, path.unlink


def limit() -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what has the system refuse each write to a file, and what ends that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    return (
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard)),
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)),
    )


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    name, folder_, *image_ = sys.argv[1:]
    where = Path(folder_)
    if name == "aborts":
        told = asyncio.run(until_it_aborts(where, Path(*image_)))
    else:
        stop_, go_on_ = limit() if name == "limit" else ballast(where)
        scenario = start_and_go_on if name == "starts" else stop_and_go_on
        told = asyncio.run(scenario(where, stop=stop_, go_on=go_on_))
    sys.stdout.write(json.dumps(told) + "\n")
