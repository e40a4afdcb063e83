"""Valid octets of every kind, from which the fuzzers make broken ones."""

from __future__ import annotations

import struct

from plugins.bacnet.wire import (
    apdu,
    bvll,
    bvll_tables,
    network_messages,
    npdu,
    primitives,
    read_property,
    read_property_multiple,
    tags,
    who_has,
    who_is,
)
from plugins.bacnet.wire.apdu import PropertyError, Service
from plugins.bacnet.wire.bvll_tables import BdtEntry, End, FdtEntry
from plugins.bacnet.wire.datatypes import Bits, Date, ObjectId, Ref, Time
from plugins.bacnet.wire.network_messages import NetworkNumber
from plugins.bacnet.wire.npdu import Place
from plugins.bacnet.wire.who_has import IHave, WhoHas

_DEVICE, _INPUT, _VENDOR_S = ObjectId(8, 4001), ObjectId(0, 1), ObjectId(1023, 0x3FFFFF)
_REFS = [
    Ref(_INPUT, 85),
    Ref(_INPUT, 111),
    Ref(_DEVICE, 76, 0),
    Ref(_VENDOR_S, 512),
    Ref(_VENDOR_S, 70_000, 300),
    Ref(ObjectId(1, 2), 87),
]
_BBMD = BdtEntry(End("10.0.0.1", 47808), "255.255.255.255")
_TEXTS = [b"\4\0G\0r", b"\3\0\0\0G", b"\5Gr\xfc", b"\1\x03\x52\x81", b"\2x"]  # in each character set
_PLACES = [
    {},
    {"destination": Place(5, b"\x07"), "expects_reply": True},
    {"source": Place(2001, bytes(range(6)))},
    {"destination": Place(0xFFFF, b""), "source": Place(7, b"\x09"), "hops": 3},
]


def values() -> list[bytes]:
    """Return tagged values: every primitive, long ones, arrays and groups in one another."""
    single = [
        primitives.encode_null(),
        primitives.encode_boolean(True),
        primitives.encode_boolean(False),
        *(primitives.encode_unsigned(number) for number in (0, 255, 65536, 2**32 - 1, 2**64 - 1)),
        *(primitives.encode_integer(number) for number in (0, -1, 127, -32769, 2**31 - 1)),
        *(primitives.encode_real(number) for number in (0.0, 21.7, -1e-45, 3.4e38, float("nan"), float("-inf"))),
        *(primitives.encode_double(number) for number in (0.1, 1e308)),
        primitives.encode_octet_string(bytes(range(16))),
        primitives.encode_octet_string(bytes(300)),
        primitives.encode_character_string("Grüße"),
        primitives.encode_character_string("x" * 260),
        *(tags.application(7, octets) for octets in _TEXTS),
        primitives.encode_bit_string(Bits((True, False, False, True))),
        primitives.encode_bit_string(Bits((True,) * 97)),
        primitives.encode_enumerated(62),
        primitives.encode_enumerated(70_000),
        primitives.encode_date(Date(126, 1, 31, 6)),
        primitives.encode_date(Date(255, 13, 32, 255)),
        primitives.encode_time(Time(23, 59, 59, 99)),
        primitives.encode_object_id(_VENDOR_S),
        struct.pack(">BBI", 0x65, 0xFF, 3) + b"abc",
    ]
    several = [
        b"".join(primitives.encode_null() for _ in range(15)) + primitives.encode_real(21.5),
        b"".join(primitives.encode_object_id(ObjectId(0, number)) for number in range(20)),
        primitives.encode_date(Date(126, 1, 31, 6)) + primitives.encode_time(Time(1, 2, 3, 0)),
        b"",
    ]
    inner = tags.context(1, b"\x05") + tags.context(200, bytes(7)) + primitives.encode_boolean(True)
    groups = [
        tags.context(0, b"\x00\x01"),
        tags.opening(0) + inner + tags.closing(0),
        tags.opening(40) + tags.opening(3) + inner + tags.closing(3) + single[7] + tags.closing(40),
        tags.opening(2) * 32 + tags.closing(2) * 32,
    ]
    return single + several + groups


def entries() -> list[tuple[str, bytes]]:
    """Return the name of a decoder, and octets that are valid for it."""
    found: list[tuple[str, bytes]] = [("items", value) for value in values()]
    found += [("datum", octets) for octets in (b"", b"\0text", b"\4\xe4", b"\x7f\xc0\0\0", bytes(8))]
    found += [("tag", tags.context(17, bytes(9))), ("tag", tags.opening(255) + tags.closing(255))]
    error = PropertyError(2, 32)
    elements = [read_property_multiple.write_element(ref, error) for ref in _REFS]
    elements += [read_property_multiple.write_element(_REFS[0], value) for value in values()]
    wrapped = tags.opening(0) + apdu.encode_error(error) + tags.closing(0)
    parts = {
        "read-property-request": [read_property.write_parameters(ref) for ref in _REFS],
        "read-property-result": [read_property.write_result(_REFS[2], value) for value in values()],
        "read-property-multiple-request": [read_property_multiple.write_parameters(_REFS)],
        "read-property-multiple-result": [
            *(read_property_multiple.write_object(_INPUT, element) for element in elements),
            read_property_multiple.write_object(_INPUT, b"".join(elements[:12]))
            + read_property_multiple.write_object(_VENDOR_S, b"".join(elements[12:])),
        ],
        "error": [apdu.encode_error(error), wrapped],
        "who-is": [who_is.write_who_is(), who_is.write_who_is((0, 0x3FFFFF))],
        "i-am": [who_is.write_i_am(who_is.IAm(_DEVICE, 1476, who_is.Segmentation.NONE, 260))],
    }
    parts |= {
        "who-has": [who_has.write_who_has(WhoHas(_INPUT)), who_has.write_who_has(WhoHas("Grüße", (1, 70_000)))],
        "i-have": [who_has.write_i_have(IHave(_DEVICE, _INPUT, "Grüße"))],
        "network-message": [
            network_messages.write_who_is_router(),
            network_messages.write_who_is_router(2001),
            network_messages.write_i_am_router([1, 2001, 65534]),
            network_messages.write_number_is(NetworkNumber(2001, configured=True)),
            b"\x01\x80\x03\x01\x07\xd1",
        ],
        "bdt": [bvll_tables.write_bdt([_BBMD, _BBMD]), bvll_tables.write_bdt_ack([_BBMD] * 3)],
        "fdt": [bvll_tables.write_fdt_ack([FdtEntry(_BBMD.address, 300, 17)] * 2)],
        "bvlc-result": [bvll_tables.write_result(0), bvll_tables.write_result(0x30)],
    }
    services = {"read-property": Service.READ_PROPERTY, "read-property-multiple": Service.READ_PROPERTY_MULTIPLE}
    messages = [octets for name in ("who-is", "i-am", "who-has", "i-have") for octets in parts[name]]
    for name, service in services.items():
        messages += [apdu.write_request(service, octets, invoke_id=7) for octets in parts[f"{name}-request"]]
        messages += [apdu.write_complex_ack(service, 7, octets) for octets in parts[f"{name}-result"]]
        messages += [apdu.write_error(service, 7, error), bytes((0x50, 7, service)) + wrapped]
    messages += [b"\x0a\x75\x01\x00\x04\x0c", b"\x60\x07\x09", apdu.write_abort(7, 4, from_server=True)]
    messages += [b"\x20\x07\x0f", b"\x40\x07\x00\x04"]
    found += [(name, octets) for name, several in parts.items() for octets in several]
    found += [("message", octets) for octets in messages]
    found += [("request", octets) for octets in messages if octets[0] >> 4 == 0]
    headers = [npdu.write_npdu(**places) for places in _PLACES]
    found += [("npdu", octets) for octets in headers]
    for number, octets in enumerate(messages):
        found.append(("datagram", bvll.unicast(headers[number % len(headers)] + octets)))
    found += [("datagram", octets) for name in ("bdt", "fdt", "bvlc-result") for octets in parts[name]]
    found += [("datagram", bvll.unicast(octets)) for octets in parts["network-message"]]
    for start in (b"\x81\x0b", b"\x81\x09", b"\x81\x00", b"\x81\x05"):
        found.append(("bvll", start + b"\x00\x0c" + bytes(8)))
    forwarded = bytes(6) + headers[0] + messages[0]
    found.append(("datagram", b"\x81\x04" + (len(forwarded) + 4).to_bytes(2, "big") + forwarded))
    return found + [("engine", octets) for name, octets in found if name == "datagram"]
