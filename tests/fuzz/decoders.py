"""What is fuzzed: every decoder by name, each going on into all that it finds, and the engine that hears them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence

from core.clock import SystemClock
from plugins.bacnet.addresses import Station
from plugins.bacnet.engine import Engine, Outcome, Path, Request, Tally
from plugins.bacnet.errors import Refusal
from plugins.bacnet.protocol import Answer
from plugins.bacnet.requests import answers_of, items_of, octets_of, read_multiple, read_one
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
    write_property,
    write_property_multiple,
)
from plugins.bacnet.wire.apdu import PduType, Service
from plugins.bacnet.wire.bvll import Function
from plugins.bacnet.wire.datatypes import Date, Datum, Group, ObjectId, Ref, Time
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.items import decode_items
from plugins.bacnet.wire.network_messages import MessageType

INVOKE_ID = 7
REFS = [Ref(ObjectId(0, 1), 85), Ref(ObjectId(0, 1), 111), Ref(ObjectId(8, 4001), 76, 0)]

_APPLICATION_TAGS = 17
_HEADER = 3  # octets of a Complex-ACK's and an Error's


def datagram(data: bytes) -> None:
    """Read a datagram as it comes from the network, down to the last datum."""
    function = bvll.read_function(data)
    if function not in bvll.CARRIES_NPDU:
        reader = _TABLES.get(function)
        if reader is not None:
            reader(data)
        return
    header = npdu.read_npdu(data, bvll.CARRIES_NPDU[bvll.Function(function)])
    if header.for_application:
        message(data[header.at :])
    else:
        network_message(data, header.at)


def network_message(data: bytes, at: int = 2) -> None:
    """Read a message of the network layer; its header ends at an index."""
    if at >= len(data):
        raise DecodeError("nothing")
    reader = _NETWORK_MESSAGES.get(data[at])
    if reader is not None:
        str(reader(data, at))


def message(data: bytes) -> None:
    """Read a message of the application layer."""
    if not data:
        raise DecodeError("nothing")
    reader = _MESSAGES.get(data[0] >> 4)
    if reader is not None:
        reader(data)


def request(data: bytes) -> None:
    """Read a request and its parameters."""
    found = apdu.read_request(data)
    parameters = data[found.at :]
    if found.service == Service.READ_PROPERTY:
        str(read_property.read_parameters(parameters))
    elif found.service == Service.READ_PROPERTY_MULTIPLE:
        str(read_property_multiple.read_parameters(parameters))
    elif found.service == Service.WRITE_PROPERTY:
        str(write_property.read_parameters(parameters))
    elif found.service == Service.WRITE_PROPERTY_MULTIPLE:
        str(write_property_multiple.read_parameters(parameters))


def unconfirmed(data: bytes) -> None:
    """Read a Who-Is, an I-Am, a Who-Has or an I-Have."""
    readers = {who_is.WHO_IS: who_is.read_who_is, who_has.WHO_HAS: who_has.read_who_has}
    readers[who_has.I_HAVE] = who_has.read_i_have
    str(readers.get(data[:2], who_is.read_i_am)(data))


def complex_ack(data: bytes) -> None:
    """Read an answer with a result."""
    if data[2:3] == bytes((Service.READ_PROPERTY,)):
        read_property_result(data[_HEADER:])
    else:
        read_property_multiple_result(data[_HEADER:])


def read_property_result(data: bytes) -> None:
    """Read a ReadProperty's result and its value."""
    found = read_property.read_result(data)
    assert 0 < found.start <= found.end < len(data)
    assert str(found.ref.object)
    _show(found.items(data))


def read_property_multiple_result(data: bytes) -> None:
    """Read a ReadPropertyMultiple's result and all its values, of which each may be broken by itself."""
    last = 0
    for element in read_property_multiple.read_result(data):
        assert last < element.start <= element.end < len(data)
        last = element.end
        assert str(element.ref.object)
        assert str(element.error)
        try:
            _show(element.items(data))
        except DecodeError:
            continue


def items(data: bytes) -> None:
    """Read a property's value."""
    _show(decode_items(data))


def header(data: bytes) -> None:
    """Read a header of the network layer."""
    found = npdu.read_npdu(data)
    assert 2 <= found.at <= len(data)


def one_datum(data: bytes) -> None:
    """Read octets as each datatype there is, and some that are none."""
    for number in range(_APPLICATION_TAGS):
        try:
            _show((primitives.decode(number, data),))
        except DecodeError:
            continue


def one_tag(data: bytes) -> None:
    """Read one tag, which says when the octets end by an IndexError."""
    try:
        tag = tags.read_tag(data, 0)
        assert 0 < tag.at <= tag.end <= len(data)
        tags.skip_group(data, 0, tag.number)
    except IndexError as error:
        raise DecodeError("the octets end too early") from error


class Asked:
    """An engine with a request under way to a station, as if the invoke id of the corpus were its turn."""

    def __init__(self, request: Request) -> None:
        self.request = request
        request.waits_s = (1.0,)
        loop = asyncio.new_event_loop()
        self.engine = loop.run_until_complete(self._make_engine())
        self.outcomes: list[Outcome] = []

    async def _make_engine(self) -> Engine:
        return Engine(lambda _datagram, _address: None, Tally(), SystemClock())

    def hear(self, data: bytes) -> bool:
        """Ask, hear a datagram, and look into what it says; tell whether the engine took it."""
        self.outcomes.clear()
        path = self.request.path
        path.last_id = INVOKE_ID - 1
        self.engine.ask(self.request, self)
        taken = self.engine.hear(data, path.address)
        self.engine.give_up(self.request)
        assert not self.engine.under_way
        assert len(self.outcomes) <= taken
        for outcome in self.outcomes:
            if isinstance(outcome, bytes):
                with contextlib.suppress(Refusal):
                    str(self._answers(outcome))
        return taken

    def answered(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def overdue(self) -> None:
        raise AssertionError("the loop does not run")

    def _answers(self, octets: bytes) -> Sequence[Answer] | Answer:
        if self.request.service == Service.READ_PROPERTY:
            return items_of(octets_of(octets, REFS[0]))
        return answers_of(octets, REFS)


@functools.cache
def asked() -> list[Asked]:
    """Return a request of each sort, to stations on our network and behind a router."""
    stations = Station("", "10.0.0.7", 47808), Station("", "10.0.0.7", 47808, 2001, bytes(range(6)))
    paths = [Path.to(station) for station in stations]
    return [
        Asked(make(path))
        for path in paths
        for make in (lambda p: read_one(p, REFS[0]), lambda p: read_multiple(p, REFS))
    ]


def engine(data: bytes) -> None:
    """Hear a datagram that may answer a request of ours."""
    taken = [one.hear(data) for one in asked()]
    if not any(taken):
        raise DecodeError("not for the engine")


def _show(found: Iterable[Datum]) -> None:
    for datum in found:
        if isinstance(datum, Group):
            _show(datum.items)
        else:
            text = str(datum)
            if isinstance(datum, Date | Time):
                assert text


_MESSAGES: dict[int, Callable[[bytes], object]] = {
    PduType.CONFIRMED_REQUEST: request,
    PduType.UNCONFIRMED_REQUEST: unconfirmed,
    PduType.COMPLEX_ACK: complex_ack,
    PduType.ERROR: lambda data: str(apdu.read_error(data, _HEADER)),
    PduType.REJECT: lambda data: apdu.reject_reason(data[-1]),
    PduType.ABORT: lambda data: apdu.abort_reason(data[-1]),
}

_NETWORK_MESSAGES: dict[int, Callable[[bytes, int], object]] = {
    MessageType.WHO_IS_ROUTER_TO_NETWORK: network_messages.read_who_is_router,
    MessageType.I_AM_ROUTER_TO_NETWORK: network_messages.read_i_am_router,
    MessageType.REJECT_MESSAGE_TO_NETWORK: network_messages.read_rejection,
    MessageType.NETWORK_NUMBER_IS: network_messages.read_number_is,
}

_TABLES: dict[int, Callable[[bytes], object]] = {
    Function.RESULT: bvll_tables.read_result,
    Function.WRITE_BROADCAST_DISTRIBUTION_TABLE: bvll_tables.read_bdt,
    Function.READ_BROADCAST_DISTRIBUTION_TABLE_ACK: bvll_tables.read_bdt,
    Function.READ_FOREIGN_DEVICE_TABLE_ACK: bvll_tables.read_fdt,
}

DECODERS: dict[str, Callable[[bytes], object]] = {
    "datagram": datagram,
    "engine": engine,
    "message": message,
    "read-property-request": read_property.read_parameters,
    "read-property-result": read_property_result,
    "read-property-multiple-request": read_property_multiple.read_parameters,
    "read-property-multiple-result": read_property_multiple_result,
    "error": apdu.read_error,
    "request": request,
    "who-is": who_is.read_who_is,
    "i-am": who_is.read_i_am,
    "who-has": who_has.read_who_has,
    "i-have": who_has.read_i_have,
    "network-message": network_message,
    "bdt": bvll_tables.read_bdt,
    "fdt": bvll_tables.read_fdt,
    "bvlc-result": bvll_tables.read_result,
    "items": items,
    "npdu": header,
    "bvll": bvll.read_function,
    "datum": one_datum,
    "tag": one_tag,
}
