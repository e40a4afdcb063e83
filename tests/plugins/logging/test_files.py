"""The file and what was put aside: rotation, retention and a queue that never waits, each line whole or counted."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from structlog.testing import CapturingLogger

from core.clock import ManualClock
from plugins.logging.config import Every, FileConfig
from plugins.logging.file import LogFile, Stdout
from plugins.logging.outlet import Outlet
from plugins.logging.rotated import Rotated

DAY = 86_400.0


class Logs:
    """A log file with what was put aside of it, and a clock."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.clock = ManualClock()
        self.path = folder / "logs" / "a.log"
        self.log = CapturingLogger()
        found = FileConfig(**config)
        self.rotated = Rotated(self.path, found, self.log, now=self.clock.utc)  # type: ignore[arg-type]
        self.file = LogFile(self.path, found, self.rotated, now=self.clock.utc)

    def names(self) -> list[str]:
        return sorted(each.name for each in self.path.parent.iterdir())

    def all(self) -> list[str]:
        """All lines that are kept, in the order in which they were written."""
        files = [each.path for each in self.rotated.files()]
        texts = [gzip.decompress(each.read_bytes()) if each.suffix == ".gz" else each.read_bytes() for each in files]
        return b"".join([*texts, self.path.read_bytes()]).decode().splitlines()

    def age(self, path: Path, seconds: float) -> None:
        at = self.clock.utc() - seconds
        os.utime(path, (at, at))


def line(number: int) -> bytes:
    return f"{json.dumps({'n': number, 'pad': 'x' * 80})}\n".encode()


def numbers(lines: list[str]) -> list[int]:
    return [json.loads(each)["n"] for each in lines]


def test_a_full_file_is_put_aside_and_no_line_is_lost_or_cut(tmp_path: Path) -> None:
    logs = Logs(tmp_path, rotate_mb=0.001, compress=False)
    for number in range(100):
        logs.file.write(line(number))
    files = logs.rotated.files()
    assert numbers(logs.all()) == [*range(100)]
    assert len(files) == 10
    assert all(each.size <= 1000 for each in files)
    assert {stat.S_IMODE(each.path.stat().st_mode) for each in files} == {0o600}


async def test_a_file_is_put_aside_when_its_day_is_over_also_where_a_restart_came_between(tmp_path: Path) -> None:
    logs = Logs(tmp_path, rotate_every=Every.DAY, compress=False)
    logs.file.write(line(1))
    logs.age(logs.path, 0)
    await logs.clock.advance(DAY)
    logs.file.write(line(2))
    logs.file.close()
    logs.age(logs.path, 2 * DAY)
    logs.file.write(line(3))
    assert [name.partition("Z")[0] for name in logs.names()] == [
        "a.log",
        "a.log.20231115T221320",
        "a.log.20231115T221320",
    ]
    assert numbers(logs.all()) == [1, 2, 3]


def test_of_what_was_put_aside_the_rest_is_compressed_and_the_oldest_goes(tmp_path: Path) -> None:
    logs = Logs(tmp_path, rotate_mb=0.001, keep_files=3)
    for number in range(100):
        logs.file.write(line(number))
    logs.rotated.tidy()
    assert len(logs.rotated.files()) == 3
    assert all(each.path.suffix == ".gz" for each in logs.rotated.files())
    assert {stat.S_IMODE(each.path.stat().st_mode) for each in logs.rotated.files()} == {0o600}
    kept = numbers(logs.all())
    assert kept == [*range(kept[0], 100)] and len(kept) > 20


def test_what_is_too_old_goes_and_what_is_too_much_together(tmp_path: Path) -> None:
    logs = Logs(tmp_path, rotate_mb=0.001, keep_files=0, keep_days=7, keep_mb=0.002, compress=False)
    for number in range(30):
        logs.file.write(line(number))
    first, *_rest = before = logs.rotated.files()
    for each in before:
        logs.age(each.path, 0)
    logs.rotated.tidy()
    assert [each.path for each in logs.rotated.files()] == [each.path for each in before[-2:]]
    logs.age(before[-2].path, 8 * DAY)
    logs.rotated.tidy()
    assert [each.path for each in logs.rotated.files()] == [before[-1].path]
    assert logs.path.exists() and not first.path.exists()


def test_what_a_killed_process_left_half_compressed_is_begun_anew(tmp_path: Path) -> None:
    logs = Logs(tmp_path, rotate_mb=0.001)
    for number in range(15):
        logs.file.write(line(number))
    (aside,) = logs.rotated.files()
    for name in (aside.path.name, "a.log.20200101T000000Z-0000"):
        aside.path.with_name(f"{name}.gz.part").write_bytes(b"half of it")
    logs.rotated.tidy()
    assert logs.names() == ["a.log", f"{aside.path.name}.gz"]
    assert numbers(logs.all()) == [*range(15)]


def test_other_files_in_the_folder_are_nobodys_business(tmp_path: Path) -> None:
    logs = Logs(tmp_path, rotate_mb=0.001, keep_files=1)
    logs.file.write(line(0))
    strangers = ["a.log.bak", "b.log.20231115T221320Z-0000", "a.log.20231115T221320Z-0000.txt"]
    for name in strangers:
        (logs.path.parent / name).write_text("x", encoding="utf-8")
    for number in range(100):
        logs.file.write(line(number))
    logs.rotated.tidy()
    assert {*strangers} < {*logs.names()}


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    logs.path.parent.mkdir()
    logs.path.touch(mode=0o644)
    logs.path.chmod(0o644)
    logs.file.write(line(0))
    assert stat.S_IMODE(logs.path.stat().st_mode) == 0o600


def test_a_folder_whose_own_folder_is_missing_is_not_made(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        logs.file.write(line(0))
    assert not (tmp_path / "missing").exists()


async def test_a_queue_under_load_from_threads_loses_no_line_that_is_not_counted(tmp_path: Path) -> None:
    logs = Logs(tmp_path, rotate_mb=0.05, keep_files=0, keep_mb=0)
    outlet = Outlet(logs.file, logs.log, queue_bytes=30_000)  # type: ignore[arg-type]
    outlet.start()
    logs.rotated.start()
    each, threads = 3000, 4

    def load(thread: int) -> None:
        for number in range(each):
            outlet.take(line(thread * each + number).decode())
            if number % 300 == 299:  # now and then there is room again
                written, ends = outlet.written, time.monotonic() + 5
                while outlet.written == written and time.monotonic() < ends:
                    time.sleep(0.001)

    loads = [threading.Thread(target=load, args=(number,)) for number in range(threads)]
    for thread in loads:
        thread.start()
    for thread in loads:
        thread.join()
    await outlet.stop(within_s=10)
    logs.rotated.stop(within_s=10)
    kept = numbers(logs.all())
    assert len({*kept}) == len(kept) == outlet.written
    assert outlet.written + outlet.dropped == each * threads
    for thread in range(threads):
        own = [number for number in kept if number // each == thread]
        assert own == sorted(own)
    assert outlet.written > 500 and len(logs.rotated.files()) >= 2


async def test_what_comes_before_the_start_and_after_the_end_is_written_too(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    outlet = Outlet(logs.file, logs.log, queue_bytes=30_000)  # type: ignore[arg-type]
    outlet.take(line(1).decode())
    outlet.start()
    outlet.take(line(2).decode())
    await outlet.stop()
    outlet.take(line(3).decode())
    assert numbers(logs.all()) == [1, 2, 3]
    assert (outlet.written, outlet.dropped) == (3, 0)


@attrs.define
class Stuck:
    """A target that takes nothing until it is let."""

    name: str = "stuck"
    gate: threading.Event = attrs.field(factory=threading.Event)

    def write(self, _data: bytes) -> None:
        self.gate.wait(30)

    def close(self) -> None: ...


async def test_a_target_that_hangs_holds_up_nobody_not_even_the_end() -> None:
    target = Stuck()
    outlet = Outlet(target, CapturingLogger(), queue_bytes=1000)  # type: ignore[arg-type]
    outlet.start()
    for number in range(100):
        outlet.take(line(number).decode())
    await outlet.stop(within_s=0.05)
    assert outlet.dropped + outlet.written == 100
    assert outlet.problem == "stuck takes no lines"
    target.gate.set()


@attrs.define
class Picky:
    """A target whose library chokes on some lines."""

    name: str = "picky"
    taken: list[bytes] = attrs.field(factory=list)

    def write(self, data: bytes) -> None:
        if b"poison" in data:
            raise ValueError("poison")
        self.taken.append(data)

    def close(self) -> None: ...


async def test_a_target_that_chokes_on_a_line_gets_the_next_and_that_is_told_once() -> None:
    target, log = Picky(), CapturingLogger()
    outlet = Outlet(target, log, queue_bytes=1000)  # type: ignore[arg-type]
    outlet.start()
    for text in ("a\n", "poison\n", "b\n", "poison\n", "c\n"):
        outlet.take(text)
        async with asyncio.timeout(5):
            while outlet._waiting:
                await asyncio.sleep(0.01)
    await outlet.stop()
    assert (target.taken, outlet.written, outlet.dropped) == ([b"a\n", b"b\n", b"c\n"], 3, 2)
    assert [call.args[0] for call in log.calls].count("log_target_broke") == 1
    assert sum(call.kwargs["lines"] for call in log.calls if call.args[0] == "log_lines_dropped") == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip("a small disk can be mounted by root alone")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_write_that_does_not_fit_on_the_disk_is_taken_back(small_disk: Path) -> None:
    logs = Logs(small_disk)
    size = written = 0
    with pytest.raises(OSError, match="No space left"):
        while True:
            logs.file.write(line(written) * 60)
            written += 1
            size = logs.path.stat().st_size
    assert logs.path.stat().st_size == size
    assert numbers(logs.all()) == [number for number in range(written) for _ in range(60)]
    logs.path.unlink()
    logs.file.write(line(7))
    assert numbers(logs.all()) == [7]


def test_the_standard_output_gets_lines(capfd: pytest.CaptureFixture[str]) -> None:
    Stdout().write(line(1))
    assert numbers(capfd.readouterr().out.splitlines()) == [1]
