"""What every history does: one suite, for the one in memory and for those of plugins.

A class of tests inherits it, and has a fixture ``history``: an empty one, that records every change.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

import pytest

from core.model import Flag, Kind, Quality, Reason, Source, Value
from core.readings import Chunk, Row, batch_of
from core.samples import Committed, PointSamples, Position, Samples
from core.services import History

START_MS = 1_790_000_000_000
"""A time of 2026; what is recorded in these tests is of the hour after it."""
ALWAYS = 0, 2**52


def record(history: History, slot: int, time_ms: int, value: Value | Row, *, source: Source = Source.POLL) -> None:
    """Record one sample."""
    row = value if isinstance(value, Row) else Row(value)
    history.record(batch_of(Chunk(array("I", [slot])), [row], time=time_ms / 1000, source=source), [0])


def imported(values: Iterable[tuple[int, float]], *, source: Source = Source.IMPORTED) -> Samples:
    """Lay good numbers with their times out as samples."""
    listed = list(values)
    nothing = bytes(len(listed))
    return Samples(
        array("q", [time_ms for time_ms, _value in listed]),
        array("d", [value for _time_ms, value in listed]),
        nothing,
        nothing,
        bytes([source]) * len(listed),
    )


async def values(history: History, slot: int, start_ms: int = 0, end_ms: int = 2**52, *, limit: int = 1000) -> list:
    """Return times, less `START_MS`, and values of a point's samples."""
    found = await history.samples(slot, start_ms, end_ms, limit=limit)
    return [(each.time_ms - START_MS, each.value) for each in found.rows(Kind.NUMBER)]


class HistorySuite:
    """To be inherited."""

    async def test_a_point_without_samples_has_none(self, history: History) -> None:
        record(history, 1, START_MS, 1.0)
        assert len(await history.samples(2, *ALWAYS, limit=10)) == 0
        assert len((await history.latest([2], 2**52)).slots) == 0

    async def test_samples_are_given_between_two_times_oldest_first_as_many_as_are_wanted(
        self, history: History
    ) -> None:
        for second in range(5):
            record(history, 1, START_MS + second * 1000, float(second))
        assert await values(history, 1) == [(second * 1000, float(second)) for second in range(5)]
        assert await values(history, 1, START_MS + 1000, START_MS + 3000) == [(1000, 1.0), (2000, 2.0)]
        assert await values(history, 1, START_MS + 1001, START_MS + 3001) == [(2000, 2.0), (3000, 3.0)]
        assert await values(history, 1, limit=2) == [(0, 0.0), (1000, 1.0)]
        await history.flush()
        assert await values(history, 1, START_MS + 1000) == [(1000, 1.0), (2000, 2.0), (3000, 3.0), (4000, 4.0)]

    async def test_only_the_rows_that_are_named_are_kept(self, history: History) -> None:
        chunk = Chunk(array("I", [1, 2, 3]))
        batch = batch_of(chunk, [Row(1.0), Row(2.0), Row("x")], time=START_MS / 1000, source=Source.COV)
        history.record(batch, (0, 2))
        assert await values(history, 1) == [(0, 1.0)]
        assert await values(history, 2) == []
        assert await values(history, 3) == [(0, "x")]

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            (Kind.NUMBER, 21.5),
            (Kind.NUMBER, -0.0),
            (Kind.NUMBER, 0.1 + 0.2),
            (Kind.NUMBER, 1e308),
            (Kind.NUMBER, 5e-324),
            (Kind.NUMBER, 2**60 + 1),
            (Kind.NUMBER, -(2**70)),
            (Kind.BOOLEAN, True),
            (Kind.BOOLEAN, False),
            (Kind.ENUM, 7),
            (Kind.TEXT, ""),
            (Kind.TEXT, "Störung \N{SNOWMAN}\x00"),
            (Kind.NUMBER, None),
        ],
    )
    async def test_any_value_is_kept_as_it_is(self, history: History, kind: Kind, value: Value) -> None:
        record(history, 1, START_MS, value)
        await history.flush()
        (kept,) = (await history.samples(1, *ALWAYS, limit=10)).rows(kind)
        assert (kept.value, type(kept.value)) == (value, type(value))
        if isinstance(value, float):
            assert math.copysign(1, kept.value) == math.copysign(1, value)

    async def test_quality_flags_and_source_are_kept(self, history: History) -> None:
        record(history, 1, START_MS, Row(math.nan, Flag.FAULT | Flag.IN_ALARM), source=Source.COV)
        record(history, 1, START_MS + 1, Row(3.5, Flag.OUT_OF_SERVICE), source=Source.READ)
        record(history, 1, START_MS + 2, Row(reason=Reason.OFFLINE))
        await history.flush()
        kept = [*(await history.samples(1, *ALWAYS, limit=10)).rows(Kind.NUMBER)]
        assert [(each.value, each.reason, each.flags, each.source, each.quality) for each in kept] == [
            (None, Reason.FAULT, Flag.FAULT | Flag.IN_ALARM, Source.COV, Quality.BAD),
            (3.5, Reason.OUT_OF_SERVICE, Flag.OUT_OF_SERVICE, Source.READ, Quality.UNCERTAIN),
            (None, Reason.OFFLINE, Flag(0), Source.POLL, Quality.BAD),
        ]

    async def test_a_sample_that_comes_late_takes_its_place_by_its_time(self, history: History) -> None:
        record(history, 1, START_MS + 2000, 2.0)
        await history.flush()
        record(history, 1, START_MS + 1000, 1.0)
        assert await values(history, 1) == [(1000, 1.0), (2000, 2.0)]

    async def test_of_two_samples_for_one_millisecond_the_later_one_stays(self, history: History) -> None:
        record(history, 1, START_MS, 1.0)
        record(history, 1, START_MS, Row("corrected"))
        assert await values(history, 1) == [(0, "corrected")]
        await history.flush()
        record(history, 1, START_MS, 3.0)
        assert await values(history, 1) == [(0, 3.0)]

    async def test_the_last_sample_before_a_time_is_found_for_many_points_at_once(self, history: History) -> None:
        for slot in (1, 2, 400):
            for second in range(3):
                record(history, slot, START_MS + second * 1000, slot * 10.0 + second)
        assert await latest(history, [1, 2, 3, 400], START_MS + 2000) == {1: 11.0, 2: 21.0, 400: 4001.0}
        assert await latest(history, [400], START_MS + 2001) == {400: 4002.0}
        assert await latest(history, [1], START_MS) == {}

    async def test_what_is_imported_is_kept_with_its_source_and_not_doubled(self, history: History) -> None:
        record(history, 1, START_MS, 1.0)
        assert await history.add(1, imported([(START_MS, 9.0), (START_MS + 500, 2.0)])) == 1
        assert await history.add(1, imported([(START_MS, 9.0), (START_MS + 500, 2.0)])) == 0
        kept = [*(await history.samples(1, *ALWAYS, limit=10)).rows(Kind.NUMBER)]
        assert [(each.value, each.source) for each in kept] == [(1.0, Source.POLL), (2.0, Source.IMPORTED)]

    async def test_what_is_imported_only_into_gaps_leaves_alone_what_was_recorded_without_one(
        self, history: History
    ) -> None:
        record(history, 1, START_MS, 1.0)
        record(history, 1, START_MS + 2000, 2.0)
        assert await history.add(1, imported([(START_MS + 1000, 9.0)]), only_gaps=True) == 0
        assert await values(history, 1) == [(0, 1.0), (2000, 2.0)]

    async def test_batches_are_read_in_the_order_of_their_commit_without_a_hole(self, history: History) -> None:
        begin = history.newest
        for second in range(3):
            record(history, 1, START_MS + second * 1000, float(second))
            await history.flush()
        found = await history.read_after(begin, 10)
        assert [each.position for each in found] == [Position(begin.epoch, begin.seq + 1 + n) for n in range(3)]
        assert [rows_of(each.rows) for each in found] == [[(1, n * 1000, float(n))] for n in range(3)]
        assert history.newest == found[-1].position
        assert [each.position for each in await history.read_after(begin, 2)] == [each.position for each in found[:2]]
        assert [each.position for each in await history.read_after(found[1].position, 9)] == [found[2].position]
        assert await history.read_after(history.newest, 10) == []

    async def test_a_batch_has_the_rows_of_all_points_with_what_was_imported(self, history: History) -> None:
        begin = history.newest
        record(history, 7, START_MS, 1.0)
        record(history, 8, START_MS, Row("text", Flag.IN_ALARM))
        await history.flush()
        await history.add(9, imported([(START_MS, 3.0)]))
        await history.flush()
        found = [each for each in await history.read_after(begin, 10) if isinstance(each, Committed)]
        rows = sorted(row for each in found for row in rows_of(each.rows))
        assert rows == [(7, 0, 1.0), (8, 0, "text"), (9, 0, 3.0)]

    async def test_a_cursor_begins_at_what_is_new_and_stays_where_it_was_moved(self, history: History) -> None:
        record(history, 1, START_MS, 1.0)
        await history.flush()
        begin = await history.register("sink")
        assert begin == history.newest
        record(history, 1, START_MS + 1, 2.0)
        await history.flush()
        assert await history.register("sink") == begin
        (new,) = await history.read_after(begin, 10)
        await history.advance("sink", new.position)
        assert await history.register("sink") == new.position
        await history.forget("sink")
        await history.forget("sink")


async def latest(history: History, slots: list[int], before_ms: int) -> dict[int, Value]:
    """Return the last values before a time, by slot."""
    found = await history.latest(slots, before_ms)
    return {slot: found.samples.value(row, Kind.NUMBER) for row, slot in enumerate(found.slots)}


def rows_of(rows: PointSamples) -> list[tuple[int, int, Value]]:
    """Return slots, times, less `START_MS`, and values."""
    return [
        (slot, rows.samples.times[row] - START_MS, rows.samples.value(row, Kind.NUMBER))
        for row, slot in enumerate(rows.slots)
    ]
