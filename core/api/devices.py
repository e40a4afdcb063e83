"""Lists devices, shows one, takes what people change about them, and forgets those that have vanished."""

from __future__ import annotations

from typing import Any, Literal

import attrs
from aiohttp import web

from core.api.lists import ListQuery, envelope, found, page
from core.api.overrides import Patch, changing
from core.cursors import Cursors
from core.errors import Conflict, DeviceNotFound, InvalidCursor
from core.model import DeviceStatus, rfc3339
from core.registry import DeviceEntry, Registry
from core.routes import Role, Route
from core.serialize import field

NAME = "devices"


@attrs.frozen(kw_only=True)
class DevicesQuery(ListQuery):
    """Which devices to list; a filter given several times takes any of its values."""

    sort: Literal["id", "-id", "name", "-name", "last_seen", "-last_seen"] = field(default="id")
    plugin: tuple[str, ...] = field(default=())
    status: tuple[DeviceStatus, ...] = field(default=())
    tag: tuple[str, ...] = field(default=())


class Devices:
    """The resource /api/v1/devices."""

    def __init__(self, registry: Registry, cursors: Cursors) -> None:
        self._registry = registry
        self._cursors = cursors

    @property
    def routes(self) -> list[Route]:
        """The routes of this resource."""
        at, one = "/api/v1/devices", "/api/v1/devices/{device_id}"
        return [
            Route("GET", at, self.list, "List devices", query=DevicesQuery, errors=(InvalidCursor,)),
            Route("GET", one, self.get, "Show a device", errors=(DeviceNotFound,)),
            Route(
                "PATCH", one, self.patch, "Change a device's name, tags, interval, or whether it is polled",
                body=Patch, role=Role.ADMIN, errors=(DeviceNotFound,),
            ),
            Route(
                "DELETE", one, self.delete, "Forget a device that has vanished",
                status=204, role=Role.ADMIN, errors=(DeviceNotFound, Conflict),
            ),
        ]  # fmt: skip

    async def list(self, _request: web.Request, *, query: DevicesQuery) -> dict[str, object]:
        """Answer a page of devices."""
        registry = self._registry
        field_name = query.sort.removeprefix("-")

        def pick(key: tuple[str | float, ...]) -> DeviceEntry | None:
            entry = registry.device(str(key[-1]))
            return entry if _matches(entry, query) else None

        keys = sorted((*_SORT_KEYS[field_name](registry.device(each)), each) for each in registry.device_ids())
        listed = page(self._cursors, NAME, query, keys=keys, pick=pick)
        return envelope(listed, [device_json(entry) for entry in listed.rows])

    async def get(self, _request: web.Request, *, device_id: str) -> dict[str, Any]:
        """Answer a device."""
        return device_json(self._registry.device(device_id))

    async def patch(self, _request: web.Request, *, device_id: str, body: Patch) -> dict[str, Any]:
        """Change a device."""
        return device_json(self._registry.override_device(device_id, changing(body)))

    async def delete(self, _request: web.Request, *, device_id: str) -> None:
        """Forget a device."""
        self._registry.delete_device(device_id)


_SORT_KEYS: dict[str, Any] = {
    "id": lambda _entry: (),
    "name": lambda entry: (entry.name.casefold(),),
    "last_seen": lambda entry: (entry.last_seen or 0.0,),
}


def _matches(entry: DeviceEntry, query: DevicesQuery) -> bool:
    device = entry.device
    return (
        (not query.plugin or device.plugin in query.plugin)
        and (not query.status or entry.status in query.status)
        and (not query.tag or any(tag in query.tag for tag in entry.overrides.tags))
        and found(query.q, device.id, entry.name, device.description)
    )


def device_json(entry: DeviceEntry) -> dict[str, Any]:
    """Write a device as plain data."""
    device = entry.device
    return {
        "id": device.id,
        "plugin": device.plugin,
        "name": entry.name,
        "description": device.description,
        "address": device.address,
        "vendor": device.vendor,
        "model": device.model,
        "status": entry.status,
        "status_since": rfc3339(entry.status_since),
        "last_seen": rfc3339(entry.last_seen),
        "latency_ms": entry.latency_ms,
        "last_error": entry.last_error,
        "point_count": len(entry.points),
        "enabled": entry.enabled,
        "vanished": entry.vanished,
        "interval": entry.overrides.interval,
        "tags": entry.overrides.tags,
        "attributes": device.attributes,
    }
