"""Properties of devices: read one by one or many at once, listed, and written as deeds on record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import attrs

from core.plugin import Context, DeviceTimeout, Done, NotSent, PlantroomError, ValueNotSuitable
from plugins.bacnet.errors import (
    NOTHING_WRITTEN,
    TAKEN,
    PropertyNotFound,
    Refusal,
    UnusableValue,
    property_error,
    refused_with,
    unread_error,
)
from plugins.bacnet.objects import Prop
from plugins.bacnet.planner import pack
from plugins.bacnet.profile import Profile
from plugins.bacnet.properties.generic import read_all
from plugins.bacnet.properties.reading import read_value
from plugins.bacnet.properties.tables import (
    ALL,
    datatype_name,
    element_of,
    properties_of,
    property_name,
    shape_of,
)
from plugins.bacnet.reader import Reader
from plugins.bacnet.requests import elements_of_any, read_multiple
from plugins.bacnet.together import together
from plugins.bacnet.wire import tags
from plugins.bacnet.wire.datatypes import Enumerated, ObjectId, Ref
from plugins.bacnet.wire.errors import DecodeError, bounded
from plugins.bacnet.wire.items import decode_items
from plugins.bacnet.wire.write_property import Written
from plugins.bacnet.writing.delivery import Delivery, fits, longest_write

LONGEST_READ_S = 15.0

_PROPERTY_LIST = 371
_UNLISTED = (75, 77, 79)  # object-identifier, -name and -type, which a property list leaves out (12.1.1.4.1)

Octets: TypeAlias = bytes | Refusal


@attrs.frozen
class Shown:
    """A property as its device shows it, as JSON; without ``datatype`` the value says itself what it is made of."""

    ref: Ref
    value: Any = None
    datatype: str | None = None
    error: PlantroomError | None = None


class Access:
    """The way to the properties of one plugin's devices."""

    def __init__(self, ctx: Context, reader: Reader) -> None:
        self._ctx = ctx
        self._reader = reader
        self._delivery = Delivery(reader)

    async def read(self, profile: Profile, refs: Sequence[Ref]) -> list[Shown]:
        """Read properties, each with its own success; raises DeviceTimeout where the device is silent."""
        found = await self._in_time(profile, self._octets(profile, list(dict.fromkeys(refs))))
        return [self.shown(profile, ref, found[ref]) for ref in refs]

    async def read_object(self, profile: Profile, object_id: ObjectId) -> list[Shown]:
        """Read all properties that an object has; raises PropertyNotFound, DeviceTimeout, DeviceRefused."""
        found = await self._in_time(profile, self._all_of(profile, object_id))
        return [self.shown(profile, ref, octets) for ref, octets in found.items()]

    async def is_commandable(self, profile: Profile, object_id: ObjectId) -> bool:
        """Tell whether an object has a priority array; raises what else the device says, and DeviceTimeout."""
        ref = Ref(object_id, Prop.PRIORITY_ARRAY, 0)
        octets = (await self._octets(profile, [ref]))[ref]
        if isinstance(octets, Refusal) and not (_is_unknown(octets) or octets.object_is_missing):
            raise property_error(octets, self._id(profile), name_of(ref))
        return not isinstance(octets, Refusal)

    async def write(self, profile: Profile, write: Written) -> Done:
        """Write a property, and read it before and after; raises what the device says to it.

        `Done.after` has ``value``, ``datatype`` and ``verified``: whether the octets that were written are there, in
        the slot of their priority where they have one, None where that cannot be read.
        """
        ref, what = write.ref, name_of(write.ref)
        if not fits(profile, write):
            raise ValueNotSuitable(
                f"The value is too long for {self._id(profile)}, which takes {longest_write(profile)} octets at once; "
                "an array can be written by its index."
            )
        try:
            before = self.shown(profile, ref, (await self._octets(profile, [ref]))[ref])
        except DeviceTimeout as error:
            raise NotSent(f"{error} {NOTHING_WRITTEN}") from error
        if isinstance(before.error, PropertyNotFound):
            raise before.error
        (fate,) = await self._delivery.send(profile, [write])
        if isinstance(fate, Refusal):
            raise property_error(fate, self._id(profile), what)
        if fate is not None:
            raise fate
        after, unread = await self._after(profile, write)
        return Done(before.value, after, unread)

    async def _after(self, profile: Profile, write: Written) -> tuple[dict[str, Any] | None, PlantroomError | None]:
        """Read back what the device took: what it shows, or why that cannot be told."""
        ref, what = write.ref, f"{name_of(write.ref)} of {self._id(profile)}"
        slot = None if write.priority is None else Ref(ref.object, Prop.PRIORITY_ARRAY, write.priority)
        try:
            found = await self._octets(profile, [ref] if slot is None else [ref, slot])
        except DeviceTimeout as error:
            return None, DeviceTimeout(f"{error} {TAKEN}")
        octets = found[ref]
        if isinstance(octets, Refusal):
            return None, unread_error(octets, what)
        shown = self.shown(profile, ref, octets)
        if shown.error is not None:
            return None, UnusableValue(f"{shown.error} {TAKEN}")
        verified: bool | None = octets == write.value
        if slot is not None:
            held = found[slot]
            verified = (verified or None) if isinstance(held, Refusal) else held in _in_slot(write.value)
        return {"value": shown.value, "datatype": shown.datatype, "verified": verified}, None

    async def _octets(self, profile: Profile, refs: Sequence[Ref]) -> dict[Ref, Octets]:
        """Read the octets of values, several at once where the device can; raises DeviceTimeout."""
        found: dict[Ref, Octets] = {}
        for entries in pack(((ref,) for ref in refs), profile.texts.octets):
            chunk = [ref for (ref,) in entries]
            answers = await self._at_once(profile, chunk) if len(chunk) > 1 else None
            if answers is None:
                answers = dict(zip(chunk, await together(self._single(profile, ref) for ref in chunk), strict=True))
            found |= answers
        return found

    async def _at_once(self, profile: Profile, refs: Sequence[Ref]) -> dict[Ref, Octets] | None:
        """Read with one request; None where the device refuses it as a whole, or answers something else."""
        if not profile.multiple:
            return None
        try:
            octets = await self._reader.ask(profile, read_multiple(profile.path, refs))
            elements = elements_of_any(octets)
        except Refusal as refusal:
            if refusal.service_is_missing:
                profile.refuses_multiple(self._reader.clock.monotonic())
            return None
        found: dict[Ref, Octets] = {
            each.ref: octets[each.start : each.end] if each.error is None else refused_with(each.error)
            for each in elements
        }
        return found if any(ref.property == ALL for ref in refs) or found.keys() >= set(refs) else None

    async def _single(self, profile: Profile, ref: Ref) -> Octets:
        try:
            return await self._reader.octets(profile, ref)
        except Refusal as refusal:
            return refusal

    async def _all_of(self, profile: Profile, object_id: ObjectId) -> dict[Ref, Octets]:
        """Read an object whole where that can be, else by its property list, else by what its type may have."""
        whole = await self._at_once(profile, [Ref(object_id, ALL)]) or {}
        whole.pop(Ref(object_id, ALL), None)
        if any(not isinstance(octets, Refusal) for octets in whole.values()):
            return whole
        listed = await self._single(profile, Ref(object_id, _PROPERTY_LIST))
        if isinstance(listed, Refusal) and listed.object_is_missing:
            raise property_error(listed, self._id(profile), str(object_id))
        numbers = _listed(listed)
        known = numbers or properties_of(object_id.type)
        refs = [Ref(object_id, number) for number in dict.fromkeys((*_UNLISTED, *known))]
        found = await self._octets(profile, refs)
        if all(isinstance(octets, Refusal) for octets in found.values()):
            refusal = found[refs[0]]
            if isinstance(refusal, Refusal):
                raise property_error(refusal, self._id(profile), str(object_id))
        return {ref: octets for ref, octets in found.items() if numbers or not _is_unknown(octets)}

    def shown(self, profile: Profile, ref: Ref, octets: Octets) -> Shown:
        """Show a property as JSON, of the octets that the device answered or would."""
        if isinstance(octets, Refusal):
            return Shown(ref, error=property_error(octets, self._id(profile), name_of(ref)))
        shape = element_of(shape_of(ref.object.type, ref.property), ref.index)
        if shape is not None:
            try:
                return Shown(ref, read_value(shape, octets), datatype_name(shape))
            except DecodeError:
                self._ctx.log.debug("property_of_another_shape", device=self._id(profile), property=name_of(ref))
        try:
            return Shown(ref, bounded(read_all)(octets))
        except DecodeError as error:
            return Shown(ref, error=UnusableValue(f"{name_of(ref)} of {self._id(profile)} cannot be read: {error}."))

    async def _in_time(self, profile: Profile, work: Any) -> dict[Ref, Octets]:
        try:
            async with asyncio.timeout(LONGEST_READ_S):
                found: dict[Ref, Octets] = await work
                return found
        except TimeoutError:
            raise DeviceTimeout(f"{self._id(profile)} did not answer within {LONGEST_READ_S:g} s.") from None

    def _id(self, profile: Profile) -> str:
        return f"{self._ctx.name}.{profile.instance}"


def name_of(ref: Ref) -> str:
    """Name a property for people: ``analog-output.1 priority-array[3]``."""
    return f"{ref.object} {property_name(ref.property)}{'' if ref.index is None else f'[{ref.index}]'}"


def missing(device_id: str, what: str) -> PropertyNotFound:
    """Say that something is not even a name of the standard's."""
    return PropertyNotFound(f"{device_id} does not have {what}.")


def _in_slot(octets: bytes) -> tuple[bytes, ...]:
    """Return how a value may stand in a slot: as it is, or in the tag of a constructed value or of a date and time."""
    return octets, *(tags.opening(number) + octets + tags.closing(number) for number in (0, 1))


def _listed(octets: Octets) -> tuple[int, ...]:
    """Return the properties that a property list names; none where it cannot be read."""
    if isinstance(octets, Refusal):
        return ()
    try:
        items: Iterable[object] = decode_items(octets)
    except DecodeError:
        return ()
    return tuple(int(item) for item in items if isinstance(item, Enumerated))


def _is_unknown(octets: Octets) -> bool:
    return isinstance(octets, Refusal) and octets.code == "unknown-property"
