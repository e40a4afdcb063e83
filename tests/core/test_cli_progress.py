from __future__ import annotations

import asyncio
import io

import attrs
import pytest

from core.events import EventBus, EventHandler, JobChanged
from core.progress import CLEAR, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    tried = 0

    def write(self, _text: str) -> int:
        self.tried += 1
        raise BrokenPipeError


def scan(
    state: str, *, phase: str = "", done: int = 0, total: int | None = None, found: int = 0, kind: str = "scan"
) -> JobChanged:
    progress = done / total if total else 0.0
    return JobChanged("1", kind, state, phase, progress, done, total, found)


STORY = (
    scan("queued"),
    scan("running", phase="asking"),
    scan("running", phase="reading", done=1, total=4, found=1),
    scan("running", kind="backup"),
    scan("succeeded", done=4, total=4, found=4),
)


async def shown(stream: io.StringIO, *events: JobChanged) -> str:
    """Show events one after the other, and return what was written."""
    bus, last = EventBus(), asyncio.Event()

    async def listen(event: JobChanged) -> None:
        if event is events[-1]:
            last.set()

    Progress(stream).follow(bus)
    bus.subscribe(EventHandler(JobChanged, listen), owner="test")  # hears each event after the progress has
    for event in events:
        bus.publish(event)
    await asyncio.wait_for(last.wait(), 2)
    await bus.close()
    return stream.getvalue()


async def test_where_no_terminal_is_a_scan_has_a_line_at_its_start_and_at_its_end() -> None:
    told = await shown(io.StringIO(), *STORY)
    assert told == "scan started\nscan succeeded: 4 devices found\n"


async def test_a_second_scan_has_its_own_lines() -> None:
    told = await shown(io.StringIO(), *STORY, *(attrs.evolve(event, id="2") for event in STORY))
    assert told.count("scan started\n") == 2


async def test_on_a_terminal_a_live_line_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = await shown(Terminal(), *STORY)
    assert told == (
        f"{CLEAR}scan: waiting - 0 devices found\r"
        f"{CLEAR}scan: asking - 0 devices found\r"
        f"{CLEAR}scan: reading 1 of 4 (25%) - 1 device found\r"
        f"{CLEAR}scan succeeded: 4 devices found\n"
    )


async def test_the_live_line_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "12")
    told = await shown(Terminal(), scan("running", phase="a very long phase"))
    assert told == f"{CLEAR}scan: a ver\r"


async def test_a_stream_that_nobody_reads_any_more_stops_no_scan() -> None:
    gone = Gone()
    await shown(gone, *STORY)
    assert gone.tried == 2


async def test_a_terminal_shows_how_many_points_were_read_and_how_long_it_will_take() -> None:
    reading = attrs.evolve(STORY[2], counts={"devices": 3, "points": 120}, time_left_s=12.4)
    told = await shown(Terminal(), reading)
    assert "scan: reading 1 of 4 (25%) - 1 device found - 120 points - 12 s left" in told
