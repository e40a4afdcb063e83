"""One device on a virtual network: answers what is read of it, as long as all of that is prepared."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from random import Random

import attrs

from plugins.bacnet.wire import apdu, read_property, read_property_multiple, who_is
from plugins.bacnet.wire.apdu import APDU_LENGTHS, PduType, PropertyError, Service
from plugins.bacnet.wire.datatypes import NO_INSTANCE, ObjectId, Ref
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.npdu import Place
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.faults import Fault
from plugins.simulator.objects import SimulatedObject
from plugins.simulator.server.bus import Bus
from plugins.simulator.server.conduct import Conduct, conduct_of
from plugins.simulator.server.octets import object_id
from plugins.simulator.server.plan import Blank, Part, Plan
from plugins.simulator.server.prepared import UNKNOWN_OBJECT, Live, find, mistyped, present_value
from plugins.simulator.server.prepared_device import DEVICE, PreparedDevice
from plugins.simulator.server.properties import Property
from plugins.simulator.server.quirks import Quirks, quirks_of

SEGMENT_HEADER_BYTES = 5
"""What bacpypes3's half leaves free in each answer; so that both halves agree on what fits."""

MOST_PLANS = 64

_ANY_DEVICE = ObjectId(DEVICE, NO_INSTANCE)
_UNRECOGNIZED_SERVICE = b"\x09"


class Station:
    """A device and the answers that it has ready; ``address`` is its place, None: on the port itself.

    ``longest`` says how many octets an answer may have from its service choice on, by a request's code (20.1.2.5).
    ``quirks`` are what its answers are made with, ``conduct`` is what becomes of them on their way, if anything. One
    that is ``down`` neither hears nor speaks. ``edition`` goes up when answers and objects are made anew.
    """

    def __init__(self, device: SimulatedDevice, address: Place | None, *, bus: Bus | None = None) -> None:
        self.device = device
        self.address = address
        self.bus = bus
        self.conduct: Conduct | None = None
        self.down = False
        self.edition = 0
        self.faults: tuple[Fault, ...] = ()
        self._changes = device.changes
        self._plans: dict[bytes, Plan] = {}
        self._first_layout = device.layout
        self._prepare(quirks_of(device.product, ()))

    @functools.cached_property
    def objects(self) -> Mapping[int, SimulatedObject]:
        """All objects but the Device object, by their packed ids."""
        return {object_id(data).packed: data for data in self.device.objects}

    @property
    def is_plain(self) -> bool:
        """Whether a message to it needs nothing but its answer."""
        return self.conduct is None and self.bus is None and not self.down

    @property
    def is_reachable(self) -> bool:
        """Whether it hears and speaks."""
        return not (self.down or (self.conduct is not None and self.conduct.is_silent))

    @property
    def instances(self) -> tuple[int, ...]:
        """The numbers that it goes by, its own first."""
        return (self.device.instance, *self.quirks.aliases)

    @property
    def database_revision(self) -> int:
        """How its set of objects is numbered (12.11.37): 1, and one more whenever one came or went."""
        return self._layout - self._first_layout + 1

    def i_am(self, instance: int | None = None) -> bytes:
        """Return the I-Am of this device, under a number that it claims."""
        found = self.prepared.i_am
        if instance is not None:
            found = found._replace(device=ObjectId(DEVICE, instance))
        return who_is.write_i_am(found)

    def afflict(self, faults: Sequence[Fault], random: Random) -> None:
        """Let these go wrong from now on, and nothing else."""
        self.faults = tuple(faults)
        self.conduct = conduct_of(faults, random)
        quirks = quirks_of(self.device.product, faults)
        if quirks != self.quirks:
            self._prepare(quirks)

    def refresh(self) -> None:
        """Take notice of objects that came or went."""
        if self._layout != self.device.layout:
            self._prepare(self.quirks)

    def present_value(self, data: SimulatedObject) -> Live:
        """Return what writes the present value of one of its objects."""
        return mistyped if object_id(data).packed in self.quirks.mistyped else present_value(data.type)

    def _prepare(self, quirks: Quirks) -> None:
        self.__dict__.pop("objects", None)
        self.quirks = quirks
        self.edition += 1
        self._layout = self.device.layout
        limit = quirks.product.max_apdu - SEGMENT_HEADER_BYTES + 1
        self.longest = tuple(min(length - SEGMENT_HEADER_BYTES + 1, limit) for length in APDU_LENGTHS)
        made = [
            PreparedDevice(self.device, product=quirks.product, revision=self.database_revision, instance=instance)
            for instance in self.instances
        ]
        self.prepared = made[0]
        self._own = {each.identifier: each for each in made}
        self._plans.clear()

    def plan(self, request: bytes) -> Plan | None:
        """Return the answer to a request's service choice and parameters; None, where only bacpypes3 has it.

        Raises DecodeError where the request makes no sense.
        """
        plan = self._plans.get(request)
        if plan is not None and plan.seen != self._changes.count and self._layout != self.device.layout:
            plan = None
        if plan is None:
            self.refresh()
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
            if not self.quirks.product.read_property_multiple:
                return Plan(PduType.REJECT, [_UNRECOGNIZED_SERVICE])
            return self._choked(groups) or self._read_property_multiple(groups)
        return None

    def _choked(self, groups: Sequence[Sequence[Ref]]) -> Plan | None:
        chokes = self.quirks.chokes
        error = next((chokes[group[0].object.packed] for group in groups if group[0].object.packed in chokes), None)
        if error is None:
            return None
        return Plan(PduType.ERROR, (bytes((Service.READ_PROPERTY_MULTIPLE,)), apdu.encode_error(error)))

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
        own = self._own.get(ref.object)
        if own is not None:
            return own.find(ref.property, ref.index)
        packed = ref.object.packed
        data = self.objects.get(packed)
        if data is None:
            return UNKNOWN_OBJECT
        if packed in self.quirks.errors:
            return self.quirks.errors[packed]
        if packed in self.quirks.mistyped and ref.property == Property.PRESENT_VALUE and ref.index is None:
            return Blank(data, mistyped)
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
