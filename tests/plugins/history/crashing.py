"""Kills a store under full load, again and again, and sees that nothing is missing that was safe.

A child records samples that follow from a running number, while it seals, rolls up, deletes and is asked; time in the
building runs fast in it. The parent kills it, opens the store and checks. ``python crashing.py --kills 200``
does it that often, and prints what it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from array import array
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))

import attrs
import structlog
from shared_sums import agree

from core.model import Flag, Kind, Source, Value
from core.plugin import NoPoints
from core.readings import Chunk, Row, batch_of
from core.samples import Committed, Lost, Position
from plugins.history.config import HistoryConfig, SealConfig
from plugins.history.spans import DAY_MS, SpanKind, span_of
from plugins.history.store import Store

START_MS = 1_789_344_000_000 + 2 * 3_600_000
"""Two o'clock of a Monday, so that what is late is often of another day."""
STEP_MS = 600_000
ROWS, SLOTS = 40, 150
LATE, CORRECTED = 24, 8
KEEP_MS = 3 * DAY_MS
CONFIG = HistoryConfig(keep="3d", seal=SealConfig(samples=5000, after=0.5))
MOST_FILES = 8
"""With more the recorder waits for the housekeeping, so that kills find all of it at work."""
LONGEST_S = 60.0
LONGEST_LAG_S = 1.0
SINK = "sink"


@attrs.define
class BuildingClock:
    """A clock whose day passes as it is told, while durations are real."""

    ms: int = START_MS

    def utc(self) -> float:
        return self.ms / 1000

    monotonic = staticmethod(time.monotonic)
    boot = staticmethod(time.monotonic)
    sleep = staticmethod(asyncio.sleep)


# what is recorded: all of it follows from the number of a step


@attrs.frozen
class Part:
    """Some samples of one time, as they came at first or corrected."""

    chunk: int
    corrected: bool = False

    @property
    def time_ms(self) -> int:
        return START_MS + self.chunk * STEP_MS

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Give slots and what they read."""
        for number in range(self.chunk * ROWS, (self.chunk + 1) * ROWS):
            yield number % SLOTS + 1, _row(number, corrected=self.corrected)


@functools.lru_cache(maxsize=10_000)
def values(part: Part) -> Mapping[int, Value]:
    """Return what is recorded by slot."""
    return {slot: row.value for slot, row in part.rows()}


def _row(number: int, *, corrected: bool) -> Row:
    if number % 101 == 0:
        return Row(f"number {number}{' corrected' * corrected}")
    if number % 103 == 0:
        return Row(2**60 + number + corrected)
    return Row(number / 8 + corrected * 1000, Flag.OVERRIDDEN if number % 7 == 0 else Flag(0))


def parts(step: int) -> list[Part]:
    """Return what is recorded in a step: the times of a block come last first, some are corrected later."""
    found = [Part(step // LATE * LATE + LATE - 1 - step % LATE)]
    if step % (2 * CORRECTED) == 0 and step >= CORRECTED:
        found.append(Part(parts(step - CORRECTED)[0].chunk, corrected=True))
    return found


def now_ms(step: int) -> int:
    """Return what the clock says in a step."""
    return START_MS + (step // LATE + 1) * LATE * STEP_MS


@asynccontextmanager
async def opened(folder: Path, clock: BuildingClock) -> AsyncIterator[Store]:
    store = Store(folder, CONFIG, points=NoPoints(), clock=clock, log=structlog.get_logger(plugin="history"))
    async with store.running():
        yield store


# the child


def _tell(line: str) -> None:
    os.write(1, line.encode() + b"\n")


async def record_until_killed(folder: Path, *, first: int, seed: int) -> None:
    """Record from a step on, with everything else at work."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    clock, chance = BuildingClock(now_ms(first)), random.Random(seed)
    async with opened(folder, clock) as store:
        await store.register(SINK)
        _tell("running")
        flushes = chance.random() < 0.7
        work = [_record(store, clock, first=first, flushes=flushes), _keep_house(store), _ask(store, chance)]
        await asyncio.gather(*work, *([_receive(store)] if flushes else []))  # who receives has things flushed, too


async def _record(store: Store, clock: BuildingClock, *, first: int, flushes: bool) -> None:
    for step in itertools.count(first):
        clock.ms = now_ms(step)
        _tell(f"recorded {step} {time.monotonic()}")
        for part in parts(step):
            slots, rows = zip(*part.rows(), strict=True)
            batch = batch_of(Chunk(array("I", slots)), rows, time=part.time_ms / 1000, source=Source.POLL)
            store.record(batch, range(len(rows)))
        if flushes and step % 20 == 0:
            await store.flush()
            _tell(f"safe {step}")
        await asyncio.sleep(0 if flushes else 0.002)
        while len(store.catalog.samples()) > MOST_FILES:
            await asyncio.sleep(0.002)


async def _keep_house(store: Store) -> None:
    while True:
        if store.head.rows >= CONFIG.seal.samples:
            await store.housekeeper.seal()
        await store.housekeeper.clean()
        await asyncio.sleep(0.005)


async def _ask(store: Store, chance: random.Random) -> None:
    """Ask for what is surely there, while all of it moves from file to file."""
    while True:
        slot, end = chance.randint(1, SLOTS), store.committer.now_ms
        found = await store.samples(slot, end - DAY_MS, end, limit=10_000)
        assert all(_is_right(slot, each.time_ms, each.value) for each in found.rows(Kind.NUMBER)), slot
        await store.latest(range(1, SLOTS + 1), end)
        await store.aggregate(slot, array("q", range(end - DAY_MS, end, 3_600_000)), now_ms=end, states=False)


async def _receive(store: Store) -> None:
    passed = await store.register(SINK)
    while True:
        found = await store.read_after(passed, 20)
        for each in found:
            assert isinstance(each, Committed), each
            assert each.position == Position(passed.epoch, passed.seq + 1)
            passed = each.position
        if found:
            await store.advance(SINK, passed)
            _tell(f"passed {passed.epoch} {passed.seq} {_steps(found)[-1]}")
        await asyncio.sleep(0.005)


def _is_right(slot: int, time_ms: int, value: Value) -> bool:
    """Tell whether a sample is one of those that can have been recorded."""
    return value is not None and value in [values(part).get(slot) for part in _parts_of(time_ms)]


def _parts_of(time_ms: int) -> list[Part]:
    """Return what can have been recorded for a time: at first, and corrected."""
    chunk, rest = divmod(time_ms - START_MS, STEP_MS)
    return [] if rest or chunk < 0 else [Part(chunk), Part(chunk, corrected=True)]


def _step(slot: int, time_ms: int, value: Value) -> int:
    """Return in which step a sample was recorded."""
    assert _is_right(slot, time_ms, value), (slot, time_ms, value)
    first, _corrected = _parts_of(time_ms)
    step = parts(first.chunk)[0].chunk  # the order is its own inverse
    return step if values(first).get(slot) == value else step + CORRECTED


def _steps(batches: Sequence[Committed | Lost]) -> list[int]:
    """Return the step of each row of batches, in their order; none may be lost."""
    found = []
    for each in batches:
        assert isinstance(each, Committed), each
        rows = each.rows.samples
        found += [
            _step(slot, at, rows.value(row, Kind.NUMBER))
            for row, (slot, at) in enumerate(zip(each.rows.slots, rows.times, strict=True))
        ]
    return found


# the parent


@attrs.define
class Told:
    """What the child said before it was killed: the steps that are safe and those that were begun, with their times."""

    safe: int
    begun: dict[int, float] = attrs.field(factory=dict)
    passed: tuple[Position, int] | None = None

    def take(self, line: str) -> None:
        word, *rest = line.split()
        if word == "recorded":
            self.begun[int(rest[0])] = float(rest[1])
        elif word == "safe":
            self.safe = int(rest[0])
        elif word == "passed":
            self.passed = Position(int(rest[0]), int(rest[1])), int(rest[2])


@attrs.define
class Crashes:
    """A store that is killed again and again: how far it came, and what was seen."""

    folder: Path
    chance: random.Random
    recovered: int = -1
    latest: int = 0
    """The last step that any child began: by its time retention may have deleted, though the step itself was lost."""
    lags_s: list[float] = attrs.field(factory=list)
    safe: int = 0
    replayed: int = 0

    async def crash(self, *, allowance_s: float) -> None:
        """Let the child go on, kill it, and check what there is then."""
        told, killed_at = await self._killed()
        for path in self.folder.rglob("*.sqlite3"):
            with closing(sqlite3.connect(path)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], path
        last = max(told.begun, default=self.recovered)
        self.latest = max(self.latest, last)
        async with opened(self.folder, BuildingClock(now_ms(self.latest))) as store:
            self.replayed += store.head.rows
            found = await _check_samples(store)
            assert max(told.safe, self.recovered) <= found <= last, (told.safe, self.recovered, found, last)
            lag = max((killed_at - at for step, at in told.begun.items() if step > found), default=0.0)
            assert lag <= LONGEST_LAG_S + allowance_s, lag
            await _check_outbox(store, found, told.passed)
            await _check_sums(store, self.chance)
            await store.housekeeper.seal()
            await store.housekeeper.clean()
            assert found == await _check_samples(store)
            await _check_sums(store, self.chance)
            assert not store.damaged
        self.safe += max(0, told.safe - self.recovered)
        self.lags_s.append(lag)
        self.recovered = found

    async def _killed(self) -> tuple[Told, float]:
        """Run the child until some time after it has begun, and return what it told, and when it was killed."""
        told, errors = Told(self.recovered), self.folder / "errors"
        with errors.open("wb") as stderr:
            child = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--child", str(self.folder), "--first", str(self.recovered + 1),
                "--seed", str(self.chance.randrange(2**32)), stdout=asyncio.subprocess.PIPE, stderr=stderr,
            )  # fmt: skip
        assert child.stdout is not None
        async with asyncio.timeout(LONGEST_S):
            assert await child.stdout.readline() == b"running\n", errors.read_text()
            kill = asyncio.create_task(self._kill(child))
            async for line in child.stdout:
                told.take(line.decode())
            assert await child.wait() == -signal.SIGKILL, errors.read_text()
            return told, await kill

    async def _kill(self, child: asyncio.subprocess.Process) -> float:
        await asyncio.sleep(self.chance.uniform(0.05, 1.5))
        killed_at = time.monotonic()
        child.kill()
        return killed_at


async def _check_samples(store: Store) -> int:
    """See that all that was recorded up to a step is there, once and right, and nothing else; return the step."""
    there: dict[tuple[int, int], Value] = {}
    for slot in range(1, SLOTS + 1):
        found = await store.samples(slot, 0, 2**52, limit=10**7)
        assert sorted(set(found.times)) == found.times.tolist()
        there |= {(slot, each.time_ms): each.value for each in found.rows(Kind.NUMBER)}
    last = max((_step(*at, value) for at, value in there.items()), default=-1)
    kept_from = store.committer.now_ms - KEEP_MS
    expected: dict[tuple[int, int], Value] = {}
    for step in range(max(0, (kept_from - START_MS - DAY_MS) // STEP_MS - LATE), last + 1):
        for part in parts(step):
            if span_of(part.time_ms, SpanKind.DAY).end_ms >= kept_from:
                expected |= {(slot, part.time_ms): value for slot, value in values(part).items()}
    recent = {at: value for at, value in there.items() if span_of(at[1], SpanKind.DAY).end_ms >= kept_from}
    wrong = {at for at in recent.keys() | expected.keys() if recent.get(at) != expected.get(at)}
    assert not wrong, sorted((at, recent.get(at), expected.get(at)) for at in wrong)[:5]
    return last


async def _check_outbox(store: Store, last: int, passed: tuple[Position, int] | None) -> None:
    """See that a receiver finds all that it has not passed, up to a step, in order."""
    begin = await store.register(SINK)
    assert passed is None or begin >= passed[0]
    found = await store.read_after(begin, 10**6)
    positions = [each.position for each in found if isinstance(each, Committed)]
    assert positions == [Position(begin.epoch, begin.seq + 1 + number) for number in range(len(found))]
    assert (positions[-1] if positions else begin) == store.newest
    steps = [(step, len(list(rows))) for step, rows in itertools.groupby(_steps(found))]
    first = passed[1] + 1 if passed is not None and passed[0] == begin else last + 1 - len(steps)
    assert steps == [(step, ROWS * len(parts(step))) for step in range(first, last + 1)]


async def _check_sums(store: Store, chance: random.Random) -> None:
    """See that what was rolled up of the days that are over is what their samples come to.

    A day in which a gap begins is left out: so fast a day is rolled up before it is known that it was the last one.
    """
    now = store.committer.now_ms
    kept = [key.span for key in store.catalog.samples() if key.span.end_ms >= now - KEEP_MS]
    gaps = [span_of(gap.start_ms, SpanKind.DAY) for gap in store.committer.gaps]
    for day in kept[1:]:
        if day.end_ms <= now and day not in gaps:
            for interval_ms in (300_000, 3_600_000, DAY_MS):
                edges = range(day.start_ms, day.end_ms + 1, interval_ms)
                await agree(store, chance.randint(1, SLOTS), list(edges), states=False)


async def main(kills: int, seed: int) -> None:
    """Kill so often, and print what was seen."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    with tempfile.TemporaryDirectory() as folder:
        crashes = Crashes(Path(folder), random.Random(seed))
        for number in range(kills):
            await crashes.crash(allowance_s=LONGEST_S)
            print(f"\r{number + 1} of {kills}", end="", flush=True)  # noqa: T201  # it is a program as well
    print(  # noqa: T201
        f"\r{kills} kills: of {(crashes.recovered + 1) * ROWS} samples {crashes.safe * ROWS} were safe and none of"
        f" these was lost; {crashes.replayed} were replayed; the oldest sample that was lost had been recorded"
        f" {max(crashes.lags_s):.2f} s before; every file was sound."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        asyncio.run(record_until_killed(given.child, first=given.first, seed=given.seed))
    else:
        asyncio.run(main(given.kills, given.seed))
