"""Subscriptions and notifications, by our own codec, over real UDP."""

from __future__ import annotations

import pytest

from plugins.bacnet.wire import apdu
from plugins.bacnet.wire.apdu import PduType, Service
from plugins.bacnet.wire.datatypes import Bits, ObjectId
from plugins.bacnet.wire.npdu import Place
from plugins.simulator.building import METER
from plugins.simulator.controllers import make_controllers
from plugins.simulator.device import Product, SimulatedDevice
from plugins.simulator.server.cov import MOST_RETRIES, NOT_CONFIRMED_S
from plugins.simulator.testing import ManualTimer, Simulate, Simulation

from .wire import Heard, Wire, wire_to

FIRST, SECOND = 10001, 10002
INPUT = "analog-input.1"
ROUTED = Place(0x0307, b"\x05")
NO_SPACE, NO_OBJECT, NOT_TOLD = (3, 19), (1, 31), (5, 43)


async def acknowledge(wire: Wire, heard: Heard, *, device: int = FIRST) -> None:
    await wire.send(device, apdu.write_simple_ack(Service.CONFIRMED_COV_NOTIFICATION, heard.apdu[2]))


async def nothing_more(wire: Wire, *, device: int = FIRST) -> None:
    """Make sure that the next thing to come is the answer to what is asked now."""
    assert (await wire.read(device, "analog-input.6")).value == 26.0


def change(simulation: Simulation, value: float, *, device: int = FIRST) -> None:
    simulation.devices[device].objects[0].set(value)
    simulation.tell()


@pytest.mark.parametrize("source", [None, ROUTED])
async def test_a_subscriber_is_told_at_once_and_when_the_value_has_moved(
    simulate: Simulate, source: Place | None
) -> None:
    simulation = await simulate(controllers=1, timer=ManualTimer())
    async with wire_to(simulation.address, source=source) as wire:
        subscribed = await wire.subscribe(FIRST, INPUT, lifetime_s=300, process=7)
        assert (subscribed.apdu.hex(), subscribed.npdu.destination) == ("200105", source)
        heard = await wire.hear()
        assert (heard.type, heard.apdu[1], heard.npdu.destination) == (PduType.UNCONFIRMED_REQUEST, 2, source)
        assert heard.npdu.source == Place(2001, b"\x27\x11")
        notification = heard.notification
        assert notification[:4] == (7, ObjectId(8, FIRST), ObjectId(0, 1), 300)
        assert [each.property_id for each in notification.values] == [85, 111]
        assert notification.values[1].items(heard.apdu) == (Bits((False,) * 4),)
        change(simulation, 21.4)
        await nothing_more(wire)
        change(simulation, 21.6)
        assert (await wire.hear()).told == pytest.approx(21.6)
        change(simulation, 21.6)
        await nothing_more(wire)


async def test_the_increment_counts_from_what_was_told(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    async with wire_to(simulation.address) as wire:
        await wire.subscribe(FIRST, INPUT)
        await wire.hear()
        for value in (21.2, 21.4, 21.2, 20.8):
            change(simulation, value)
        await nothing_more(wire)
        change(simulation, 20.5)
        assert (await wire.hear()).told == 20.5


async def test_flags_states_and_writes_are_told_at_once(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    async with wire_to(simulation.address) as wire:
        for name in (INPUT, "binary-input.1", "multi-state-input.1", "analog-value.1"):
            await wire.subscribe(FIRST, name)
            await wire.hear()
        measured, contact, status = (simulation.devices[FIRST].objects[n] for n in (0, 7, 9))
        measured.set_out_of_service(out_of_service=True)
        simulation.tell()
        heard = await wire.hear()
        assert heard.notification.values[1].items(heard.apdu) == (Bits((False, False, False, True)),)
        contact.set(True)
        status.set(3)
        simulation.tell()
        assert [(await wire.hear()).told, (await wire.hear()).told] == [1, 3]
        await wire.send(FIRST, wire.request(Service.WRITE_PROPERTY, bytes.fromhex("0c0080000119553e44420000003f3908")))
        answers = [await wire.hear(), await wire.hear()]
        told = next(each for each in answers if each.type is PduType.UNCONFIRMED_REQUEST)
        assert told.told == 32.0


async def test_a_subscription_expires_unless_it_is_renewed(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=1, timer=timer)
    async with wire_to(simulation.address) as wire:
        await wire.subscribe(FIRST, INPUT, lifetime_s=60)
        await wire.hear()
        timer.advance(50)
        await wire.subscribe(FIRST, INPUT, lifetime_s=60)
        assert (await wire.hear()).notification.time_left_s == 60
        assert simulation.subscriptions(FIRST) == 1
        timer.advance(59)
        change(simulation, 40.0)
        heard = await wire.hear()
        assert (heard.told, heard.notification.time_left_s) == (40.0, 1)
        timer.advance(1)
        assert simulation.subscriptions(FIRST) == 0
        change(simulation, 45.0)
        await nothing_more(wire)


async def test_one_without_a_lifetime_lasts_until_it_is_cancelled(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=1, timer=timer)
    async with wire_to(simulation.address) as wire:
        await wire.subscribe(FIRST, INPUT, lifetime_s=0)
        assert (await wire.hear()).notification.time_left_s == 0
        timer.advance(1e6)
        change(simulation, 40.0)
        assert (await wire.hear()).told == 40.0
        for _ in range(2):
            assert (await wire.subscribe(FIRST, INPUT, confirmed=None, lifetime_s=None)).type is PduType.SIMPLE_ACK
        assert simulation.subscriptions(FIRST) == 0
        change(simulation, 45.0)
        await nothing_more(wire)


async def test_a_confirmed_notification_comes_again_until_it_is_answered(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=1, timer=timer)
    async with wire_to(simulation.address) as wire:
        await wire.subscribe(FIRST, INPUT, confirmed=True, lifetime_s=60)
        first = await wire.hear()
        assert (first.type, first.apdu[3]) == (PduType.CONFIRMED_REQUEST, 1)
        assert first.npdu.control & 0x04, "it expects a reply"
        timer.advance(NOT_CONFIRMED_S)
        assert (await wire.hear()).apdu == first.apdu
        await acknowledge(wire, first)
        await nothing_more(wire)
        timer.advance(NOT_CONFIRMED_S * 5)
        await nothing_more(wire)
        change(simulation, 40.0)
        second = await wire.hear()
        assert second.apdu[2] != first.apdu[2]
        for _ in range(MOST_RETRIES):
            timer.advance(NOT_CONFIRMED_S)
            assert (await wire.hear()).apdu == second.apdu
        timer.advance(NOT_CONFIRMED_S * 5)
        await nothing_more(wire)
        change(simulation, 45.0)
        assert (await wire.hear()).told == 45.0, "the subscription stands all the same"


async def test_nobody_elses_answer_confirms_a_notification(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=2, timer=timer)
    async with wire_to(simulation.address) as wire, wire_to(simulation.address) as other:
        await wire.subscribe(FIRST, INPUT, confirmed=True)
        heard = await wire.hear()
        await acknowledge(other, heard)
        await acknowledge(wire, heard, device=SECOND)
        await nothing_more(other)
        timer.advance(NOT_CONFIRMED_S)
        assert (await wire.hear()).apdu == heard.apdu


@pytest.mark.parametrize(("answer", "again"), [("50{:02x}01910591{:02x}", False), ("60{:02x}09", False),
                                               ("71{:02x}00", False), ("70{:02x}00", True)])  # fmt: skip
async def test_a_refusal_is_an_answer_too_and_the_end_of_ones_own_request_is_none(
    simulate: Simulate, answer: str, again: bool
) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=1, timer=timer)
    async with wire_to(simulation.address) as wire:
        await wire.subscribe(FIRST, INPUT, confirmed=True)
        heard = await wire.hear()
        await wire.send(FIRST, bytes.fromhex(answer.format(heard.apdu[2], 0)))
        await nothing_more(wire)
        timer.advance(NOT_CONFIRMED_S)
        if again:
            assert (await wire.hear()).apdu == heard.apdu
        await nothing_more(wire)


async def test_slots_are_taken_and_come_free(simulate: Simulate) -> None:
    timer = ManualTimer()
    product = Product("Maker", 1, "Few", "1", cov_slots=2)
    device = SimulatedDevice(5, "Few", product, "", "")
    for n in range(3):
        device.contact(f"Contact {n}", ("Open", "Closed"))
    simulation = await simulate(devices=[device], timer=timer)
    names = [f"binary-input.{n}" for n in (1, 2, 3)]
    async with wire_to(simulation.address) as wire:
        for name, lifetime in zip(names[:2], (10, 0), strict=True):
            assert (await wire.subscribe(5, name, lifetime_s=lifetime)).type is PduType.SIMPLE_ACK
            await wire.hear()
        assert (await wire.subscribe(5, names[2])).error == NO_SPACE
        assert (await wire.subscribe(5, names[0], lifetime_s=10)).type is PduType.SIMPLE_ACK
        await wire.hear()
        assert (await wire.subscribe(5, names[0], process=2)).error == NO_SPACE
        timer.advance(10)
        assert (await wire.subscribe(5, names[2])).type is PduType.SIMPLE_ACK
        await wire.hear()
        simulation.inject("cov_slots", count=0)
        assert (await wire.subscribe(5, names[0])).error == NO_SPACE
        assert (await wire.subscribe(5, names[2])).type is PduType.SIMPLE_ACK, "what stands can be renewed"


async def test_what_cannot_be_told_is_refused_in_words_of_the_standard(simulate: Simulate) -> None:
    meter = SimulatedDevice(5, "Meter", METER, "", "")
    meter.pulses("Pulses", "kilowatt-hours")
    simulation = await simulate(devices=[meter])
    async with wire_to(simulation.address) as wire:
        assert (await wire.subscribe(5, "analog-input.99")).error == NO_OBJECT
        assert (await wire.subscribe(5, "accumulator.1")).error == NOT_TOLD
        assert (await wire.subscribe(5, "device.5")).error == NOT_TOLD
        missing = await wire.subscribe(5, "accumulator.1", confirmed=None, lifetime_s=5)
        assert missing.apdu.hex() == "600405"
        assert (await wire.ask(5, Service.SUBSCRIBE_COV, b"\x09\x01")).apdu.hex() == "600505"
        assert simulation.subscriptions(5) == 0


async def test_a_deaf_device_takes_subscriptions_and_tells_nothing(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    fault = simulation.inject("deaf_cov")
    async with wire_to(simulation.address) as wire:
        assert (await wire.subscribe(FIRST, INPUT)).type is PduType.SIMPLE_ACK
        change(simulation, 40.0)
        await nothing_more(wire)
        assert simulation.subscriptions(FIRST) == 1
        simulation.remove(fault)
        change(simulation, 45.0)
        assert (await wire.hear()).told == 45.0


async def test_notifications_pass_through_faults(simulate: Simulate) -> None:
    timer = ManualTimer()
    simulation = await simulate(controllers=1, timer=timer)
    async with wire_to(simulation.address) as wire:
        await wire.subscribe(FIRST, INPUT)
        await wire.hear()
        simulation.inject("wrong_type", objects=[INPUT])
        twice = simulation.inject("duplicate")
        change(simulation, 40.0)
        assert [(await wire.hear()).told for _ in range(2)] == ["40", "40"]
        simulation.remove(twice)
        simulation.inject("delay", seconds=3.0)
        change(simulation, 45.0)
        timer.advance(2.9)
        await wire.who_is(FIRST)
        timer.advance(0.2)
        assert (await wire.hear()).told == "45"


async def test_a_subscription_to_an_object_that_is_removed_ends(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    device = simulation.devices[FIRST]
    async with wire_to(simulation.address) as wire:
        await wire.subscribe(FIRST, INPUT)
        await wire.hear()
        gone = device.objects[0]
        gone.set(40.0)
        device.remove(gone)
        simulation.tell()
        await nothing_more(wire)
        assert simulation.subscriptions(FIRST) == 0


async def test_a_thousand_subscriptions_on_fifty_devices_are_all_told(simulate: Simulate) -> None:
    simulation = await simulate(devices=make_controllers(50, points=40))
    async with wire_to(simulation.address) as wire:
        for device in simulation.devices:
            for n in range(1, 21):
                assert (await wire.subscribe(device, f"analog-input.{n}", lifetime_s=600)).apdu[0] == 0x20
                await wire.hear()
        assert sum(map(simulation.subscriptions, simulation.devices)) == 1000
        for device in simulation.devices.values():
            for data in device.objects:
                if data.type == "analog-input" and data.instance <= 20:
                    data.set(60.0 + data.instance)
        simulation.tell()
        told = set()
        for _ in range(1000):
            heard = await wire.hear()
            assert heard.told == 60.0 + heard.notification.object.instance
            told.add(heard.notification[1:3])
        assert len(told) == 1000


async def test_more_than_all_invoke_ids_are_not_used_at_a_time(
    simulate: Simulate, caplog: pytest.LogCaptureFixture
) -> None:
    simulation = await simulate(controllers=1, timer=ManualTimer())
    async with wire_to(simulation.address) as wire:
        await wire.subscribe(FIRST, INPUT, confirmed=True)
        ids = {(await wire.hear()).apdu[2]}
        for n in range(255):
            change(simulation, 30.0 + n)
            ids.add((await wire.hear()).apdu[2])
        assert len(ids) == 256
        change(simulation, 1000.0)
        await nothing_more(wire)
    assert "one is dropped" in caplog.text
