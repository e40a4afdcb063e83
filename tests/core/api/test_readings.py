from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.errors import DeviceRefused
from core.readings import Row


async def polled(api: Any, **values: Any) -> Any:
    """A device whose points have been polled once."""
    driver = api.house.driver()
    driver.values = {f"demo.1.{key}": value for key, value in values.items()}
    api.house.device("demo.1", *values, interval=1000.0)
    await api.until(lambda: driver.reads)
    await api.house.clock.advance(1)
    return driver


async def test_a_value_is_the_current_reading_with_its_age(api: Any) -> None:
    driver = await polled(api, a=21.5)
    reads = len(driver.reads)
    reply = await api.get("/api/v1/points/demo.1.a/value")
    assert (reply.status, reply.json["value"], reply.json["quality"]) == (200, 21.5, "good")
    assert reply.headers["Age"] == "1"
    assert len(driver.reads) == reads


async def test_a_value_before_the_first_reading_is_null(api: Any) -> None:
    api.house.device("other.1", "a")
    reply = await api.get("/api/v1/points/other.1.a/value")
    assert (reply.status, reply.json) == (200, None)
    assert "Age" not in reply.headers


async def test_an_old_value_is_read_first_and_readers_share_one_read(api: Any) -> None:
    driver = await polled(api, a=1.0)
    assert (await api.get("/api/v1/points/demo.1.a/value?max_age=60")).json["value"] == 1.0
    driver.values["demo.1.a"] = 2.0
    reads = len(driver.reads)
    path = "/api/v1/points/demo.1.a/value?max_age=0.5"
    replies = await asyncio.gather(*(api.get(path) for _ in range(3)))
    assert [reply.json["value"] for reply in replies] == [2.0, 2.0, 2.0]
    assert replies[0].json["source"] == "read"
    assert len(driver.reads) == reads + 1


async def test_a_read_that_fails_is_its_error_or_the_last_reading_as_asked(api: Any) -> None:
    driver = await polled(api, a=1.0)
    driver.silent.add("demo.1")
    path = "/api/v1/points/demo.1.a/value?max_age=0"
    failed = await api.get(path)
    assert (failed.status, failed.json["code"]) == (504, "device.timeout")
    last = await api.get(f"{path}&on_error=last")
    assert (last.status, last.json["value"], last.json["quality"], last.json["reason"]) == (200, 1.0, "bad", "offline")
    offline = await api.get(path)
    assert (offline.status, offline.json["code"]) == (504, "device.offline")


async def test_without_any_reading_on_error_last_cannot_help(api: Any) -> None:
    driver = api.house.driver()
    driver.silent.add("demo.1")
    api.house.device("demo.1", "a")
    reply = await api.get("/api/v1/points/demo.1.a/value?max_age=0&on_error=last")
    assert reply.status == 504


@pytest.mark.parametrize("query", ["max_age=-1", "max_age=inf", "on_error=first", "max_age=1&max_age=2"])
async def test_a_wrong_freshness_is_refused(api: Any, query: str) -> None:
    await polled(api, a=1.0)
    assert (await api.get(f"/api/v1/points/demo.1.a/value?{query}")).status == 422


async def test_many_readings_come_in_the_order_asked_and_each_fails_alone(api: Any) -> None:
    refused = DeviceRefused("no", extra={"bacnet": {"kind": "error", "class": "object", "code": "other"}})
    driver = await polled(api, a=1.0, b=2.0, c=3.0)
    driver.values["demo.1.b"] = Row(error=refused)
    ids = ["demo.1.c", "demo.1.b", "demo.1.none", "demo.1.a", "demo.1.c"]
    reply = await api.ask("POST", "/api/v1/readings/query", {"point_ids": ids, "max_age": 0})
    items = reply.json["items"]
    assert reply.status == 200
    assert [item["point_id"] for item in items] == ids
    assert [item["reading"]["value"] for item in items if "reading" in item] == [3.0, 1.0, 3.0]
    assert (items[1]["error"]["status"], items[1]["error"]["bacnet"]["code"]) == (502, "other")
    assert items[2]["error"]["code"] == "point.not_found"


async def test_a_batch_can_do_with_last_readings(api: Any) -> None:
    driver = await polled(api, a=1.0)
    driver.silent.add("demo.1")
    body = {"point_ids": ["demo.1.a"], "max_age": 0, "on_error": "last"}
    reply = await api.ask("POST", "/api/v1/readings/query", body)
    assert reply.json["items"][0]["reading"]["value"] == 1.0
    without = await api.ask("POST", "/api/v1/readings/query", {"point_ids": ["demo.1.a"]})
    assert without.json["items"][0]["reading"]["quality"] == "bad"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "point_ids"),
        ({"point_ids": []}, "point_ids"),
        ({"point_ids": ["x"] * 1001}, "point_ids"),
        ({"point_ids": [1]}, "point_ids.0"),
        ({"point_ids": ["x"], "max_age": "1"}, "max_age"),
        ({"point_ids": ["x"], "on_error": 1}, "on_error"),
    ],
)
async def test_a_malformed_batch_is_refused_as_a_whole(api: Any, body: Any, field: str) -> None:
    reply = await api.ask("POST", "/api/v1/readings/query", body)
    assert reply.status == 422
    assert [fault["field"] for fault in reply.json["errors"]] == [field]


async def test_an_integer_beyond_64_bits_is_written_in_full(api: Any) -> None:
    await polled(api, big=2**70, nan=float("nan"))
    assert (await api.get("/api/v1/points/demo.1.big/value")).json["value"] == 2**70
    nan = (await api.get("/api/v1/points/demo.1.nan/value")).json
    assert (nan["value"], nan["quality"], nan["reason"]) == (None, "bad", "fault")
