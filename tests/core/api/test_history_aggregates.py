"""The past of points summed up by interval, through the REST API."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import pytest

from core.aggregation import Buckets, aggregate
from core.memory_history import MemoryHistory
from core.model import Flag, Reason
from core.readings import Row
from core.samples import Gap, utc_ms

BEGIN = "2026-03-28T10:00:00Z"
HOURS = "start=2026-03-28T10:00:00Z&end=2026-03-28T14:00:00Z&interval=1h"
HALF_HOUR_MS = 1_800_000


class Gapped(MemoryHistory):
    """A history that was not always there."""

    async def gaps(self, start_ms: int, end_ms: int) -> Sequence[Gap]:
        gap = Gap(max(start_ms, utc_ms("2026-03-28T11:30:00Z")), min(end_ms, utc_ms("2026-03-28T13:00:00Z")), "stopped")
        return [gap] if gap.start_ms < gap.end_ms else []


def told(items: Sequence[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """The hour that each interval begins at, and what is told of it."""
    return [(int(item["start"][11:13]), *(item[name] for name in names)) for item in items]


async def test_an_interval_says_what_is_asked_of_its_samples(past: Any) -> None:
    past.record("level", BEGIN, 20.0, 22.0, 18.0, 24.0, every_ms=HALF_HOUR_MS)
    names = ["avg", "min", "max", "count", "first", "last", "sum", "time_weighted_avg"]
    reply = await past.get("level", f"{HOURS}&aggregate={','.join(names[:3])}&aggregate={','.join(names[3:])}")
    first, *_rest = reply.json["items"]
    assert first == {
        "start": "2026-03-28T10:00:00.000Z", "end": "2026-03-28T11:00:00.000Z",
        "avg": 21.0, "min": 20.0, "max": 22.0, "count": 2, "first": 20.0, "last": 22.0, "sum": 42.0,
        "time_weighted_avg": 21.0, "quality": "good",
    }  # fmt: skip
    assert reply.json["next_cursor"] is None


async def test_intervals_without_samples_are_left_out_unless_something_is_known_of_their_time(past: Any) -> None:
    past.record("level", BEGIN, 20.0)
    past.record("level", "2026-03-28T12:30:00Z", 30.0)
    assert told(await past.items("level", HOURS), "avg") == [(10, 20.0), (12, 30.0)]
    items = await past.items("level", f"{HOURS}&aggregate=avg,count,time_weighted_avg")
    assert told(items, "avg", "count", "time_weighted_avg") == [
        (10, 20.0, 1, 20.0), (11, None, 0, 20.0), (12, 30.0, 1, 25.0), (13, None, 0, 30.0)
    ]  # fmt: skip
    assert {item["quality"] for item in items} == {"good"}
    assert all("filled" not in item for item in items)


async def test_what_is_bad_counts_for_nothing_but_shows_as_the_quality(past: Any) -> None:
    past.record("level", BEGIN, 20.0, Row(reason=Reason.OFFLINE), every_ms=HALF_HOUR_MS)
    past.record("level", "2026-03-28T11:00:00Z", Row(30.0, Flag.OUT_OF_SERVICE))
    past.record("level", "2026-03-28T12:00:00Z", Row(99.0, Flag.FAULT))
    items = await past.items("level", f"{HOURS}&aggregate=avg,count,time_weighted_avg")
    assert told(items, "avg", "count", "time_weighted_avg", "quality") == [
        (10, 20.0, 1, 20.0, "bad"), (11, 30.0, 1, 30.0, "uncertain"), (12, None, 0, None, "bad")
    ]  # fmt: skip


async def test_a_gap_ends_what_held(past: Any) -> None:
    past.use(Gapped())
    past.record("level", BEGIN, 20.0)
    reply = await past.get("level", f"{HOURS}&aggregate=time_weighted_avg&fill=previous")
    assert told(reply.json["items"], "time_weighted_avg", "quality") == [
        (10, 20.0, "good"), (11, 20.0, "good"), (12, None, "uncertain"), (13, None, "uncertain")
    ]  # fmt: skip
    assert [gap["reason"] for gap in reply.json["gaps"]] == ["stopped"]


async def test_what_holds_now_does_not_hold_in_the_future(past: Any) -> None:
    past.record("level", past.now_ms - 3_600_000, 20.0)
    query = "start=2026-03-30T11:00:00Z&end=2026-03-30T14:00:00Z&interval=1h&fill=previous&aggregate=last"
    assert told(await past.items("level", query), "last", "quality") == [
        (11, 20.0, "good"), (12, None, "uncertain"), (13, None, "uncertain")
    ]  # fmt: skip


async def test_previous_fills_with_the_value_that_holds(past: Any) -> None:
    past.record("level", "2026-03-28T09:00:00Z", 20.5)
    past.record("level", "2026-03-28T12:30:00Z", 30.0)
    items = await past.items("level", f"{HOURS}&fill=previous&aggregate=avg,min,last,count,sum")
    assert told(items, "avg", "min", "last", "count", "sum") == [
        (10, 20.5, 20.5, 20.5, 0, None), (11, 20.5, 20.5, 20.5, 0, None),
        (12, 30.0, 30.0, 30.0, 1, 30.0), (13, 30.0, 30.0, 30.0, 0, None),
    ]  # fmt: skip
    assert [item.get("filled", False) for item in items] == [True, True, False, True]


async def test_previous_has_nothing_to_fill_with_before_the_first_sample_and_behind_a_bad_one(past: Any) -> None:
    past.record("level", "2026-03-28T11:00:00Z", 20.5, Row(reason=Reason.TIMEOUT), every_ms=HALF_HOUR_MS)
    items = await past.items("level", f"{HOURS}&fill=previous")
    assert told(items, "avg", "quality") == [
        (10, None, "uncertain"), (11, 20.5, "bad"), (12, None, "uncertain"), (13, None, "uncertain")
    ]  # fmt: skip


async def test_linear_fills_with_what_lies_between_in_the_middle_of_an_interval(past: Any) -> None:
    past.record("level", "2026-03-28T09:30:00Z", 10.0, Row(reason=Reason.OFFLINE), every_ms=60_000)
    past.record("level", "2026-03-28T12:30:00Z", 40.0, Row(reason=Reason.OFFLINE), every_ms=60_000)
    past.record("level", "2026-03-28T14:30:00Z", Row(reason=Reason.OFFLINE), 20.0, every_ms=HALF_HOUR_MS * 2)
    third = pytest.approx(100 / 3)
    items = await past.items("level", f"{HOURS}&fill=linear&aggregate=avg,time_weighted_avg,count")
    assert told(items, "avg", "time_weighted_avg", "count") == [
        (10, 20.0, 20.0, 0), (11, 30.0, 30.0, 0), (12, 40.0, 40.0, 1), (13, third, third, 0)
    ]  # fmt: skip


async def test_linear_has_nothing_at_the_ends(past: Any) -> None:
    past.record("level", "2026-03-28T11:30:00Z", 10.0)
    items = await past.items("level", f"{HOURS}&fill=linear")
    assert told(items, "avg") == [(10, None), (11, 10.0), (12, None), (13, None)]


async def test_booleans_have_shares_and_times_in_state_by_their_value(past: Any) -> None:
    past.record("on", BEGIN, True, False, True, every_ms=900_000)
    [first, *_] = await past.items("on", f"{HOURS}&aggregate=avg,min,max,last,time_weighted_avg,time_in_state,sum")
    assert first["time_in_state"] == {"false": 900.0, "true": 2700.0}
    assert (first["avg"], first["sum"], first["time_weighted_avg"]) == (pytest.approx(2 / 3), 2.0, 0.75)
    assert (first["min"], first["max"], first["last"]) == (False, True, True)
    assert [item["last"] for item in await past.items("on", HOURS)] == [True]


async def test_enums_have_times_in_state_by_their_integer(past: Any) -> None:
    past.record("mode", BEGIN, 2, 3, 2, every_ms=1_500_000)
    items = await past.items("mode", f"{HOURS}&aggregate=first,last,count,time_in_state&fill=previous")
    assert told(items, "first", "last", "count", "time_in_state") == [
        (10, 2, 2, 3, {"2": 2100.0, "3": 1500.0}), *((hour, 2, 2, 0, {"2": 3600.0}) for hour in (11, 12, 13))
    ]  # fmt: skip


async def test_texts_have_a_first_and_a_last(past: Any) -> None:
    past.record("note", "2026-03-28T09:00:00Z", "before")
    past.record("note", "2026-03-28T11:00:00Z", "a", "b", "c", Row(reason=Reason.OFFLINE))
    items = await past.items("note", f"{HOURS}&aggregate=first,last,count&fill=previous")
    assert told(items, "first", "last", "count") == [
        (10, "before", "before", 0), (11, "a", "c", 3), (12, None, None, 0), (13, None, None, 0)
    ]  # fmt: skip
    assert told(await past.items("note", HOURS), "last") == [(11, "c")]


@pytest.mark.parametrize(
    ("key", "wanted", "suits"),
    [
        ("note", "avg,last", "count, first, last"),
        ("mode", "avg", "count, first, last, time_in_state"),
        ("level", "time_in_state", "avg, min, max, count, first, last, sum, time_weighted_avg"),
    ],
)
async def test_what_does_not_suit_a_kind_is_refused_with_what_does(
    past: Any, key: str, wanted: str, suits: str
) -> None:
    reply = await past.get(key, f"{HOURS}&aggregate={wanted}")
    [fault] = reply.json["errors"]
    assert (reply.status, fault["field"]) == (422, "aggregate")
    assert fault["message"].endswith(f"it has {suits}")


async def test_only_numbers_can_be_filled_by_a_line(past: Any) -> None:
    reply = await past.get("on", f"{HOURS}&fill=linear")
    [fault] = reply.json["errors"]
    assert (reply.status, fault["field"]) == (422, "fill")


async def test_without_an_interval_all_of_the_time_is_one(past: Any) -> None:
    past.record("level", BEGIN, 20.0, 22.0)
    query = "start=2026-03-28T09:59:59Z&end=2026-03-29T00:00:00.5Z&aggregate=max,count"
    [item] = await past.items("level", query)
    assert item == {
        "start": "2026-03-28T09:59:59.000Z", "end": "2026-03-29T00:00:00.500Z", "max": 22.0, "count": 2,
        "quality": "good",
    }  # fmt: skip


async def test_days_of_a_zone_are_23_or_25_hours_long_where_its_clock_is_set(past: Any) -> None:
    past.record("level", "2026-03-27T23:30:00Z", *range(60), every_ms=3_600_000)
    query = "start=2026-03-27T23:00:00Z&end=2026-03-30T00:00:00Z&tz=Europe/Berlin&aggregate=count"
    days = await past.items("level", f"{query}&interval=1d")
    assert [(item["start"][:13], item["end"][:13], item["count"]) for item in days] == [
        ("2026-03-27T23", "2026-03-28T23", 24), ("2026-03-28T23", "2026-03-29T22", 23),
        ("2026-03-29T22", "2026-03-30T00", 2),
    ]  # fmt: skip
    hours = await past.items("level", f"{query}&interval=1h")
    assert [item["count"] for item in hours] == [1] * 49


async def test_the_first_and_the_last_interval_are_cut_to_what_is_asked(past: Any) -> None:
    past.record("level", BEGIN, *range(8), every_ms=HALF_HOUR_MS)
    query = "start=2026-03-28T10:20:00Z&end=2026-03-28T12:40:00Z&interval=1h&aggregate=count"
    assert [(item["start"][11:16], item["end"][11:16], item["count"]) for item in await past.items("level", query)] == [
        ("10:20", "11:00", 1), ("11:00", "12:00", 2), ("12:00", "12:40", 2)
    ]  # fmt: skip


@pytest.mark.parametrize("fill", ["none", "previous", "linear"])
async def test_pages_hold_every_interval_once_wherever_they_end(past: Any, fill: str) -> None:
    past.record("level", BEGIN, *range(20), every_ms=1_000_000)
    past.record("other", "2026-03-28T11:00:00Z", *range(9), every_ms=2_000_000)
    body: dict[str, Any] = {
        "start": "2026-03-28T09:00:00Z", "end": "2026-03-28T18:00:00Z", "interval": "10m", "fill": fill,
        "aggregate": ["avg", "time_weighted_avg"],
    }  # fmt: skip
    whole = (await past.query("other", "level", **body, limit=1000)).json["items"]
    assert len(whole) > 80
    assert [(item["start"], item["point_id"]) for item in whole] == sorted(
        ((item["start"], item["point_id"]) for item in whole), key=lambda each: (each[0], "other" not in each[1])
    )
    for limit in (1, 7, 60):
        rows, cursor = [], None
        while cursor is not None or not rows:
            page = (await past.query("other", "level", **body, limit=limit, cursor=cursor)).json
            rows += page["items"]
            cursor = page["next_cursor"]
        assert rows == whole


async def test_each_point_of_several_has_what_suits_its_kind(past: Any) -> None:
    past.record("level", BEGIN, 20.0)
    past.record("mode", BEGIN, 2)
    reply = await past.query("mode", "level", "note", start=BEGIN, interval="1h")
    items = [(item["point_id"], item.get("avg"), item.get("last")) for item in reply.json["items"]]
    assert items == [("rooms.1.mode", None, 2), ("rooms.1.level", 20.0, None)]


class Counting(MemoryHistory):
    """A history that notes how often it is asked."""

    asked = 0

    async def samples(self, *arguments: Any, **named: Any) -> Any:
        self.asked += 1
        return await super().samples(*arguments, **named)


async def test_years_without_samples_are_passed_over(past: Any) -> None:
    past.use(Counting())
    past.record("level", "1990-01-01T00:00:00Z", 1.0)
    past.record("level", "2020-01-01T00:00:01.5Z", 2.0)
    items = await past.items("level", "start=1980-01-01T00:00:00Z&interval=1s")
    assert [(item["start"], item["avg"]) for item in items] == [
        ("1990-01-01T00:00:00.000Z", 1.0), ("2020-01-01T00:00:01.000Z", 2.0)
    ]  # fmt: skip
    assert past.history.asked < 20


class Outlived(MemoryHistory):
    """A history whose sums of minutes outlive their samples, which are gone before a time."""

    kept_since = utc_ms("2020-01-01T00:00:00Z")
    asked = 0

    async def samples(self, slot: int, start_ms: int, end_ms: int, *, limit: int) -> Any:
        self.asked += 1
        return await super().samples(slot, max(start_ms, self.kept_since), end_ms, limit=limit)

    async def latest(self, slots: Sequence[int], before_ms: int) -> Any:
        found = await super().latest(slots, before_ms)
        return found if len(found.slots) and found.samples.times[0] >= self.kept_since else await super().latest([], 0)

    async def aggregate(self, slot: int, edges: array[int], *, now_ms: int, states: bool) -> Buckets:
        self.asked += 1
        kept, self.kept_since = self.kept_since, 0
        sums = await aggregate(self, slot, edges, now_ms=now_ms, states=states)
        self.kept_since = kept
        return sums


async def test_sums_that_outlive_their_samples_are_found_behind_years_without_any(past: Any) -> None:
    past.use(Outlived())
    past.record("level", "1990-05-05T22:30:00Z", 1.0, Row(reason=Reason.OFFLINE))
    past.record("level", "2010-05-05T22:30:00Z", 2.0)
    past.record("level", "2020-05-05T22:30:00Z", 3.0)
    for query in (
        "interval=10m",
        "interval=1h",
        "interval=3d",
        "interval=10m&limit=2",
        "interval=10m&tz=Asia/Kathmandu",
    ):
        items = await past.items("level", f"start=1980-01-01T00:00:00Z&end=2021-01-01T00:00:00Z&{query}")
        assert [item["avg"] for item in items] == [1.0, 2.0, 3.0][: 2 if "limit" in query else 3]
    assert past.history.asked < 400
    items = await past.items("level", "start=2010-05-05T22:40:00Z&end=2010-05-05T23:00:00Z&interval=10m&fill=previous")
    assert [item["avg"] for item in items] == [2.0, 2.0]


class Fast(MemoryHistory):
    """A history that sums up by itself."""

    called = 0

    async def aggregate(self, slot: int, edges: array[int], *, now_ms: int, states: bool) -> Buckets:
        self.called += 1
        return await aggregate(self, slot, edges, now_ms=now_ms, states=states)


async def test_a_history_that_sums_up_by_itself_is_let_do_it(past: Any) -> None:
    past.use(Fast())
    past.record("level", BEGIN, 20.0, 22.0)
    assert told(await past.items("level", HOURS), "avg") == [(10, 21.0)]
    assert past.history.called == 1
    past.record("note", BEGIN, "x")
    assert told(await past.items("note", HOURS), "last") == [(10, "x")]
    assert past.history.called == 1


async def test_sums_beyond_all_numbers_are_null(past: Any) -> None:
    past.record("level", BEGIN, 1.7e308, 1.7e308)
    assert told(await past.items("level", f"{HOURS}&aggregate=sum,max"), "sum", "max") == [(10, None, 1.7e308)]
