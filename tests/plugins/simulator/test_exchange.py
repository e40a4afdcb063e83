"""Each fault as a client sees it, over real UDP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.bacnet.wire import primitives, read_property
from plugins.bacnet.wire.apdu import PduType, Service
from plugins.bacnet.wire.datatypes import Date, Enumerated, ObjectId
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.npdu import Place
from plugins.simulator.building import make_building
from plugins.simulator.controllers import make_controllers
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.faults import read_fault
from plugins.simulator.server.exchange import Exchange
from plugins.simulator.server.fast import FastHalf
from plugins.simulator.server.properties import Property
from plugins.simulator.server.service import stand
from plugins.simulator.testing import ManualTimer, Simulate
from plugins.simulator.trunks import TrunkOptions, make_trunks

from .wire import Wire, ref, wire_to

FIRST, SECOND, THIRD = 10001, 10002, 10003
REAL = primitives.encode_real
OTHER_REASON = 0


async def silence_of(wire: Wire, device: int = FIRST, *, healthy: int = SECOND) -> bool:
    """Tell whether a device leaves a read unanswered: whoever is asked after it answers first."""
    await wire.send(device, wire.request(Service.READ_PROPERTY, read_property.write_parameters(ref("analog-input.2"))))
    heard = await wire.read(healthy, "analog-input.1")
    if heard.value == 21.0:
        return True
    await wire.hear()
    return False


async def test_a_silent_device_answers_nothing_and_its_neighbours_do(simulate: Simulate) -> None:
    simulation = await simulate(controllers=2)
    async with wire_to(simulation.address) as wire:
        assert not await silence_of(wire)
        fault = simulation.inject("silent", devices=[FIRST])
        assert await silence_of(wire)
        await wire.who_is(FIRST, SECOND)
        assert [each.device.instance for each in await wire.found(1)] == [SECOND]
        await wire.send(FIRST, wire.request(Service.READ_PROPERTY_MULTIPLE, bytes.fromhex("0c020003e71e09081f")))
        assert await silence_of(wire), "what bacpypes3 would answer is not answered either"
        simulation.remove(fault)
        assert not await silence_of(wire)
        await wire.who_is(FIRST, SECOND)
        assert {each.device.instance for each in await wire.found(2)} == {FIRST, SECOND}


async def test_a_delay_holds_answers_of_both_halves_back(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=2, timer=timer)
    async with wire_to(simulation.address) as wire:
        simulation.inject("delay", devices=[FIRST], seconds=2.0)
        assert await silence_of(wire)
        timer.advance(1.9)
        assert (await wire.read(SECOND, "analog-input.1")).value == 21.0
        timer.advance(0.2)
        assert (await wire.hear()).value == 22.0

        await wire.send(FIRST, wire.request(Service.WRITE_PROPERTY, bytes.fromhex("0c0080000119553e44420000003f3908")))
        while simulation.devices[FIRST].objects[6].value != 32.0:
            assert (await wire.read(SECOND, "analog-input.1")).value == 21.0
        timer.advance(2.0)
        assert (await wire.hear()).type is PduType.SIMPLE_ACK


async def test_jitter_spreads_answers_and_repeats_with_the_seed(simulate: Simulate) -> None:
    async def order(seed: int) -> list[int]:
        timer = ManualTimer()
        simulation = await simulate(controllers=2, timer=timer, seed=seed)
        simulation.inject("delay", devices=[FIRST], seconds=0.5, jitter=10.0)
        async with wire_to(simulation.address) as wire:
            for _ in range(8):
                assert await silence_of(wire)
            timer.advance(10.5)
            return [(await wire.hear()).apdu[1] for _ in range(8)]

    first = await order(5)
    assert first == await order(5)
    assert first != sorted(first)


async def test_loss_takes_requests_and_answers_alike(simulate: Simulate) -> None:
    simulation = await simulate(controllers=2)
    async with wire_to(simulation.address) as wire:
        fault = simulation.inject("loss", devices=[FIRST], probability=0.5)
        lost = Counter([await silence_of(wire) for _ in range(60)])
        assert 30 < lost[True] < 58
        simulation.remove(fault)
        simulation.inject("loss", devices=[FIRST], probability=1)
        assert await silence_of(wire)


async def test_an_answer_that_is_sent_twice_comes_twice(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    simulation.inject("duplicate")
    async with wire_to(simulation.address) as wire:
        assert (await wire.read(FIRST, "analog-input.1")).apdu == (await wire.hear()).apdu
        assert (await wire.write(FIRST, "analog-value.1", REAL(30.0))).apdu == (await wire.hear()).apdu


async def test_an_answer_lets_the_next_one_go_first_or_comes_a_little_later(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=2, timer=timer)
    simulation.inject("reorder", devices=[FIRST])
    async with wire_to(simulation.address) as wire:
        for name in ("analog-input.1", "analog-input.2"):
            parameters = read_property.write_parameters(ref(name))
            await wire.send(FIRST, wire.request(Service.READ_PROPERTY, parameters))
        assert [(await wire.hear()).value, (await wire.hear()).value] == [22.0, 21.0]
        assert await silence_of(wire)
        timer.advance(0.3)
        assert (await wire.hear()).value == 22.0


async def test_a_truncated_answer_reaches_the_decoder_and_ends_there(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    async with wire_to(simulation.address) as wire:
        whole = (await wire.read(FIRST, "analog-input.1")).apdu
        simulation.inject("truncate")
        pieces = [(await wire.read(FIRST, "analog-input.1")).apdu for _ in range(20)]
        assert all(len(piece) < len(whole) for piece in pieces)
        assert len({len(piece) for piece in pieces}) > 5
        with pytest.raises(DecodeError):
            read_property.read_result(max(pieces, key=len), 3)


async def test_garbage_comes_under_the_name_of_an_answer(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    async with wire_to(simulation.address) as wire:
        whole = (await wire.read(FIRST, "analog-input.1")).apdu
        simulation.inject("garbage")
        noise = [(await wire.read(FIRST, "analog-input.1")).apdu for _ in range(5)]
        assert len(set(noise)) == 5
        assert {(each[0], each[2], len(each)) for each in noise} == {(whole[0], whole[2], len(whole))}


@pytest.mark.parametrize(("kind", "reason", "octets"), [("abort", "out-of-resources", "71{:02x}09"),
                                                        ("abort", "segmentation-not-supported", "71{:02x}04"),
                                                        ("reject", "too-many-arguments", "60{:02x}07")])  # fmt: skip
async def test_a_refusal_has_the_reason_that_was_asked_for(
    simulate: Simulate, kind: str, reason: str, octets: str
) -> None:
    simulation = await simulate(controllers=1)
    simulation.inject(kind, reason=reason, services=["read-property-multiple", "write-property"])
    async with wire_to(simulation.address) as wire:
        assert (await wire.read(FIRST, "analog-input.1")).value == 21.0
        assert (await wire.read_many(FIRST, [ref("analog-input.1")])).apdu.hex() == octets.format(2)
        assert (await wire.write(FIRST, "analog-value.1", REAL(30.0))).apdu.hex() == octets.format(3)


async def test_a_refusal_by_chance_repeats_with_the_seed(simulate: Simulate) -> None:
    async def fates(seed: int) -> list[PduType]:
        simulation = await simulate(controllers=1, seed=seed)
        simulation.inject("abort", probability=0.5)
        async with wire_to(simulation.address) as wire:
            return [(await wire.read(FIRST, "analog-input.1")).type for _ in range(40)]

    one = await fates(1)
    assert set(one) == {PduType.ABORT, PduType.COMPLEX_ACK}
    assert one == await fates(1)
    assert one != await fates(2)


async def test_an_object_that_errors_does_so_in_both_halves_and_leaves_others_alone(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    async with wire_to(simulation.address) as wire:
        assert (await wire.read(FIRST, "analog-input.3")).value == 23.0
        fault = simulation.inject("error", objects=["analog-input.3"], error_class="device", error_code="device-busy")
        assert (await wire.read(FIRST, "analog-input.3")).error == (0, 3)
        values = (await wire.read_many(FIRST, [ref("analog-input.2"), ref("analog-input.3")])).values
        assert values == [22.0, (0, 3)]
        everything = await wire.read_many(FIRST, [ref("analog-input.3", Property.ALL)])
        assert set(everything.values) == {(0, 3)}, "bacpypes3 answers this"
        simulation.remove(fault)
        assert (await wire.read(FIRST, "analog-input.3")).value == 23.0
        assert "FC-00001 Temperature 3" in (await wire.read_many(FIRST, [ref("analog-input.3", Property.ALL)])).values


async def test_a_device_chokes_on_whatever_contains_the_object(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    simulation.inject("choke", objects=["analog-input.3"])
    async with wire_to(simulation.address) as wire:
        refused = await wire.read_many(FIRST, [ref("analog-input.2"), ref("analog-input.3")])
        assert refused.error == (0, 25)
        assert (await wire.read_many(FIRST, [ref("analog-input.3", Property.ALL)])).error == (0, 25)
        assert (await wire.read_many(FIRST, [ref("analog-input.2")])).values == [22.0]
        assert (await wire.read(FIRST, "analog-input.3")).value == 23.0


async def test_values_come_in_the_wrong_datatype(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    simulation.inject("wrong_type", objects=["analog-input.1", "binary-input.1", "multi-state-input.1"])
    names = ["analog-input.1", "binary-input.1", "multi-state-input.1", "analog-input.2"]
    async with wire_to(simulation.address) as wire:
        assert (await wire.read_many(FIRST, [ref(name) for name in names])).values == ["21", 0.0, "1", 22.0]
        simulation.devices[FIRST].objects[0].set(24.5)
        assert (await wire.read(FIRST, "analog-input.1")).value == "24.5"
        assert "24.5" in (await wire.read_many(FIRST, [ref("analog-input.1", Property.ALL)])).values


async def test_what_a_device_cannot_do_it_says_of_itself_and_refuses_at_once(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    device = "device.10001"

    async def says(wire: Wire) -> tuple[Any, ...]:
        services = (await wire.read(FIRST, device, Property.PROTOCOL_SERVICES_SUPPORTED)).value
        longest = (await wire.read(FIRST, device, Property.MAX_APDU_LENGTH_ACCEPTED)).value
        segmentation = (await wire.read(FIRST, device, Property.SEGMENTATION_SUPPORTED)).value
        await wire.who_is(FIRST)
        [i_am] = await wire.found(1)
        assert (i_am.max_apdu, i_am.segmentation) == (longest, segmentation)
        return services.bits[5], services.bits[14], longest, segmentation

    async with wire_to(simulation.address) as wire:
        everything = [ref("analog-input.1", Property.ALL)]
        assert await says(wire) == (True, True, 1476, Enumerated(0))
        assert len((await wire.read_many(FIRST, everything)).values) > 10
        simulation.inject("no_read_property_multiple")
        simulation.inject("small_apdu", octets=50)
        simulation.inject("no_segmentation")
        simulation.inject("no_cov")
        assert await says(wire) == (False, False, 50, Enumerated(3))
        assert (await wire.read_many(FIRST, everything)).apdu[0] == PduType.REJECT << 4
        assert (await wire.read_many(FIRST, [ref("analog-input.1")])).apdu[::2].hex() == "6009"
        assert (await wire.read(FIRST, device, Property.OBJECT_LIST)).apdu.hex().endswith("04"), "an abort: too long"
        assert (await wire.subscribe(FIRST, "analog-input.1")).apdu[::2].hex() == "6009"
        simulation.clear()
        assert await says(wire) == (True, True, 1476, Enumerated(0))
        assert len((await wire.read_many(FIRST, everything)).values) > 10


async def test_two_addresses_claim_one_number(simulate: Simulate) -> None:
    simulation = await simulate(controllers=2)
    simulation.inject("duplicate_instance", devices=[FIRST], instance=SECOND)
    async with wire_to(simulation.address) as wire:
        await wire.who_is(SECOND)
        heard = [await wire.hear(), await wire.hear()]
        assert {each.npdu.source.mac.hex() for each in heard} == {"2711", "2712"}
        named = await wire.read(FIRST, f"device.{SECOND}", Property.OBJECT_NAME)
        assert named.value == "FC-00001"
        assert (await wire.read(FIRST, f"device.{SECOND}", Property.OBJECT_IDENTIFIER)).value == ObjectId(8, SECOND)
        assert (await wire.read(FIRST, f"device.{FIRST}", Property.OBJECT_NAME)).value == "FC-00001"


async def test_a_clock_is_off_by_as_much_as_it_is_told(simulate: Simulate) -> None:
    simulation = await simulate(controllers=2)
    simulation.inject("clock", devices=[FIRST], seconds=-400 * 86_400.0)
    async with wire_to(simulation.address) as wire:
        dates = [(await wire.read(each, f"device.{each}", Property.LOCAL_DATE)).value for each in (FIRST, SECOND)]
        assert all(isinstance(each, Date) for each in dates)
        assert dates[1].year - dates[0].year in (1, 2)


async def test_a_device_restarts_is_away_and_then_tells_everyone_who_asked(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=2, timer=timer)
    async with wire_to(simulation.address) as wire, wire_to(simulation.address, source=Place(9, b"\x05")) as routed:
        assert (await wire.write(FIRST, "analog-value.1", REAL(30.0))).type is PduType.SIMPLE_ACK
        assert (await routed.subscribe(FIRST, "analog-input.1")).type is PduType.SIMPLE_ACK
        assert (await routed.hear()).told == 21.0
        simulation.reboot(FIRST, seconds=30)
        assert simulation.subscriptions(FIRST) == 0
        assert await silence_of(wire)
        timer.advance(29)
        assert await silence_of(wire)
        timer.advance(1)
        for each in (wire, routed):
            assert [i_am.device.instance for i_am in await each.found(1)] == [FIRST]
        assert (await wire.read(FIRST, "analog-value.1")).value == 30.0
        simulation.reboot(FIRST, seconds=0, forget_commands=True)
        timer.advance(0)
        await wire.found(1)
        assert (await wire.read(FIRST, "analog-value.1")).value == 21.0


async def test_a_second_restart_takes_the_place_of_the_first(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=2, timer=timer)
    async with wire_to(simulation.address) as wire:
        simulation.reboot(FIRST, seconds=5)
        simulation.reboot(FIRST, seconds=20)
        timer.advance(10)
        assert await silence_of(wire)
        timer.advance(10)
        assert len(await wire.found(1)) == 1
        assert not await silence_of(wire)


async def test_several_faults_stand_on_one_device(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=2, timer=timer)
    simulation.inject("delay", devices=[FIRST], seconds=1.0)
    simulation.inject("delay", devices=["10001-10001"], seconds=1.0)
    simulation.inject("duplicate", devices=[10001])
    simulation.inject("wrong_type", objects=["analog-input.2"])
    async with wire_to(simulation.address) as wire:
        assert await silence_of(wire)
        timer.advance(1.9)
        assert await silence_of(wire)
        timer.advance(0.2)
        assert [(await wire.hear()).value for _ in range(2)] == ["22", "22"]


async def test_faults_from_the_start_hold_for_devices_of_any_making(simulate: Simulate) -> None:
    building = make_building(1)
    direct = SimulatedDevice(77, "Direct", building.devices[0].product, "", "")
    direct.sensor("Temperature", "degrees-celsius", span=(0.0, 50.0), value=20.0)
    simulation = await simulate(
        devices=building.devices[:3], direct=direct, faults=[{"kind": "small_apdu", "octets": 128, "devices": [77]}]
    )
    async with wire_to(simulation.address) as wire:
        await wire.who_is(77, 2003)
        assert {each.device.instance: each.max_apdu for each in await wire.found(4)} == {
            77: 128, 2001: 1476, 2002: 1476, 2003: 1476,
        }  # fmt: skip


async def test_more_is_not_delayed_than_there_is_room_for(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("plugins.simulator.server.delivery.MOST_DELAYED", 3)
    timer = ManualTimer()
    simulation = await simulate(controllers=2, timer=timer)
    simulation.inject("delay", devices=[FIRST], seconds=1.0)
    async with wire_to(simulation.address) as wire:
        for _ in range(5):
            assert await silence_of(wire)
        timer.advance(2.0)
        assert [(await wire.hear()).apdu[1] for _ in range(3)] == [1, 3, 5]
        assert not await silence_of(wire, SECOND)
    assert [record.message for record in caplog.records] == [
        "more than 3 datagrams are delayed: further ones are dropped"
    ]


async def test_a_fault_that_comes_with_a_new_object_finds_it(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    device = simulation.devices[FIRST]
    async with wire_to(simulation.address) as wire:
        assert (await wire.read(FIRST, "analog-input.1")).value == 21.0
        device.remove(device.objects[0])
        device.sensor("New", "degrees-celsius", span=(0.0, 50.0), value=19.0)
        simulation.inject("small_apdu", octets=480)
        assert (await wire.read(FIRST, "analog-input.7")).value == 19.0
        assert (await wire.read(FIRST, "analog-input.1")).error == (1, 31)
        assert (await wire.subscribe(FIRST, "analog-input.7")).type is PduType.SIMPLE_ACK


class Collected:
    """A link that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.handed_up = 0

    def send(self, data: bytes, address: Any) -> None:
        self.sent.append(data)

    def spread(self, answers: Sequence[bytes], address: Any) -> None:
        self.sent += answers

    def hand_up(self, data: bytes, address: Any) -> None:
        self.handed_up += 1

    def lately(self) -> list[Any]:
        return []


_TO_SOMEBODY = st.sampled_from([
    bytes.fromhex(each) for each in ("010407d1022711ff", "012407d1022711ff", "01240bb90101ff", "01240bb90163ff", "0100",
                                     "0120ffff00ff", "012c0bb90101030701ff")
])  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(
    _TO_SOMEBODY,
    st.sampled_from(["0005010c", "0005010e", "00050105", "1008", "1007", "2001", "5001", "3"]),
    st.binary(max_size=40),
)
def test_whatever_comes_is_answered_handed_up_or_dropped(npdu: bytes, head: str, rest: bytes) -> None:
    timer, link = ManualTimer(), Collected()
    trunks = make_trunks([TrunkOptions(network=3001, controllers=1, points=3)])
    stations = stand(make_controllers(2, points=3), network=2001, trunks=trunks, timer=timer)
    fast = FastHalf(stations)
    for number, station in enumerate(stations):
        kinds = ("truncate", "garbage", "reorder", "duplicate", "choke") if number != 1 else ()
        faults = [{"kind": kind} | ({"objects": ["analog-input.1"]} if kind == "choke" else {}) for kind in kinds]
        station.afflict([read_fault(each) for each in faults], Random(number))
    fast.review()
    exchange = Exchange(stations, fast, link, timer=timer)
    message = npdu + bytes.fromhex(head + "0" * (len(head) % 2)) + rest
    for function in (0x0A, 0x0B):
        exchange.arrive(bytes((0x81, function)) + (len(message) + 4).to_bytes(2, "big") + message, ("127.0.0.1", 1))
        exchange.arrive(message, ("127.0.0.1", 1))
    timer.advance(60.0)
    for datagram in list(link.sent):
        exchange.depart(datagram, ("127.0.0.1", 1))
    timer.advance(60.0)
    assert all(each[:2] == b"\x81\x0a" and int.from_bytes(each[2:4], "big") == len(each) for each in link.sent)


async def test_objects_come_and_go_while_they_are_served(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1, points=20)
    device = simulation.devices[FIRST]
    name = f"device.{FIRST}"
    async with wire_to(simulation.address) as wire:

        async def look() -> tuple[int, int, int]:
            revision = (await wire.read(FIRST, name, Property.DATABASE_REVISION)).value
            objects = (await wire.read_many(FIRST, [ref(name, Property.OBJECT_LIST)])).apdu
            everything = (await wire.read_many(FIRST, [ref(name, Property.ALL)])).apdu
            assert objects[12:-4].hex() in everything.hex(), "both halves have the same list"
            return revision, objects.count(b"\xc4"), simulation.requests

        assert (await look())[:2] == (1, 21)
        gone = device.objects[0]
        assert (await wire.read(FIRST, "analog-input.1")).value == 21.0
        device.remove(gone)
        assert (await wire.read(FIRST, "analog-input.1")).error == (1, 31)
        assert (await look())[:2] == (2, 20)
        added = device.sensor("New", "degrees-celsius", span=(0.0, 50.0), value=19.0)
        assert added.instance == 13
        assert (await look())[:2] == (3, 21)
        assert (await wire.read(FIRST, "analog-input.13")).value == 19.0
        added.set(18.0)
        assert (await wire.read(FIRST, "analog-input.13")).value == 18.0
        assert (await wire.read_many(FIRST, [ref("analog-input.13", Property.ALL)])).values.count(18.0) == 1
        with pytest.raises(ValueError, match="not in list"):
            device.remove(gone)
