"""Faults of subscriptions: the points concerned are polled, and good; the list of subscriptions says why."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import pytest

from core.clock import ManualClock
from plugins.bacnet.cov import watch
from plugins.simulator.faults import FaultKind

from .conftest import Operate
from .view import SUBJECT, View

INTERVAL_S = 30.0
HOUR_S = 3600.0
MORE = """
    cov: {verify: 30}
    points: [{match: "*", cov: true}]
"""


Start = Callable[..., Awaitable[View]]


@pytest.fixture
def start(operate: Operate) -> Start:
    """Start a house that wants to be told of each change of all points; time passes as a test waits."""
    return functools.partial(operate, points=10, interval=INTERVAL_S, clock=ManualClock(), more=MORE.strip())


@pytest.fixture
async def live(start: Start) -> View:
    """Have a house in which all points of all devices are told of each change."""
    view = await start()
    for number in view.simulation.devices:
        await until_live(view, number, len(await view.points(number)))
    return view


async def until_live(view: View, number: int, count: int) -> None:
    async def are_live() -> bool:
        return len(await view.live(number)) == count

    await view.until(are_live, seconds=INTERVAL_S)


async def until_stand(view: View, **wanted: int) -> None:
    """Wait until so many of the subject's subscriptions stand in such a way."""

    async def stand() -> bool:
        states = [state for state, _why in (await view.subscriptions()).values()]
        return {state: states.count(state) for state in set(states)} == wanted

    await view.until(stand, seconds=4 * INTERVAL_S)


async def restart(view: View) -> None:
    """Have the subject restart, so that it is asked for everything anew."""
    view.simulation.reboot(SUBJECT, seconds=0.0)


async def reasons(view: View) -> set[str | None]:
    return {why for _state, why in (await view.subscriptions()).values()}


async def test_a_device_that_offers_it_no_more_is_polled_for_an_hour_and_live_again_then(live: View):
    async with live.suffers(FaultKind.NO_COV, calmly=True):
        await restart(live)
        await until_stand(live, refused=10)
        assert await reasons(live) == {watch.NO_COV}
        await until_live(live, SUBJECT, 0)
        await live.follows()
    await live.advance(HOUR_S)
    await until_live(live, SUBJECT, 10)


async def test_a_device_with_fewer_places_has_as_many_live_the_rest_polled_and_all_live_after_a_restart(live: View):
    async with live.suffers(FaultKind.COV_SLOTS, calmly=True, count=4):
        await restart(live)
        await until_stand(live, live=4, refused=6)
        assert await reasons(live) == {None, watch.NO_ROOM}
        await until_live(live, SUBJECT, 4)
        assert (await live.profile())["cov_slots"] == 4
        for key in await live.points():
            if key.startswith("analog-input."):
                await live.follows(key)
    await live.advance(watch.BETWEEN_RESTARTS_S)
    await restart(live)
    await until_live(live, SUBJECT, 10)
    assert (await live.profile())["cov_slots"] is None


async def test_a_device_that_takes_subscriptions_and_tells_nothing_is_polled(start: Start):
    view = await start(faults=[{"kind": FaultKind.DEAF_COV, "devices": [SUBJECT]}])
    async with view.all_stay_good():
        await until_stand(view, refused=10)
        assert await reasons(view) == {watch.UNHEARD}
        assert await view.live() == set()
        await view.follows()
        view.simulation.clear()
    await view.advance(HOUR_S)
    await until_live(view, SUBJECT, 10)


async def test_a_device_that_falls_dumb_shows_changes_by_the_verifying_poll_and_is_found_out(live: View):
    key = "analog-input.2"
    async with live.suffers(FaultKind.DEAF_COV, calmly=True):
        for _ in range(watch.MOST_IN_VAIN):
            await live.follows(key)
            await live.advance(watch.GRACE_S + INTERVAL_S)
        assert (await live.subscriptions())[key] == ("refused", watch.MISSED)
        assert key not in await live.live()
        await live.follows(key)
    await live.advance(HOUR_S)
    await until_live(live, SUBJECT, 10)


async def test_a_device_that_loses_every_other_notification_shows_each_value_by_the_verifying_poll(live: View):
    async with live.suffers(FaultKind.DEAF_COV, calmly=True, probability=0.5):
        for key in sorted(await live.live()):
            if key.startswith("analog-input."):
                await live.follows(key)
        await live.shows_what_is_there()


async def test_a_device_that_restarts_is_subscribed_to_again(live: View):
    live.simulation.reboot(SUBJECT, seconds=0.0)
    assert live.simulation.subscriptions(SUBJECT) == 0

    async def are_back() -> bool:
        return live.simulation.subscriptions(SUBJECT) == 10

    async with live.all_stay_good():
        await live.until(are_back)
        await until_live(live, SUBJECT, 10)


async def test_live_points_of_a_device_that_falls_silent_turn_bad_as_fast_as_polled_ones(live: View):
    everything = dict.fromkeys(await live.points(), ("bad", "offline"))
    async with live.suffers(FaultKind.SILENT):
        await live.until_amiss(everything, seconds=4 * INTERVAL_S)
        assert (await live.device())["status"] == "offline"
    await until_live(live, SUBJECT, 10)
