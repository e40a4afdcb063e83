"""A trunk on which one message travels at a time, with a dead device on it."""

from __future__ import annotations

from plugins.simulator.faults import FaultKind

from .conftest import Operate
from .view import SUBJECT, outcome

TRUNK = {"network": 3001, "controllers": 3, "points": 24, "latency": 0.02, "baud": 115_200}
FIRST, DEAD = 20001, 20003


async def test_the_others_on_a_trunk_stay_good_beside_a_dead_device_and_another_network_beside_a_dead_trunk(
    operate: Operate,
):
    view = await operate(interval=1.2, timeout=0.6, points=10, controllers=1, trunks=[TRUNK])
    trunk = range(FIRST, FIRST + TRUNK["controllers"])
    offline = dict.fromkeys(await view.points(DEAD), ("bad", "offline"))
    async with view.all_stay_good(DEAD):
        fault = view.simulation.inject(FaultKind.SILENT, devices=[DEAD])
        await view.until_amiss(offline, number=DEAD)
        assert (await view.device(DEAD))["status"] == "offline"
        assert outcome(await view.read("analog-input.3", number=DEAD)) == (504, "device.offline")

        async def is_serial() -> bool:
            profile = await view.profile(FIRST)
            return (profile["network_is_serial"], profile["network_concurrency"]) == (True, 1)

        await view.until(is_serial)
        assert not (await view.profile(SUBJECT))["network_is_serial"]
        view.simulation.remove(fault)
        await view.until_all_is_well(DEAD)
        for number in trunk:
            await view.shows_what_is_there(number)

    async with view.all_stay_good(*trunk):
        fault = view.simulation.inject(FaultKind.SILENT, devices=[f"{trunk[0]}-{trunk[-1]}"])
        for number in trunk:
            await view.until_amiss(offline, number=number)
        view.simulation.remove(fault)
        for number in trunk:
            await view.until_all_is_well(number)
