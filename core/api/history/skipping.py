"""Finds where there is something to be told again, so that years without samples cost next to nothing."""

from __future__ import annotations

from array import array

from core.api.history.questions import Asked
from core.intervals import DAY_S
from core.model import Kind, Quality
from core.services import Aggregating, History

DAY_MS = DAY_S * 1000
SHORTEST_SUMS_S = 60
"""A history that sums samples up by itself may keep sums for longer than the samples; not of shorter intervals."""

_GOOD = bytes([Quality.GOOD])


async def next_interval(history: History, asked: Asked, begin_ms: int) -> int:
    """Return where an interval begins that has something, or that is before one; the end where there is none.

    ``begin_ms`` is where one begins, behind others that had nothing.
    """
    if begin_ms >= asked.end_ms:
        return asked.end_ms
    samples_ms = await _first_sample(history, asked, begin_ms)
    sums_ms = await _first_sums(history, asked, begin_ms, min(samples_ms, asked.now_ms))
    next_ms = min(samples_ms, sums_ms)
    if next_ms >= asked.end_ms:
        return asked.end_ms
    return asked.interval_at(next_ms, after_ms=begin_ms)


async def _first_sample(history: History, asked: Asked, begin_ms: int) -> int:
    """Return the time of the first sample of any point; the end where there is none."""
    found = [await history.samples(point.slot, begin_ms, asked.end_ms, limit=1) for point in asked.points]
    return min((samples.times[0] for samples in found if len(samples)), default=asked.end_ms)


async def _first_sums(history: History, asked: Asked, begin_ms: int, end_ms: int) -> int:
    """Return where the first day begins of which there are sums, though no samples any more; else the end of all."""
    interval = asked.interval
    short = interval is None or 0 < interval.seconds < SHORTEST_SUMS_S
    points = [point for point in asked.points if point.kind is not Kind.TEXT]
    if short or begin_ms >= end_ms or not points or not isinstance(history, Aggregating):
        return asked.end_ms
    midnights = range((begin_ms // DAY_MS + 1) * DAY_MS, end_ms, DAY_MS)
    days = array("q", (begin_ms, *midnights, end_ms))
    first = asked.end_ms
    for point in points:
        sums = await history.aggregate(point.slot, days, now_ms=asked.now_ms, states=False)
        if any(sums.counts) or sums.worst != _GOOD * len(sums):
            known = (at for at in range(len(sums)) if sums.counts[at] or sums.worst[at])
            first = min(first, days[next(known)])
    return first
