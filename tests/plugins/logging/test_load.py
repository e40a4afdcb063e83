"""A log under load: each line is JSON, and each request is found by its id, down to the device that was asked."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from pathlib import Path
from typing import Any

from e2e.program import free_port

from core.testing import Running, StartPlantroom
from plugins.simulator.testing import Simulate

READERS = 20
REQUESTS = 3000


def all_lines(folder: Path) -> list[dict[str, Any]]:
    """Read what is in all files of the log, oldest first."""
    names = sorted(folder.iterdir(), key=lambda path: (path.name == "plantroom.log", path.name))
    texts = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in names]
    return [json.loads(line) for line in b"".join(texts).decode().splitlines()]


async def found(house: Running) -> list[str]:
    await house.until(lambda: len(house.point_ids("bacnet")) >= 20)
    return [name for name in house.point_ids("bacnet") if ".analog-" in name]


async def test_a_log_under_load_is_json_and_tells_of_each_request_down_to_its_device(
    plantroom: StartPlantroom, simulate: Simulate
) -> None:
    simulation = await simulate(controllers=4, points=10)
    own = f"127.0.0.1/8:{free_port(socket.SOCK_DGRAM)}"
    house = await plantroom(
        f"""
        log: {{levels: {{bacnet: debug}}}}
        plugins:
          bacnet: {{networks: [{{address: "{own}", targets: ["{simulation.address}"]}}]}}
          logging: {{file: {{rotate_mb: 0.1, keep_mb: 0, keep_files: 0}}, slow_device: 0.000001}}
        """
    )
    points = await found(house)
    sent: dict[str, str] = {}

    async def read(reader: int) -> None:
        for number in range(REQUESTS // READERS):
            request_id, point = f"load-{reader}-{number}", points[(reader * 7 + number) % len(points)]
            fresh = {"max_age": "0"} if number % 10 == 0 else {}
            answer = await house.api.get(f"/api/v1/points/{point}/value", headers={"X-Request-ID": request_id}, **fresh)
            assert answer.status == 200
            if fresh:
                sent[request_id] = ".".join(point.split(".")[:2])

    await asyncio.gather(*(read(reader) for reader in range(READERS)))
    await house.kernel.stop()
    lines = all_lines(house.kernel.settings.data_dir / "logs")
    requests = [line for line in lines if line["event"] == "request"]
    assert len({line["request_id"] for line in requests if line["request_id"].startswith("load-")}) == REQUESTS
    devices: dict[str, set[str]] = {}
    for line in lines:
        if line["event"] in ("device_read", "slow_device"):
            for request_id in line.get("request_ids") or [line.get("request_id")]:
                devices.setdefault(request_id, set()).add(line["device"])
    assert len(sent) == REQUESTS // 10
    assert [request_id for request_id, device in sent.items() if device not in devices.get(request_id, ())] == []
    assert any("request_ids" in line for line in lines)
    assert len(lines) == len(house.log)
    assert len(list((house.kernel.settings.data_dir / "logs").iterdir())) > 3
