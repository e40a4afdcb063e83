"""The past of points as NDJSON, CSV and Parquet, whole, through the REST API."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
from typing import Any

import aiohttp
import pytest
from shared_history import imported

from core.memory_history import MemoryHistory
from core.model import Flag, Reason
from core.readings import Row
from core.samples import Samples, utc_ms

BEGIN = "2026-03-28T10:00:00Z"
DAY = "start=2026-03-28T00:00:00Z&end=2026-03-29T00:00:00Z"
NDJSON, CSV, PARQUET = "application/x-ndjson", "text/csv", "application/vnd.apache.parquet"
PATIENCE_S = 60


async def many(past: Any, count: int = 250_000) -> MemoryHistory:
    """Fill a history with more samples than one has by default."""
    history = MemoryHistory(samples=count)
    past.use(history)
    await history.add(
        past.slot("level"), imported((past.now_ms - count + each, each % 1000 / 4) for each in range(count))
    )
    return history


def rows_in(reply: Any) -> list[dict[str, str]]:
    assert reply.headers["Content-Type"] == "text/csv; charset=utf-8"
    return [*csv.DictReader(io.StringIO(reply.body.decode(), newline=""))]


def table_in(reply: Any) -> Any:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert reply.headers["Content-Type"] == PARQUET
    return parquet.read_table(io.BytesIO(reply.body))


# what is in them


async def test_ndjson_has_the_items_of_the_pages_one_on_each_line(past: Any) -> None:
    past.record("level", BEGIN, *range(250))
    reply = await past.get("level", DAY, Accept=NDJSON)
    assert (reply.status, reply.headers["Content-Type"], reply.headers["Vary"]) == (200, NDJSON, "Accept")
    assert reply.headers["Content-Disposition"] == 'attachment; filename="history.ndjson"'
    page = await past.items("level", f"{DAY}&limit=1000")
    assert [json.loads(line) for line in reply.body.splitlines()] == page
    intervals = await past.get("level", f"{DAY}&interval=7m&aggregate=max,count", Accept=NDJSON)
    page = await past.items("level", f"{DAY}&interval=7m&aggregate=max,count")
    assert [json.loads(line) for line in intervals.body.splitlines()] == page


async def test_csv_has_a_row_of_names_and_one_for_each_sample(past: Any) -> None:
    past.record("mode", BEGIN, Row(2, Flag.IN_ALARM | Flag.OVERRIDDEN), 3, Row(reason=Reason.OFFLINE))
    reply = await past.get("mode", DAY, Accept=CSV)
    assert reply.body.decode().splitlines()[:2] == [
        "time,value,text,quality,reason,flags,source",
        "2026-03-28T10:00:00.000Z,2,Heating,good,,in_alarm overridden,poll",
    ]
    assert [(row["value"], row["text"], row["quality"], row["reason"]) for row in rows_in(reply)] == [
        ("2", "Heating", "good", ""), ("3", "'=Cooling, fast", "good", ""), ("", "", "bad", "offline")
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"], ids=repr)
async def test_a_text_that_a_spreadsheet_would_run_is_one_that_it_does_not(past: Any, text: str) -> None:
    past.record("note", BEGIN, text)
    [row] = rows_in(await past.get("note", DAY, Accept=CSV))
    assert row["value"] == f"'{text}"


@pytest.mark.parametrize("text", ['say "now"', "a,b", "line\r\nline", "Größe", "'=1", ""], ids=repr)
async def test_any_other_text_stays_as_it_is(past: Any, text: str) -> None:
    past.record("note", BEGIN, text)
    [row] = rows_in(await past.get("note", DAY, Accept=CSV))
    assert row["value"] == text


async def test_numbers_stay_numbers_in_csv(past: Any) -> None:
    past.record("level", BEGIN, -21.5, 1e300, 2**60 + 1, 0.1 + 0.2)
    past.record("on", BEGIN, True)
    values = [row["value"] for row in rows_in(await past.get("level", DAY, Accept=CSV))]
    assert values == ["-21.5", "1e+300", str(2**60 + 1), "0.30000000000000004"]
    assert [row["value"] for row in rows_in(await past.get("on", DAY, Accept=CSV))] == ["true"]


async def test_csv_of_several_points_names_each_and_has_the_columns_of_all(past: Any) -> None:
    past.record("level", BEGIN, 20.0)
    past.record("mode", BEGIN, 2, 3, every_ms=900_000)
    reply = await past.query(
        "mode", "level", accept=CSV, start=BEGIN, end="2026-03-28T12:00:00Z", interval="1h", fill="previous"
    )
    assert [[*row.values()] for row in rows_in(reply)] == [
        ["rooms.1.mode", "2026-03-28T10:00:00.000Z", "2026-03-28T11:00:00.000Z", "", "3", "good", "false"],
        ["rooms.1.level", "2026-03-28T10:00:00.000Z", "2026-03-28T11:00:00.000Z", "20.0", "", "good", "false"],
        ["rooms.1.mode", "2026-03-28T11:00:00.000Z", "2026-03-28T12:00:00.000Z", "", "3", "good", "true"],
        ["rooms.1.level", "2026-03-28T11:00:00.000Z", "2026-03-28T12:00:00.000Z", "20.0", "", "good", "true"],
    ]
    assert [*rows_in(reply)[0]] == ["point_id", "start", "end", "avg", "last", "quality", "filled"]
    times = await past.get("mode", f"start={BEGIN}&aggregate=time_in_state", Accept=CSV)
    assert json.loads(rows_in(times)[0]["time_in_state"])["2"] == 900.0


async def test_parquet_has_typed_columns(past: Any) -> None:
    past.record("mode", BEGIN, Row(2, Flag.IN_ALARM), Row(reason=Reason.OFFLINE))
    past.record("level", BEGIN, 2.5)
    past.record("note", BEGIN, "warm")
    table = table_in(await past.query("mode", "level", "note", accept=PARQUET, start=BEGIN))
    assert [str(field.type) for field in table.schema][:3] == ["string", "timestamp[ms, tz=UTC]", "double"]
    rows = [(row["point_id"], row["value"], row["text"], row["reason"], row["flags"]) for row in table.to_pylist()]
    assert rows == [
        ("rooms.1.mode", 2.0, "Heating", None, "in_alarm"), ("rooms.1.level", 2.5, None, None, ""),
        ("rooms.1.note", None, "warm", None, ""), ("rooms.1.mode", None, None, "offline", ""),
    ]  # fmt: skip
    assert table.column("time")[0].as_py().timestamp() * 1000 == utc_ms(BEGIN)


async def test_parquet_of_intervals_has_what_was_asked(past: Any) -> None:
    past.record("mode", BEGIN, 2, 3, every_ms=900_000)
    query = f"start={BEGIN}&end=2026-03-28T12:00:00Z&interval=1h&aggregate=last,count,time_in_state&fill=previous"
    rows = table_in(await past.get("mode", query, Accept=PARQUET)).to_pylist()
    assert [(row["last"], row["count"], row["time_in_state"], row["filled"]) for row in rows] == [
        (3.0, 2, [("2", 900.0), ("3", 2700.0)], False), (3.0, 0, [("3", 3600.0)], True)
    ]  # fmt: skip
    past.record("note", BEGIN, "warm")
    texts = table_in(await past.get("note", f"start={BEGIN}&interval=1h", Accept=PARQUET))
    assert texts.column("last").to_pylist() == ["warm"]
    mixed = await past.query("note", "mode", accept=PARQUET, start=BEGIN, interval="1h")
    assert (mixed.status, mixed.json["errors"][0]["field"]) == (422, "point_ids")


@pytest.mark.parametrize("media_type", [NDJSON, CSV, PARQUET])
async def test_an_empty_past_is_a_whole_answer(past: Any, media_type: str) -> None:
    if media_type == PARQUET:
        assert table_in(await past.get("level", DAY, Accept=PARQUET)).num_rows == 0
    else:
        assert len((await past.get("level", DAY, Accept=media_type)).body.splitlines()) == (media_type == CSV)


@pytest.mark.parametrize("media_type", [NDJSON, CSV])
async def test_a_limit_bounds_the_rows_and_a_cursor_goes_on(past: Any, media_type: str) -> None:
    past.record("level", BEGIN, *range(10))
    lines = (await past.get("level", f"{DAY}&limit=3", Accept=media_type)).body.splitlines()
    assert len(lines) == 3 + (media_type == CSV)
    cursor = (await past.get("level", f"{DAY}&limit=4")).json["next_cursor"]
    rest = (await past.get("level", f"{DAY}&cursor={cursor}", Accept=media_type)).body.splitlines()
    assert len(rest) == 6 + (media_type == CSV)


# which of them it is


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/*", CSV),
        ("text/csv, application/json", "application/json"),
        ("application/json;q=0.5, text/csv", CSV),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("application/json;q=0, */*", NDJSON),
        ("", "application/json"),
    ],
)
async def test_the_type_that_is_liked_best_is_answered(past: Any, accept: str, answered: str) -> None:
    reply = await past.get("level", Accept=accept)
    assert reply.headers["Content-Type"].partition(";")[0] == answered


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "json"])
async def test_what_no_type_will_do_for_is_told_which_there_are(past: Any, accept: str) -> None:
    reply = await past.get("level", Accept=accept)
    assert (reply.status, reply.json["code"]) == (406, "request.not_acceptable")
    assert NDJSON in reply.json["detail"]


async def test_without_pyarrow_parquet_is_refused_with_how_to_get_it(
    past: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    reply = await past.get("level", Accept=PARQUET)
    assert (reply.status, reply.json["code"]) == (406, "request.not_acceptable")
    assert "pip install 'plantroom[parquet]'" in reply.json["detail"] and NDJSON in reply.json["detail"]


async def test_head_tells_the_type_and_reads_nothing_out(past: Any) -> None:
    past.record("level", BEGIN, 1.0)
    for media_type in (NDJSON, CSV, "application/json"):
        reply = await past.ask("HEAD", f"/api/v1/points/rooms.1.level/history?{DAY}", Accept=media_type)
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["Content-Type"].startswith(media_type)
    assert (await past.ask("HEAD", "/api/v1/points/rooms.1.level/history?start=x", Accept=CSV)).status == 422


# how long they may be


@pytest.mark.parametrize("media_type", [NDJSON, CSV])
async def test_hundreds_of_thousands_of_samples_are_one_answer(past: Any, media_type: str) -> None:
    await many(past)
    lines = (await past.get("level", "start=2026-03-30T00:00:00Z", Accept=media_type)).body.splitlines()
    assert len(lines) == 250_000 + (media_type == CSV)
    assert b"249.75" in lines[-1]


async def test_hundreds_of_thousands_of_samples_are_groups_of_rows_in_parquet(past: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    await many(past)
    reply = await past.get("level", "start=2026-03-30T00:00:00Z", Accept=PARQUET)
    file = parquet.ParquetFile(io.BytesIO(reply.body))
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (250_000, 5)
    assert file.read(["value"]).column("value")[-1].as_py() == 249.75


class Watched(MemoryHistory):
    """A history that tells how far it has been read, and can be made to fail."""

    read = 0
    fails_behind: int | None = None

    async def samples(self, *arguments: Any, **named: Any) -> Samples:
        found = await super().samples(*arguments, **named)
        self.read += len(found)
        if self.fails_behind is not None and self.read > self.fails_behind:
            raise OSError("the disk is gone")
        return found


async def watched(past: Any, count: int) -> Watched:
    history = Watched(samples=count)
    past.use(history)
    await history.add(past.slot("level"), imported((past.now_ms - count + each, each / 7) for each in range(count)))
    return history


async def raw_request(past: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for all samples, on a connection that holds little."""
    url = past.client._base_url
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=2**12)
    writer.write(
        b"GET /api/v1/points/rooms.1.level/history?start=2026-03-30T00:00:00Z HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Accept: application/x-ndjson\r\n\r\n"
    )
    return reader, writer


async def test_a_client_that_reads_slowly_is_read_for_slowly(past: Any) -> None:
    history = await watched(past, 400_000)
    reader, writer = await raw_request(past)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    before = -1
    async with asyncio.timeout(PATIENCE_S):
        while history.read != before:  # until neither the kernel's buffers nor ours take any more
            before = history.read
            for _ in range(300):
                assert (await past.ask("GET", "/healthz")).status == 200
    assert 0 < history.read < 400_000
    writer.close()
    await writer.wait_closed()


async def test_an_answer_that_fails_midway_is_cut_and_does_not_seem_whole(past: Any) -> None:
    history = await watched(past, 20_000)
    history.fails_behind = 10_000
    with pytest.raises(aiohttp.ClientPayloadError):
        await past.get("level", "start=2026-03-30T00:00:00Z", Accept=NDJSON)


async def test_an_answer_that_fails_before_it_has_begun_is_a_problem(past: Any) -> None:
    history = await watched(past, 10)
    history.fails_behind = 0
    reply = await past.get("level", "start=2026-03-30T00:00:00Z", Accept=NDJSON)
    assert (reply.status, reply.json["code"]) == (500, "internal")


async def test_filled_intervals_without_end_are_refused_with_what_to_narrow(past: Any) -> None:
    query = "start=2020-01-01T00:00:00Z&interval=1s&fill=previous"
    reply = await past.get("level", query, Accept=CSV)
    assert reply.status == 422
    assert "a shorter time, a longer interval, fewer points" in reply.json["detail"]
    assert (await past.get("level", f"{query}&limit=5", Accept=CSV)).status == 200
    assert (await past.get("level", query)).status == 200
