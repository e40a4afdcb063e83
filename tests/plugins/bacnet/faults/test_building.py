"""The whole by REST alone: a simulated building in its own process, a fault added while it runs, and taken back."""

from __future__ import annotations

import socket

from core.testing import StartPlantroom

CONFIGURATION = """
plugins:
  simulator: {{port: {port}, speed: 1}}
  bacnet:
    interval: 2
    timeout: 0.5
    probe_delay: 1
    networks: [{{address: "127.0.0.130/8:{ours}", targets: ["127.0.0.1:{port}"]}}]
"""
POINTS = 707
OF_THE_DEVICE = 22


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_device_made_silent_by_rest_is_offline_and_good_again_when_the_fault_is_taken_back(
    plantroom: StartPlantroom,
):
    house = await plantroom(CONFIGURATION.format(port=free_port(), ours=free_port()))

    async def by_reason() -> dict[str | None, list[str]]:
        sorted_: dict[str | None, list[str]] = {}
        for point in (await house.get("/api/v1/points", limit="1000"))["items"]:
            reading = point["reading"] or {"reason": "none"}
            sorted_.setdefault(reading["reason"], []).append(point["device_id"])
        return sorted_

    async def all_good() -> bool:
        found = await by_reason()
        return found.keys() == {None} and len(found[None]) == POINTS

    others = True

    async def offline() -> bool:
        nonlocal others
        found = await by_reason()
        others &= found.keys() <= {None, "offline"} and set(found.get("offline", [])) <= {"bacnet.2004"}
        return len(found.get("offline", [])) == OF_THE_DEVICE

    await house.until(all_good, seconds=30.0)
    added = await house.api.post("/api/v1/simulator/faults", {"kind": "silent", "devices": [2004]})
    assert added.status == 201
    await house.until(offline)
    assert others, "no other device's points were anything but good"
    assert (await house.get("/api/v1/devices/bacnet.2004"))["status"] == "offline"
    assert (await house.api.delete(added.headers["Location"])).status == 204
    await house.until(all_good)
    assert (await house.get("/api/v1/devices/bacnet.2004"))["status"] == "online"
