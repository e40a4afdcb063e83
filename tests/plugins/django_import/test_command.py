from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path
from typing import Any

import attrs
import pytest

from core.clock import SystemClock
from core.model import Device, Inventory
from plugins.django_import.known import opened

ROWS = [
    {"device_id": 2001, "address": "10.0.0.5", "device_name": "AHU-1", "object_type": "AI", "object_instance": 1,
     "name": "SAT", "units": "°C"},
    {"device_id": 2001, "address": "10.0.0.5", "object_type": "AO", "object_instance": 1, "name": "Valve"},
    {"device_id": 2002, "address": "10.0.0.6", "object_type": "BI", "object_instance": 1, "name": "Fan"},
]  # fmt: skip
BAD = {"device_id": 2003, "address": "10.0.0.7", "object_type": "XX", "object_instance": 1}


async def change(data: Path, work: Any) -> None:
    """Change an installation as Plantroom does."""
    async with opened(data, SystemClock()) as (registry, save):
        work(registry)
        await save()


def test_without_apply_it_is_only_shown_what_would_be_done(household: Any) -> None:
    outcome = household.run(household.file("rows.json", ROWS))

    assert outcome.code == 0
    assert outcome.starting("+") == [
        "bacnet.2001  AHU-1 at 10.0.0.5:47808, 2 points",
        "bacnet.2002  2002 at 10.0.0.6:47808, 1 point",
    ]
    assert "--apply" in outcome.out[-1]
    assert not household.data.exists()


def test_applied_twice_it_changes_nothing_the_second_time(household: Any) -> None:
    first = household.apply("rows.json", ROWS)
    assert (first.code, first.out[-1]) == (0, "Done; Plantroom polls them from its next start.")
    before = household.rows()
    files = {path.name: path.stat().st_mtime_ns for path in household.data.iterdir()}

    again = household.apply("rows.json", ROWS)
    assert (again.code, again.starting("+"), again.out[-1]) == (0, [], "There is nothing to do.")
    assert household.rows() == before
    assert "known already: 2 devices, 3 points" in again.out
    assert {path.name: path.stat().st_mtime_ns for path in household.data.iterdir()} == files


def test_what_is_stored_is_what_the_plugin_needs_to_poll(household: Any) -> None:
    household.apply("rows.json", ROWS)

    registry = household.registry()
    assert registry.point_ids() == (
        "bacnet.2001.analog-input.1", "bacnet.2001.analog-output.1", "bacnet.2002.binary-input.1",
    )  # fmt: skip
    device = registry.device("bacnet.2001").device
    assert (device.plugin, device.address, device.name) == ("bacnet", "10.0.0.5:47808", "AHU-1")
    assert device.attributes["instance"] == 2001
    point = registry.point("bacnet.2001.analog-input.1").point
    assert (point.unit, point.symbol, point.writable) == ("degrees-celsius", "°C", False)
    assert point.attributes == {"object_type": "analog-input", "object_instance": 1}
    assert registry.point("bacnet.2001.analog-output.1").point.commandable


def test_one_bad_row_keeps_everything_out_unless_it_is_left_out(household: Any) -> None:
    outcome = household.apply("rows.json", [*ROWS, BAD])
    assert outcome.code == 1
    assert outcome.starting("!") == ["rows.json item 4: object type 'XX' is unknown"]
    assert outcome.out[-1].startswith("Nothing was changed.")
    assert not household.data.exists()

    outcome = household.apply("rows.json", [*ROWS, BAD], "--skip-bad")
    assert outcome.code == 0
    assert "bacnet.2001.analog-input.1" in household.registry().point_ids()


def test_a_device_without_an_address_is_refused_with_its_points_unless_it_is_known(household: Any) -> None:
    point = {"device_id": 2001, "object_type": "AV", "object_instance": 1}
    outcome = household.apply("points.json", [point, {**point, "object_instance": 2}])
    assert outcome.code == 1
    assert [line.split(":")[0] for line in outcome.starting("!")] == ["points.json item 1", "points.json item 2"]
    household.apply("rows.json", ROWS)
    assert household.apply("points.json", [point]).starting("+") == ["bacnet.2001.analog-value.1  analog-value.1"]
    assert household.registry().point("bacnet.2001.analog-input.1").vanished is False


def test_an_import_that_is_corrected_follows_the_file(household: Any) -> None:
    household.apply("rows.json", ROWS)
    slot = household.registry().point("bacnet.2002.binary-input.1").slot
    right = [{**row, "address": "10.0.1.6", "name": "Fan 1"} for row in ROWS[2:]]
    unnamed = {name: value for name, value in ROWS[0].items() if name != "name"} | {"units": "°F"}
    right.append(unnamed)

    outcome = household.apply("rows.json", right)
    assert outcome.starting("~") == [
        "bacnet.2001.analog-input.1  unit 'degrees-celsius' becomes 'degrees-fahrenheit'",
        "bacnet.2002  address '10.0.0.6:47808' becomes '10.0.1.6:47808'",
        "bacnet.2002.binary-input.1  name 'Fan' becomes 'Fan 1'",
    ]
    registry = household.registry()
    assert registry.device("bacnet.2002").device.address == "10.0.1.6:47808"
    assert registry.point("bacnet.2002.binary-input.1").slot == slot
    point = registry.point("bacnet.2001.analog-input.1").point
    assert (point.name, point.symbol) == ("SAT", "°F")
    assert len(registry.point_ids()) == 3


async def found_by_a_scan(data: Path) -> None:
    device = Device("bacnet.2001", "bacnet", "AHU one", address="2001:1@10.0.0.9:47808", attributes={"max_apdu": 1476})
    found = [device.point("analog-input.1", name="Supply", unit="kelvin"), device.point("analog-input.9")]
    await change(data, lambda registry: registry.put([Inventory(device, found)]))


async def overridden(data: Path) -> None:
    def work(registry: Any) -> None:
        registry.override_point("bacnet.2001.analog-input.1", lambda each: attrs.evolve(each, name="Mine", tags=("a",)))
        registry.override_device("bacnet.2001", lambda each: attrs.evolve(each, enabled=False))

    await change(data, work)


@pytest.fixture
def run(household: Any) -> Any:
    return lambda work: asyncio.run(work(household.data))


def test_what_a_scan_found_and_people_changed_stays(household: Any, run: Any) -> None:
    run(found_by_a_scan)
    run(overridden)
    outcome = household.apply("rows.json", ROWS)

    assert outcome.code == 0
    assert [line.split()[:2] for line in outcome.starting("~")] == [
        ["bacnet.2001", "name"], ["bacnet.2001", "address"],
        ["bacnet.2001.analog-input.1", "name"], ["bacnet.2001.analog-input.1", "unit"],
    ]  # fmt: skip
    assert all("stays" in line for line in outcome.starting("~"))
    registry = household.registry()
    device = registry.device("bacnet.2001")
    assert (device.device.name, device.device.address) == ("AHU one", "2001:1@10.0.0.9:47808")
    assert device.device.attributes == {"max_apdu": 1476}
    assert (device.enabled, registry.point("bacnet.2001.analog-input.1").name) == (False, "Mine")
    assert registry.point("bacnet.2001.analog-input.1").overrides.tags == ("a",)
    assert sorted(device.points) == [
        "bacnet.2001.analog-input.1", "bacnet.2001.analog-input.9", "bacnet.2001.analog-output.1",
    ]  # fmt: skip
    assert not any(point.vanished for point in device.points.values())


async def gone(data: Path) -> None:
    def work(registry: Any) -> None:
        entry = registry.device("bacnet.2001")
        registry.put([Inventory(entry.device, [registry.point("bacnet.2001.analog-output.1").point])])

    await change(data, work)


def test_a_point_that_a_scan_no_longer_found_stays_gone(household: Any, run: Any) -> None:
    household.apply("rows.json", ROWS)
    run(gone)

    outcome = household.apply("rows.json", ROWS)
    assert outcome.starting("~") == ["bacnet.2001.analog-input.1  the last scan did not find it; it stays so"]
    assert household.registry().point("bacnet.2001.analog-input.1").vanished


def test_while_plantroom_runs_it_shows_but_does_not_apply(household: Any) -> None:
    household.apply("rows.json", ROWS[:1])
    with (household.data / "plantroom.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert household.run(household.file("rows.json", ROWS)).code == 0
        outcome = household.apply("rows.json", ROWS)
    assert outcome.code == 1
    assert "in use by another Plantroom; stop that one" in outcome.err
    assert len(household.registry().point_ids()) == 1


def test_another_instance_of_the_plugin_may_be_the_one(household: Any) -> None:
    household.apply("rows.json", ROWS, "--plugin", "campus")
    assert household.registry().device_ids() == ("campus.2001", "campus.2002")
    assert household.run(household.folder / "rows.json", "--plugin", "a.b").code == 2


@pytest.mark.parametrize("content", [None, b"\xff", "{}"])
def test_a_file_that_cannot_be_used_is_bad_usage(household: Any, content: Any) -> None:
    path = household.folder / "none.csv" if content is None else household.file("some.csv", content)
    outcome = household.run(path)
    assert outcome.code == 2
    assert path.name in outcome.err


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_text("no database, but long enough to be looked at " * 40), "not a database"),
    ],
)
def test_a_database_that_is_none_is_told(household: Any, make: Any, reason: str) -> None:
    household.data.mkdir()
    make(household.data / "plantroom.sqlite3")
    outcome = household.run(household.file("rows.json", ROWS))
    assert outcome.code == 1
    assert reason in outcome.err


def test_what_means_nothing_here_is_named(household: Any) -> None:
    outcome = household.run(household.file("rows.json", [{**ROWS[0], "units": "furlongs"}]))
    assert outcome.starting("?") == ["rows.json item 1: unit 'furlongs' is unknown"]
    assert "without their unit until the first scan: 1 point" in outcome.out
    rows = [{**ROWS[0], "present_value": 21.5}, {"device_id": 2001, "object_type": "device", "object_instance": 2001}]
    outcome = household.run(household.file("rows.json", rows))
    assert "without a value to read: 1 object" in outcome.out
    assert "not used: present_value" in outcome.out
