"""REST: the objects of a device, and any property of them, to read and to write."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

import attrs
from aiohttp import web

from core import problem
from core.api.idempotency import KEY, key_of
from core.api.readings import BatchAnswer, family
from core.errors import Conflict, DeviceError, DeviceNotFound, PlantroomError, PluginNotRunning
from core.operations import ProblemDocument
from core.plugin import (
    Context,
    FieldInfo,
    NotWritable,
    PriorityNotAllowed,
    Role,
    Route,
    ValueNotSuitable,
    Work,
    principal_of,
    spend,
)
from core.serialize import UNSET, Unset, field
from plugins.bacnet.errors import PropertyNotFound
from plugins.bacnet.properties.access import Shown, missing
from plugins.bacnet.properties.errand import Errand, Errands
from plugins.bacnet.properties.tables import ALL, OPTIONAL, REQUIRED, property_name, property_number
from plugins.bacnet.wire.datatypes import NO_INSTANCE, ObjectId, Ref, parse_object_id

VALUE = (
    "Numbers, texts, true and false as in JSON; states by their name in the standard, or their number; bits as an "
    "object of their names; arrays and lists as lists; structures as objects. Where `datatype` is null, an object "
    'that says its datatype, or a list of these: {"type": "real", "value": 21.5}.'
)
_OBJECT, _PROPERTY = "analog-value.1", "present-value"
_LONGEST_INDEX = 2**32 - 1
PROPERTIES_OF_AN_OBJECT = 30
"""About how many an object has: what showing all of them is counted as."""


def _index() -> Any:
    return field(
        default=None, min=0, max=_LONGEST_INDEX, example=1,
        description="An element of an array, the first is 1; 0 is how many there are.",
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class ObjectItem:
    """One object of a device."""

    object_id: str = field(example=_OBJECT)
    point_id: str | None = field(description="The point that it is, if it is one.", example=f"bacnet.2001.{_OBJECT}")


@attrs.frozen
class ObjectsAnswer:
    """All objects of a device, in its own order."""

    items: Sequence[ObjectItem]
    next_cursor: None = field(default=None, description="Always null: there is one page.")


@attrs.frozen(kw_only=True)
class PropertyAnswer:
    """A property as its device shows it now."""

    device_id: str = field(example="bacnet.2001")
    object_id: str = field(example=_OBJECT)
    property: str = field(description="Its name in the standard, or its number.", example=_PROPERTY)
    index: int | None = field(example=None)
    value: Any = field(description=VALUE, example=21.5)
    datatype: str | None = field(description="What the standard makes it of; null where it does not.", example="real")


@attrs.frozen(kw_only=True)
class WrittenProperty(PropertyAnswer):
    """A property as its device shows it after it was written."""

    verified: bool | None = field(
        description="Whether it shows what was written; null where that could not be told.", example=True
    )


@attrs.frozen(kw_only=True)
class PropertyItem:
    """What became of one property: its value, or the error."""

    device_id: str = field(example="bacnet.2001")
    object_id: str = field(example=_OBJECT)
    property: str = field(example=_PROPERTY)
    index: int | None = field(example=None)
    value: Any | Unset = field(default=UNSET, example=21.5)
    datatype: str | None | Unset = field(default=UNSET, example="real")
    error: ProblemDocument | Unset = field(default=UNSET)


@attrs.frozen(kw_only=True)
class ObjectAnswer:
    """An object with all properties that it has."""

    device_id: str = field(example="bacnet.2001")
    object_id: str = field(example=_OBJECT)
    point_id: str | None = field(example=f"bacnet.2001.{_OBJECT}")
    properties: Sequence[PropertyItem]


@attrs.frozen(kw_only=True)
class IndexQuery:
    """Which part of a property to answer."""

    index: int | None = _index()


@attrs.frozen(kw_only=True)
class PropertyBody:
    """What to write to a property."""

    value: Any = field(description=f"{VALUE} Null relinquishes a commandable present value.", example=21.5)
    index: int | None = _index()
    priority: int | None = field(
        default=None, min=1, max=16, example=8,
        description="For a present value that is commandable: 1, the strongest, to 16; the configured one otherwise.",
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class Wanted:
    """One property of one device."""

    instance: int = field(min=0, max=NO_INSTANCE, description="The device's number.", example=2001)
    object_id: str = field(min_length=1, max_length=100, example=_OBJECT)
    property: str = field(min_length=1, max_length=100, example=_PROPERTY)
    index: int | None = _index()


@attrs.frozen
class PropertiesBody:
    """Which properties to answer."""

    properties: tuple[Wanted, ...] = field(
        min_items=1, max_items=1000, example=[{"instance": 2001, "object_id": _OBJECT, "property": _PROPERTY}]
    )


class PropertyRoutes:
    """The routes of one instance of the plugin."""

    def __init__(self, ctx: Context, errands: Errands) -> None:
        self._ctx = ctx
        self._errands = errands

    @property
    def routes(self) -> list[Route]:
        """List, show, write."""
        objects = "/devices/{instance}/objects"
        one, prop = f"{objects}/{{object_id}}", f"{objects}/{{object_id}}/properties/{{property}}"
        reading: tuple[type[PlantroomError], ...] = family(PluginNotRunning, DeviceError)
        found = (DeviceNotFound, PropertyNotFound)
        writing = (Conflict, NotWritable, PriorityNotAllowed, ValueNotSuitable)
        return [
            Route(
                "GET", objects, self.list, "List a device's objects", answer=ObjectsAnswer,
                errors=(DeviceNotFound, *reading), parameters=_of("instance"),
                description="Read from the device, those too that are no points.",
            ),
            Route(
                "GET", one, self.show, "Show an object with all its properties", answer=ObjectAnswer,
                errors=(*found, *reading), parameters=_of("instance", "object_id"),
                description="Read from the device; a property that it refuses has its error instead of a value.",
            ),
            Route(
                "GET", prop, self.get, "Show a property", query=IndexQuery, answer=PropertyAnswer,
                errors=(*found, *reading), parameters=_of("instance", "object_id", "property"),
                description="Read from the device, whole or one element of it.",
            ),
            Route(
                "PUT", prop, self.put, "Write a property", body=PropertyBody, answer=WrittenProperty,
                role=Role.OPERATOR, errors=(*found, *writing, *reading), takes=(KEY,),
                parameters=_of("instance", "object_id", "property"),
                description="Writes, reads back, and answers the property as it is now. The present value of a point "
                "is written as PUT /api/v1/points/{point_id}/value does. Where the device took it and could not be "
                "read back, the answer is 504 or 502 and says so; the write is on record.",
            ),
            Route(
                "POST", "/properties/query", self.query, "Show many properties of many devices",
                body=PropertiesBody, answer=BatchAnswer[PropertyItem],
                description="Asks each device for several at once; one that fails does so alone.",
            ),
        ]  # fmt: skip

    async def list(self, request: web.Request, *, instance: str) -> ObjectsAnswer:
        """Answer the object list."""
        device_id = self._device_id(instance)
        await spend(request, Work.READ, 1)
        listed = await self._errands.objects(device_id)
        return ObjectsAnswer(
            [ObjectItem(object_id=str(each), point_id=self._point(device_id, each)) for each in listed]
        )

    async def show(self, request: web.Request, *, instance: str, object_id: str) -> ObjectAnswer:
        """Answer all that an object has."""
        device_id = self._device_id(instance)
        wanted = _object(device_id, object_id)
        await spend(request, Work.READ, PROPERTIES_OF_AN_OBJECT)
        shown = await self._errands.object(device_id, wanted)
        return ObjectAnswer(
            device_id=device_id,
            object_id=str(wanted),
            point_id=self._point(device_id, wanted),
            properties=[_item(device_id, each) for each in shown],
        )

    async def get(
        self,
        request: web.Request,
        *,
        instance: str,
        object_id: str,
        property: str,  # noqa: A002 - so it is called in the path
        query: IndexQuery,
    ) -> PropertyAnswer:
        """Answer one property."""
        device_id = self._device_id(instance)
        await spend(request, Work.READ, 1)
        (shown,) = await self._errands.read(device_id, [_ref(device_id, object_id, property, query.index)])
        if shown.error is not None:
            raise shown.error
        return PropertyAnswer(**_place(device_id, shown.ref), value=shown.value, datatype=shown.datatype)

    async def put(
        self,
        request: web.Request,
        *,
        instance: str,
        object_id: str,
        property: str,  # noqa: A002 - so it is called in the path
        body: PropertyBody,
    ) -> WrittenProperty:
        """Write one property."""
        device_id, key = self._device_id(instance), key_of(request)
        ref = _ref(device_id, object_id, property, body.index)
        principal = principal_of(request)
        await spend(request, Work.WRITE, 1)
        errand_id = f"{principal.id}:{key}" if key else str(uuid.uuid4())
        errand = Errand(errand_id, str(principal), device_id, ref, body.value, body.priority)
        return WrittenProperty(**_place(device_id, ref), **await self._errands.write(errand))

    async def query(self, request: web.Request, *, body: PropertiesBody) -> BatchAnswer[PropertyItem]:
        """Answer many properties, each with its own success."""
        await spend(request, Work.READ, len(body.properties))
        items: dict[int, PropertyItem] = {}
        by_device: dict[str, dict[int, Ref]] = {}
        for number, wanted in enumerate(body.properties):
            device_id = self._device_id(str(wanted.instance))
            try:
                ref = _ref(device_id, wanted.object_id, wanted.property, wanted.index)
                by_device.setdefault(device_id, {})[number] = ref
            except PropertyNotFound as error:
                items[number] = _failed(device_id, wanted, error)

        async def read(device_id: str, refs: dict[int, Ref]) -> None:
            try:
                shown = await self._errands.read(device_id, [*refs.values()])
            except PlantroomError as error:
                items.update({number: _failed(device_id, body.properties[number], error) for number in refs})
            else:
                items.update(zip(refs, (_item(device_id, each) for each in shown), strict=True))

        await asyncio.gather(*(read(device_id, refs) for device_id, refs in by_device.items()))
        return BatchAnswer([items[number] for number in range(len(body.properties))])

    def _device_id(self, instance: str) -> str:
        return f"{self._ctx.name}.{instance}"

    def _point(self, device_id: str, object_id: ObjectId) -> str | None:
        point = self._ctx.commands.point(f"{device_id}.{object_id}")
        return None if point is None else point.id


def _of(*names: str) -> dict[str, FieldInfo]:
    return {name: _PARAMETERS[name] for name in names}


_PARAMETERS = {
    "instance": FieldInfo(description="The device's number on the network.", example="2001"),
    "object_id": FieldInfo(description="The object's type and number.", example=_OBJECT),
    "property": FieldInfo(
        description="The property's name in the standard; a proprietary one's number.", example=_PROPERTY
    ),
}


def _object(device_id: str, text: str) -> ObjectId:
    try:
        return parse_object_id(text)
    except ValueError:
        raise missing(device_id, f"an object {text!r}") from None


def _ref(device_id: str, object_id: str, name: str, index: int | None) -> Ref:
    """Find what is named; raises PropertyNotFound for what is no name."""
    found, number = _object(device_id, object_id), property_number(name)
    if number is None or number in (ALL, REQUIRED, OPTIONAL):
        raise missing(device_id, f"a property {name!r} of {found}")
    return Ref(found, number, index)


def _place(device_id: str, ref: Ref) -> dict[str, Any]:
    name = property_name(ref.property)
    return {"device_id": device_id, "object_id": str(ref.object), "property": name, "index": ref.index}


def _item(device_id: str, shown: Shown) -> PropertyItem:
    place = _place(device_id, shown.ref)
    if shown.error is not None:
        return PropertyItem(**place, error=problem.document(shown.error))
    return PropertyItem(**place, value=shown.value, datatype=shown.datatype)


def _failed(device_id: str, wanted: Wanted, error: PlantroomError) -> PropertyItem:
    return PropertyItem(
        device_id=device_id, object_id=wanted.object_id, property=wanted.property, index=wanted.index,
        error=problem.document(error),
    )  # fmt: skip
