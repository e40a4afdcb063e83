"""The plugin's section of the configuration: what is recorded, and for how long it is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs
import voluptuous as vol

from core.validators import boolean, glob, integer, number, seconds, seconds_or_zero, text

DAY_S = 86_400.0
FOREVER = "forever"
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S, "w": 7 * DAY_S, "y": 365 * DAY_S}
_DURATION = re.compile(r"^([1-9]\d{0,6})([smhdwy])$", re.ASCII)


def duration(value: Any) -> str:
    """Check how long something is kept: a number of days or another unit, ``60d`` or ``5y``, or ``forever``."""
    given = text(value)
    if given != FOREVER and (_DURATION.match(given) is None or (duration_s(given) or 0) < DAY_S):
        raise vol.Invalid(f"{given!r} is no time to keep something; write it as 60d, 8w or 5y, at least 1d, or forever")
    return given


def duration_s(value: str) -> float | None:
    """Return what `duration` has checked in seconds; None: for ever."""
    found = _DURATION.match(value)
    return None if found is None else int(found[1]) * UNITS_S[found[2]]


@attrs.frozen
class Rule:
    """Which points, and how they are recorded; None leaves it to the rules before.

    A point is meant whose id matches ``match``, and which has ``tag``, is of the plugin instance ``plugin`` and has
    ``unit``, as far as these are given. ``dead_band`` is in the point's unit, ``min_interval`` and ``heartbeat`` are in
    seconds.
    """

    match: str = "*"
    tag: str | None = None
    plugin: str | None = None
    unit: str | None = None
    record: bool | None = None
    dead_band: float | None = None
    min_interval: float | None = None
    heartbeat: float | None = None
    keep: str | None = None


@attrs.frozen
class RollupsConfig:
    """For how long each roll-up is kept: of 5 minutes, 1 hour and 1 day."""

    five_minutes: str = "1y"
    hour: str = "5y"
    day: str = FOREVER


@attrs.frozen
class SealConfig:
    """When what is in memory is sealed: at so many samples, or after so many seconds."""

    samples: int = 1_000_000
    after: float = 3600.0


@attrs.frozen
class HistoryConfig:
    """The whole section.

    ``heartbeat`` is after how many seconds a value that does not change is recorded once more. ``size_cap_gib`` is what
    all of it may take on the disk, ``free_mib`` what is left free of it, ``waiting`` how many samples wait in memory
    for a disk that takes none, ``outbox_mib`` what is kept for receivers that lag behind.
    """

    keep: str = "60d"
    rollups: RollupsConfig = RollupsConfig()
    points: tuple[Rule, ...] = ()
    heartbeat: float = DAY_S
    size_cap_gib: float | None = None
    free_mib: int = 64
    waiting: int = 2_000_000
    outbox_mib: int = 256
    seal: SealConfig = SealConfig()


SCHEMA: Mapping[Any, Any] = {
    vol.Optional("keep"): duration,
    vol.Optional("rollups"): {
        vol.Optional("five_minutes"): duration,
        vol.Optional("hour"): duration,
        vol.Optional("day"): duration,
    },
    vol.Optional("points"): [
        {
            vol.Optional("match"): glob,
            vol.Optional("tag"): text,
            vol.Optional("plugin"): text,
            vol.Optional("unit"): text,
            vol.Optional("record"): boolean,
            vol.Optional("dead_band"): number(min=0),
            vol.Optional("min_interval"): seconds_or_zero,
            vol.Optional("heartbeat"): seconds,
            vol.Optional("keep"): duration,
        }
    ],
    vol.Optional("heartbeat"): seconds,
    vol.Optional("size_cap_gib"): number(min=0.01),
    vol.Optional("free_mib"): integer(min=1, max=1_000_000),
    vol.Optional("waiting"): integer(min=1000, max=100_000_000),
    vol.Optional("outbox_mib"): integer(min=1, max=1_000_000),
    vol.Optional("seal"): {
        vol.Optional("samples"): integer(min=1000, max=100_000_000),
        vol.Optional("after"): seconds,
    },
}
