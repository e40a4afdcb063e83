from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.api import idempotency
from core.errors import DeviceRefused, DeviceTimeout, PriorityNotAllowed
from core.model import Device, Inventory, Kind

VALUE = "/api/v1/points/demo.1.av.1/value"


@pytest.fixture
async def driver(api: Any) -> Any:
    device = Device("demo.1", "demo", "Air handler")
    points = [
        device.point("av.1", writable=True, commandable=True, min=10.0, max=30.0),
        device.point("mode", kind=Kind.ENUM, states={"1": "Auto", "2": "Hand"}, writable=True),
        device.point("fan", kind=Kind.BOOLEAN, writable=True),
        device.point("ai.1"),
    ]
    driver = api.house.driver()
    api.house.registry.put([Inventory(device, points)])
    return driver


async def test_a_write_is_read_back(api: Any, driver: Any) -> None:
    reply = await api.ask("PUT", VALUE, {"value": 21.5, "priority": 8})
    assert reply.status == 200
    assert (reply.json["effective"], reply.json["active_priority"]) == (True, 8)
    assert (reply.json["priority"], reply.json["verified"]) == (8, True)
    assert (reply.json["reading"]["value"], reply.json["reading"]["source"]) == (21.5, "write")
    command = driver.writes[0]
    assert (command.value, command.priority, command.origin, command.principal) == (21.5, 8, "rest", "anonymous")


async def test_a_point_is_relinquished(api: Any, driver: Any) -> None:
    reply = await api.ask("DELETE", f"{VALUE}?priority=8")
    assert reply.status == 200
    assert reply.json["effective"] is True
    assert driver.writes[0].relinquish is True
    assert driver.writes[0].priority == 8
    assert (await api.ask("DELETE", f"{VALUE}?priority=17")).status == 422


@pytest.mark.parametrize(
    ("point", "body", "status", "code"),
    [
        ("av.1", {"value": "warm"}, 422, "value.not_suitable"),
        ("av.1", {"value": True}, 422, "value.not_suitable"),
        ("av.1", {"value": None}, 422, "value.not_suitable"),
        ("av.1", {"value": 31}, 422, "value.not_suitable"),
        ("mode", {"value": 9}, 422, "value.not_suitable"),
        ("mode", {"value": "Off"}, 422, "value.not_suitable"),
        ("fan", {"value": 1}, 422, "value.not_suitable"),
        ("ai.1", {"value": 1}, 409, "point.not_writable"),
        ("av.1", {}, 422, "request.invalid"),
        ("av.1", {"value": [1]}, 422, "request.invalid"),
        ("av.1", {"value": 20, "priority": 0}, 422, "request.invalid"),
        ("av.1", {"value": 20, "priority": "8"}, 422, "request.invalid"),
        ("av.1", {"value": 20, "prio": 8}, 422, "request.invalid"),
    ],
)
async def test_a_wrong_write_is_refused_before_anything_is_sent(
    api: Any, driver: Any, point: str, body: Any, status: int, code: str
) -> None:
    reply = await api.ask("PUT", f"/api/v1/points/demo.1.{point}/value", body)
    assert (reply.status, reply.json["code"]) == (status, code)
    assert driver.writes == []


async def test_not_a_number_is_not_json(api: Any, driver: Any) -> None:
    for word in (b"NaN", b"1e999"):
        async with api.client.put(
            VALUE, data=b'{"value": %b}' % word, headers={"Content-Type": "application/json"}
        ) as answer:
            assert answer.status == 400
    assert driver.writes == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DeviceRefused("no"), 502),
        (DeviceTimeout("silence"), 504),
        (PriorityNotAllowed("1 is for people"), 403),
        (RuntimeError("a driver's mistake"), 500),
    ],
)
async def test_a_devices_refusal_has_its_status(api: Any, driver: Any, error: Exception, status: int) -> None:
    driver.broken = error
    assert (await api.ask("PUT", VALUE, {"value": 20})).status == status
    many = await api.ask("POST", "/api/v1/writes", {"writes": [{"point_id": "demo.1.av.1", "value": 20}]})
    assert many.json["items"][0]["error"]["status"] == status
    assert "mistake" not in str(many.json)


async def test_a_plugin_that_does_not_run_cannot_write(api: Any) -> None:
    api.house.device("other.1", "a", writable=True)
    reply = await api.ask("PUT", "/api/v1/points/other.1.a/value", {"value": 1})
    assert (reply.status, reply.json["code"]) == (503, "plugin.not_running")
    assert reply.headers["Retry-After"]


async def test_many_writes_are_carried_out_in_order_and_each_fails_alone(api: Any, driver: Any) -> None:
    writes = [
        {"point_id": "demo.1.av.1", "value": 20, "priority": 9},
        {"point_id": "demo.1.mode", "value": "Hand"},
        {"point_id": "demo.1.none", "value": 1},
        {"point_id": "demo.1.av.1", "value": 99},
        {"point_id": "demo.1.av.1", "relinquish": True, "priority": 9},
    ]
    reply = await api.ask("POST", "/api/v1/writes", {"writes": writes})
    items = reply.json["items"]
    assert [item["point_id"] for item in items] == [write["point_id"] for write in writes]
    assert items[0]["reading"]["value"] == 20.0
    assert (items[1]["reading"]["value"], items[1]["reading"]["text"]) == (2, "Hand")
    assert [items[2]["error"]["status"], items[3]["error"]["status"]] == [404, 422]
    assert (items[4]["effective"], items[4]["active_priority"]) == (True, 9)
    assert [command.relinquish for command in driver.writes if command.point.key == "av.1"] == [False, True]


@pytest.mark.parametrize(
    ("write", "field"),
    [
        ({"point_id": "x"}, "writes.0"),
        ({"point_id": "x", "value": 1, "relinquish": True}, "writes.0"),
        ({"point_id": "x", "value": 1, "priority": 17}, "writes.0.priority"),
        ({"value": 1}, "writes.0.point_id"),
        ({"point_id": "x", "value": {}}, "writes.0.value"),
        ("x", "writes.0"),
    ],
)
async def test_a_malformed_batch_is_refused_as_a_whole(api: Any, driver: Any, write: Any, field: str) -> None:
    good = {"point_id": "demo.1.av.1", "value": 20}
    reply = await api.ask("POST", "/api/v1/writes", {"writes": [write, good]})
    assert reply.status == 422
    assert [fault["field"] for fault in reply.json["errors"]] == [field]
    assert driver.writes == []


async def test_the_same_key_carries_a_write_out_once(api: Any, driver: Any) -> None:
    path = "/api/v1/points/demo.1.mode/value"
    first = await api.ask("PUT", path, {"value": "Hand"}, Idempotency_Key="k1")
    again = await api.ask("PUT", path, {"value": "Hand"}, Idempotency_Key="k1")
    assert first.body == again.body
    assert len(driver.writes) == 1
    other = await api.ask("PUT", path, {"value": "Auto"}, Idempotency_Key="k1")
    assert (other.status, other.json["errors"][0]["field"]) == (422, "Idempotency-Key")
    await api.ask("PUT", path, {"value": "Hand"}, Idempotency_Key="k2")
    assert len(driver.writes) == 2
    body = {"writes": [{"point_id": "demo.1.mode", "value": 1}, {"point_id": "demo.1.av.1", "value": 20}]}
    for _ in range(2):
        assert (await api.ask("POST", "/api/v1/writes", body, Idempotency_Key="k3")).status == 200
    assert len(driver.writes) == 4


async def test_the_same_key_at_the_same_time_waits_for_the_one_execution(api: Any, driver: Any) -> None:
    gate = driver.gates["demo.1"] = asyncio.Event()
    await api.until(driver.asked.is_set)
    asks = [asyncio.create_task(api.ask("PUT", VALUE, {"value": 20}, Idempotency_Key="k")) for _ in range(3)]
    await api.until(lambda: driver.writes)
    gate.set()
    replies = await asyncio.gather(*asks)
    assert [reply.status for reply in replies] == [200, 200, 200]
    assert len(driver.writes) == 1


async def test_a_refusal_is_remembered_but_silence_may_be_tried_again(api: Any, driver: Any) -> None:
    driver.broken = DeviceRefused("no")
    assert (await api.ask("PUT", VALUE, {"value": 20}, Idempotency_Key="a")).status == 502
    driver.broken = DeviceTimeout("silence")
    assert (await api.ask("PUT", VALUE, {"value": 20}, Idempotency_Key="b")).status == 504
    driver.broken = None
    assert (await api.ask("PUT", VALUE, {"value": 20}, Idempotency_Key="a")).status == 502
    assert (await api.ask("PUT", VALUE, {"value": 20}, Idempotency_Key="b")).status == 200


async def test_a_key_is_forgotten_after_an_hour(api: Any, driver: Any) -> None:
    await api.ask("POST", "/api/v1/scans", {"plugin": "demo"}, Idempotency_Key="k")
    await api.house.clock.advance(3601)
    assert (await api.ask("POST", "/api/v1/scans", {}, Idempotency_Key="k")).status == 202


async def test_memory_for_keys_is_bounded(api: Any, driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "KEYS_KEPT", 2)
    jobs = []
    for key in ("a", "b", "c", "a"):
        reply = await api.ask("POST", "/api/v1/scans", {"targets": [key]}, Idempotency_Key=key)
        await api.until(lambda: all(job.state.ended for job in api.house.jobs.all()))
        jobs.append(reply.json["id"])
    assert len(set(jobs)) == 4


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
async def test_a_key_that_is_none_is_refused(api: Any, driver: Any, key: str) -> None:
    reply = await api.ask("PUT", VALUE, {"value": 20}, Idempotency_Key=key)
    assert (reply.status, reply.json["errors"][0]["field"]) == (422, "Idempotency-Key")


async def test_a_commandable_point_shows_its_priority_array(api: Any, driver: Any) -> None:
    await api.ask("PUT", VALUE, {"value": 21.0, "priority": 8})
    reply = await api.get("/api/v1/points/demo.1.av.1/priorities")
    held, empty = reply.json["slots"][7], reply.json["slots"][8]
    assert (held["priority"], held["value"], held["held_by"]) == (8, 21.0, "anonymous")
    assert held["since"].endswith("Z")
    assert empty == {"priority": 9, "value": None, "held_by": None, "since": None}
    assert [slot["priority"] for slot in reply.json["slots"]] == list(range(1, 17))
    assert (reply.json["active_priority"], reply.json["relinquish_default"]) == (8, 20.0)
    assert reply.json["read_at"].endswith("Z")
    assert (await api.get("/api/v1/points/demo.1.mode/priorities")).status == 409


async def test_a_slot_that_somebody_else_has_written_since_has_no_holder(api: Any, driver: Any) -> None:
    await api.ask("PUT", VALUE, {"value": 21.0, "priority": 8})
    driver.values["demo.1.av.1"] = 23.0
    held = (await api.get("/api/v1/points/demo.1.av.1/priorities")).json["slots"][7]
    assert held == {"priority": 8, "value": 23.0, "held_by": None, "since": None}


async def test_a_batch_of_which_some_got_no_answer_is_gone_on_with_under_its_key(api: Any, driver: Any) -> None:
    api.house.device("demo.2", "t", writable=True)
    driver.silent.add("demo.2")
    body = {"writes": [{"point_id": "demo.1.av.1", "value": 20}, {"point_id": "demo.2.t", "value": 5}]}
    first = await api.ask("POST", "/api/v1/writes", body, Idempotency_Key="k")
    assert first.json["items"][1]["error"]["status"] == 504
    driver.silent.clear()
    driver.writes.clear()
    again = await api.ask("POST", "/api/v1/writes", body, Idempotency_Key="k")
    assert [item["reading"]["value"] for item in again.json["items"]] == [20.0, 5.0]
    kept = await api.ask("POST", "/api/v1/writes", body, Idempotency_Key="k")
    assert kept.body == again.body
    assert [command.point.id for command in driver.writes] == ["demo.2.t"]
