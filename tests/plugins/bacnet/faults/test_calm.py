"""Faults that are taken calmly: no point turns bad, and a look at the right place tells that something is not right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import pytest

from plugins.simulator.faults import FaultKind

from .conftest import Operate
from .view import View, outcome

TIMES = 3
INTERVAL_S = 1.0  # 2.5 s until a point is stale: a machine that stalls for a second has not made it so


@attrs.frozen(kw_only=True)
class Case:
    """A fault; ``strikes`` waits until it has struck, as the operator can tell, and ``is_over`` looks at it afterwards.

    ``house`` is how the house is set up.
    """

    kind: FaultKind
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    strikes: Callable[[View], Awaitable[None]]
    is_over: Callable[[View], Awaitable[None]] | None = None
    house: Mapping[str, Any] = attrs.field(factory=dict)


async def answers_late(view):
    async def is_late() -> bool:
        return (await view.device())["latency_ms"] >= 100

    await view.until(is_late)


async def answers_after_the_first_try(view):
    await counts(view, "repeats_total")


async def answers_out_of_turn(view):
    async def is_uneven() -> bool:
        return ((await view.profile())["latency_deviation_ms"] or 0.0) > 20.0

    await view.until(is_uneven)


async def counts(view, figure):
    before = await view.figure(figure)

    async def has_counted() -> bool:
        return await view.figure(figure) >= before + TIMES

    await view.until(has_counted, seconds=20.0)


async def answers_twice(view):
    await counts(view, "late_answers_total")


async def profile_says(view, **wanted):
    async def says_so() -> bool:
        profile = await view.profile()
        return {name: profile[name] for name in wanted} == wanted

    await view.until(says_so)


async def reads_one_by_one(view):
    await profile_says(view, read_property_multiple=False)


async def reads_one_by_one_for_an_hour_or_until_told_to_learn_anew(view):
    await reads_one_by_one(view)
    await view.forget_profile()
    await view.follows()
    await profile_says(view, read_property_multiple=True)


async def is_asked_for_little_at_once(view):
    await profile_says(view, value_octets=32)


async def has_one_set_apart(view):
    await profile_says(view, isolated=["analog-input.3 85", "analog-input.3 111"])


async def says_that_it_takes_little(view):
    await is_asked_for_little_at_once(view)
    assert await view.scan() == {}
    await profile_says(view, max_apdu=50)


async def says_that_it_takes_more(view):
    assert await view.scan() == {}
    await profile_says(view, max_apdu=480)


async def says_that_it_cannot_segment(view):
    await profile_says(view, segmentation=True, object_list="whole")
    assert await view.scan() == {}
    await profile_says(view, segmentation=False, object_list="by-index")


async def says_that_it_can_segment(view):
    assert await view.scan() == {}
    await profile_says(view, segmentation=True, object_list="whole")


TOO_MUCH = {"services": ["read-property-multiple"], "reason": "out-of-resources"}

CASES = {
    "answers late": Case(
        kind=FaultKind.DELAY, parameters={"seconds": 0.1, "jitter": 0.05}, strikes=answers_late, house={"points": 20}
    ),
    "answers later than the first try waits": Case(
        kind=FaultKind.DELAY,
        parameters={"seconds": 0.3},
        strikes=answers_after_the_first_try,
        house={"points": 20},
    ),
    "loses a message now and then": Case(
        kind=FaultKind.LOSS,
        parameters={"probability": 0.08},
        strikes=answers_after_the_first_try,
        house={"retries": 5},
    ),
    "says everything twice": Case(kind=FaultKind.DUPLICATE, strikes=answers_twice),
    "mixes up the order": Case(kind=FaultKind.REORDER, parameters={"probability": 0.3}, strikes=answers_out_of_turn),
    "does not know ReadPropertyMultiple": Case(
        kind=FaultKind.NO_READ_PROPERTY_MULTIPLE,
        strikes=reads_one_by_one,
        is_over=reads_one_by_one_for_an_hour_or_until_told_to_learn_anew,
    ),
    "aborts what is too much": Case(kind=FaultKind.ABORT, parameters=TOO_MUCH, strikes=is_asked_for_little_at_once),
    "chokes on one object": Case(
        kind=FaultKind.CHOKE, parameters={"objects": ["analog-input.3"]}, strikes=has_one_set_apart
    ),
    "takes small messages only": Case(
        kind=FaultKind.SMALL_APDU,
        parameters={"octets": 50},
        strikes=says_that_it_takes_little,
        is_over=says_that_it_takes_more,
    ),
    "cannot segment": Case(
        kind=FaultKind.NO_SEGMENTATION,
        strikes=says_that_it_cannot_segment,
        is_over=says_that_it_can_segment,
        house={"points": 120},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_no_point_turns_bad_values_follow_and_writes_are_verified(operate: Operate, case):
    view = await operate(**{"interval": INTERVAL_S, **case.house})
    async with view.suffers(case.kind, calmly=True, **case.parameters):
        await case.strikes(view)
        await view.follows()
        answer = await view.read("analog-input.3")
        assert (*outcome(answer), answer.json["value"]) == (200, None, view.value("analog-input.3"))
        written = await view.write("analog-value.1", 30.0)
        assert (*outcome(written), written.json["verified"]) == (200, None, True)
        assert (await view.device())["status"] == "online"
        await view.shows_what_is_there()
    if case.is_over is not None:
        await case.is_over(view)
    await view.follows()
