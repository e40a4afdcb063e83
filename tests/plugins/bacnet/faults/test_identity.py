"""Devices that say of themselves what is not so, and one that is away for a moment: what is told of it, and where."""

from __future__ import annotations

import datetime as dt

from plugins.simulator.faults import FaultKind

from .conftest import Operate
from .view import SUBJECT, outcome

HOUR_S = 3600
OURS = 599
OTHER = 10001


async def test_a_clock_that_is_wrong_shows_in_the_device_s_own_time_and_in_no_reading(operate: Operate):
    view = await operate(points=10)
    async with view.suffers(FaultKind.CLOCK, calmly=True, seconds=30 * 24 * HOUR_S):  # calmly: readings are fresh
        await view.follows()
        local = await view.property_of(f"device.{SUBJECT}", "local-date")
        assert dt.date.fromisoformat(local) > dt.datetime.now(dt.UTC).date() + dt.timedelta(days=28)
    local = await view.property_of(f"device.{SUBJECT}", "local-date")
    assert dt.date.fromisoformat(local) < dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2)


async def test_a_number_that_another_device_has_is_told_with_both_addresses_and_changes_nothing(operate: Operate):
    view = await operate(points=10)
    first = (await view.device(OTHER))["address"]
    both = sorted([first, (await view.device())["address"]])
    async with view.suffers(FaultKind.DUPLICATE_INSTANCE, calmly=True, instance=OTHER):
        warnings = await view.scan()
        assert warnings.keys() == {"device.duplicate"}
        assert all(address in warnings["device.duplicate"] for address in both)
        (duplicate,) = await view.duplicates()
        assert (duplicate["instance"], duplicate["listed"], sorted(duplicate["addresses"])) == (OTHER, first, both)
        assert (await view.device(OTHER))["address"] == first
        await view.shows_what_is_there(OTHER)
        await view.shows_what_is_there()
    assert await view.scan() == {}
    assert await view.duplicates() == []


async def test_our_own_number_is_told_and_changes_nothing(operate: Operate):
    view = await operate(points=10)
    async with view.suffers(FaultKind.DUPLICATE_INSTANCE, calmly=True, instance=OURS):
        warnings = await view.scan()
        assert warnings.keys() == {"device.own_number"}
        assert (await view.device())["address"] in warnings["device.own_number"]
        assert await view.device_numbers() == view.simulation.devices.keys()
    assert await view.scan() == {}


async def test_a_device_that_was_renumbered_is_not_read_or_written_under_its_old_number_and_vanishes(operate: Operate):
    view = await operate(points=10)
    simulation, there = view.simulation, view.simulation.devices.keys()
    fault = simulation.inject(FaultKind.DUPLICATE_INSTANCE, devices=[SUBJECT], instance=4711)  # its new number, say
    await view.scan()
    assert await view.device_numbers() == {*there, 4711}
    simulation.remove(fault)
    await view.scan()

    async def is_offline() -> bool:
        return (await view.device(4711))["status"] == "offline"

    await view.until(is_offline)
    device = await view.device(4711)
    assert device["last_error"] == f"At the address of bacnet.4711 answers device number {SUBJECT} now."
    assert outcome(await view.write("analog-value.1", 25.0, number=4711))[0] == 504
    await view.scan()
    assert (await view.device(4711))["vanished"]
    await view.until_all_is_well()


async def test_a_device_that_restarts_is_offline_while_it_is_away_and_its_commands_are_lost(
    operate: Operate,
):
    view = await operate(points=10)
    before = view.value("analog-value.1")
    assert outcome(await view.write("analog-value.1", before + 1.0)) == (200, None)
    everything = dict.fromkeys(await view.points(), ("bad", "offline"))
    async with view.all_stay_good(SUBJECT):
        view.simulation.reboot(SUBJECT, seconds=1.5, forget_commands=True)
        await view.until_amiss(everything)
        assert (await view.device())["status"] == "offline"
        assert outcome(await view.read("analog-input.3")) == (504, "device.offline")
        await view.until_all_is_well()
        assert (await view.points())["analog-value.1"]["reading"]["value"] == before
    await view.shows_what_is_there()
