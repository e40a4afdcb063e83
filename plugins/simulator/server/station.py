"""One device on the virtual network: answers what is read of it, as long as all of that is prepared."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence

import attrs

from plugins.bacnet.wire import apdu, read_property, read_property_multiple, who_is
from plugins.bacnet.wire.apdu import APDU_LENGTHS, PduType, PropertyError, Service
from plugins.bacnet.wire.datatypes import NO_INSTANCE, ObjectId, Ref
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.npdu import Place
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.objects import SimulatedObject
from plugins.simulator.server.octets import object_id
from plugins.simulator.server.plan import Blank, Part, Plan
from plugins.simulator.server.prepared import UNKNOWN_OBJECT, find
from plugins.simulator.server.prepared_device import DEVICE, PreparedDevice

SEGMENT_HEADER_BYTES = 5
"""What bacpypes3's half leaves free in each answer; so that both halves agree on what fits."""

MOST_PLANS = 64

_ANY_DEVICE = ObjectId(DEVICE, NO_INSTANCE)
_UNRECOGNIZED_SERVICE = b"\x09"


class Station:
    """A device and the answers that it has ready; ``address`` is its place, None: on the port itself.

    ``longest`` says how many octets an answer may have from its service choice on, by a request's code (20.1.2.5).
    """

    def __init__(self, device: SimulatedDevice, address: Place | None) -> None:
        self.device = device
        self.address = address
        self.longest = tuple(min(length, device.product.max_apdu) - SEGMENT_HEADER_BYTES + 1 for length in APDU_LENGTHS)
        self.prepared = PreparedDevice(device)
        self._changes = device.changes
        self._plans: dict[bytes, Plan] = {}

    @functools.cached_property
    def objects(self) -> Mapping[int, SimulatedObject]:
        """All objects but the Device object, by their packed ids."""
        return {object_id(data).packed: data for data in self.device.objects}

    @property
    def i_am(self) -> bytes:
        """The I-Am of this device."""
        return who_is.write_i_am(self.prepared.i_am)

    def plan(self, request: bytes) -> Plan | None:
        """Return the answer to a request's service choice and parameters; None, where only bacpypes3 has it.

        Raises DecodeError where the request makes no sense.
        """
        plan = self._plans.get(request)
        if plan is None:
            plan = self._make(request)
            if plan is None:
                return None
            if len(self._plans) >= MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[request] = plan
        if plan.seen != self._changes.count:
            plan.compose(self._changes.count)
        return plan

    def _make(self, request: bytes) -> Plan | None:
        service, parameters = request[0], request[1:]
        if service == Service.READ_PROPERTY:
            return self._read_property(read_property.read_parameters(parameters))
        if service == Service.READ_PROPERTY_MULTIPLE:
            groups = _groups(parameters)
            if not self.device.product.read_property_multiple:
                return Plan(PduType.REJECT, [_UNRECOGNIZED_SERVICE])
            return self._read_property_multiple(groups)
        return None

    def _read_property(self, asked: Ref) -> Plan | None:
        ref = self._named(asked)
        found = self._find(ref)
        service = bytes((Service.READ_PROPERTY,))
        if found is None:
            return None
        if isinstance(found, PropertyError):
            return Plan(PduType.ERROR, (service, apdu.encode_error(found)))
        return Plan(PduType.COMPLEX_ACK, (service, *_around(found, read_property.write_result(ref, b""))))

    def _read_property_multiple(self, groups: Sequence[Sequence[Ref]]) -> Plan | None:
        parts: list[Part] = [bytes((Service.READ_PROPERTY_MULTIPLE,))]
        for group in groups:
            refs = [self._named(asked) for asked in group]
            frame = read_property_multiple.write_object(refs[0].object, b"")
            parts.append(frame[:-1])
            for ref in refs:
                found = self._find(ref)
                if found is None:
                    return None
                if isinstance(found, PropertyError):
                    parts.append(read_property_multiple.write_element(ref, found))
                else:
                    parts += _around(found, _element_frame(ref.property, ref.index))
            parts.append(frame[-1:])
        return Plan(PduType.COMPLEX_ACK, parts)

    def _named(self, asked: Ref) -> Ref:
        """Put the device's own id in place of the one that stands for any device (15.5.2)."""
        return attrs.evolve(asked, object=self.prepared.identifier) if asked.object == _ANY_DEVICE else asked

    def _find(self, ref: Ref) -> Part | PropertyError | None:
        if ref.object == self.prepared.identifier:
            return self.prepared.find(ref.property, ref.index)
        data = self.objects.get(ref.object.packed)
        if data is None:
            return UNKNOWN_OBJECT
        found = find(data, ref.property, ref.index)
        return found if found is None or isinstance(found, bytes | PropertyError) else Blank(data, found)


@functools.lru_cache(1024)
def _element_frame(number: int, index: int | None) -> bytes:
    return read_property_multiple.write_element(Ref(_ANY_DEVICE, number, index), b"")


def _around(value: Part, frame: bytes) -> tuple[Part, ...]:
    """Put a value into the frame that was written for one without octets: before its closing tag."""
    return frame[:-1], value, frame[-1:]


@functools.lru_cache(512)
def _groups(parameters: bytes) -> tuple[tuple[Ref, ...], ...]:
    """Read what is asked for, object by object; remembered, since a client asks many devices for the same.

    Raises DecodeError also for what could be written in another way, such as an object that comes twice in a row.
    """
    refs = read_property_multiple.read_parameters(parameters)
    if not refs or read_property_multiple.write_parameters(refs) != parameters:
        raise DecodeError("not the shortest way to ask for this")
    return tuple(tuple(group) for _, group in itertools.groupby(refs, key=lambda ref: ref.object))
