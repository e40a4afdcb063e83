"""Faults by which points turn bad: which of them, with which reason, and what a reader and a writer are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from plugins.simulator.faults import FaultKind

from .conftest import Operate
from .view import outcome

READ, WRITTEN = "analog-input.3", "analog-value.1"
FINE = (200, None)


@attrs.frozen(kw_only=True)
class Case:
    """A fault, and what is seen of it; ``objects`` is None where it is all of them.

    ``read`` and ``write`` are what is answered to who reads ``READ`` now, or writes ``WRITTEN``. ``words`` are the
    device's own. ``reached`` says whether the write reached the device all the same.
    """

    kind: FaultKind
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    objects: Sequence[str] | None = None
    reason: str = "error"
    status: str = "online"
    last_error: str | None = None
    read: tuple[int, str | None] = (502, "device.refused")
    words: Mapping[str, str | None] | None = None
    write: tuple[int, str | None] = (502, "device.refused")
    reached: bool = False


def unanswered(kind, *, reached=False, **parameters):
    return Case(
        kind=kind,
        parameters=parameters,
        reason="offline",
        status="offline",
        last_error="did not answer within",
        read=(504, "device.offline"),
        write=(504, "device.timeout"),
        reached=reached,
    )


def words(kind, code, error_class=None):
    return {"kind": kind, "class": error_class, "code": code}


THREE = ("analog-input.3", "binary-input.2", "multi-state-input.1")
GONE = {"objects": [READ], "error_class": "object", "error_code": "unknown-object"}
ONE = {"objects": (READ,), "write": FINE, "reached": True}

CASES = {
    "silent": unanswered(FaultKind.SILENT),
    "slower than all time-outs": unanswered(FaultKind.DELAY, seconds=2.0, reached=True),
    "aborts all": Case(kind=FaultKind.ABORT, last_error="abort other", words=words("abort", "other")),
    "rejects all": Case(
        kind=FaultKind.REJECT,
        parameters={"reason": "missing-required-parameter"},
        last_error="reject missing-required-parameter",
        words=words("reject", "missing-required-parameter"),
    ),
    "garbles all": Case(
        kind=FaultKind.GARBAGE,
        last_error="abort undecodable-answer",
        words=words("abort", "undecodable-answer"),
        reached=True,
    ),
    "has a defect in one object": Case(
        kind=FaultKind.ERROR,
        parameters={"objects": [READ]},
        words=words("error", "operational-problem", "device"),
        **ONE,
    ),
    "has lost an object": Case(kind=FaultKind.ERROR, parameters=GONE, read=(404, "point.not_found"), **ONE),
    "has values of the wrong type": Case(
        kind=FaultKind.WRONG_TYPE,
        parameters={"objects": THREE},
        read=(502, "bacnet.unusable_value"),
        **(ONE | {"objects": THREE}),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_these_points_turn_bad_and_no_others_and_all_are_good_again_without_a_restart(operate: Operate, case):
    view = await operate()
    everything = (await view.points()).keys()
    wanted = dict.fromkeys(everything if case.objects is None else case.objects, ("bad", case.reason))
    before = view.value(WRITTEN)
    async with view.suffers(case.kind, **case.parameters):
        await view.until_amiss(wanted)
        await view.shows_what_is_there()  # what is bad keeps its last value
        device = await view.device()
        assert device["status"] == case.status
        assert case.last_error in device["last_error"] if case.last_error else device["last_error"] is None
        answer = await view.read(READ)
        assert outcome(answer) == case.read
        assert answer.json.get("bacnet") == case.words
        written = await view.write(WRITTEN, before + 1.0)
        assert outcome(written) == case.write
        assert view.value(WRITTEN) == before + case.reached
        if case.write == FINE:
            assert written.json["verified"] is True
        if "device.timeout" in case.write:
            assert "may have been carried out" in written.json["detail"]
        assert await view.amiss() == wanted
    await view.follows(READ)
    assert outcome(await view.write(WRITTEN, before + 2.0)) == FINE
    assert view.value(WRITTEN) == before + 2.0
    await view.shows_what_is_there()
