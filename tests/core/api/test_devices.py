from __future__ import annotations

from typing import Any

import pytest

from core.model import Device, Inventory


@pytest.fixture
async def devices(api: Any) -> None:
    registry, clock = api.house.registry, api.house.clock
    for key, name in (("1", "beta"), ("2", "Alpha"), ("3", "gamma")):
        device = Device(
            f"demo.{key}", "demo", name, address=f"10.0.0.{key}", vendor="Acme", model="X", attributes={"a": 1}
        )
        registry.put([Inventory(device, [device.point("p")])])
    api.house.device("other.1")
    registry.answered(registry.device("demo.3"), latency_s=0.0123)
    await clock.advance(5)
    registry.answered(registry.device("demo.1"))
    registry.silent(registry.device("demo.2"), "no answer")


async def test_a_device_shows_everything(api: Any, devices: None) -> None:
    assert (await api.get("/api/v1/devices/demo.3")).json == {
        "id": "demo.3", "plugin": "demo", "name": "gamma", "description": "", "address": "10.0.0.3", "vendor": "Acme",
        "model": "X", "status": "online", "status_since": "2023-11-14T22:13:20.000Z",
        "last_seen": "2023-11-14T22:13:20.000Z", "latency_ms": 12.3, "last_error": None, "point_count": 1,
        "enabled": True, "vanished": False, "interval": None, "tags": [], "attributes": {"a": 1},
    }  # fmt: skip
    silent = (await api.get("/api/v1/devices/demo.2")).json
    assert (silent["status"], silent["last_error"], silent["last_seen"]) == ("offline", "no answer", None)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["demo.1", "demo.2", "demo.3", "other.1"]),
        ("sort=-id", ["other.1", "demo.3", "demo.2", "demo.1"]),
        ("sort=name", ["demo.2", "demo.1", "demo.3", "other.1"]),
        ("sort=-last_seen&limit=2", ["demo.1", "demo.3"]),
        ("plugin=other", ["other.1"]),
        ("status=online", ["demo.1", "demo.3"]),
        ("status=offline&status=unknown", ["demo.2", "other.1"]),
        ("q=ALPHA", ["demo.2"]),
        ("tag=x", []),
    ],
)
async def test_devices_are_filtered_and_sorted(api: Any, devices: None, query: str, ids: list[str]) -> None:
    assert (await api.get(f"/api/v1/devices?{query}")).ids == ids


@pytest.mark.parametrize("sort", ["id", "name", "-name", "last_seen", "-last_seen"])
async def test_pages_go_through_all_devices_once(api: Any, devices: None, sort: str) -> None:
    pages = await api.pages(f"/api/v1/devices?limit=1&count=true&sort={sort}")
    assert sorted(each for page in pages for each in page) == ["demo.1", "demo.2", "demo.3", "other.1"]


async def test_people_name_tag_and_pace_devices(api: Any, devices: None) -> None:
    body = {"name": "Roof", "tags": ["x"], "enabled": False, "interval": 30}
    changed = (await api.ask("PATCH", "/api/v1/devices/demo.1", body)).json
    assert {name: changed[name] for name in body} == body
    point = (await api.get("/api/v1/points/demo.1.p")).json
    assert (point["enabled"], point["interval"]) == (False, 30.0)
    assert (await api.get("/api/v1/devices?tag=x")).ids == ["demo.1"]
    back = (await api.ask("PATCH", "/api/v1/devices/demo.1", dict.fromkeys(body))).json
    assert {name: back[name] for name in body} == {"name": "beta", "tags": [], "enabled": True, "interval": None}


async def test_only_a_device_that_has_vanished_can_be_deleted(api: Any, devices: None) -> None:
    refused = await api.ask("DELETE", "/api/v1/devices/demo.2")
    assert (refused.status, refused.json["code"]) == (409, "request.conflict")
    api.house.registry.mark_vanished(["demo.2"])
    assert (await api.get("/api/v1/points/demo.2.p")).json["vanished"] is True
    gone = await api.ask("DELETE", "/api/v1/devices/demo.2")
    assert (gone.status, gone.body) == (204, b"")
    assert (await api.get("/api/v1/points/demo.2.p")).status == 404
    for method in ("GET", "DELETE"):
        assert (await api.ask(method, "/api/v1/devices/demo.2")).json["code"] == "device.not_found"
