"""What samples come to by interval is the same whatever it is made of: the head, sealed blocks, or roll-ups."""

from __future__ import annotations

import math
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared_history import record
from shared_sums import agree, same

from core.clock import ManualClock
from core.model import Flag, Kind, Point, Reason
from core.plugin import NoPoints
from core.readings import Row
from core.samples import Gap
from plugins.history.config import HistoryConfig
from plugins.history.spans import DAY_MS
from plugins.history.store import Store

MONDAY_MS = 1_789_344_000_000
"""2026-09-14, a Monday."""
HOUR_MS = 3_600_000
WEEKS = 3


class EnumPoints(NoPoints):
    """A house in which every point has states."""

    def point(self, slot: int) -> Point:
        return Point(id=f"x.1.{slot}", device_id="x.1", name=str(slot), kind=Kind.ENUM)


@attrs.frozen
class Given:
    """A sample: when, in milliseconds of the three weeks, and what."""

    at: int
    value: float | None
    reason: Reason


def samples() -> st.SearchStrategy[list[Given]]:
    """Make samples that are often close to one another, and sometimes on the edges of intervals."""
    times = st.one_of(
        st.integers(0, WEEKS * 7 * DAY_MS - 1),
        st.integers(0, WEEKS * 7 * 24 - 1).map(lambda hour: hour * HOUR_MS),
        st.integers(0, 3 * HOUR_MS).map(lambda at: 7 * DAY_MS - HOUR_MS + at),
    )
    values = st.one_of(st.none(), st.integers(-3, 3).map(float))
    reasons = st.sampled_from([Reason.NONE, Reason.NONE, Reason.OUT_OF_SERVICE, Reason.OFFLINE])
    return st.lists(st.builds(Given, times, values, reasons), max_size=40)


def edges() -> st.SearchStrategy[list[int]]:
    """Make edges: a grid, or any times."""
    grids = st.tuples(
        st.sampled_from([7 * DAY_MS, DAY_MS, 6 * HOUR_MS, HOUR_MS, HOUR_MS // 12, 61_000]),
        st.integers(0, WEEKS * 7 * 24).map(lambda hour: hour * HOUR_MS),
        st.integers(1, 40),
    ).map(lambda grid: [grid[1] + number * grid[0] for number in range(grid[2] + 1)])
    return st.one_of(grids, st.sets(st.integers(0, WEEKS * 7 * DAY_MS), min_size=2, max_size=6).map(sorted))


@asynccontextmanager
async def opened(folder: Path, clock: ManualClock) -> AsyncIterator[Store]:
    log = structlog.get_logger()
    store = Store(folder, HistoryConfig(keep="forever"), points=EnumPoints(), clock=clock, log=log)
    async with store.running():
        yield store


async def put(store: Store, slot: int, given: list[Given]) -> None:
    for each in given:
        record(store, slot, MONDAY_MS + each.at, Row(each.value, Flag(0), reason=each.reason))
    await store.flush()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    first=samples(), late=samples(), other=samples(), wanted=st.lists(edges(), min_size=1, max_size=4),
    gap=st.none() | st.integers(0, WEEKS * 7 * DAY_MS),
)  # fmt: skip
async def test_sums_are_those_of_the_plain_way_before_and_after_sealing_rolling_up_and_coming_late(
    first: list[Given], late: list[Given], other: list[Given], wanted: list[list[int]], gap: int | None
):
    clock = ManualClock((MONDAY_MS + WEEKS * 7 * DAY_MS) / 1000 + 30 * 86400)
    with TemporaryDirectory() as folder:
        async with opened(Path(folder), clock) as store:
            if gap is not None:
                store.committer.gaps = [Gap(MONDAY_MS + gap, MONDAY_MS + gap + HOUR_MS, "not_written")]
            await put(store, 5, first)
            await put(store, 6, other)
            await compare(store, wanted)
            await store.housekeeper.seal()
            await compare(store, wanted)
            await store.housekeeper.clean()
            assert len(store.catalog.rolled) == len(store.catalog.samples())
            await compare(store, wanted)
            await put(store, 5, late)
            await compare(store, wanted)
            await store.housekeeper.seal()
            await compare(store, wanted)
            await store.housekeeper.clean()
            assert len(store.catalog.rolled) == len(store.catalog.samples())
            await compare(store, wanted)


async def compare(store: Store, wanted: list[list[int]]) -> None:
    for each in wanted:
        await agree(store, 5, [MONDAY_MS + edge for edge in each])


async def test_a_week_of_two_months_or_years_is_rolled_up_into_the_files_of_both(tmp_path: Path):
    weeks = (14 * DAY_MS, 105 * DAY_MS)
    """Those of 28 September and of 28 December."""
    async with opened(tmp_path, ManualClock(MONDAY_MS / 1000 + 120 * 86400)) as store:
        for week in weeks:
            hours = range(7 * 24)
            await put(store, 5, [Given(week + hour * HOUR_MS, float(hour % 5), Reason.NONE) for hour in hours])
        await store.housekeeper.seal()
        await store.housekeeper.clean()
        for week in weeks:
            for interval in (HOUR_MS // 12, HOUR_MS, DAY_MS):
                edges = range(MONDAY_MS + week, MONDAY_MS + week + 7 * DAY_MS + 1, interval)
                assert await agree(store, 5, list(edges))
        levels = {key.class_name: key.span.label for key in store.catalog.keys if key.is_rollup}
        assert levels == {
            "rollup-5m": "2027-01-01.month", "rollup-1h": "2027-01-01.year", "rollup-1d": "2027-01-01.year"
        }  # fmt: skip


async def test_sums_outlive_the_samples_that_they_were_made_of(tmp_path: Path):
    clock = ManualClock(MONDAY_MS / 1000 + 8 * 86400)
    async with opened(tmp_path, clock) as store:
        hours = range(7 * 24)
        await put(store, 5, [Given(hour * HOUR_MS + 60_000, float(hour % 3), Reason.NONE) for hour in hours])
        ends = array("q", [MONDAY_MS + hour * HOUR_MS for hour in range(7 * 24 + 1)])
        await store.housekeeper.seal()
        await store.housekeeper.clean()
        now = store.committer.now_ms
        before = [await store.aggregate(5, each, now_ms=now, states=True) for each in (ends, ends[::24])]
        for key in store.catalog.samples():
            store.catalog.drop(key)
        assert len(await store.samples(5, 0, 2**52, limit=1)) == 0
        after = [await store.aggregate(5, each, now_ms=now, states=True) for each in (ends, ends[::24])]

    for one, other in zip(before, after, strict=True):
        same(one, other)
    assert after[0].counts.tolist() == [1] * 168
    assert after[1].counts.tolist() == [24] * 7
    assert after[1].states[0].tolist()[1:] == [8 * HOUR_MS] * 6


async def test_a_sum_beyond_all_numbers_is_infinite_and_no_error(tmp_path: Path):
    clock = ManualClock(MONDAY_MS / 1000 + 8 * 86400)
    async with opened(tmp_path, clock) as store:
        await put(store, 5, [Given(number * 60_000, 1.7e308, Reason.NONE) for number in range(4)])
        ends = array("q", [MONDAY_MS, MONDAY_MS + HOUR_MS, MONDAY_MS + 2 * HOUR_MS])
        now = store.committer.now_ms
        unsealed = await store.aggregate(5, ends, now_ms=now, states=False)
        await store.housekeeper.seal()
        await store.housekeeper.clean()
        rolled_up = await store.aggregate(5, ends, now_ms=now, states=False)

    for sums in (unsealed, rolled_up):
        assert sums.sums[0] == sums.integrals[0] == math.inf
        assert (sums.maxs[0], sums.counts[0]) == (1.7e308, 4)
