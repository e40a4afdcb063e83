"""Writes as JSON what a write or a deed came to, for the record, and reads from it what is answered to a repetition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from core.errors import DeviceError, DeviceOffline, DeviceTimeout, NotSent, PlantroomError, every_error
from core.holders import held
from core.model import Command, Done, Taken, WriteResult
from core.records import PERHAPS

Outcome: TypeAlias = WriteResult | Taken | Exception
"""What became of a command, as its driver tells it."""


def result_of(command: Command, outcome: Outcome) -> dict[str, Any] | None:
    """Return what goes on record for a command; None where nothing was changed."""
    if isinstance(outcome, Exception):
        return perhaps(outcome)
    slot = {"priority": outcome.priority, "held": held(command, outcome)}
    if isinstance(outcome, Taken):
        return slot | {"verified": None, "error": _said(outcome.error)}
    return slot | {
        "value": outcome.value,
        "effective": outcome.effective,
        "active_priority": outcome.active_priority,
        "verified": outcome.verified,
    }


def result_of_deed(done: Done) -> dict[str, Any]:
    """Return what goes on record for a deed."""
    result = {"before": done.before, "after": done.after}
    return result if done.error is None else result | {"error": _said(done.error)}


def perhaps(error: Exception) -> dict[str, Any] | None:
    """Return what goes on record for what got no answer; None where the error says that nothing was changed."""
    if isinstance(error, DeviceTimeout) and not isinstance(error, NotSent | DeviceOffline):
        return {PERHAPS: True, "error": _said(error)}
    return None


def silence_in(outcomes: Iterable[Outcome]) -> DeviceTimeout | None:
    """Return the error that tells that the device has fallen silent, so that nothing more is sent to it."""
    errors = (outcome.error if isinstance(outcome, Taken) else outcome for outcome in outcomes)
    return next((error for error in errors if isinstance(error, DeviceTimeout)), None)


def error_in(result: Mapping[str, Any]) -> PlantroomError | None:
    """Return the error that whoever asked was answered, as what is on record says it."""
    said = result.get("error")
    if said is None:
        return None
    kind = next((each for each in every_error(DeviceError) if each.code == said["code"]), DeviceError)
    return kind(said["detail"], extra=said["extra"])


def _said(error: PlantroomError) -> dict[str, Any]:
    return {"code": error.code, "detail": error.detail, "extra": error.extra}
