"""Compares what a file has with what is known, and works out what an import adds and changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from core.model import Device, Inventory, Point
from core.registry import DeviceEntry, Registry
from plugins.django_import.inventory import IMPORTED, Found, Inventories, Remark

_COMPARED = ("name", "address", "vendor", "model")


@attrs.frozen
class Difference:
    """What the file says otherwise than is known; ``taken``: an import changes it to what the file says."""

    id: str
    field: str
    known: object
    exported: object
    taken: bool


@attrs.frozen
class Plan:
    """What an import comes to; ``inventories`` are what is put into the registry, added and changed devices only."""

    inventories: tuple[Inventory, ...]
    added_devices: tuple[Device, ...]
    added_points: tuple[Point, ...]
    known_devices: int
    known_points: int
    differences: tuple[Difference, ...]
    refused: tuple[Remark, ...]


@attrs.define
class _Draft:
    inventories: list[Inventory] = attrs.field(factory=list)
    added_devices: list[Device] = attrs.field(factory=list)
    added_points: list[Point] = attrs.field(factory=list)
    known_devices: int = 0
    known_points: int = 0
    differences: list[Difference] = attrs.field(factory=list)
    refused: list[Remark] = attrs.field(factory=list)


def plan(made: Inventories, registry: Registry, plugin: str) -> Plan:
    """Plan an import.

    What a scan found stays as the device itself told it; what an earlier import brought follows the file. Nothing
    that is known and not in the file is touched.
    """
    draft = _Draft(refused=list(made.refused))
    for found in sorted(made.devices.values(), key=lambda each: each.instance):
        device_id = f"{plugin}.{found.instance}"
        if registry.has_device(device_id):
            _compare(draft, found, registry.device(device_id))
        else:
            _add(draft, found, plugin)
    return Plan(
        tuple(draft.inventories),
        tuple(draft.added_devices),
        tuple(draft.added_points),
        draft.known_devices,
        draft.known_points,
        tuple(draft.differences),
        tuple(draft.refused),
    )


def _add(draft: _Draft, found: Found, plugin: str) -> None:
    if not found.address:
        reason = f"device {found.instance} has no address, and is not known; give one, or let a scan find it"
        draft.refused.append(Remark(found.place, reason))
        draft.refused += [
            Remark(place, f"its device {found.instance} cannot be added")
            for place in found.places.values()
            if place != found.place
        ]
        return
    device = found.device(plugin)
    points = tuple(found.points.values())
    draft.inventories.append(Inventory(device, points))
    draft.added_devices.append(device)
    draft.added_points += points


def _compare(draft: _Draft, found: Found, entry: DeviceEntry) -> None:
    draft.known_devices += 1
    ours = bool(entry.device.attributes.get(IMPORTED))
    exported = {name: getattr(found, name) for name in _COMPARED}
    device = attrs.evolve(entry.device, **_changes(draft, entry.id, entry.device, exported, taken=ours))
    before = {known.id: known.point for known in entry.points.values() if not known.vanished}
    after = dict(before)
    for point in found.points.values():
        known = entry.points.get(point.id)
        if known is None:
            draft.added_points.append(point)
            after[point.id] = point
        elif known.vanished:
            draft.known_points += 1
            draft.differences.append(Difference(point.id, "vanished", True, exported=False, taken=False))
        else:
            draft.known_points += 1
            after[point.id] = _compare_points(draft, point, known.point, taken=ours)
    if (device, after) != (entry.device, before):
        draft.inventories.append(Inventory(device, after.values()))


def _compare_points(draft: _Draft, point: Point, known: Point, *, taken: bool) -> Point:
    """Return the known point as it is to be; one without a name in the file keeps its own."""
    exported = {"name": "" if point.name == point.key else point.name, "unit": point.unit}
    changes = _changes(draft, point.id, known, exported, taken=taken)
    return attrs.evolve(known, **changes | ({"symbol": point.symbol} if "unit" in changes else {}))


def _changes(
    draft: _Draft, name: str, known: Device | Point, exported: Mapping[str, object], *, taken: bool
) -> dict[str, Any]:
    """Note what differs, and return what is to change; what the file leaves out differs in nothing."""
    differing = {field: value for field, value in exported.items() if value and value != getattr(known, field)}
    draft.differences += [
        Difference(name, field, getattr(known, field), value, taken=taken) for field, value in differing.items()
    ]
    return differing if taken else {}
