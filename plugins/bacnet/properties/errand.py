"""What is asked about properties of devices by their ids, and carried out on the house's one way to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from core.errors import FieldFault, Invalid
from core.plugin import (
    Command,
    Context,
    Deed,
    DeviceTimeout,
    Done,
    NotSent,
    NotWritable,
    Point,
    Value,
    ValueNotSuitable,
)
from plugins.bacnet.config import Write
from plugins.bacnet.discovery.examination import Examination
from plugins.bacnet.driver import BacnetDriver
from plugins.bacnet.errors import NOTHING_WRITTEN, PropertyNotFound, Refusal, property_error
from plugins.bacnet.objects import DEVICE, Prop
from plugins.bacnet.profile import Profile
from plugins.bacnet.properties.access import Access, Shown, name_of
from plugins.bacnet.properties.tables import datatype_name, element_of, shape_of
from plugins.bacnet.properties.writing import Unsuitable, is_shallow, write_value
from plugins.bacnet.values import NotThatKind, encode, value_of
from plugins.bacnet.wire import primitives
from plugins.bacnet.wire.datatypes import ObjectId, Ref
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.items import decode_items
from plugins.bacnet.wire.write_property import Written
from plugins.bacnet.writing.outgoing import allowed, kind_of, without_array

ORIGIN = "rest"


@attrs.frozen
class Errand:
    """A property that is to be written; ``id`` is the idempotency key."""

    id: str
    principal: str
    device_id: str
    ref: Ref
    value: Any
    priority: int | None


class Errands:
    """Reads and writes for whoever knows a device by its id; all raise DeviceNotFound, and what devices say."""

    def __init__(self, ctx: Context, driver: BacnetDriver, config: Write) -> None:
        self._ctx = ctx
        self._driver = driver
        self._config = config
        self._access = Access(ctx, driver.reader)
        self._examination = Examination(driver.reader, ctx, (), interval=0.0)

    async def objects(self, device_id: str) -> list[ObjectId]:
        """Read which objects a device has."""
        profile = self._profile(device_id)
        itself = ObjectId(DEVICE, profile.instance)
        try:
            return list(dict.fromkeys((await self._examination.object_list(profile, itself)).objects))
        except Refusal as refusal:
            raise property_error(refusal, device_id, f"{itself} object-list") from refusal

    async def object(self, device_id: str, object_id: ObjectId) -> list[Shown]:
        """Read all properties of an object."""
        return await self._access.read_object(self._profile(device_id), object_id)

    async def read(self, device_id: str, refs: Sequence[Ref]) -> list[Shown]:
        """Read properties, each with its own success."""
        return await self._access.read(self._profile(device_id), refs)

    async def write(self, errand: Errand) -> dict[str, Any]:
        """Write a property and answer its ``value``, ``datatype`` and ``verified`` as they are then.

        The present value of a point goes the way of all points, with their checks. Raises as that does, and
        PropertyNotFound. Nothing is asked of the device before the errand's turn, and then only the first time.
        """
        profile, ref = self._profile(errand.device_id), errand.ref
        is_present_value = ref.property == Prop.PRESENT_VALUE
        _check(errand)
        point = self._ctx.commands.point(f"{errand.device_id}.{ref.object}") if is_present_value else None
        if point is not None:
            return await self._write_point(profile, errand, point)

        async def run() -> Done:
            try:
                write = await self._prepared(profile, errand, is_present_value=is_present_value)
            except DeviceTimeout as error:
                raise NotSent(f"{error} {NOTHING_WRITTEN}") from error
            return await self._access.write(profile, write)

        request = {"value": errand.value, "index": ref.index, "priority": errand.priority}
        target = f"{errand.device_id}.{name_of(ref)}"
        deed = Deed(errand.id, errand.principal, ORIGIN, errand.device_id, target, request)
        after: dict[str, Any] = await self._ctx.commands.carry_out(deed, run)
        return after

    async def _write_point(self, profile: Profile, errand: Errand, point: Point) -> dict[str, Any]:
        value = None if errand.value is None else _for_point(errand, point)
        command = Command(
            errand.id, errand.principal, ORIGIN, point,
            value=value, relinquish=errand.value is None, priority=errand.priority,
        )  # fmt: skip
        written = await self._ctx.commands.write(command)
        value = None if written.reading is None else written.reading.value
        shape = shape_of(errand.ref.object.type, errand.ref.property)
        datatype = None if shape is None else datatype_name(shape)
        if value is not None:
            octets = b"".join(encode(kind_of(point)[0].datatype, value))
            shown = self._access.shown(profile, errand.ref, octets)
            value, datatype = shown.value, shown.datatype
        return {"value": value, "datatype": datatype, "verified": written.verified}

    async def _prepared(self, profile: Profile, errand: Errand, *, is_present_value: bool) -> Written:
        """Encode what is to be written, and find the priority that it is written at: none where there is no array."""
        priority = None
        if is_present_value:
            chosen = allowed(self._config, errand.priority)
            if await self._access.is_commandable(profile, errand.ref.object):
                priority = chosen
            elif errand.priority is not None:
                raise without_array(f"{errand.device_id}.{errand.ref.object}")
        if priority is not None and errand.value is None:
            return Written(errand.ref, primitives.encode_null(), priority)
        try:
            return Written(errand.ref, _encoded(errand), priority)
        except ValueNotSuitable:
            (shown,) = await self._access.read(profile, [errand.ref])
            if isinstance(shown.error, PropertyNotFound):  # which is the greater mistake
                raise shown.error from None
            raise

    def _profile(self, device_id: str) -> Profile:
        return self._driver.profile_of(self._ctx.commands.device(device_id))


def _check(errand: Errand) -> None:
    """Refuse what can be right of no device; raises Invalid, ValueNotSuitable, NotWritable."""
    ref, is_present_value = errand.ref, errand.ref.property == Prop.PRESENT_VALUE
    if errand.priority is not None and not is_present_value:
        fault = FieldFault("priority", "unknown", "is for present values only")
        raise Invalid(f"{name_of(ref)} is written without a priority.", errors=[fault])
    if ref.index is not None and is_present_value:
        fault = FieldFault("index", "unknown", "is for arrays only")
        raise Invalid(f"{ref.object} present-value is no array; leave `index` out.", errors=[fault])
    if ref.property == Prop.PRIORITY_ARRAY:
        raise NotWritable(f"{name_of(ref)} is not written to itself; write {ref.object} present-value at a `priority`.")
    if not is_shallow(errand.value):
        _encoded(errand)  # which says so; what is recorded of it may not be deeper


def _encoded(errand: Errand) -> bytes:
    """Return the octets to write; raises ValueNotSuitable."""
    ref = errand.ref
    shape = element_of(shape_of(ref.object.type, ref.property), ref.index)
    try:
        return write_value(shape, errand.value)
    except Unsuitable as error:
        at = ".".join(map(str, ("value", *error.path)))
        fault = FieldFault(at, ValueNotSuitable.code, f"must be {error.wanted}")
        raise ValueNotSuitable(f"{name_of(ref)} takes {error.wanted} at {at}.", errors=[fault]) from error


def _for_point(errand: Errand, point: Point) -> Value:
    """Return a property's value as the point takes it, who may be written to in its own words, too: a state's text."""
    try:
        return value_of(decode_items(_encoded(errand)), point.kind)
    except (ValueNotSuitable, NotThatKind, DecodeError) as error:
        if isinstance(errand.value, bool | int | float | str):
            return errand.value
        if isinstance(error, ValueNotSuitable):
            raise
        fault = FieldFault("value", ValueNotSuitable.code, f"must be a {point.kind}")
        raise ValueNotSuitable(f"The value does not suit {point.id}: {error}.", errors=[fault]) from error
