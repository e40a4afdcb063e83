"""The fast half answers as bacpypes3 does, octet by octet, or leaves it to bacpypes3."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.bacnet.wire import bvll, read_property, read_property_multiple, who_is
from plugins.bacnet.wire.datatypes import NO_INSTANCE, ObjectId, Ref
from plugins.bacnet.wire.npdu import Place, read_npdu, write_npdu
from plugins.simulator.building import make_building
from plugins.simulator.controllers import change, make_controller
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.objects import Access, ObjectType, SimulatedObject
from plugins.simulator.physics import Physics
from plugins.simulator.server.fast import MOST_WAYS, FastHalf
from plugins.simulator.server.octets import object_id
from plugins.simulator.server.properties import Property
from plugins.simulator.server.service import mac_of
from plugins.simulator.server.station import MOST_PLANS, Station
from plugins.simulator.server.stations import Stations

from .asking import NETWORK, PRESENT_VALUE, SlowHalf, device_id, present_values, read, read_many, to

AHU, VAV, OLD_VAV, OLD_LIGHTING, SIMPLE_METER, WEATHER = 2001, 2004, 2017, 2028, 2024, 2029
ROUTED = Place(0x0307, b"\x05")


@pytest.fixture(scope="module")
def devices() -> tuple[SimulatedDevice, ...]:
    building = make_building(1, controllers=2, points=20)
    Physics(building)
    return building.devices


@pytest.fixture
def fast(devices: tuple[SimulatedDevice, ...]) -> FastHalf:
    return half(devices)


def half(devices: tuple[SimulatedDevice, ...], *, direct: SimulatedDevice | None = None) -> FastHalf:
    stations = [Station(device, Place(NETWORK, mac_of(device.instance))) for device in devices]
    return FastHalf(Stations(stations if direct is None else [*stations, Station(direct, None)]))


def one_of_each(devices: tuple[SimulatedDevice, ...]) -> Iterator[tuple[SimulatedDevice, SimulatedObject]]:
    seen = set()
    for device in devices:
        for data in device.objects:
            if (data.type, data.access) not in seen:
                seen.add((data.type, data.access))
                yield device, data


def device_of(devices: tuple[SimulatedDevice, ...], instance: int) -> SimulatedDevice:
    return next(device for device in devices if device.instance == instance)


def apdu_of(answers: Sequence[bytes] | None) -> bytes:
    assert answers is not None
    [answer] = answers
    return answer[read_npdu(answer, bvll.HEADER).at :]


def value_of(answers: Sequence[bytes] | None) -> Any:
    """Read the value that a Complex-ACK to ReadProperty brings."""
    message = apdu_of(answers)
    assert message[0] == 0x30
    found = read_property.read_result(message, 3)
    return found.items(message)[0]


async def test_every_property_of_every_object_is_what_bacpypes3_answers(
    devices: tuple[SimulatedDevice, ...], fast: FastHalf
) -> None:
    slow = SlowHalf(devices)
    compared = 0
    for device in devices:
        ids = [device_id(device), ObjectId(8, NO_INSTANCE), *map(object_id, device.objects)]
        for ref in (Ref(each, number) for each in ids for number in Property):
            request = to(device.instance, read(ref, invoke_id=compared % 256))
            answers = fast.answer(request)
            if answers is not None and apdu_of(answers)[0] == 0x30:
                assert list(answers) == await slow.ask(request), (device.name, str(ref.object), ref.property)
                compared += 1
    assert compared > 10 * sum(len(device.objects) for device in devices)


async def test_whatever_number_a_property_has_the_answer_is_that_of_bacpypes3(
    devices: tuple[SimulatedDevice, ...], fast: FastHalf
) -> None:
    slow = SlowHalf(devices)
    vav = device_of(devices, VAV)
    for data in (vav.objects[0], next(data for data in vav.objects if data.type is ObjectType.MULTI_STATE_VALUE)):
        for number in (*range(520), 1000, 4000, NO_INSTANCE):
            request = to(VAV, read(Ref(object_id(data), number)))
            answers = fast.answer(request)
            assert (answers is None) == (number in {Property.ALL, Property.REQUIRED, Property.OPTIONAL}), number
            assert answers is None or list(answers) == await slow.ask(request), number


async def test_arrays_are_read_by_index_as_bacpypes3_does(devices: tuple[SimulatedDevice, ...], fast: FastHalf) -> None:
    slow = SlowHalf(devices)
    arrays = (Property.PRIORITY_ARRAY, Property.STATE_TEXT, Property.PROPERTY_LIST, Property.UNITS, PRESENT_VALUE)
    refs = [
        (device, Ref(object_id(data), number, index))
        for device, data in one_of_each(devices)
        for number in arrays
        for index in (0, 1, 3, 16, 17, 70_000)
    ]
    for device in devices[::7]:
        last = len(device.objects) + 1
        refs += [
            (device, Ref(device_id(device), Property.OBJECT_LIST, index)) for index in (None, 0, 1, last, last + 1)
        ]
        refs.append((device, Ref(device_id(device), Property.OBJECT_NAME, 1)))
    for device, ref in refs:
        request = to(device.instance, read(ref))
        answers = fast.answer(request)
        if answers is None:
            assert ref.property == Property.OBJECT_LIST, ref  # too long
        else:
            assert list(answers) == await slow.ask(request), (device.name, ref)


async def test_commands_and_what_is_out_of_service_are_read_as_bacpypes3_reads_them() -> None:
    own = make_building(3).devices
    fast, slow = half(own), SlowHalf(own)
    live = (PRESENT_VALUE, Property.PRIORITY_ARRAY, Property.RELINQUISH_DEFAULT, Property.CURRENT_COMMAND_PRIORITY)
    for device, data in one_of_each(own):
        for priority in (16, 8):
            if data.access is Access.COMMANDABLE:
                data.write(data.value, priority)
        if data.type.is_input:
            data.set_out_of_service(out_of_service=True)
        refs = [Ref(object_id(data), number) for number in (*live, Property.STATUS_FLAGS, Property.OUT_OF_SERVICE)]
        refs += [Ref(object_id(data), Property.PRIORITY_ARRAY, index) for index in (7, 8, 16)]
        for request in (to(device.instance, read(ref)) for ref in refs):
            answers = fast.answer(request)
            assert answers is not None
            assert list(answers) == await slow.ask(request), data.name


async def test_many_properties_are_read_as_bacpypes3_reads_them(
    devices: tuple[SimulatedDevice, ...], fast: FastHalf
) -> None:
    slow = SlowHalf(devices)
    for device in devices:
        own = Ref(device_id(device), Property.OBJECT_NAME)
        anybody = Ref(ObjectId(8, NO_INSTANCE), Property.OBJECT_LIST, 1)
        missing = [Ref(ObjectId(0, 999), PRESENT_VALUE), Ref(ObjectId(0, 999), Property.ALL)]
        first = object_id(device.objects[0])
        wrong = [Ref(first, 4000), Ref(first, Property.UNITS, 2), Ref(first, Property.PRIORITY_ARRAY, 17)]
        everything = [
            Ref(ref.object, number)
            for ref in present_values(device)[:4]
            for number in (PRESENT_VALUE, Property.STATUS_FLAGS, Property.OBJECT_NAME)
        ]
        for refs in ([own], [own, anybody], [*missing, own], wrong, everything, present_values(device)[:9]):
            request = to(device.instance, read_many(refs, invoke_id=9))
            answers = fast.answer(request)
            assert answers is None or list(answers) == await slow.ask(request), (device.name, refs)
            assert answers is not None or device.product.max_apdu < 1476


@pytest.mark.parametrize(
    "message",
    [
        "0005010f0c0000000119553e4441a000003f",  # WriteProperty
        "0005011a0c00000001",  # ReadRange
        "000501050901" + "1c00000001",  # SubscribeCOV
        "080501000c0c000000011955",  # a segment
        "0006010c0c000000011955",  # a length of answer that the standard does not have
        "0005010e0c000000011e09081f",  # all properties
        "0005010e0c000000011e09551f0c000000011e09551f",  # one object twice
        "0005010e",  # nothing
        "0005010c0c0000",  # a piece of a request
        "2001",  # an acknowledgement
        "",
    ],
)
def test_what_is_not_prepared_is_left_to_bacpypes3(fast: FastHalf, message: str) -> None:
    assert fast.answer(to(VAV, bytes.fromhex(message))) is None


def test_what_is_read_of_the_clock_or_in_whole_is_left_to_bacpypes3(
    devices: tuple[SimulatedDevice, ...], fast: FastHalf
) -> None:
    own = device_id(device_of(devices, VAV))
    for number in (Property.LOCAL_DATE, Property.LOCAL_TIME, Property.ALL, 372):
        assert fast.answer(to(VAV, read(Ref(own, number)))) is None
        assert fast.answer(to(VAV, read_many([Ref(own, Property.OBJECT_NAME), Ref(own, number)]))) is None
    assert fast.answer(to(VAV, read(Ref(own, Property.PROPERTY_LIST, 1)))) is None


def test_answers_that_client_or_device_cannot_take_are_left_to_bacpypes3(
    devices: tuple[SimulatedDevice, ...], fast: FastHalf
) -> None:
    ahu = device_of(devices, AHU)
    request = bytearray(to(AHU, read_many(present_values(ahu))))
    whole = fast.answer(bytes(request))
    assert whole is not None
    max_apdu = request.index(bytes.fromhex("0005010e")) + 1
    for code, fits in ((0, False), (2, False), (3, False), (4, True), (5, True), (0x75, True), (6, False)):
        request[max_apdu] = code
        assert (fast.answer(bytes(request)) is not None) is fits, code
    assert fast.answer(to(OLD_LIGHTING, read(Ref(ObjectId(8, OLD_LIGHTING), Property.OBJECT_LIST)))) is None


async def test_at_the_limit_both_halves_agree_on_what_fits(devices: tuple[SimulatedDevice, ...]) -> None:
    fast, slow = half(devices), SlowHalf(devices)
    vav = device_of(devices, OLD_VAV)
    outcomes = set()
    for count in range(1, len(vav.objects) + 1):
        request = to(OLD_VAV, read_many(present_values(vav)[:count]))
        answers, [others] = fast.answer(request), await slow.ask(request)
        aborted = others[10] == 0x71
        assert aborted == (answers is None), count
        outcomes.add(aborted)
    assert outcomes == {True, False}


async def test_a_device_without_read_property_multiple_rejects_it(
    devices: tuple[SimulatedDevice, ...], fast: FastHalf
) -> None:
    request = to(SIMPLE_METER, read_many([Ref(ObjectId(0, 1), PRESENT_VALUE)], invoke_id=77))
    answers = fast.answer(request)
    assert apdu_of(answers).hex() == "604d09"
    assert list(answers or ()) == await SlowHalf(devices).ask(request)


async def test_a_client_behind_another_router_gets_its_answer_back_that_way(
    devices: tuple[SimulatedDevice, ...], fast: FastHalf
) -> None:
    slow = SlowHalf(devices)
    for message in (read(Ref(ObjectId(0, 1), PRESENT_VALUE)), read(Ref(ObjectId(0, 99), PRESENT_VALUE))):
        for source in (None, ROUTED, Place(7, b"\1\2\3\4\xba\xc0")):
            request = to(VAV, message, source=source)
            answers = fast.answer(request)
            assert answers is not None
            assert list(answers) == await slow.ask(request)
            header = read_npdu(answers[0], bvll.HEADER)
            assert (header.destination, header.source) == (source, Place(NETWORK, b"\x04"))


@pytest.mark.parametrize("limits", [None, (VAV, VAV), (0, NO_INSTANCE), (2005, 2010), (VAV + 1, VAV)])
@pytest.mark.parametrize("source", [None, ROUTED])
async def test_an_i_am_to_one_address_is_that_of_bacpypes3(
    devices: tuple[SimulatedDevice, ...], fast: FastHalf, limits: tuple[int, int] | None, source: Place | None
) -> None:
    slow = SlowHalf(devices)
    for device in (VAV, AHU, SIMPLE_METER, 10002):
        request = to(device, who_is.write_who_is(limits), source=source, reply=False)
        answers = fast.answer(request)
        assert answers is not None
        assert list(answers) == await settled(slow, request)


async def settled(slow: SlowHalf, request: bytes) -> list[bytes]:
    """Ask bacpypes3 what it answers in a task of its own."""
    answers = await slow.ask(request)
    for _ in range(5):
        await asyncio.sleep(0)
    return answers or slow.sent()


@pytest.mark.parametrize("destination", [None, Place(NETWORK, b""), Place(0xFFFF, b"")])
def test_everybody_hears_a_who_is_within_its_limits(
    devices: tuple[SimulatedDevice, ...], fast: FastHalf, destination: Place | None
) -> None:
    def found(limits: tuple[int, int] | None) -> list[int]:
        header = write_npdu(destination=destination)
        answers = fast.answer(bvll.unicast(header + who_is.write_who_is(limits)))
        assert answers is not None
        messages = [(answer, read_npdu(answer, bvll.HEADER)) for answer in answers]
        instances = [who_is.read_i_am(answer, npdu.at).device.instance for answer, npdu in messages]
        assert [npdu.source for _, npdu in messages] == [Place(NETWORK, mac_of(each)) for each in instances]
        return instances

    assert found(None) == [device.instance for device in devices]
    assert found((2004, 2006)) == [2004, 2005, 2006]
    assert found((10_000, NO_INSTANCE)) == [10_001, 10_002]
    assert found((5, 4)) == []


@pytest.mark.parametrize(
    "message", ["1008" + "09ff", "1008" + "0b400000" + "1b400000", "1008" + "0a07d1" + "1a07d1" + "00", "1007", "1000"]
)
def test_a_who_is_that_makes_no_sense_is_left_to_bacpypes3(fast: FastHalf, message: str) -> None:
    assert fast.answer(to(None, bytes.fromhex(message), reply=False)) is None


def test_messages_for_other_networks_or_the_network_layer_are_left_to_the_router(fast: FastHalf) -> None:
    who = who_is.write_who_is()
    assert fast.answer(to(VAV, who, network=777)) is None
    assert fast.answer(bvll.unicast(write_npdu(destination=Place(777, b"")) + who)) is None
    assert fast.answer(bvll.unicast(b"\x01\x80\x00")) is None
    assert fast.answer(to(VAV, read(Ref(ObjectId(0, 1), PRESENT_VALUE)), network=777)) is None
    assert fast.answer(to(2200, read(Ref(ObjectId(0, 1), PRESENT_VALUE)))) is None
    assert fast.answer(to(2200, who)) == []
    assert fast.answer(to(None, read(Ref(ObjectId(0, 1), PRESENT_VALUE)))) is None


@pytest.mark.parametrize("limits", ["", "0a07d1" + "1a0fa0"])
async def test_who_has_is_answered_as_bacpypes3_does(
    devices: tuple[SimulatedDevice, ...], fast: FastHalf, limits: str
) -> None:
    slow = SlowHalf(devices)
    name = "VAV-1-01 Room Temperature"
    searches = {
        "2c00000001": VAV,
        "2c0200" + f"{VAV:04x}": VAV,
        "2c3fffffff": None,
        "3d" + f"{len(name) + 1:02x}00" + name.encode().hex(): VAV,
        "3d0900" + b"VAV-1-01".hex(): VAV,
        "3d0700" + b"nobody".hex(): None,
    }
    for search, holder in searches.items():
        message = bytes.fromhex("1007" + limits + search)
        answers = fast.answer(to(VAV, message, reply=False))
        assert answers is not None
        assert list(answers) == await settled(slow, to(VAV, message, reply=False)), search
        assert len(answers) == (holder is not None)
    assert len(fast.answer(to(None, bytes.fromhex("10072c00000001"), reply=False)) or ()) >= 25


def test_a_device_on_the_port_itself_answers_what_bears_no_network(devices: tuple[SimulatedDevice, ...]) -> None:
    fast = half(devices, direct=make_controller(77, "Direct", points=10))
    ref = Ref(ObjectId(0, 6), PRESENT_VALUE)
    [answer] = fast.answer(to(None, read(ref))) or ()
    assert answer[4:6].hex() == "0100"
    assert value_of([answer]) == 26.0
    [routed] = fast.answer(to(None, read(ref), source=ROUTED)) or ()
    assert routed[4:].hex().startswith("0120" + "03070105" + "ff" + "30")
    assert len(fast.answer(to(None, who_is.write_who_is(), reply=False)) or ()) == len(devices) + 1
    [i_am] = fast.answer(to(None, who_is.write_who_is((77, 77)), reply=False)) or ()
    assert i_am[4:6].hex() == "0100"
    assert fast.answer(to(77, read(ref))) is None


def test_an_answer_is_never_older_than_the_last_change(devices: tuple[SimulatedDevice, ...]) -> None:
    device = make_controller(10_500, "C", points=30)
    fast = half((device,))
    request = to(10_500, read_many(present_values(device)))
    point = next(data for data in device.objects if data.access is Access.COMMANDABLE)
    sensor = device.objects[0]

    def values() -> dict[ObjectId, Any]:
        message = apdu_of(fast.answer(request))
        return {each.ref.object: each.items(message)[0] for each in read_property_multiple.read_result(message, 3)}

    def of(data: SimulatedObject) -> Any:
        return values()[object_id(data)]

    assert of(point) == 21.0
    point.write(30.0, 8)
    assert of(point) == 30.0
    point.set(22.0)
    assert of(point) == 30.0
    point.relinquish(8)
    assert of(point) == 22.0
    sensor.set_out_of_service(out_of_service=True)
    sensor.write(1.5)
    assert of(sensor) == 1.5
    sensor.set_out_of_service(out_of_service=False)
    assert of(sensor) == 21.0
    for _ in range(120):
        for data in device.objects:
            before = of(data)
            change(data)
            assert of(data) != before
            assert float(of(data)) == pytest.approx(float(data.value))


def test_the_answers_that_are_kept_are_few(devices: tuple[SimulatedDevice, ...]) -> None:
    device = make_controller(10_500, "C", points=1000)
    fast = half((device,))
    for _ in range(2):
        for data in device.objects:
            assert value_of(fast.answer(to(10_500, read(Ref(object_id(data), PRESENT_VALUE))))) == data.value
    assert len(next(iter(fast._stations))._plans) == MOST_PLANS
    for number in range(MOST_WAYS + 10):
        source = Place(9, number.to_bytes(4, "big"))
        assert fast.answer(to(10_500, read(Ref(ObjectId(0, 1), PRESENT_VALUE)), source=source)) is not None
    assert len(fast._ways) <= MOST_WAYS


class TestFuzz:
    """Whatever comes in: datagrams, or nothing."""

    device = make_controller(VAV, "C", points=20)
    fast = half((device,), direct=make_controller(9, "D", points=10))
    requests = (
        to(VAV, read(Ref(ObjectId(0, 1), PRESENT_VALUE))),
        to(VAV, read_many(present_values(device)), source=ROUTED),
        to(None, who_is.write_who_is((1, 9))),
        to(None, bytes.fromhex("10072c00000001")),
    )

    def is_sound(self, answers: Sequence[bytes] | None) -> bool:
        return answers is None or all(isinstance(answer, bytes) and bvll.read_function(answer) for answer in answers)

    @given(st.binary(max_size=80))
    def test_random_octets_never_raise(self, octets: bytes) -> None:
        assert self.is_sound(self.fast.answer(octets))
        assert self.is_sound(self.fast.answer(bvll.unicast(octets)))

    @settings(max_examples=150)
    @given(st.sampled_from(requests), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4))
    def test_requests_with_wrong_octets_never_raise(self, request: bytes, wrong: list[tuple[int, int]]) -> None:
        changed = bytearray(request)
        for at, octet in wrong:
            changed[at % len(changed)] = octet
        assert self.is_sound(self.fast.answer(bytes(changed)))

    @given(st.sampled_from(requests), st.integers(0, 400))
    def test_pieces_of_requests_never_raise(self, request: bytes, length: int) -> None:
        assert self.is_sound(self.fast.answer(bvll.unicast(request[4:][:length])))

    @given(st.binary(max_size=60))
    def test_requests_with_random_parameters_never_raise(self, octets: bytes) -> None:
        for service in (12, 14):
            assert self.is_sound(self.fast.answer(to(VAV, bytes((0, 5, 1, service)) + octets)))
