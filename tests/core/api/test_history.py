"""Samples of the past through the REST API: as they are, in pages, of one point and of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from core.memory_history import MemoryHistory
from core.model import Flag, Reason
from core.readings import Row
from core.samples import Gap, utc_ms

DAY = "start=2026-03-28T00:00:00Z&end=2026-03-29T00:00:00Z"
BEGIN = "2026-03-28T10:00:00Z"


class Gapped(MemoryHistory):
    """A history that was not always there."""

    async def gaps(self, start_ms: int, end_ms: int) -> Sequence[Gap]:
        gap = Gap(max(start_ms, utc_ms("2026-03-28T11:00:00Z")), min(end_ms, utc_ms("2026-03-28T12:00:00Z")), "stopped")
        return [gap] if gap.start_ms < gap.end_ms else []


async def followed(past: Any, key: str, query: str, cursor: str | None = "") -> list[list[Any]]:
    """Follow pages to the end."""
    pages = []
    while cursor is not None:
        reply = await past.get(key, f"{query}&cursor={cursor}" if cursor else query)
        assert reply.status == 200, reply.json
        pages.append(reply.json["items"])
        cursor = reply.json["next_cursor"]
    return pages


async def test_samples_come_as_they_were_recorded_oldest_first(past: Any) -> None:
    past.record(
        "level", BEGIN, 20.5, Row(21.0, Flag.IN_ALARM), Row(22.0, Flag.OUT_OF_SERVICE), Row(reason=Reason.OFFLINE)
    )
    reply = await past.get("level", DAY)
    assert (reply.status, reply.headers["Vary"]) == (200, "Accept")
    good = {"quality": "good", "flags": [], "source": "poll"}
    assert reply.json == {
        "items": [
            {"time": "2026-03-28T10:00:00.000Z", "value": 20.5, **good},
            {"time": "2026-03-28T10:01:00.000Z", "value": 21.0, **good, "flags": ["in_alarm"]},
            {
                "time": "2026-03-28T10:02:00.000Z", "value": 22.0, "quality": "uncertain", "reason": "out_of_service",
                "flags": ["out_of_service"], "source": "poll",
            },
            {"time": "2026-03-28T10:03:00.000Z", "value": None, **good, "quality": "bad", "reason": "offline"},
        ],
        "next_cursor": None,
        "gaps": [],
    }  # fmt: skip


async def test_states_have_their_text_and_other_points_none(past: Any) -> None:
    past.record("mode", BEGIN, 2, 7, None)
    past.record("on", BEGIN, True)
    past.record("note", BEGIN, "warm")
    assert [(item["value"], item["text"]) for item in await past.items("mode", DAY)] == [
        (2, "Heating"), (7, None), (None, None)
    ]  # fmt: skip
    assert [(item["value"], item["text"]) for item in await past.items("on", DAY)] == [(True, "On")]
    [note] = await past.items("note", DAY)
    assert note["value"] == "warm" and "text" not in note


async def test_integers_of_any_size_are_exact(past: Any) -> None:
    past.record("level", BEGIN, 2**60 + 1, -(2**70))
    assert [item["value"] for item in await past.items("level", DAY)] == [2**60 + 1, -(2**70)]


async def test_the_last_day_is_answered_where_no_time_is_given(past: Any) -> None:
    past.record("level", past.now_ms - 86_400_001, 1.0)
    past.record("level", past.now_ms - 86_400_000, 2.0)
    past.record("level", past.now_ms - 1, 3.0)
    past.record("level", past.now_ms, 4.0)
    assert [item["value"] for item in await past.items("level")] == [2.0, 3.0]
    assert [item["value"] for item in await past.items("level", "end=2026-03-30T13:59:59%2B02:00")] == [1.0, 2.0]


async def test_pages_hold_every_sample_once_also_while_others_come(past: Any) -> None:
    past.record("level", BEGIN, *range(250))
    first = await past.get("level", f"{DAY}&limit=99")
    past.record("level", BEGIN, *range(250, 260), every_ms=1)
    rest = await followed(past, "level", f"{DAY}&limit=99", first.json["next_cursor"])
    assert [len(page) for page in (first.json["items"], *rest)] == [99, 99, 52]
    values = [item["value"] for page in (first.json["items"], *rest) for item in page]
    assert values == [float(number) for number in range(250)]
    assert len(await past.items("level", DAY)) == 100


async def test_a_cursor_keeps_the_time_that_it_began_with(past: Any) -> None:
    past.record("level", past.now_ms - 240_000, 1.0, 2.0, 3.0)
    first = (await past.get("level", "limit=1")).json
    past.record("level", past.now_ms, 4.0)
    await past.kernel.clock.advance(86_400)
    second = (await past.get("level", f"limit=5&cursor={first['next_cursor']}")).json
    assert [item["value"] for item in second["items"]] == [2.0, 3.0]


@pytest.mark.parametrize("change", ["tz=Europe/Berlin", "interval=1h", "start=2026-03-28T00:00:01Z"], ids=str)
async def test_a_cursor_is_good_for_the_same_question_only(past: Any, change: str) -> None:
    past.record("level", BEGIN, 1.0, 2.0)
    cursor = (await past.get("level", "start=2026-03-28T00:00:00Z&limit=1")).json["next_cursor"]
    other = change if change.startswith("start") else f"start=2026-03-28T00:00:00Z&{change}"
    reply = await past.get("level", f"{other}&cursor={cursor}")
    assert (reply.status, reply.json["code"]) == (400, "cursor.invalid")
    assert (await past.get("other", f"start=2026-03-28T00:00:00Z&cursor={cursor}")).status == 400


async def test_gaps_are_told_in_the_time_of_each_page(past: Any) -> None:
    past.use(Gapped())
    past.record("level", BEGIN, *range(5), every_ms=1_800_000)
    whole = {"start": "2026-03-28T11:00:00.000Z", "end": "2026-03-28T12:00:00.000Z", "reason": "stopped"}
    assert (await past.get("level", DAY)).json["gaps"] == [whole]
    first = (await past.get("level", f"{DAY}&limit=3")).json
    assert first["gaps"] == [whole | {"end": "2026-03-28T11:30:00.000Z"}]
    second = (await past.get("level", f"{DAY}&limit=3&cursor={first['next_cursor']}")).json
    assert second["gaps"] == [whole]
    assert (await past.get("level", "start=2026-03-29T00:00:00Z")).json["gaps"] == []


async def test_an_answer_that_is_known_comes_as_304(past: Any) -> None:
    past.record("level", BEGIN, 1.0)
    etag = (await past.get("level", DAY)).headers["ETag"]
    assert (await past.get("level", DAY, If_None_Match=etag)).status == 304
    past.record("level", BEGIN, 2.0)
    assert (await past.get("level", DAY, If_None_Match=etag)).status == 200


async def test_rows_of_several_points_stand_together_by_time_in_the_order_asked(past: Any) -> None:
    past.record("level", BEGIN, 1.0, 2.0, 3.0)
    past.record("on", BEGIN, True, False)
    past.record("note", "2026-03-28T10:01:00Z", "x")
    body = {"start": "2026-03-28T00:00:00Z", "end": "2026-03-29T00:00:00Z"}
    reply = await past.query("on", "note", "level", "on", **body)
    rows = [(item["time"][14:16], item["point_id"].rpartition(".")[2], item["value"]) for item in reply.json["items"]]
    assert rows == [
        ("00", "on", True), ("00", "level", 1.0),
        ("01", "on", False), ("01", "note", "x"), ("01", "level", 2.0),
        ("02", "level", 3.0),
    ]  # fmt: skip


async def test_pages_of_several_points_hold_every_row_once_wherever_they_end(past: Any) -> None:
    past.record("level", BEGIN, *range(40))
    past.record("other", BEGIN, *range(40), every_ms=30_000)
    past.record("on", "2026-03-28T10:20:00Z", *[True] * 15)
    body: dict[str, Any] = {"start": "2026-03-28T00:00:00Z", "end": "2026-03-29T00:00:00Z"}
    whole = (await past.query("level", "other", "on", **body, limit=1000)).json["items"]
    assert len(whole) == 95
    for limit in (1, 7, 50):
        rows, cursor = [], None
        while cursor is not None or not rows:
            page = (await past.query("level", "other", "on", **body, limit=limit, cursor=cursor)).json
            rows += page["items"]
            cursor = page["next_cursor"]
        assert rows == whole


async def test_many_samples_of_points_that_differ_in_pace_come_in_order(past: Any) -> None:
    past.record("level", BEGIN, *range(3000), every_ms=10)
    past.record("other", BEGIN, *range(300), every_ms=100)
    past.record("on", BEGIN, True, every_ms=1000)
    reply = await past.query("level", "other", "on", start="2026-03-28T00:00:00Z", accept="application/x-ndjson")
    lines = reply.body.decode().splitlines()
    assert len(lines) == 3301
    times = [line.partition('"time":"')[2][:24] for line in lines]
    assert times == sorted(times)


async def test_a_point_of_several_that_is_not_there_fails_alone_but_not_where_nothing_could_tell(past: Any) -> None:
    past.record("level", BEGIN, 1.0)
    reply = await past.query("rooms.1.none", "level", start="2026-03-28T00:00:00Z")
    assert (reply.status, [item["value"] for item in reply.json["items"]]) == (200, [1.0])
    [failed] = reply.json["errors"]
    assert (failed["point_id"], failed["error"]["code"]) == ("rooms.1.none", "point.not_found")
    streamed = await past.query("rooms.1.none", "level", start="2026-03-28T00:00:00Z", accept="text/csv")
    assert (streamed.status, streamed.json["code"]) == (404, "point.not_found")
    nothing = await past.query("rooms.1.none", "rooms.1.neither")
    assert (nothing.status, nothing.json["items"], len(nothing.json["errors"])) == (200, [], 2)


async def test_a_point_that_is_not_there_has_no_past(past: Any) -> None:
    assert (await past.get("none")).json["code"] == "point.not_found"
    assert (await past.ask("GET", "/api/v1/points/rooms.1.none/history/latest")).status == 404


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ("start=yesterday", "start", "such as 2026-01-31T12:00:00Z"),
        ("end=2026-03-28T00:00:00+01:00", "end", "%2B"),
        ("start=2026-03-28T00:00:00Z&end=2026-03-28T00:00:00Z", "start", "must be before end"),
        ("start=2027-01-01T00:00:00Z", "start", "must be before now"),
        ("limit=0", "limit", "1 to 1000"),
        ("limit=1001", "limit", "1 to 1000"),
        ("interval=0m", "interval", "must match"),
        ("interval=30h", "interval", "write longer ones in d or w"),
        ("interval=1h&tz=Mars/Olympus", "tz", "Europe/Berlin"),
        ("interval=1h&aggregate=median", "aggregate", "avg|min|max"),
        ("interval=1h&aggregate=avg,", "aggregate", "avg|min|max"),
        ("fill=zero", "fill", "must be one of none, previous, linear"),
        ("fill=previous", "fill", "give an `interval` too"),
        ("form=csv", "form", "is not known here"),
    ],
    ids=lambda each: each if "=" in each else "",
)
async def test_what_cannot_be_answered_is_refused_with_what_can(past: Any, query: str, field: str, says: str) -> None:
    reply = await past.get("level", query)
    assert (reply.status, reply.json["code"]) == (422, "request.invalid")
    [fault] = reply.json["errors"]
    assert fault["field"] == field
    assert says in fault["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "point_ids"),
        ({"point_ids": []}, "point_ids"),
        ({"point_ids": ["x"] * 101}, "point_ids"),
        ({"point_ids": ["x"], "aggregate": "avg"}, "aggregate"),
        ({"point_ids": ["x"], "start": 1}, "start"),
    ],
    ids=["missing", "empty", "too-many", "no-list", "no-text"],
)
async def test_a_malformed_question_about_several_points_is_refused(past: Any, body: Any, field: str) -> None:
    reply = await past.ask("POST", "/api/v1/history/query", body)
    assert reply.status == 422
    assert reply.json["errors"][0]["field"] == field


async def test_every_fault_is_told_at_once(past: Any) -> None:
    reply = await past.get("level", "start=x&end=y&interval=30h&tz=z&fill=previous")
    assert [fault["field"] for fault in reply.json["errors"]] == ["end", "start", "tz", "interval"]


@pytest.mark.parametrize("query", ["start=0001-01-01T00:00:00Z&end=1969-01-01T00:00:00Z", "end=9999-12-31T23:59:59Z"])
async def test_times_beyond_all_records_are_empty(past: Any, query: str) -> None:
    past.record("level", BEGIN, 1.0)
    for more in ("", "&interval=1h", "&interval=1d&fill=previous&limit=3"):
        reply = await past.get("level", query + more)
        assert reply.status == 200
        assert all(not item.get("count") and item.get("value") is None for item in reply.json["items"])


async def test_the_last_sample_before_a_time_is_answered_of_one_point_and_of_many(past: Any) -> None:
    past.record("level", BEGIN, 1.0, 2.0)
    past.record("mode", BEGIN, 2)
    at = "/api/v1/points/rooms.1.level/history/latest"
    now = (await past.ask("GET", at)).json
    assert (now["time"], now["value"]) == ("2026-03-28T10:01:00.000Z", 2.0)
    assert (await past.ask("GET", f"{at}?before=2026-03-28T10:01:00Z")).json["value"] == 1.0
    assert (await past.ask("GET", f"{at}?before={BEGIN}")).json is None
    assert (await past.ask("GET", f"{at}?before=then")).json["errors"][0]["field"] == "before"
    ids = ["rooms.1.mode", "rooms.1.none", "rooms.1.other", "rooms.1.mode"]
    many = (await past.ask("POST", "/api/v1/history/latest", {"point_ids": ids})).json["items"]
    assert [item["point_id"] for item in many] == ids
    assert many[0] == many[3] and many[0]["sample"]["text"] == "Heating"
    assert many[1]["error"]["code"] == "point.not_found"
    assert many[2]["sample"] is None


async def test_the_history_that_serves_at_the_moment_is_asked(past: Any) -> None:
    past.record("level", BEGIN, 1.0)
    past.use(MemoryHistory())
    assert await past.items("level", DAY) == []
