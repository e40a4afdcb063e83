"""Samples from elsewhere, taken in through the REST API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from core.memory_history import MemoryHistory
from core.model import Flag, Reason
from core.readings import Row
from core.samples import Samples

BEGIN = "2026-03-28T10:00:00Z"
DAY = "start=2026-03-28T00:00:00Z&end=2026-03-29T00:00:00Z"


async def post(past: Any, key: str, samples: Sequence[Any], **more: Any) -> Any:
    body = {"samples": [dict(zip(("time", "value", "quality"), each, strict=False)) for each in samples], **more}
    return await past.ask("POST", f"/api/v1/points/rooms.1.{key}/history", body)


async def post_csv(past: Any, key: str, text: str) -> Any:
    at = f"/api/v1/points/rooms.1.{key}/history"
    return await past.ask("POST", at, text.encode(), Content_Type="text/csv")


async def test_samples_from_elsewhere_are_kept_with_their_quality_and_source(past: Any) -> None:
    samples = [
        ("2026-03-28T12:00:00+01:00", 2), ("2026-03-28T10:00:00Z", 1.5, "good"),
        ("2026-03-28T12:00:00Z", 3.5, "uncertain"), ("2026-03-28T13:00:00Z", None, "bad"),
    ]  # fmt: skip
    reply = await post(past, "level", samples, source="trend_log")
    assert (reply.status, reply.json) == (200, {"added": 4, "known": 0})
    items = await past.items("level", DAY)
    assert [(item["time"][11:13], item["value"], item["quality"], item.get("reason")) for item in items] == [
        ("10", 1.5, "good", None), ("11", 2.0, "good", None), ("12", 3.5, "uncertain", "stale"),
        ("13", None, "bad", "error"),
    ]  # fmt: skip
    assert {item["source"] for item in items} == {"trend_log"}


async def test_the_same_again_adds_nothing_and_what_was_recorded_stays(past: Any) -> None:
    past.record("level", BEGIN, 9.0)
    samples = [(BEGIN, 1.0), ("2026-03-28T11:00:00Z", 2.0), ("2026-03-28T11:00:00Z", 3.0)]
    assert (await post(past, "level", samples)).json == {"added": 1, "known": 2}
    assert (await post(past, "level", samples)).json == {"added": 0, "known": 3}
    assert [item["value"] for item in await past.items("level", DAY)] == [9.0, 3.0]


@pytest.mark.parametrize(
    ("key", "given", "kept"),
    [
        ("level", 150.5, 150.5),
        ("level", 2**60 + 1, 2**60 + 1),
        ("on", True, True),
        ("on", "On", True),
        ("mode", 2, 2),
        ("mode", "Heating", 2),
        ("note", "", ""),
        ("note", "21", "21"),
    ],
)
async def test_a_value_is_kept_as_its_point_has_it(past: Any, key: str, given: Any, kept: Any) -> None:
    assert (await post(past, key, [(BEGIN, given)])).json["added"] == 1
    [item] = await past.items(key, DAY)
    assert (item["value"], type(item["value"])) == (kept, type(kept))


@pytest.mark.parametrize(
    ("key", "sample", "field", "says"),
    [
        ("level", (BEGIN, "21"), "value", "must be a number"),
        ("level", (BEGIN, True), "value", "must be a number"),
        ("level", (BEGIN, None), "value", "null of bad quality"),
        ("on", (BEGIN, 1), "value", "one of true, false"),
        ("mode", (BEGIN, 9), "value", "one of 1, 2, 3"),
        ("note", (BEGIN, 1), "value", "must be text"),
        ("level", ("2026-03-28", 1), "time", "such as 2026-01-31T12:00:00Z"),
        ("level", ("1969-12-31T23:59:59Z", 1), "time", "1970 or later"),
        ("level", ("2026-03-30T12:05:00.001Z", 1), "time", "must not be in the future"),
        ("level", (BEGIN, 1, "best"), "quality", "good, uncertain, bad"),
    ],
    ids=str,
)
async def test_one_wrong_sample_is_named_and_nothing_is_kept(
    past: Any, key: str, sample: Any, field: str, says: str
) -> None:
    good = (BEGIN, {"level": 1, "on": True, "mode": 1, "note": "x"}[key])
    reply = await post(past, key, [good, good, sample])
    assert reply.status == 422
    [fault] = reply.json["errors"]
    assert fault["field"] == f"samples.2.{field}"
    assert says in fault["message"]
    assert await past.items(key, DAY) == []


async def test_a_clock_that_is_a_little_ahead_does_no_harm(past: Any) -> None:
    assert (await post(past, "level", [("2026-03-30T12:05:00Z", 1)])).json["added"] == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "samples"),
        ({"samples": []}, "samples"),
        ({"samples": [{"time": BEGIN}]}, "samples.0.value"),
        ({"samples": [{"time": BEGIN, "value": 1, "unit": "K"}]}, "samples.0.unit"),
        ({"samples": [{"time": BEGIN, "value": 1}], "source": "poll"}, "source"),
    ],
    ids=["nothing", "no-samples", "no-value", "unknown", "not-theirs"],
)
async def test_a_malformed_body_is_refused(past: Any, body: Any, field: str) -> None:
    reply = await past.ask("POST", "/api/v1/points/rooms.1.level/history", body)
    assert (reply.status, reply.json["errors"][0]["field"]) == (422, field)


async def test_ten_thousand_samples_are_taken_in_one_request_and_no_more(past: Any) -> None:
    times = [f"2026-03-{1 + n // 1440:02}T{n % 1440 // 60:02}:{n % 60:02}:00Z" for n in range(10_001)]
    assert (await post(past, "level", [(time, 21.5) for time in times[:10_000]])).json["added"] == 10_000
    assert (await post(past, "level", [(time, 21.5) for time in times])).status == 422
    assert (await post_csv(past, "level", "time,value\n" + "x" * 3_000_000)).status == 413


class Picky(MemoryHistory):
    """A history that notes what it is given."""

    given: tuple[int, Samples, bool]

    async def add(self, slot: int, samples: Samples, *, only_gaps: bool = False) -> int:
        self.given = slot, samples, only_gaps
        return 0


async def test_only_gaps_are_filled_where_that_is_asked(past: Any) -> None:
    past.use(Picky())
    assert (await post(past, "level", [(BEGIN, 1)], only_gaps=True)).json == {"added": 0, "known": 1}
    assert past.history.given[0] == past.slot("level")
    assert past.history.given[2] is True
    await post(past, "level", [(BEGIN, 1)])
    assert past.history.given[2] is False


async def test_a_point_that_is_not_there_takes_nothing(past: Any) -> None:
    assert (await post(past, "none", [(BEGIN, 1)])).json["code"] == "point.not_found"


# CSV


@pytest.mark.parametrize("key", ["level", "on", "mode", "note"])
async def test_an_export_in_csv_can_be_taken_in_as_it_is(past: Any, key: str) -> None:
    values: dict[str, list[Any]] = {
        "level": [-1.5, 2**60 + 1, 3.0, 1e-7, None], "on": [True, False, None], "mode": [2, 3, None],
        "note": ["warm, and\r\ndry", "21", 'say "x"', "a\u2028b"],
    }  # fmt: skip
    rows = [Row(reason=Reason.OFFLINE) if value is None else Row(value) for value in values[key]]
    past.record(key, BEGIN, *rows, Row(values[key][0], Flag.OUT_OF_SERVICE))
    export = (await past.get(key, DAY, Accept="text/csv")).body.decode()
    before = await past.items(key, DAY)
    past.use(MemoryHistory())
    assert (await post_csv(past, key, export)).json == {"added": len(before), "known": 0}
    after = await past.items(key, DAY)
    for name in ("time", "value", "quality"):
        assert [item[name] for item in after] == [item[name] for item in before]


async def test_csv_takes_states_by_value_or_text_and_any_order_of_columns(past: Any) -> None:
    text = f"\ufeffvalue,time\r\nHeating,{BEGIN}\r\n1,2026-03-28T11:00:00Z\r\n"
    assert (await post_csv(past, "mode", text)).json["added"] == 2
    assert [item["value"] for item in await past.items("mode", DAY)] == [2, 1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not CSV"),
        ("time;value\n1;2\n", "must name the columns"),
        ("time,value,unit\n", "must name the columns"),
        ("time,value,value\n", "must name the columns"),
        (f"time,value\n{BEGIN}\n", "Row 2 has 1 columns"),
        (f'time,value\n{BEGIN},"1\n', "not CSV"),
    ],
    ids=["empty", "semicolons", "unknown", "twice", "short", "open-quote"],
)
async def test_what_is_no_csv_is_refused_with_what_is(past: Any, text: str, says: str) -> None:
    reply = await post_csv(past, "level", text)
    assert (reply.status, reply.json["code"]) == (400, "request.malformed")
    assert says in reply.json["detail"]


async def test_a_wrong_value_in_csv_is_named_by_its_row(past: Any) -> None:
    reply = await post_csv(past, "level", f"time,value\n{BEGIN},1\n{BEGIN},warm\n")
    assert (reply.status, reply.json["code"]) == (422, "value.not_suitable")
    assert "row 3" in reply.json["detail"]
    assert reply.json["errors"][0]["field"] == "samples.1.value"
    nothing = await post_csv(past, "level", "time,value\n")
    assert (nothing.status, nothing.json["errors"][0]["field"]) == (422, "samples")


async def test_other_media_types_are_refused_with_those_that_are_taken(past: Any) -> None:
    reply = await past.ask("POST", "/api/v1/points/rooms.1.level/history", b"<x/>", Content_Type="text/xml")
    assert (reply.status, reply.json["code"]) == (415, "request.media_type")
    assert "application/json or text/csv" in reply.json["detail"]
    other = await past.ask("POST", "/api/v1/history/query", b"time,value\n", Content_Type="text/csv")
    assert "Send the body as application/json in UTF-8." in other.json["detail"]
