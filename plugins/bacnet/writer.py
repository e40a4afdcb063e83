"""Writes and relinquishes present values, and reads back what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import FieldFault
from core.plugin import (
    Command,
    NotWritable,
    Point,
    PointNotFound,
    Priorities,
    PriorityNotAllowed,
    Value,
    ValueNotSuitable,
    WriteResult,
)
from core.values import suitable
from plugins.bacnet.config import Write
from plugins.bacnet.errors import Refusal, UnusableValue, read_error, write_error
from plugins.bacnet.objects import Datatype, ObjectType, Prop, object_of
from plugins.bacnet.profile import Profile
from plugins.bacnet.protocol import Answer
from plugins.bacnet.reader import Reader
from plugins.bacnet.values import NotThatKind, encode, flags_of, value_of
from plugins.bacnet.wire import primitives
from plugins.bacnet.wire.datatypes import Datum, Items, ObjectId, Ref

_SLOTS = 16


class Writer:
    """Writes within what the configuration allows."""

    def __init__(self, reader: Reader, config: Write) -> None:
        self._reader = reader
        self._config = config

    async def write(self, profile: Profile, command: Command) -> WriteResult:
        """Write or relinquish, then read back; nothing is sent that cannot suit the point."""
        point = command.point
        kind, object_id = _object(point)
        priority = self._priority(command)
        value = _encoded(command, kind.datatype)
        present = Ref(object_id, Prop.PRESENT_VALUE)
        try:
            await self._reader.write(profile, present, value, priority=priority if point.commandable else None)
        except Refusal as refusal:
            raise write_error(refusal, point.id) from refusal
        return await self._read_back(profile, point, kind, object_id, priority=priority)

    async def priorities(self, profile: Profile, point: Point) -> Priorities:
        """Read a point's priority array; raises NotWritable where it has none."""
        if not point.commandable:
            raise NotWritable(f"{point.id} has no priority array.")
        _kind, object_id = _object(point)
        slots = await self._slots(profile, object_id)
        if isinstance(slots, Refusal):
            raise read_error(slots, f"the priority array of {point.id}")
        default = Ref(object_id, Prop.RELINQUISH_DEFAULT)
        answers = await self._reader.all(profile, [default], profile.values)
        answer = answers[default]
        resting = None if isinstance(answer, Refusal) else _value(answer, point)
        return Priorities(tuple(_value((slot,), point) for slot in slots), resting)

    def _priority(self, command: Command) -> int:
        priority = self._config.default_priority if command.priority is None else command.priority
        if priority not in self._config.priorities:
            allowed = ", ".join(str(number) for number in sorted(self._config.priorities))
            raise PriorityNotAllowed(f"Priority {priority} is not allowed; write at one of {allowed}.")
        return priority

    async def _read_back(
        self, profile: Profile, point: Point, kind: ObjectType, object_id: ObjectId, *, priority: int
    ) -> WriteResult:
        present, flags = Ref(object_id, Prop.PRESENT_VALUE), Ref(object_id, Prop.STATUS_FLAGS)
        answers = await self._reader.all(profile, [present, flags] if kind.status_flags else [present], profile.values)
        answer = answers[present]
        if isinstance(answer, Refusal):
            raise read_error(answer, point.id)
        active = await self._active(profile, object_id) if point.commandable else None
        return WriteResult(
            value=_value(answer, point),
            flags=flags_of(_items(answers.get(flags, ()))),
            effective=active is None or active >= priority,
            active_priority=active,
        )

    async def _active(self, profile: Profile, object_id: ObjectId) -> int | None:
        slots = await self._slots(profile, object_id)
        if isinstance(slots, Refusal):
            return None
        return next((number for number, slot in enumerate(slots, 1) if slot is not None), None)

    async def _slots(self, profile: Profile, object_id: ObjectId) -> Sequence[Datum] | Refusal:
        """Read a priority array whole, or slot by slot where all at once is too long for an answer."""
        whole = Ref(object_id, Prop.PRIORITY_ARRAY)
        answer: Answer = (await self._reader.all(profile, [whole], profile.values))[whole]
        if isinstance(answer, Refusal) and answer.answer_is_too_long:
            refs = [Ref(object_id, Prop.PRIORITY_ARRAY, slot) for slot in range(1, _SLOTS + 1)]
            answers = (await self._reader.all(profile, refs, profile.values)).values()
            failure = next((one for one in answers if isinstance(one, Refusal)), None)
            return failure or [items[0] if (items := _items(one)) else None for one in answers]
        if not isinstance(answer, Refusal) and len(answer) != _SLOTS:
            return Refusal("error", "undecodable-value", "property")
        return answer


def _object(point: Point) -> tuple[ObjectType, ObjectId]:
    try:
        return object_of(point.key)
    except ValueError as error:
        raise PointNotFound(f"{point.id}: {error}.") from error


def _encoded(command: Command, datatype: Datatype) -> Sequence[bytes]:
    """Encode what a command wants written; raises NotWritable or ValueNotSuitable."""
    point = command.point
    if not point.writable:
        raise NotWritable(f"{point.id} is read only.")
    if command.relinquish:
        if not point.commandable:
            raise NotWritable(f"{point.id} has no priority array, so there is nothing to relinquish; write a value.")
        return (primitives.encode_null(),)
    value = suitable(point, command.value)
    try:
        return encode(datatype, value)
    except ValueError as error:
        fault = FieldFault("value", ValueNotSuitable.code, str(error))
        raise ValueNotSuitable(f"The value does not suit {point.id}: {error}.", errors=[fault]) from error


def _items(answer: Answer) -> Items:
    return () if isinstance(answer, Refusal) else answer


def _value(items: Sequence[Datum], point: Point) -> Value:
    try:
        return value_of(items, point.kind)
    except NotThatKind as error:
        raise UnusableValue(f"{point.id} answered with {error}.") from error
