"""The engine: each outcome told once, whatever comes in, and nothing taken that is bacpypes3's."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import SystemClock
from core.errors import DeviceTimeout
from plugins.bacnet.addresses import parse_station
from plugins.bacnet.engine import OURS, Engine, Path, Request, Tally
from plugins.bacnet.wire import apdu, bvll, npdu
from plugins.bacnet.wire.apdu import PropertyError, Service

HERE = parse_station("10.0.0.7:47808", interface="here")
BEHIND = parse_station("2001:5@10.0.0.1:47808", interface="here")
RESULT = b"\x0c\x00\x00\x00\x01\x1e\x29\x55\x4e\x21\x07\x4f\x1f"


class Sender:
    def __init__(self):
        self.outcomes = []
        self.overdues = 0
        self.told = asyncio.Event()

    def answered(self, outcome):
        self.outcomes.append(outcome)
        self.told.set()

    def overdue(self):
        self.overdues += 1


class Wire:
    """An engine whose datagrams go nowhere, and are looked at."""

    def __init__(self):
        self.sent = []
        self.tally = Tally()
        self.fails_with = None
        self.engine = Engine(self._send, self.tally, SystemClock())

    def _send(self, datagram, address):
        if self.fails_with is not None:
            raise self.fails_with
        self.sent.append((datagram, address))

    def ask(self, station=HERE, *, waits_s=(5.0,), path=None):
        request = Request(path or Path.to(station), Service.READ_PROPERTY_MULTIPLE, b"\x0c\0\0\0\1\x1e\x09\x55\x1f")
        request.waits_s = waits_s
        sender = Sender()
        self.engine.ask(request, sender)
        return request, sender

    def hear(self, message, *, station=HERE, header=None):
        if header is None:
            place = None if station.network is None else npdu.Place(station.network, station.mac)
            header = npdu.write_npdu(source=place)
        return self.engine.hear(bvll.unicast(header + message), (station.ip, station.port))


@pytest.fixture
async def wire():
    made = Wire()
    yield made
    made.engine.close()


def ack(request, result=RESULT, *, first=0x30):
    return bytes((first, request.invoke_id, request.service)) + result


async def test_a_request_without_result_is_answered_by_a_simple_ack_of_its_own_service_only(wire):
    reading, told_reading = wire.ask()
    writing = Request(reading.path, Service.WRITE_PROPERTY, b"")
    writing.waits_s = (5.0,)
    told = Sender()
    wire.engine.ask(writing, told)
    wire.hear(apdu.write_simple_ack(reading.service, reading.invoke_id))
    wire.hear(apdu.write_simple_ack(Service.SUBSCRIBE_COV, writing.invoke_id))
    assert told_reading.outcomes == told.outcomes == []
    wire.hear(apdu.write_simple_ack(Service.WRITE_PROPERTY, writing.invoke_id))
    assert told.outcomes == [b""]


@pytest.mark.parametrize("station", [HERE, BEHIND])
async def test_an_answer_is_known_by_its_sender_and_invoke_id(wire, station):
    first, told_first = wire.ask(station)
    second, told_second = wire.ask(station, path=first.path)
    assert first.invoke_id != second.invoke_id
    assert wire.hear(ack(second, b"second"), station=station)
    assert wire.hear(ack(first, b"first"), station=station)
    assert (told_first.outcomes, told_second.outcomes) == ([b"first"], [b"second"])
    assert wire.engine.under_way == 0
    assert first.rtt_s is not None


async def test_a_request_goes_out_as_the_standard_writes_it(wire):
    request, _sender = wire.ask(BEHIND)
    ((datagram, address),) = wire.sent
    assert address == ("10.0.0.1", 47808)
    assert bvll.read_function(datagram) == bvll.Function.ORIGINAL_UNICAST_NPDU
    header = npdu.read_npdu(datagram, bvll.HEADER)
    assert header.destination == npdu.Place(2001, b"\5")
    assert header.control & npdu.EXPECTS_REPLY
    read = apdu.read_request(datagram, header.at)
    assert (read.segmented, read.max_apdu, read.invoke_id, read.service) == (False, 1476, request.invoke_id, 14)


async def test_the_same_id_from_another_station_is_another_request(wire):
    request, sender = wire.ask(BEHIND)
    wire.hear(ack(request), station=parse_station("2001:6@10.0.0.1:47808", interface="here"))
    wire.hear(ack(request), station=parse_station("2002:5@10.0.0.1:47808", interface="here"))
    wire.hear(ack(request), station=parse_station("10.0.0.1:47808", interface="here"))
    assert sender.outcomes == []
    assert wire.tally.late == 3


async def test_a_router_may_name_the_destination_and_the_hops_too(wire):
    request, sender = wire.ask(BEHIND)
    header = npdu.write_npdu(destination=npdu.Place(7, b"\1"), source=npdu.Place(2001, b"\5"), hops=3)
    assert wire.hear(ack(request), station=BEHIND, header=header)
    assert sender.outcomes == [RESULT]


@pytest.mark.parametrize(
    ("message", "refusal"),
    [
        (lambda id_: apdu.write_error(14, id_, PropertyError(1, 31)), "error object unknown-object"),
        (lambda id_: apdu.write_error(14, id_, PropertyError(64, 500)), "error 64 500"),
        (lambda id_: bytes((0x50, id_, 14, 0xFF)), "error services undecodable-answer"),
        (lambda id_: bytes((0x60, id_, 9)), "reject unrecognized-service"),
        (lambda id_: apdu.write_abort(id_, 4, from_server=True), "abort segmentation-not-supported"),
        (lambda id_: apdu.write_abort(id_, 200, from_server=True), "abort 200"),
    ],
)
async def test_each_sort_of_no_is_told_in_the_words_of_the_standard(wire, message, refusal):
    request, sender = wire.ask()
    assert wire.hear(message(request.invoke_id))
    assert [str(outcome) for outcome in sender.outcomes] == [refusal]
    assert wire.tally.refusals == 1


async def test_an_answer_in_segments_that_nobody_asked_for_is_aborted(wire):
    request, sender = wire.ask()
    assert wire.hear(bytes((0x3C, request.invoke_id, 0, 4, 14)) + RESULT)
    assert [str(outcome) for outcome in sender.outcomes] == ["abort segmentation-not-supported"]
    abort = wire.sent[-1][0]
    assert abort[-3:] == bytes((0x70, request.invoke_id, 4))


async def test_what_is_bacpypes3s_is_left_to_it(wire):
    request, sender = wire.ask()
    theirs = [
        bytes((0x30, OURS, 14)) + RESULT,
        bytes((0x3C, OURS, 0, 4, 12)) + RESULT,
        bytes((0x20, 255, 15)),
        bytes((0x60, 200, 9)),
        bytes((0x00, 0x05, request.invoke_id, 12)) + RESULT,
        bytes((0x10, 0x08)),
        bytes((0x70, request.invoke_id, 0)),
        bytes((0x40, request.invoke_id, 0, 1)),
    ]
    assert [wire.hear(message) for message in theirs] == [False] * len(theirs)
    broadcast = b"\x81\x0b" + bvll.unicast(npdu.write_npdu() + ack(request))[2:]
    assert not wire.engine.hear(broadcast, (HERE.ip, HERE.port))
    network_message = b"\x01\x80\x01\x07\xd1" + ack(request)
    assert not wire.engine.hear(bvll.unicast(network_message), (HERE.ip, HERE.port))
    assert sender.outcomes == []


async def test_answers_of_another_service_and_acknowledgements_without_result_are_not_the_answer(wire):
    request, sender = wire.ask()
    wire.hear(bytes((0x30, request.invoke_id, 12)) + RESULT)
    wire.hear(bytes((0x20, request.invoke_id, 14)))
    assert sender.outcomes == []
    wire.hear(ack(request))
    assert sender.outcomes == [RESULT]


async def test_a_second_answer_and_a_late_one_are_counted_and_dropped(wire):
    request, sender = wire.ask()
    wire.hear(ack(request))
    assert wire.hear(ack(request))
    assert sender.outcomes == [RESULT]
    assert wire.tally.late == 1


async def test_what_is_not_answered_is_asked_again_then_given_up(wire):
    request, sender = wire.ask(waits_s=(0.03, 0.03))
    async with asyncio.timeout(2):
        await sender.told.wait()
    assert len(wire.sent) == 2
    assert wire.sent[0] == wire.sent[1], "with the same invoke id, so that the device knows it"
    (outcome,) = sender.outcomes
    assert isinstance(outcome, DeviceTimeout)
    assert "10.0.0.7:47808" in str(outcome)
    assert (sender.overdues, wire.tally.repeats, wire.tally.timeouts) == (1, 1, 1)
    assert request.rtt_s is None


async def test_an_answer_to_the_first_try_is_taken_during_the_second(wire):
    request, sender = wire.ask(waits_s=(0.01, 5.0))
    async with asyncio.timeout(2):
        while not sender.overdues:
            await asyncio.sleep(0)
    wire.hear(ack(request))
    assert sender.outcomes == [RESULT]
    assert request.rtt_s is None, "which try it answers is not known"


async def test_no_way_to_the_device_is_told_at_once(wire):
    wire.fails_with = OSError(101, "Network is unreachable")
    _request, sender = wire.ask()
    assert sender.outcomes == []
    async with asyncio.timeout(1):
        await sender.told.wait()
    assert "Network is unreachable" in str(sender.outcomes[0])
    assert wire.engine.under_way == 0


async def test_a_request_that_was_given_up_is_told_nothing(wire):
    request, sender = wire.ask()
    wire.engine.give_up(request)
    wire.hear(ack(request))
    assert sender.outcomes == []
    assert wire.engine.under_way == 0


async def test_more_than_all_invoke_ids_of_a_station_do_not_freeze_anything(wire):
    path = Path.to(HERE)
    asked = [wire.ask(path=path) for _ in range(OURS + 2)]
    async with asyncio.timeout(1):
        await asked[-1][1].told.wait()
    assert [str(outcome) for outcome in asked[-1][1].outcomes] == ["abort out-of-resources"]
    assert len({request.invoke_id for request, _sender in asked[:OURS]}) == OURS
    other, sender = wire.ask(BEHIND)
    wire.hear(ack(other), station=BEHIND)
    assert sender.outcomes == [RESULT]


async def test_closing_tells_all_who_wait(wire):
    senders = [wire.ask()[1] for _ in range(3)]
    wire.engine.close()
    assert all(isinstance(sender.outcomes[0], DeviceTimeout) for sender in senders)


async def test_any_datagram_is_taken_or_left_and_never_an_exception(wire):
    request, _sender = wire.ask()
    whole = bvll.unicast(npdu.write_npdu(source=npdu.Place(1, b"\1")) + ack(request))
    beginnings = st.sampled_from([whole[:length] for length in range(len(whole))] + [b"\x81\x0a\0\x20\1\x08", b""])

    @given(beginnings, st.binary(max_size=40))
    def check(beginning, rest):
        assert wire.engine.hear(beginning + rest, ("10.0.0.9", 47808)) in (True, False)

    check()


async def test_what_is_asked_of_a_closed_engine_is_told_silence(wire):
    wire.engine.close()
    _request, sender = wire.ask()
    async with asyncio.timeout(1):
        await sender.told.wait()
    assert isinstance(sender.outcomes[0], DeviceTimeout)
    assert wire.sent == []


async def test_giving_up_one_request_leaves_the_next_with_its_id_alone(wire):
    path = Path.to(HERE)
    first, _sender = wire.ask(path=path)
    wire.engine.give_up(first)
    path.last_id = first.invoke_id - 1
    second, sender = wire.ask(path=path)
    assert second.invoke_id == first.invoke_id
    wire.engine.give_up(first)
    wire.hear(ack(second))
    assert sender.outcomes == [RESULT]
