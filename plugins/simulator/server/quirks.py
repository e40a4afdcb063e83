"""What a device says of itself and its objects that is not so, or that it does not know: faults in its answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import attrs

from plugins.bacnet.wire.apdu import PropertyError
from plugins.bacnet.wire.datatypes import parse_object_id
from plugins.simulator.device import Product
from plugins.simulator.faults import Fault, FaultKind


@attrs.frozen(kw_only=True)
class Quirks:
    """The faults of one device that its answers are made with; objects are packed ids.

    ``errors`` are what reads of an object answer, ``chokes`` what a ReadPropertyMultiple does that contains it.
    ``mistyped`` are objects whose present value is of another type, ``aliases`` other numbers that it claims.
    ``clock_s`` is by how much its clock is fast.
    """

    product: Product
    errors: Mapping[int, PropertyError] = attrs.field(factory=dict)
    chokes: Mapping[int, PropertyError] = attrs.field(factory=dict)
    mistyped: Collection[int] = frozenset()
    aliases: tuple[int, ...] = ()
    clock_s: float = 0.0


def quirks_of(product: Product, faults: Sequence[Fault]) -> Quirks:
    """Gather them from the faults of a device; where several say the same, the last one holds."""
    for fault in faults:
        product = _reduced(product, fault)
    return Quirks(
        product=product,
        errors=_errors(faults, FaultKind.ERROR),
        chokes=_errors(faults, FaultKind.CHOKE),
        mistyped={packed for fault in faults if fault.kind is FaultKind.WRONG_TYPE for packed in _packed(fault)},
        aliases=tuple(dict.fromkeys(fault.instance for fault in faults if fault.instance is not None)),
        clock_s=sum(fault.seconds or 0.0 for fault in faults if fault.kind is FaultKind.CLOCK),
    )


def _reduced(product: Product, fault: Fault) -> Product:
    match fault.kind:
        case FaultKind.NO_READ_PROPERTY_MULTIPLE:
            return attrs.evolve(product, read_property_multiple=False)
        case FaultKind.NO_SEGMENTATION:
            return attrs.evolve(product, segmentation=False)
        case FaultKind.NO_COV:
            return attrs.evolve(product, subscribe_cov=False)
        case FaultKind.SMALL_APDU if fault.octets is not None:
            return attrs.evolve(product, max_apdu=fault.octets)
        case FaultKind.COV_SLOTS if fault.count is not None:
            return attrs.evolve(product, cov_slots=fault.count)
    return product


def _errors(faults: Sequence[Fault], kind: FaultKind) -> Mapping[int, PropertyError]:
    return {packed: PropertyError(*fault.error) for fault in faults if fault.kind is kind for packed in _packed(fault)}


def _packed(fault: Fault) -> Sequence[int]:
    return [parse_object_id(text).packed for text in fault.objects]
