"""Profiles: what was learned of a device fits it, survives a restart, is shown, and can be forgotten."""

from __future__ import annotations

import asyncio

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import ManualClock
from core.errors import DeviceNotFound
from core.plugin import Reason
from plugins.bacnet.planner import SMALLEST_BUDGET
from plugins.bacnet.profile import TRIED_AGAIN_AFTER_S, Budget
from plugins.bacnet.routes.profiles import ProfileRoutes
from plugins.bacnet.wire.datatypes import ObjectId, Ref

CLOCK = ManualClock()
HERE = "127.0.0.90/8:47940"
THERE = "127.0.0.91/8:47940"


def routes(house):
    return ProfileRoutes("bacnet", house.plugin.driver.profiles)


@given(st.integers(100, 1473), st.integers(40, 1473))
def test_a_budget_finds_what_a_device_can_and_stays_there(longest, real):
    budget = Budget(longest, longest)
    refusals = 0
    for _ in range(400):
        if budget.octets > real:
            refusals += 1
            budget.shrink(budget.octets, 0.0)
        else:
            budget.fits(budget.octets, CLOCK)
    assert SMALLEST_BUDGET <= budget.octets <= max(real, SMALLEST_BUDGET)
    assert budget.octets >= min(real, longest) - 16
    assert refusals <= 12


async def test_a_budget_is_tried_larger_again_when_what_was_refused_is_long_ago():
    clock = ManualClock()
    budget = Budget(1000, 1000)
    budget.shrink(1000, clock.monotonic())
    for _ in range(200):
        budget.fits(budget.octets, clock)
    assert 960 <= budget.octets < 1000
    await clock.advance(TRIED_AGAIN_AFTER_S)
    for _ in range(200):
        budget.fits(budget.octets, clock)
    assert budget.octets >= 992


def test_answers_that_leave_much_room_say_nothing_about_the_budget():
    budget = Budget(100, 1000)
    for _ in range(100):
        budget.fits(20, CLOCK)
    assert budget.octets == 100


async def test_it_survives_a_restart_and_is_used_from_the_first_poll_on(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(number) for number in range(1, 20)])
    device.knows_multiple = False
    house = await start(HERE)
    report = await house.scan()
    learned = house.plugin.driver.profiles.get("bacnet.2001").learned()
    assert learned["read_property_multiple"] is False
    assert learned["object_list"] == "whole"
    assert learned["latency_s"] > 0
    await house.plugin.driver.profiles.save()

    again = await start("127.0.0.89/8:47940")
    device.multiples = 0
    rows = await again.read(again.group(report.inventories["bacnet.2001"]))
    assert all(reason is Reason.NONE for _value, reason, _error in rows.values())
    assert device.multiples == 0, "it is known not to take ReadPropertyMultiple"


async def test_a_device_that_says_something_else_of_itself_is_learned_anew(bench, start):
    bench.device(THERE, 2001, [bench.analog_input(1)])
    house = await start(HERE)
    await house.scan()
    profiles = house.plugin.driver.profiles
    profile = profiles.get("bacnet.2001")
    profile.multiple = False
    i_am = attrs.evolve(_i_am(profile), max_apdu=480)
    assert profiles.met(_i_am(profile)) is profile
    assert profiles.met(i_am).multiple
    assert profiles.met(i_am).values.longest < 480


def _i_am(profile):
    from plugins.bacnet.protocol import IAm

    return IAm(profile.instance, profile.station, profile.max_apdu, profile.can_segment, 999)


@pytest.mark.parametrize("kept", ['{"max_apdu": 1476, "segmentation": true}', "[1]", "{broken", '{"max_apdu": "x"}'])
async def test_what_is_kept_and_cannot_be_used_is_learned_anew(bench, start, kept):
    bench.device(THERE, 2001, [bench.analog_input(1)])
    first = await start(HERE)
    row = ("bacnet.2001", kept)
    await first.plugin.ctx.store.write(("INSERT OR REPLACE INTO bacnet_profiles VALUES (?, ?)", [row]))
    house = await start("127.0.0.89/8:47940")
    await house.scan()
    assert house.plugin.driver.profiles.get("bacnet.2001").multiple


async def test_only_what_changed_is_written(bench, start):
    bench.device(THERE, 2001, [bench.analog_input(1)])
    house = await start(HERE)
    await house.scan()
    profiles, store = house.plugin.driver.profiles, house.plugin.ctx.store
    await profiles.save()
    await store.write(("DELETE FROM bacnet_profiles", [()]))
    await profiles.save()
    assert await store.read("SELECT * FROM bacnet_profiles") == []
    latency = profiles.get("bacnet.2001").latency
    latency.average_s *= 1.5
    await profiles.save()
    assert await store.read("SELECT * FROM bacnet_profiles") == [], "not for each answer's time"
    latency.average_s *= 2
    await profiles.save()
    assert len(await store.read("SELECT * FROM bacnet_profiles")) == 1
    profiles.get("bacnet.2001").lane.pace.limit = 7
    await profiles.save()
    ((learned,),) = await store.read("SELECT learned FROM bacnet_profiles")
    assert orjson.loads(learned)["concurrency"] == 7


async def test_it_is_shown_and_forgotten_by_rest(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(1), bench.analog_input(2)])
    device.knows_multiple = False
    house = await start(HERE)
    await house.scan()
    shown = await routes(house).show(None, instance="2001")
    assert (shown.device_id, shown.address) == ("bacnet.2001", "127.0.0.91:47940")
    assert shown.read_property_multiple is False
    assert shown.latency_ms > 0
    fresh = await routes(house).reset(None, instance="2001")
    assert fresh.read_property_multiple is True
    assert fresh.latency_ms is None
    assert fresh.object_list == "unknown"
    for ask in (routes(house).show, routes(house).reset):
        with pytest.raises(DeviceNotFound):
            await ask(None, instance="77")


@pytest.mark.parametrize("save_first", [True, False])
async def test_forgetting_while_it_is_being_saved_forgets(bench, start, save_first):
    bench.device(THERE, 2001, [bench.analog_input(1)])
    house = await start(HERE)
    await house.scan()
    profiles = house.plugin.driver.profiles
    profiles.get("bacnet.2001").multiple = False
    work = [profiles.save(), profiles.reset("bacnet.2001")]
    await asyncio.gather(*(work if save_first else reversed(work)))
    assert profiles.get("bacnet.2001").multiple
    await profiles.save()
    ((learned,),) = await house.plugin.ctx.store.read("SELECT learned FROM bacnet_profiles")
    assert orjson.loads(learned)["read_property_multiple"] is True


async def test_a_plan_is_made_anew_when_another_property_is_isolated(bench, start):
    bench.device(THERE, 2001, [bench.analog_input(number) for number in (1, 2)])
    house = await start(HERE)
    inventory = (await house.scan()).inventories["bacnet.2001"]
    group = house.group(inventory)
    profile = house.plugin.driver.profiles.get("bacnet.2001")
    for number in (1, 2):
        profile.loners.clear()
        profile.isolate(Ref(ObjectId(0, number), 85), house.plugin.ctx.clock.monotonic())
        (alone,) = house.plugin.driver._plan(group, profile).singly
        assert alone.refs[0].object.instance == number
