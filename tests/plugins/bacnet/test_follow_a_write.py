"""One write from REST to the wire and back: read-back, who holds which slot, what the device tells, relinquish."""

from __future__ import annotations

import pytest

KERNEL = """
plugins:
  bacnet:
    networks: [{{address: "127.0.0.94/8:47984", targets: ["{target}"]}}]
    interval: 60
    scan: {{interval: null}}
    timeout: 0.3
    points: [{{match: "*.analog-value.*", cov: true}}]
"""
POINT = "/api/v1/points/bacnet.10001.analog-value.1"


@pytest.fixture
async def followed(plantroom, simulate):
    simulation = await simulate(controllers=1, points=10)
    house = await plantroom(KERNEL.format(target=simulation.address))
    await house.api.post("/api/v1/scans", {})

    async def is_live():
        point = (await house.api.get(POINT)).json
        return point.get("delivery") == "live"

    await house.until(is_live)
    return house, simulation, simulation.devices[10001]


def held(priorities):
    return {
        slot["priority"]: (slot["value"], slot["held_by"]) for slot in priorities["slots"] if slot["value"] is not None
    }


async def test_a_write_can_be_followed(followed):
    house, simulation, device = followed
    setpoint = next(data for data in device.objects if data.type == "analog-value")
    resting = setpoint.automatic

    written = await house.api.put(f"{POINT}/value", {"value": 25.5, "priority": 9})
    assert written.status == 200
    answer = written.json
    assert (answer["effective"], answer["active_priority"], answer["priority"], answer["verified"]) == (
        True,
        9,
        9,
        True,
    )
    assert (answer["reading"]["value"], answer["reading"]["source"]) == (25.5, "write")
    assert [slot for slot, value in enumerate(setpoint.priorities, 1) if value is not None] == [9]

    async def told_by_cov(value):
        reading = (await house.api.get(f"{POINT}/value")).json
        return reading["value"] == value and reading["source"] == "cov"

    async def notifications():
        (subscription,) = (await house.api.get("/api/v1/bacnet/subscriptions")).json["items"]
        assert (subscription["point_id"], subscription["state"]) == ("bacnet.10001.analog-value.1", "live")
        return subscription["notifications"]

    assert await notifications() == 2, "one after subscribing, one of the write"

    shown = (await house.api.get(f"{POINT}/priorities")).json
    assert held(shown) == {9: (25.5, "anonymous")}
    assert (shown["active_priority"], shown["relinquish_default"]) == (9, resting)

    weaker = (await house.api.put(f"{POINT}/value", {"value": 30.0})).json  # at 16, where none is asked for
    assert (weaker["effective"], weaker["priority"], weaker["verified"]) == (False, 16, True)
    assert held((await house.api.get(f"{POINT}/priorities")).json) == {9: (25.5, "anonymous"), 16: (30.0, "anonymous")}

    setpoint.write(28.0, 5)  # by somebody else, at the device
    simulation.tell()
    await house.until(lambda: told_by_cov(28.0))
    assert held((await house.api.get(f"{POINT}/priorities")).json)[5] == (28.0, None)
    setpoint.relinquish(5)
    simulation.tell()
    await house.until(lambda: told_by_cov(25.5))

    back = (await house.api.delete(f"{POINT}/value", priority="9")).json
    assert (back["reading"]["value"], back["active_priority"], back["verified"]) == (30.0, 16, True)
    back = (await house.api.delete(f"{POINT}/value")).json
    assert (back["reading"]["value"], back["active_priority"]) == (resting, None)
    assert held((await house.api.get(f"{POINT}/priorities")).json) == {}
    assert await notifications() == 6
    assert setpoint.priorities == [None] * 16


async def test_stuck_overrides_a_wrong_priority_is_never_used_and_every_write_can_be_taken_back(followed):
    house, _simulation, device = followed
    setpoint = next(data for data in device.objects if data.type == "analog-value")
    for priority in (1, 2):
        refused = await house.api.put(f"{POINT}/value", {"value": 25.5, "priority": priority})
        assert (refused.status, refused.json["code"]) == (403, "write.priority_not_allowed")
        refused = await house.api.delete(f"{POINT}/value", priority=str(priority))
        assert (refused.status, refused.json["code"]) == (403, "write.priority_not_allowed")
    assert setpoint.priorities == [None] * 16
    for priority in range(3, 17):
        await house.api.put(f"{POINT}/value", {"value": 20.0 + priority, "priority": priority})
    assert setpoint.priorities == [None, None, *(20.0 + priority for priority in range(3, 17))]
    batch = [{"point_id": "bacnet.10001.analog-value.1", "relinquish": True, "priority": each} for each in range(3, 17)]
    answered = (await house.api.post("/api/v1/writes", {"writes": batch})).json["items"]
    assert [item["verified"] for item in answered] == [True] * 14
    assert setpoint.priorities == [None] * 16
