from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.model import Device, Flag, Inventory, Kind
from core.readings import Row


def fill(api: Any) -> Any:
    """A device with one point of each kind, and two more with numbers."""
    device = Device("demo.1", "demo", "Air handler", description="On the roof")
    points = [
        device.point("ai.1", name="Supply", unit="degrees-celsius", symbol="°C", interval=10.0),
        device.point("av.1", name="supply set-point", writable=True, commandable=True, min=10.0, max=30.0),
        device.point("bi.1", kind=Kind.BOOLEAN, name="Fan", states={"false": "Off", "true": "On"}),
        device.point("msv.1", kind=Kind.ENUM, name="Mode", states={"1": "Auto", "2": "Hand"}, writable=True),
        device.point("csv.1", kind=Kind.TEXT, name="Words", description="A note"),
    ]
    driver = api.house.driver()
    driver.values = {
        "demo.1.ai.1": 21.5,
        "demo.1.av.1": Row(20.0, Flag.IN_ALARM | Flag.OVERRIDDEN),
        "demo.1.bi.1": True,
        "demo.1.msv.1": 2,
        "demo.1.csv.1": "né\n",
    }
    api.house.registry.put([Inventory(device, points)])
    api.house.device("demo.2", "a", "b")
    api.house.device("other.1", "a")
    return driver


async def test_a_point_shows_everything_and_its_reading(api: Any) -> None:
    fill(api)
    assert (await api.get("/api/v1/points/other.1.a")).json["reading"] is None
    await api.house.clock.advance(12)
    reply = await api.get("/api/v1/points/demo.1.ai.1")
    point = reply.json
    reading = point.pop("reading")
    assert point == {
        "id": "demo.1.ai.1", "device_id": "demo.1", "name": "Supply", "description": "", "kind": "number",
        "unit": "degrees-celsius", "symbol": "°C", "states": None, "writable": False, "commandable": False,
        "min": None, "max": None, "resolution": None, "enabled": True, "vanished": False, "interval": 10.0,
        "delivery": "polled",
        "tags": [], "attributes": {},
    }  # fmt: skip
    assert reading["time"].startswith("2023-11-14T22:13:") and reading["time"].endswith("Z")
    assert {name: reading[name] for name in ("value", "text", "quality", "reason", "flags", "source")} == {
        "value": 21.5, "text": None, "quality": "good", "reason": None, "flags": [], "source": "poll",
    }  # fmt: skip
    assert 0 <= int(reply.headers["Age"]) <= 12


async def test_each_kind_has_its_own_value_and_text(api: Any) -> None:
    fill(api)
    await api.house.clock.advance(11)
    reply = await api.get("/api/v1/points?device_id=demo.1")
    shown = {item["id"][7:]: (item["reading"]["value"], item["reading"]["text"]) for item in reply.json["items"]}
    assert shown == {
        "ai.1": (21.5, None),
        "av.1": (20.0, None),
        "bi.1": (True, "On"),
        "msv.1": (2, "Hand"),
        "csv.1": ("né\n", None),
    }
    assert reply.json["items"][1]["reading"]["flags"] == ["in_alarm", "overridden"]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ("device_id=demo.2", ["demo.2.a", "demo.2.b"]),
        ("device_id=demo.2&device_id=other.1&device_id=none", ["demo.2.a", "demo.2.b", "other.1.a"]),
        ("plugin=other", ["other.1.a"]),
        ("kind=enum&kind=text", ["demo.1.csv.1", "demo.1.msv.1"]),
        ("unit=degrees-celsius", ["demo.1.ai.1"]),
        ("writable=true", ["demo.1.av.1", "demo.1.msv.1"]),
        ("q=SUPPLY", ["demo.1.ai.1", "demo.1.av.1"]),
        ("q=note", ["demo.1.csv.1"]),
        ("q=other.1", ["other.1.a"]),
        ("tag=red", []),
        ("quality=good&plugin=demo&kind=boolean", ["demo.1.bi.1"]),
        ("quality=bad&quality=uncertain", []),
        ("sort=-id&limit=2", ["other.1.a", "demo.2.b"]),
        ("sort=name&device_id=demo.1", ["demo.1.bi.1", "demo.1.msv.1", "demo.1.ai.1", "demo.1.av.1", "demo.1.csv.1"]),
        ("sort=-name&device_id=demo.2", ["demo.2.b", "demo.2.a"]),
    ],
)
async def test_points_are_filtered_and_sorted(api: Any, filters: str, ids: list[str]) -> None:
    fill(api)
    await api.house.clock.advance(11)
    assert (await api.get(f"/api/v1/points?{filters}")).ids == ids


@pytest.mark.parametrize(
    "query", ["sort=size", "limit=0", "limit=1001", "limit=x", "kind=colour", "writable=1", "colour=red", "q=a&q=b"]
)
async def test_wrong_parameters_are_named(api: Any, query: str) -> None:
    reply = await api.get(f"/api/v1/points?{query}")
    assert reply.status == 422
    assert reply.json["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize("sort", ["id", "-id", "name", "-name"])
async def test_pages_go_through_all_points_once(api: Any, sort: str) -> None:
    for number in range(7):
        api.house.device(f"demo.{number}", "a", "b", "c")
    pages = await api.pages(f"/api/v1/points?limit=4&sort={sort}")
    assert [len(page) for page in pages] == [4, 4, 4, 4, 4, 1]
    ids = [each for page in pages for each in page]
    assert sorted(ids) == sorted(api.house.registry.point_ids())


async def test_pages_stay_stable_while_points_are_added(api: Any) -> None:
    api.house.device("demo.5", "a", "b", "c", "d")
    first = await api.get("/api/v1/points?limit=2")
    api.house.device("demo.1", "a")
    api.house.device("demo.9", "a")
    second = await api.get(f"/api/v1/points?limit=10&cursor={first.json['next_cursor']}")
    assert first.ids + second.ids == ["demo.5.a", "demo.5.b", "demo.5.c", "demo.5.d", "demo.9.a"]


async def test_a_cursor_is_good_for_its_own_list_only(api: Any) -> None:
    api.house.device("demo.1", "a", "b", "c")
    api.house.device("demo.2", "a")
    cursor = (await api.get("/api/v1/points?limit=1")).json["next_cursor"]
    assert (await api.get(f"/api/v1/points?limit=3&count=true&cursor={cursor}")).status == 200
    for path in (
        f"/api/v1/points?sort=-id&cursor={cursor}",
        f"/api/v1/points?q=a&cursor={cursor}",
        f"/api/v1/devices?cursor={cursor}",
        f"/api/v1/points?cursor={cursor[:-1]}",
        f"/api/v1/points?cursor=A{cursor}",
        "/api/v1/points?cursor=nonsense",
        "/api/v1/points?cursor=",
        "/api/v1/points?cursor=%C3%A9",
    ):
        reply = await api.get(path)
        assert (reply.status, reply.json["code"]) == (400, "cursor.invalid")


async def test_the_total_counts_what_matches_on_all_pages(api: Any) -> None:
    api.house.device("demo.1", "a", "b", "c")
    api.house.device("demo.2", "a")
    reply = await api.get("/api/v1/points?limit=1&count=true&device_id=demo.1")
    assert reply.json["total"] == 3
    assert "total" not in (await api.get("/api/v1/points")).json


async def test_an_etag_changes_with_the_value_but_not_with_its_time(api: Any) -> None:
    driver = fill(api)
    await api.house.clock.advance(11)
    for path in ("/api/v1/points/demo.1.ai.1", "/api/v1/points", "/api/v1/points/demo.1.ai.1/value"):
        before = await api.get(path)
        await api.house.clock.advance(10)
        same = await api.get(path, If_None_Match=before.headers["ETag"])
        assert (same.status, same.body) == (304, b"")
        assert same.headers["ETag"] == before.headers["ETag"]
        if not path.endswith("points"):
            assert "Age" in same.headers
        driver.values["demo.1.ai.1"] += 1
        await api.house.clock.advance(10)
        changed = await api.get(path, If_None_Match=before.headers["ETag"])
        assert changed.status == 200
        assert (await api.get(path)).json != before.json


async def test_people_name_tag_and_pace_points(api: Any) -> None:
    fill(api)
    path = "/api/v1/points/demo.1.ai.1"
    body = {"name": "Röhre", "tags": ["b", "a", "b"], "enabled": False, "interval": 60}
    reply = await api.ask("PATCH", path, body)
    assert {name: reply.json[name] for name in body} == body | {"tags": ["b", "a"], "interval": 60.0}
    assert (await api.get("/api/v1/points?tag=a")).ids == ["demo.1.ai.1"]
    assert (await api.get("/api/v1/points?q=röhre&sort=name")).ids == ["demo.1.ai.1"]
    await api.ask("PATCH", path, {"enabled": True})
    back = await api.ask("PATCH", path, {"name": None, "tags": None, "interval": None})
    assert (back.json["name"], back.json["tags"], back.json["enabled"]) == ("Supply", [], True)
    assert back.json["interval"] == 10.0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"colour": 1}, "colour"),
        ({"name": ""}, "name"),
        ({"name": 3}, "name"),
        ({"tags": "a"}, "tags"),
        ({"tags": ["a", ""]}, "tags.1"),
        ({"enabled": "yes"}, "enabled"),
        ({"interval": 0}, "interval"),
        ({"interval": True}, "interval"),
        ([], "body"),
    ],
)
async def test_a_wrong_change_is_refused(api: Any, body: Any, field: str) -> None:
    fill(api)
    reply = await api.ask("PATCH", "/api/v1/points/demo.1.ai.1", body)
    assert reply.status == 422
    assert [fault["field"] for fault in reply.json["errors"]] == [field]


async def test_an_unknown_point_is_not_found(api: Any) -> None:
    for method, path, body in (
        ("GET", "", None), ("PATCH", "", {}), ("GET", "/value", None), ("GET", "/priorities", None),
        ("PUT", "/value", {"value": 1}), ("DELETE", "/value", None),
    ):  # fmt: skip
        extra = () if body is None else (body,)
        reply = await api.ask(method, f"/api/v1/points/demo.9.x{path}", *extra)
        assert (reply.status, reply.json["code"]) == (404, "point.not_found")


async def test_a_vanished_point_and_a_device_that_is_switched_off_show_in_their_points(
    api: Any, inventory: Any
) -> None:
    api.house.registry.put([inventory("demo.1", "a", "b")])
    assert (await api.get("/api/v1/points/demo.1.b")).json["vanished"] is False
    api.house.registry.put([inventory("demo.1", "a")])
    assert (await api.get("/api/v1/points/demo.1.b")).json["vanished"] is True
    await api.ask("PATCH", "/api/v1/devices/demo.1", {"enabled": False})
    assert (await api.get("/api/v1/points/demo.1.a")).json["enabled"] is False


async def test_a_thousand_points_come_on_one_page(api: Any) -> None:
    for number in range(10):
        api.house.device(f"demo.{number}", *(f"p{index}" for index in range(101)))
    async with asyncio.timeout(4):
        reply = await api.get("/api/v1/points?limit=1000&count=true")
    assert len(reply.json["items"]) == 1000
    assert reply.json["total"] == 1010
