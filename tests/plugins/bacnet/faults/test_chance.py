"""Faults that strike now and then, often: points come and go, and never show a value that the device does not have."""

from __future__ import annotations

import pytest

from plugins.simulator.faults import FaultKind

from .conftest import Operate
from .view import SUBJECT, outcome

OFTEN = 2
REFUSED, LATE, OFFLINE = (502, "device.refused"), (504, "device.timeout"), (504, "device.offline")


@pytest.mark.parametrize(
    ("kind", "probability", "failures"),
    [
        (FaultKind.LOSS, 0.4, {LATE, OFFLINE}),
        (FaultKind.TRUNCATE, 0.5, {REFUSED, LATE, OFFLINE}),
        (FaultKind.GARBAGE, 0.5, {REFUSED}),
        (FaultKind.ABORT, 0.5, {REFUSED}),
        (FaultKind.REJECT, 0.5, {REFUSED}),
    ],
)
async def test_what_fails_says_so_and_what_does_not_is_right(operate: Operate, kind, probability, failures):
    view = await operate(points=10)
    good = bad = 0

    async def has_struck_often() -> bool:
        nonlocal good, bad
        answer = await view.read("analog-input.3")
        if answer.status == 200:
            good += 1
            assert answer.json["value"] == view.value("analog-input.3")
        else:
            bad += 1
            assert outcome(answer) in failures
        await view.shows_what_is_there()
        return good >= OFTEN and bad >= OFTEN

    async with view.suffers(kind, probability=probability):
        await view.until(has_struck_often)
    await view.follows()


async def test_a_device_of_which_nothing_whole_comes_is_bad_throughout_and_keeps_its_values(operate: Operate):
    view = await operate(points=10)

    async def nothing_is_good() -> bool:
        amiss = await view.amiss()
        return amiss.keys() == (await view.points()).keys() and {quality for quality, _ in amiss.values()} == {"bad"}

    async with view.suffers(FaultKind.TRUNCATE):
        await view.until(nothing_is_good)
        await view.shows_what_is_there()
        assert {reason for _quality, reason in (await view.amiss()).values()} <= {"offline", "timeout", "error"}
        assert (await view.read("analog-input.3")).status in (502, 504)
    await view.follows()


async def test_an_answer_that_comes_twice_or_after_the_next_is_never_taken_for_another(operate: Operate):
    view = await operate(points=10)
    keys = [*await view.points()]

    async def has_struck_often() -> bool:
        for key in keys:
            assert (await view.read(key)).json["value"] == view.value(key)
        return await view.figure("late_answers_total") >= 20

    async with view.suffers(FaultKind.DUPLICATE, probability=0.5):
        reordering = view.simulation.inject(FaultKind.REORDER, devices=[SUBJECT], probability=0.1)
        await view.until(has_struck_often)
        view.simulation.remove(reordering)


async def test_noise_leaves_hardly_a_point_set_apart_for_long(operate: Operate):
    view = await operate(points=60)
    before = await view.figure("refusals_total")

    async def has_struck_often() -> bool:
        return await view.figure("refusals_total") >= before + 100

    async with view.suffers(FaultKind.ABORT, probability=0.5):
        await view.until(has_struck_often)
    assert len((await view.profile())["isolated"]) <= 12, "two properties each of six of sixty points"
