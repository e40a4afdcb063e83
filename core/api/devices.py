"""Lists devices, shows one, takes what people change about them, and forgets those that have vanished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
from aiohttp import web

from core.api.lists import SORT, ListAnswer, ListQuery, envelope, found, page
from core.api.overrides import Patch, changing
from core.callers import principal_of
from core.cursors import Cursors
from core.errors import Conflict, DeviceNotFound, InvalidCursor
from core.model import DeviceStatus, rfc3339
from core.principals import Role
from core.registry import DeviceEntry, Registry
from core.routes import Cached, Link, Route
from core.serialize import FieldInfo, field

NAME = "devices"
SEEN_KEPT_S = 1.0
"""How late `last_seen` and `latency_ms` may be in an answer that is given again."""
EXAMPLE = "bacnet.2001"
PARAMETERS = {"device_id": FieldInfo(description="The device's id, `<plugin>.<device>`.", example=EXAMPLE)}


@attrs.frozen(kw_only=True)
class DevicesQuery(ListQuery):
    """Which devices to list; a filter given several times takes any of its values."""

    sort: Literal["id", "-id", "name", "-name", "last_seen", "-last_seen"] = field(default="id", description=SORT)
    plugin: tuple[str, ...] = field(default=(), description="Plugin instances.", example="bacnet")
    status: tuple[DeviceStatus, ...] = field(default=(), description="How the devices are.", example="online")
    tag: tuple[str, ...] = field(default=(), description="Tags, one of which a device has.", example="ahu")


@attrs.frozen(kw_only=True)
class DeviceAnswer:
    """A device, with what people changed about it."""

    id: str = field(description="Stable: `<plugin>.<device>`.", example=EXAMPLE)
    plugin: str = field(description="The plugin instance that it belongs to.", example="bacnet")
    name: str = field(example="AHU-1")
    description: str = field(example="Air handling unit of floor 1")
    address: str = field(description="Where it is, in its plugin's words.", example="192.168.1.20:47808")
    vendor: str = field(example="Halden Automation")
    model: str = field(example="AirMaster 400")
    status: DeviceStatus = field(example="online")
    status_since: str | None = field(format="date-time", example="2026-01-31T12:00:00.000Z")
    last_seen: str | None = field(
        description="When it last answered.", format="date-time", example="2026-01-31T12:04:55.120Z"
    )
    latency_ms: float | None = field(description="How long it took to answer, lately.", example=3.2)
    last_error: str | None = field(description="What failed last, while it is offline.")
    point_count: int = field(example=43, min=0)
    enabled: bool = field(description="Whether it is polled.", example=True)
    vanished: bool = field(description="Whether a full scan no longer found it.", example=False)
    interval: float | None = field(description="Seconds between polls, where a person set them.")
    tags: tuple[str, ...] = field(example=["ahu", "floor-1"])
    attributes: Mapping[str, Any] = field(description="Its plugin's own facts.", example={"instance": 2001})


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
            Route(
                "GET", at, self.list, "List devices", query=DevicesQuery, answer=ListAnswer[DeviceAnswer],
                errors=(InvalidCursor,), links=LINKS_OF_LIST, minds_scope=True,
                cached=Cached(SEEN_KEPT_S, self._stamp),
                description="Every device that a plugin named or a scan found, with how it is now.",
            ),
            Route(
                "GET", one, self.get, "Show a device", answer=DeviceAnswer, errors=(DeviceNotFound,),
                cached=Cached(SEEN_KEPT_S, self._stamp), parameters=PARAMETERS, links=LINKS,
                description="How a device is, and what its plugin knows of it.",
            ),
            Route(
                "PATCH", one, self.patch, "Change a device's name, tags, interval, or whether it is polled",
                body=Patch, answer=DeviceAnswer, role=Role.ADMIN, errors=(DeviceNotFound,), parameters=PARAMETERS,
                links=LINKS, description="A field that is not mentioned stays; null gives it back to the plugin.",
            ),
            Route(
                "DELETE", one, self.delete, "Forget a device that has vanished",
                status=204, role=Role.ADMIN, errors=(DeviceNotFound, Conflict), parameters=PARAMETERS,
                description="The device and its points go. One that a full scan still finds cannot be forgotten.",
            ),
        ]  # fmt: skip

    def _stamp(self) -> tuple[int, int]:
        """Tell devices, and how they are, from what they were."""
        return self._registry.version, self._registry.statuses

    async def list(self, request: web.Request, *, query: DevicesQuery) -> ListAnswer[DeviceAnswer]:
        """Answer a page of devices, of those within the principal's scope."""
        registry, scope = self._registry, principal_of(request).scope
        field_name = query.sort.removeprefix("-")

        def pick(key: tuple[str | float, ...]) -> DeviceEntry | None:
            entry = registry.device(str(key[-1]))
            return entry if entry.within(scope) and _matches(entry, query) else None

        keys = sorted((*_SORT_KEYS[field_name](registry.device(each)), each) for each in registry.device_ids())
        listed = page(self._cursors, NAME, query, keys=keys, pick=pick)
        return envelope(listed, [device_answer(entry) for entry in listed.rows])

    async def get(self, _request: web.Request, *, device_id: str) -> DeviceAnswer:
        """Answer a device."""
        return device_answer(self._registry.device(device_id))

    async def patch(self, _request: web.Request, *, device_id: str, body: Patch) -> DeviceAnswer:
        """Change a device."""
        return device_answer(self._registry.override_device(device_id, changing(body)))

    async def delete(self, _request: web.Request, *, device_id: str) -> None:
        """Forget a device."""
        self._registry.delete_device(device_id)


def _links(id_: str) -> tuple[Link, ...]:
    """What can be asked about a device whose id is found there in an answer."""
    return (
        Link("GET", "/api/v1/devices/{device_id}", {"device_id": id_}),
        Link("PATCH", "/api/v1/devices/{device_id}", {"device_id": id_}),
        Link("GET", "/api/v1/points", {"device_id": id_}),
    )


LINKS = _links("$response.body#/id")
LINKS_OF_LIST = _links("$response.body#/items/0/id")

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


def device_answer(entry: DeviceEntry) -> DeviceAnswer:
    """Show a device as it is now."""
    device = entry.device
    return DeviceAnswer(
        id=device.id,
        plugin=device.plugin,
        name=entry.name,
        description=device.description,
        address=device.address,
        vendor=device.vendor,
        model=device.model,
        status=entry.status,
        status_since=rfc3339(entry.status_since),
        last_seen=rfc3339(entry.last_seen),
        latency_ms=entry.latency_ms,
        last_error=entry.last_error,
        point_count=len(entry.points),
        enabled=entry.enabled,
        vanished=entry.vanished,
        interval=entry.overrides.interval,
        tags=entry.overrides.tags,
        attributes=device.attributes,
    )
