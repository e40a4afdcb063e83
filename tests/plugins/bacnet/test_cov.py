"""Change of value: subscribed, renewed, refused, forgotten; what is not told of is polled."""

from __future__ import annotations

import asyncio
import math
from array import array

import pytest

from core.clock import ManualClock
from core.model import Device, Flag, Reason, Source
from core.plugin import PointGroup
from plugins.bacnet.config import Cov, PointRule
from plugins.bacnet.cov import watch
from plugins.bacnet.cov.subscription import State
from plugins.bacnet.points import wants_cov
from plugins.bacnet.wire import apdu, bvll, cov, npdu
from plugins.bacnet.wire.apdu import PropertyError, Service
from plugins.bacnet.wire.datatypes import ObjectId

from .subscriber import NO_SPACE, Subscribed

HERE = "127.0.0.120/8:47961"
THERE = ("127.0.0.121", 47961)
ALL = (PointRule("*", cov=True),)
DEVICE = Device(
    "bacnet.7001", "bacnet", "seven", address="127.0.0.121:47961", attributes={"instance": 7001, "max_apdu": 1476}
)
UNRECOGNIZED_SERVICE = 9
COV_SUBSCRIPTION_FAILED = PropertyError(5, 43)
NOT_A_COV_PROPERTY = PropertyError(2, 44)


@pytest.fixture
async def device():
    transport, made = await asyncio.get_running_loop().create_datagram_endpoint(Subscribed, local_addr=THERE)
    yield made
    transport.close()


@pytest.fixture
def clock():
    return ManualClock()


class Watched:
    """A running plugin that watches a device's points, and a clock that moves on when it is told to."""

    def __init__(self, house, clock, device):
        self.house = house
        self.clock = clock
        self.device = device
        self.subscriptions = house.plugin.driver.subscriptions

    def group(self, *numbers, interval=10.0):
        points = tuple(DEVICE.point(f"analog-input.{number}", interval=10.0) for number in numbers)
        return PointGroup(DEVICE, points, array("I", numbers), interval)

    async def watch(self, *numbers):
        self.house.plugin.driver.watch(self.group(*numbers))
        await self.clock.advance(5.0)

    async def poll(self, *numbers):
        await self.house.plugin.driver.read(self.group(*numbers))

    def states(self):
        return {each.point.key.removeprefix("analog-input."): each.state for each in self.subscriptions}

    async def until(self, holds):
        """Wait for what the plugin makes of what came in, with the clock standing still."""
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0)

    async def until_live(self, *numbers):
        await self.until(lambda: all(self.states().get(str(number)) is State.LIVE for number in numbers))
        await self.clock.advance(watch.TELL_AFTER_S)


@pytest.fixture
async def watched(start, device, clock):
    async def begin(**options):
        return Watched(await start(HERE, clock=clock, **({"points": ALL, "cov": Cov()} | options)), clock, device)

    return begin


async def test_each_point_gets_a_subscription_of_its_own_and_is_live_once_it_was_told_of(watched, device):
    here = await watched()
    await here.watch(1, 2, 3)
    await here.until_live(1, 2, 3)
    assert len({each.process_id for each in device.asked}) == 3
    assert all(each.process_id and each.confirmed and each.lifetime_s == 600 for each in device.asked)
    assert here.house.live == [({"analog-input.1", "analog-input.2", "analog-input.3"}, 300.0)]


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ((), False),
        ((PointRule("*", interval=5.0),), False),
        (ALL, True),
        ((*ALL, PointRule("*.analog-input.1", cov=False)), False),
        ((*ALL, PointRule("*.analog-input.1", interval=5.0)), True),
        ((*ALL, PointRule("*.analog-input.2", cov=False)), True),
    ],
)
def test_of_two_rules_that_say_something_about_cov_the_later_wins(rules, wanted):
    assert wants_cov(DEVICE.point("analog-input.1"), rules) is wanted


async def test_what_no_rule_wants_is_not_subscribed_to(watched, device):
    here = await watched(points=(PointRule("*.analog-input.1", cov=True),))
    await here.watch(1, 2)
    await here.until_live(1)
    assert [each.object.instance for each in device.asked] == [1]


async def test_a_notification_becomes_a_reading_and_a_confirmed_one_is_answered(watched, device):
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    here.house.published.clear()
    device.notify(1, 25.5, confirmed=True)
    await device.until(lambda: bool(device.acknowledged))
    (batch,) = here.house.published
    assert (list(batch.values), batch.source, batch.flags) == ([25.5], Source.COV, bytes([Flag(0)]))
    assert list(batch.chunk.slots) == [1]
    assert device.acknowledged == [bytes((0x20, 9, Service.CONFIRMED_COV_NOTIFICATION))]


async def test_a_notification_of_the_wrong_type_is_an_error_and_one_without_value_says_nothing(watched, device):
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    here.house.published.clear()
    device.notify(1, b"\x75\x02\x00x")
    await here.until(lambda: bool(here.house.published))
    assert Reason(here.house.published[0].reasons[0]) is Reason.ERROR
    device.notify(1, b"", confirmed=True)
    device.notify(1, b"\x44\x00", confirmed=True)  # a real that ends too early
    await device.until(lambda: len(device.acknowledged) == 1)
    assert len(here.house.published) == 1


@pytest.mark.parametrize("lifetime", [300, 600])
async def test_a_subscription_is_renewed_with_its_process_id_between_half_and_four_fifths_of_its_lifetime(
    watched, device, lifetime
):
    here = await watched(cov=Cov(lifetime=lifetime))
    await here.watch(1, 2, 3, 4, 5)
    await here.until_live(1, 2, 3, 4, 5)
    first = {each.object: each.process_id for each in device.asked}
    await here.clock.advance(0.49 * lifetime)
    assert len(device.asked) == 5
    await here.clock.advance(0.31 * lifetime)
    await device.until(lambda: len(device.asked) == 10)
    assert {each.object: each.process_id for each in device.asked[5:]} == first
    assert {each.lifetime_s for each in device.asked} == {lifetime}


async def test_cov_slots_full_a_device_with_room_for_two_has_two_live_and_is_not_asked_again_and_again(watched, device):
    device.answer = lambda _each: None if len({each.object for each in device.asked}) <= 2 else NO_SPACE
    here = await watched()
    await here.watch(1, 2, 3, 4, 5)
    await here.until(lambda: list(here.states().values()).count(State.REFUSED) == 3)
    await here.until(lambda: list(here.states().values()).count(State.LIVE) == 2)
    await here.clock.advance(watch.TELL_AFTER_S)
    assert len(device.asked) == 3
    assert len(here.house.live[0][0]) == 2
    profile = here.house.plugin.driver.profiles.get("bacnet.7001")
    assert profile.cov_slots == profile.learned()["cov_slots"] == 2
    assert {each.why for each in here.subscriptions} == {"", watch.NO_ROOM}
    device.answer = lambda _each: None
    await here.clock.advance(3600.0)
    await here.until_live(1, 2, 3, 4, 5)
    assert profile.cov_slots is None


async def test_no_cov_a_device_without_the_service_is_asked_once_and_polled(watched, device):
    device.answer = lambda _each: UNRECOGNIZED_SERVICE
    here = await watched()
    await here.watch(1, 2, 3)
    await here.until(lambda: set(here.states().values()) == {State.REFUSED})
    await here.clock.advance(60.0)
    assert len(device.asked) == 1
    assert here.house.live == []
    assert {each.why for each in here.subscriptions} == {watch.NO_COV}


async def test_an_object_without_cov_is_polled_and_the_others_are_live(watched, device):
    device.answer = lambda each: NOT_A_COV_PROPERTY if each.object.instance == 2 else None
    here = await watched()
    await here.watch(1, 2, 3)
    await here.until_live(1, 3)
    await here.until(lambda: here.states()["2"] is State.REFUSED)
    assert [each.confirmed for each in device.asked if each.object.instance == 2] == [True, False]


async def test_a_device_that_only_fails_is_taken_for_full(watched, device):
    device.answer = lambda each: None if each.object.instance == 1 else COV_SUBSCRIPTION_FAILED
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    await here.watch(1, 2, 3, 4, 5)
    await here.until(lambda: [*here.states().values()].count(State.REFUSED) == 4)
    assert watch.NO_ROOM in {each.why for each in here.subscriptions}


async def test_a_device_that_knows_unconfirmed_notifications_only_gets_these(watched, device):
    device.answer = lambda each: COV_SUBSCRIPTION_FAILED if each.confirmed else None
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    assert [each.confirmed for each in device.asked] == [True, False]


async def test_a_device_that_accepts_and_tells_nothing_is_polled(watched, device):
    device.tells = False
    here = await watched()
    await here.watch(1)
    for _ in range(watch.MOST_IN_VAIN):
        await here.until(lambda: here.states()["1"] is not State.WAITING)
        await here.clock.advance(10.0)
    await here.until(lambda: here.states()["1"] is State.REFUSED)
    assert len(device.asked) == watch.MOST_IN_VAIN
    assert here.house.live == []
    assert {each.why for each in here.subscriptions} == {watch.UNHEARD}
    await device.until(lambda: [each.process_id for each in device.cancelled] == [device.process_ids[1]])


async def test_cov_dies_after_reboot_a_device_that_announces_itself_is_subscribed_to_again_at_once(watched, device):
    here = await watched()
    await here.watch(1, 2)
    await here.until_live(1, 2)
    device.announce()
    await here.until(lambda: bool(here.house.seen))
    await here.clock.advance(watch.AFTER_RESTART_S)
    await device.until(lambda: len(device.asked) == 4)
    device.announce()  # one that says so all the time is not asked all the time
    device.announce()
    await here.until(lambda: len(here.house.seen) == 3)
    await here.clock.advance(watch.AFTER_RESTART_S)
    assert len(device.asked) == 4


async def test_cov_dies_after_expiry_one_that_cannot_be_renewed_is_polled_and_live_again_when_the_device_answers(
    watched, device
):
    here = await watched(cov=Cov(lifetime=300))
    await here.watch(1, 2)
    await here.until_live(1, 2)
    device.answer = lambda _each: False
    await here.clock.advance(240.0)
    await device.until(lambda: len(device.asked) == 3)
    await here.clock.advance(1.0)
    await here.until(lambda: set(here.states().values()) == {State.WAITING})
    await here.clock.advance(0.01)
    assert here.house.live[1:] == [({"analog-input.1"}, None), ({"analog-input.2"}, None)]
    device.answer = lambda _each: None
    await here.poll(1, 2)
    await here.clock.advance(watch.AFTER_RESTART_S)
    await here.until_live(1, 2)
    assert here.house.live[3:] == [({"analog-input.1", "analog-input.2"}, 300.0)]


async def test_a_device_that_stays_silent_is_asked_ever_more_rarely(watched, device):
    device.answer = lambda _each: False
    here = await watched()
    await here.watch(1, 2, 3)
    for _ in range(60):
        await here.clock.advance(60.0)
        await asyncio.sleep(0.03)  # a turn of the engine, which goes by the loop's time
    assert 8 <= len(device.asked) <= 30


async def test_a_change_that_only_a_poll_found_is_noticed_and_subscribed_to_again(watched, device):
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    device.values[1] += 2 * device.increment
    device.tells = False
    await here.poll(1)
    await here.clock.advance(watch.GRACE_S)
    await device.until(lambda: len(device.asked) == 2)
    assert here.subscriptions.missed == 1
    for count in (2, 3):
        device.values[1] += 2 * device.increment
        await here.poll(1)
        await here.clock.advance(watch.GRACE_S)
        await here.until(lambda count=count: here.subscriptions.missed == count)
    await here.until(lambda: here.states()["1"] is State.REFUSED)
    assert {each.why for each in here.subscriptions} == {watch.MISSED}


async def test_a_small_change_and_one_whose_notification_is_late_are_no_reason_to_subscribe_again(watched, device):
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    device.values[1] += device.increment / 2
    await here.poll(1)
    await here.clock.advance(watch.GRACE_S)
    await here.until(lambda: next(iter(here.subscriptions)).increment == device.increment)
    device.values[1] += 2 * device.increment
    await here.poll(1)
    told = here.subscriptions.notifications
    device.notify(1, device.values[1])
    await here.until(lambda: here.subscriptions.notifications > told)
    await here.clock.advance(watch.GRACE_S)
    assert (here.subscriptions.missed, len(device.asked)) == (0, 1)


async def test_a_point_that_is_no_longer_polled_is_cancelled_and_so_are_all_at_the_end(watched, device):
    here = await watched()
    await here.watch(1, 2, 3)
    await here.until_live(1, 2, 3)
    ids = device.process_ids
    await here.watch(1, 2)
    await device.until(lambda: [each.process_id for each in device.cancelled] == [ids[3]])
    assert here.house.live[-1] == ({"analog-input.3"}, None)
    here.house.plugin.driver.watch(here.group())
    await device.until(lambda: {each.process_id for each in device.cancelled} == set(ids.values()))
    assert here.states() == {}
    assert sorted(here.house.live[-2:], key=str) == [({"analog-input.1"}, None), ({"analog-input.2"}, None)]
    await here.watch(4)
    await here.until_live(4)
    await here.subscriptions.close()
    assert device.cancelled[-1].process_id == device.process_ids[4]


async def test_a_subscription_from_before_a_restart_is_cancelled_when_it_is_heard_of(watched, device):
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    here.house.published.clear()
    device.notify(2, 1.0, process_id=77, confirmed=True)
    await device.until(lambda: bool(device.cancelled))
    assert [(each.process_id, each.object.instance) for each in device.cancelled] == [(77, 2)]
    assert device.acknowledged == [apdu.write_error(1, 9, PropertyError(5, 79))]
    assert (here.house.published, here.subscriptions.strays) == ([], 1)


async def test_nobody_else_can_tell_a_reading(watched, device):
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    here.house.published.clear()
    loop = asyncio.get_running_loop()
    transport, stranger = await loop.create_datagram_endpoint(Subscribed, local_addr=("127.0.0.122", 47961))
    stranger.client = device.client
    stranger.notify(1, 99.0, process_id=device.process_ids[1], confirmed=True)
    await stranger.until(lambda: bool(stranger.acknowledged))
    transport.close()
    assert stranger.acknowledged[0][0] >> 4 == apdu.PduType.ERROR
    assert here.house.published == []
    assert device.cancelled == []


@pytest.mark.parametrize("octets", [b"\x10\x02", b"\x10\x02\x09", b"\x00\x05\x09\x01\x09", b"\x00\x05", b"\x10"])
async def test_a_broken_notification_disturbs_nothing(watched, device, octets):
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    device.say(octets)
    device.notify(1, 30.0, confirmed=True)
    await device.until(lambda: bool(device.acknowledged))
    assert list(here.house.published[-1].values) == [30.0]


async def test_notifications_come_in_through_a_router_too(watched, device):
    here = await watched()
    ear = here.house.plugin.clients[HERE].link.hearers[-1]
    told = cov.write_notification(1, ObjectId(8, 7002), ObjectId(0, 1), 60, [])
    header = npdu.write_npdu(source=npdu.Place(2001, b"\x05"), destination=npdu.Place(599, b"\x01"))
    message = bytes((0x10, 2)) + told
    forwarded = b"\x81\x04" + (10 + len(header + message)).to_bytes(2, "big") + bytes(6) + header + message
    assert ear(forwarded, THERE)
    assert ear(bvll.unicast(header + message), THERE)
    assert not ear(bvll.unicast(npdu.write_npdu()[:1] + b"\x80\x00"), THERE)
    assert here.subscriptions.strays == 2


async def test_room_that_our_own_subscriptions_from_before_a_kill_take_is_used_as_soon_as_they_have_run_out(
    watched, device, clock
):
    device.answer = lambda _each: None if clock.monotonic() > 600.0 else NO_SPACE
    here = await watched()
    await here.watch(1, 2)
    await here.until(lambda: set(here.states().values()) == {State.REFUSED})
    await clock.advance(720.0)
    await here.until_live(1, 2)


async def test_a_value_that_is_no_number_is_no_missed_change(watched, device):
    device.values[1] = math.nan
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    for _ in range(4):
        await here.poll(1)
        await here.clock.advance(watch.GRACE_S)
    assert (here.subscriptions.missed, here.states()["1"], len(device.asked)) == (0, State.LIVE, 1)


async def test_what_a_poll_found_before_a_notification_came_is_not_held_against_it(watched, device):
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    group = here.group(1)
    batches = await here.house.plugin.driver.read(group)
    await here.clock.advance(1.0)
    told = here.subscriptions.notifications
    device.notify(1, 50.0)
    await here.until(lambda: here.subscriptions.notifications > told)
    here.subscriptions.polled(group, batches, was_silent=False)
    await here.clock.advance(watch.GRACE_S)
    assert (here.subscriptions.missed, len(device.asked)) == (0, 1)


async def test_a_point_that_was_renamed_keeps_its_subscription(watched, device):
    here = await watched()
    await here.watch(1)
    await here.until_live(1)
    renamed = DEVICE.point("analog-input.1", name="renamed", interval=10.0)
    here.house.plugin.driver.watch(PointGroup(DEVICE, (renamed,), array("I", [1]), 10.0))
    await here.clock.advance(5.0)
    assert (device.cancelled, len(device.asked), here.states()["1"]) == ([], 1, State.LIVE)
    assert [each.point.name for each in here.subscriptions] == ["renamed"]
