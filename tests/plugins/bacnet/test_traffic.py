"""Traffic: bounded, fair, and open where there is nothing left to protect."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import ManualClock
from plugins.bacnet.addresses import parse_station
from plugins.bacnet.pace import Adaptive
from plugins.bacnet.together import together
from plugins.bacnet.traffic import FIRST_PER_DEVICE, IN_ALL, Network, Traffic, Turn

LOCAL = parse_station("10.0.0.9", interface="here")


def behind_a_router(mac):
    return parse_station(f"2001:{mac}@10.0.0.1", interface="here")


class Named(Turn):
    def __init__(self, lane, name, road):
        super().__init__(lane)
        self.name, self.road = name, road

    def begin(self):
        self.road.inside.append(self)
        self.road.order.append(self.name)


class Road:
    """Lanes with requests that stay until they are told to leave; ``order`` has the names of those let in."""

    def __init__(self):
        self.traffic = Traffic(ManualClock())
        self.inside = []
        self.order = []

    def enter(self, lane, name=""):
        turn = Named(lane, name, self)
        self.traffic.enter(turn)
        return turn

    def leave(self):
        self.traffic.leave(self.inside.pop(0))


def test_no_more_than_its_pace_allows_are_on_their_way_to_a_device():
    road = Road()
    lane = road.traffic.lane(LOCAL)
    for _ in range(8):
        road.enter(lane)
    assert len(road.inside) == FIRST_PER_DEVICE
    for left in range(7, -1, -1):
        road.leave()
        assert len(road.inside) == min(left, FIRST_PER_DEVICE)
    assert lane.busy == lane.network.busy == 0


def test_a_network_behind_a_router_begins_with_one_at_a_time_and_its_devices_take_turns():
    road = Road()
    lanes = {name: road.traffic.lane(behind_a_router(mac)) for mac, name in enumerate("abc", 1)}
    for name, lane in lanes.items():
        for _ in range(3):
            road.enter(lane, name)
    while road.inside:
        assert len(road.inside) == 1
        road.leave()
    assert "".join(road.order) == "aabcabcbc", "the first a was alone when it came"


def test_all_networks_together_are_bounded():
    road = Road()
    for interface in range(4):
        for _ in range(60):
            road.enter(road.traffic.lane(parse_station("10.0.0.9", interface=str(interface))))
    assert len(road.inside) == IN_ALL
    while road.inside:
        road.leave()
    assert len(road.order) == 240


def test_a_device_that_was_silent_passes_beside_a_full_network():
    road = Road()
    for mac in range(1, 9):
        road.enter(road.traffic.lane(behind_a_router(mac)))
    dead = road.traffic.lane(behind_a_router(9))
    dead.silent = True
    road.enter(dead, "dead")
    assert road.order[-1] == "dead"
    assert dead.network.busy == 1
    while road.inside:
        road.leave()
    assert dead.network.busy == 0
    assert len(road.order) == 9


def test_a_request_that_is_overdue_lets_the_others_go_on():
    road = Road()
    slow, other = (road.traffic.lane(behind_a_router(mac)) for mac in (1, 2))
    waiting = road.enter(slow, "slow")
    road.enter(other, "other")
    assert road.order == ["slow"]
    road.traffic.step_aside(waiting)
    assert road.order == ["slow", "other"]
    road.leave()
    assert slow.network.busy == 1, "what stepped aside before gives nothing back twice"


def test_who_gives_up_waiting_leaves_the_turn_to_the_next():
    road = Road()
    lane = road.traffic.lane(behind_a_router(1))
    road.enter(lane, "first")
    road.enter(lane, "second").given_up = True
    road.enter(lane, "third")
    road.leave()
    assert road.order == ["first", "third"]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["enter", "leave", "silent", "aside", "limit"])), max_size=80)
)
def test_whatever_happens_nobody_is_forgotten_and_no_limit_is_passed(steps):
    road = Road()
    lanes = [road.traffic.lane(behind_a_router(mac)) for mac in range(3)]
    lanes += [road.traffic.lane(LOCAL) for _ in range(3)]
    entered = 0
    for number, what in steps:
        lane = lanes[number]
        if what == "enter":
            road.enter(lane)
            entered += 1
        elif what == "silent":
            lane.silent = not lane.silent and lane.busy > 0
        elif what == "limit":
            lane.pace.limit = 1 + number
        elif road.inside:
            turn = road.inside[number % len(road.inside)]
            if what == "aside":
                road.traffic.step_aside(turn)
            else:
                road.inside.remove(turn)
                road.traffic.leave(turn)
        for network in {lane.network for lane in lanes}:
            shared = sum(turn.shared for turn in road.inside if turn.lane.network is network)
            assert network.busy == shared <= network.pace.limit
    while road.inside:
        road.leave()
    assert len(road.order) == entered
    assert all(lane.busy == 0 == lane.network.busy for lane in lanes)


async def test_a_network_is_silent_when_several_miss_and_nothing_answers_meanwhile():
    clock = ManualClock()
    network = Network(Adaptive(1, 1), clock.monotonic())
    await clock.advance(1)
    for _ in range(3):
        network.missed(clock.monotonic())
    assert not network.silent
    await clock.advance(1)
    assert network.answered(clock.monotonic()) is False
    for _ in range(9):
        network.missed(clock.monotonic() - 1)
    assert not network.silent, "something answered after these were asked"
    await clock.advance(1)
    for _ in range(4):
        network.missed(clock.monotonic())
    assert network.silent
    assert network.answered(clock.monotonic()) is True
    assert not network.silent


async def test_who_waits_at_a_network_that_is_found_silent_waits_no_longer():
    road = Road()
    lanes = [road.traffic.lane(behind_a_router(mac)) for mac in range(1, 6)]
    for lane in lanes:
        road.enter(lane)
    assert len(road.inside) == 1
    assert [lanes[0].network.missed(1.0) for _ in range(4)] == [False, False, False, True]
    road.traffic.let_all_pass(lanes[0].network)
    assert len(road.inside) == 5


async def test_a_turn_is_held_while_the_block_runs_and_given_up_with_its_task():
    traffic = Traffic(ManualClock())
    lane = traffic.lane(behind_a_router(1))
    go = asyncio.Event()

    async def hold():
        async with traffic.turn(lane):
            await go.wait()

    first, second, third = (asyncio.create_task(hold()) for _ in range(3))
    await asyncio.sleep(0)
    assert lane.busy == 1
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    third.cancel()
    go.set()
    async with asyncio.timeout(1):
        await asyncio.gather(first, third, return_exceptions=True)
        async with traffic.turn(lane):
            assert lane.busy == 1
    assert lane.busy == 0


async def test_of_several_the_first_failure_is_raised_and_the_rest_stops():
    stopped = asyncio.Event()

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def fail():
        await asyncio.sleep(0)
        raise ValueError("this one")

    with pytest.raises(ValueError, match="this one"):
        await together([forever(), fail()])
    assert stopped.is_set()
