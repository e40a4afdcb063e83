"""A building moves in: its lists are imported, its points are read at once, and a later scan finds them the same."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from core.cli import main
from core.testing import Running, StartPlantroom

POINTS = 707
LEFT_TO_THE_DEVICE = ("mm/min", "°")  # rarer than the table is long, and not one unit only
FORMS = ("dumpdata", "csv")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def camel(name: str) -> str:
    return re.sub(r"-(.)", lambda match: match[1].upper(), name)


async def listed(running: Running, what: str) -> list[dict[str, Any]]:
    page = await running.get(f"/api/v1/{what}", limit="1000")
    assert page["next_cursor"] is None
    items: list[dict[str, Any]] = page["items"]
    return items


def dumped(devices: list[dict[str, Any]], points: list[dict[str, Any]]) -> str:
    """Write what the API lists as Django's `dumpdata` would."""
    keys = {device["id"]: number for number, device in enumerate(devices, 1)}
    items = [
        {"model": "bacnet.device", "pk": keys[device["id"]], "fields": {
            "device_id": device["attributes"]["instance"], "address": device["address"], "name": device["name"],
            "vendor_name": device["vendor"]}}
        for device in devices
    ]  # fmt: skip
    items += [
        {"model": "bacnet.point", "pk": number, "fields": {
            "device": keys[point["device_id"]], "object_type": camel(point["attributes"]["object_type"]),
            "object_instance": point["attributes"]["object_instance"], "name": point["name"],
            "units": camel(point["unit"]) if point["unit"] else "noUnits", "present_value": 1.5}}
        for number, point in enumerate(points, 1)
    ]  # fmt: skip
    return json.dumps(items)


def tabled(devices: list[dict[str, Any]], points: list[dict[str, Any]]) -> str:
    """Write what the API lists as a spreadsheet with a row for each point."""
    addresses = {device["id"]: (device["attributes"]["instance"], device["address"]) for device in devices}
    text = io.StringIO()
    rows = csv.writer(text, delimiter=";")
    rows.writerow(["Device ID", "Address", "Object Type", "Object Instance", "Object Name", "Units"])
    for point in points:
        kind, instance = point["attributes"]["object_type"], point["attributes"]["object_instance"]
        rows.writerow([*addresses[point["device_id"]], kind, instance, point["name"], point["symbol"]])
    return "\ufeff" + text.getvalue()


@pytest.mark.parametrize("form", FORMS)
async def test_an_imported_building_is_polled_without_a_scan_and_a_scan_finds_it_the_same(
    plantroom: StartPlantroom, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    port = free_port()
    there = f"127.0.0.1:{port}"
    options = {"interval": 30, "scan": {"interval": None}, "networks": [{"address": f"127.0.0.1/8:{free_port()}"}]}
    before = await plantroom(json.dumps({"plugins": {"simulator": {"port": port}, "bacnet": options}}))
    await scan(before, there)
    devices, points = await listed(before, "devices"), await listed(before, "points")
    assert len(points) == POINTS
    file = tmp_path / "export"
    file.write_text(dumped(devices, points) if form == "dumpdata" else tabled(devices, points), encoding="utf-8")

    data = tmp_path / "1" / "data"
    command = ["--data-dir", str(data), "import-django", str(file), "--apply"]
    assert await asyncio.to_thread(main, command) == 0
    options = {**options, "networks": [{"address": f"127.0.0.1/8:{free_port()}"}]}
    after = await plantroom(json.dumps({"plugins": {"bacnet": options}}))
    assert after.kernel.settings.data_dir == data

    def read() -> bool:
        registry = after.kernel.registry
        entries = [registry.point(each) for each in registry.point_ids()]
        readings = [registry.reading(entry) for entry in entries]
        return len(readings) == POINTS and all(reading and reading.reason.name == "NONE" for reading in readings)

    await after.until(read, seconds=20)
    imported = await listed(after, "points")
    for now, then in zip(imported, points, strict=True):
        assert [now[name] for name in ("id", "name", "kind", "unit", "symbol")] == [
            then[name] for name in ("id", "name", "kind", "unit", "symbol")
        ] or (now["unit"] is None and then["symbol"] in LEFT_TO_THE_DEVICE)
    slots = {each: after.kernel.registry.point(each).slot for each in after.kernel.registry.point_ids()}

    shown = ["--data-dir", str(data), "import-django", str(file)]
    assert await asyncio.to_thread(main, shown) == 0
    file.write_text("device_id,address\n4001,127.0.0.9\n", encoding="utf-8")
    assert await asyncio.to_thread(main, shown) == 0
    assert await asyncio.to_thread(main, [*shown, "--apply"]) == 1
    assert "in use by another Plantroom" in capsys.readouterr().err

    await scan(after, there)
    assert {each: after.kernel.registry.point(each).slot for each in after.kernel.registry.point_ids()} == slots
    assert [described(each) for each in await listed(after, "points")] == [described(each) for each in points]
    assert [described(each) for each in await listed(after, "devices")] == [described(each) for each in devices]


async def scan(running: Running, target: str) -> None:
    """Look for the building where it is."""
    job = running.kernel.scans.start("bacnet", targets=[target])
    await running.until(lambda: job.state.ended, seconds=30)
    assert (job.state.value, job.found, job.warnings) == ("succeeded", 29, [])


def described(item: dict[str, Any]) -> dict[str, Any]:
    """What does not move by itself."""
    moving = ("reading", "status", "status_since", "last_seen", "latency_ms", "last_error", "interval")
    fixed = {name: value for name, value in item.items() if name not in moving}
    return {**fixed, "attributes": {**fixed["attributes"], "interface": None}}
