"""A command as BACnet carries it out: what goes to which object, at which priority."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from core.errors import FieldFault
from core.plugin import Command, NotWritable, Point, PointNotFound, PriorityNotAllowed, Value, ValueNotSuitable
from core.values import suitable
from plugins.bacnet.config import Write
from plugins.bacnet.objects import Datatype, ObjectType, Prop, object_of
from plugins.bacnet.values import encode, value_of
from plugins.bacnet.wire import primitives
from plugins.bacnet.wire.datatypes import ObjectId, Ref
from plugins.bacnet.wire.items import decode_items
from plugins.bacnet.wire.write_property import Written

_INPUT = "-input"  # how the types of objects are named that take a value while they are out of service


@attrs.frozen
class Outgoing:
    """One write of a point's present value; ``meant`` is the value that is to be shown, None: the slot is emptied."""

    point: Point
    kind: ObjectType
    write: Written
    meant: Value

    @property
    def object_id(self) -> ObjectId:
        """The object that is written to."""
        return self.write.ref.object

    @property
    def priority(self) -> int | None:
        """The slot that is written, None where the point has no priority array."""
        return self.write.priority

    @property
    def relinquishes(self) -> bool:
        """Whether a slot is emptied."""
        return self.meant is None

    @property
    def questions(self) -> tuple[Ref, ...]:
        """What is read back."""
        props = [Prop.PRESENT_VALUE]
        if self.kind.status_flags:
            props.append(Prop.STATUS_FLAGS)
        if self.point.commandable:
            props.append(Prop.PRIORITY_ARRAY)
        return tuple(Ref(self.object_id, prop) for prop in props)


def outgoing(command: Command, config: Write) -> Outgoing:
    """Say what is sent for a command.

    Raises NotWritable, PriorityNotAllowed, PointNotFound or ValueNotSuitable.
    """
    point = command.point
    kind, object_id = kind_of(point)
    if not (point.writable or kind.name.endswith(_INPUT)):
        raise NotWritable(f"{point.id} is read-only.")
    priority = allowed(config, command.priority)
    if command.priority is not None and not command.relinquish and not point.commandable:
        raise without_array(point.id)
    octets = b"".join(_encoded(command, kind.datatype))
    meant = None if command.relinquish else value_of(decode_items(octets), point.kind)
    write = Written(Ref(object_id, Prop.PRESENT_VALUE), octets, priority if point.commandable else None)
    return Outgoing(point, kind, write, meant)


def allowed(config: Write, priority: int | None) -> int:
    """Return the priority to write at, of the one that was asked for; raises PriorityNotAllowed."""
    chosen = config.default_priority if priority is None else priority
    if chosen not in config.priorities:
        numbers = ", ".join(str(number) for number in sorted(config.priorities))
        raise PriorityNotAllowed(f"Priority {chosen} is not allowed; write at one of {numbers}.")
    return chosen


def without_array(what: str) -> NotWritable:
    """Say that a priority means nothing where there is no priority array."""
    return NotWritable(f"{what} has no priority array; leave `priority` out.")


def kind_of(point: Point) -> tuple[ObjectType, ObjectId]:
    """Return the object that a point stands for; raises PointNotFound."""
    try:
        return object_of(point.key)
    except ValueError as error:
        raise PointNotFound(f"{point.id}: {error}.") from error


def _encoded(command: Command, datatype: Datatype) -> Sequence[bytes]:
    point = command.point
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
