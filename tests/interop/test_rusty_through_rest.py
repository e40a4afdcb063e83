"""A rusty-bacnet device through the whole house: found, read, written and relinquished by REST."""

from __future__ import annotations

import asyncio

from core.testing import StartPlantroom

CONFIGURATION = """
plugins:
  bacnet:
    interval: 1
    timeout: 0.4
    networks: [{address: "127.0.0.80/8:47996"}]
"""
POINT = "bacnet.5009.analog-value.1"


async def test_a_device_is_found_read_written_at_priority_8_and_relinquished(plantroom: StartPlantroom, rusty) -> None:
    server = rusty.BACnetServer(
        5009, "rusty-9", interface="127.0.0.89", port=47996,
        broadcast_address="127.255.255.255", share_port_by_address=True,
    )  # fmt: skip
    server.add_analog_value(1, "set-point")
    server.add_analog_input(1, "temperature", 62, 21.5)
    await server.start()
    try:
        house = await plantroom(CONFIGURATION)
        assert await house.value_of("bacnet.5009.analog-input.1") == 21.5
        before = await house.value_of(POINT)

        async with house.client.put(f"/api/v1/points/{POINT}/value", json={"value": 9.5, "priority": 8}) as answer:
            written = await answer.json()
        assert (written["reading"]["value"], written["effective"], written["active_priority"]) == (9.5, True, 8)
        async with house.client.put(f"/api/v1/points/{POINT}/value", json={"value": 3.0, "priority": 16}) as answer:
            weaker = await answer.json()
        assert (weaker["reading"]["value"], weaker["effective"], weaker["active_priority"]) == (9.5, False, 8)
        slots = (await house.get(f"/api/v1/points/{POINT}/priorities"))["slots"]
        assert [(slot["priority"], slot["value"]) for slot in slots if slot["value"] is not None] == [
            (8, 9.5),
            (16, 3.0),
        ]

        for priority in ("8", "16"):
            async with house.client.delete(f"/api/v1/points/{POINT}/value", params={"priority": priority}) as answer:
                relinquished = await answer.json()
        assert (relinquished["reading"]["value"], relinquished["active_priority"]) == (before, None)
        async with house.client.put(f"/api/v1/points/{POINT}/value", json={"value": 1, "priority": 1}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (403, "write.priority_not_allowed")
    finally:
        await server.stop()

    async with asyncio.timeout(10):
        while (await house.get("/api/v1/devices/bacnet.5009"))["status"] != "offline":
            await asyncio.sleep(0.05)
    point = await house.get(f"/api/v1/points/{POINT}")
    assert (point["reading"]["quality"], point["reading"]["reason"]) == ("bad", "offline")
    async with house.client.get(f"/api/v1/points/{POINT}/value", params={"max_age": "0"}) as answer:
        assert answer.status == 504
    async with house.client.get(f"/api/v1/points/{POINT}/value", params={"max_age": "0", "on_error": "last"}) as answer:
        assert answer.status == 200
