"""Sums past readings of a point up by interval: the plain way, and what any faster one has to agree with."""

from __future__ import annotations

import asyncio
import bisect
import math
from array import array
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from core.model import Quality, Reason
from core.samples import Gap, Samples

if TYPE_CHECKING:
    from core.services import History

SAMPLES_AT_ONCE = 2000
"""How many samples are summed up before others get a turn."""

_NAN = math.nan
_GOOD, _BAD = int(Quality.GOOD), int(Quality.BAD)
_QUALITIES = bytes(reason.quality for reason in Reason)


@attrs.frozen(eq=False)
class Buckets:
    """What the samples of a point come to in each interval, in equally long columns.

    ``counts``, ``sums``, ``mins``, ``maxs``, ``firsts`` and ``lasts`` are over the usable samples in it
    (`core.samples.Samples.usable`), NaN where there are none. A usable sample holds until the next sample, usable or
    not, the next gap, or now: ``covered`` tells for how many milliseconds of the interval one did, ``integrals`` are
    value times milliseconds over these, and ``states``, where they were asked for, the milliseconds by whole value.
    ``worst`` is the worst quality (a code of `Quality`) of all samples in it, good where there are none.
    """

    counts: array[int]
    sums: array[float]
    mins: array[float]
    maxs: array[float]
    firsts: array[float]
    lasts: array[float]
    integrals: array[float]
    covered: array[int]
    worst: bytes
    states: Mapping[int, array[int]] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self.counts)


class Aggregation:
    """Takes samples in the order of their times, as many at once as suits, and sums them up.

    ``edges`` are the ascending beginnings of the intervals and the end of the last one. ``gaps`` are those since the
    last sample before, or before the first edge at the latest, ascending: one counts from its ``start_ms`` on, unless
    that is before the sample. ``before`` is the last sample before, if there is one, as a row of samples.
    """

    def __init__(
        self, edges: array[int], *, now_ms: int, gaps: Sequence[Gap] = (), before: Samples | None = None, states: bool
    ) -> None:
        count = len(edges) - 1
        self._edges = edges
        self._now_ms = now_ms
        self._gap_starts = [gap.start_ms for gap in gaps]
        self._counts, self._covered = array("q", bytes(8 * count)), array("q", bytes(8 * count))
        self._integrals = array("d", bytes(8 * count))
        self._sums, self._mins, self._maxs, self._firsts, self._lasts = (
            array("d", [_NAN]) * count for _column in range(5)
        )
        self._worst = bytearray(count)
        self._states: dict[int, array[int]] | None = {} if states else None
        self._at = 0  # the interval of the last sample
        self._since, self._until, self._value = 0, 0, _NAN  # what holds: from when, at most until when
        if before is not None and len(before) and before.usable(0):
            self._hold(before.times[0], before.values[0])
            self._since = edges[0]

    def take(self, samples: Samples) -> None:
        """Sum up the next samples; each is later than those before, and between the first edge and the last."""
        edges, worst = self._edges, self._worst
        for time, number, reason in zip(samples.times, samples.values, samples.reasons, strict=True):
            if self._since < self._until:
                self._spread(time)
            while time >= edges[self._at + 1]:
                self._at += 1
            at, quality = self._at, _QUALITIES[reason]
            worst[at] = max(worst[at], quality)
            if quality == _BAD or number != number:  # noqa: PLR0124  # NaN
                self._until = 0
                continue
            self._count(at, number)
            self._hold(time, number)

    def outermost(self) -> set[float]:
        """Return all first and last values so far."""
        return {*self._firsts, *self._lasts}

    def buckets(self) -> Buckets:
        """Return what it all came to; no more samples follow."""
        self._spread(self._edges[-1])
        self._until = 0
        return Buckets(
            self._counts, self._sums, self._mins, self._maxs, self._firsts, self._lasts, self._integrals, self._covered,
            bytes(self._worst), self._states or {},
        )  # fmt: skip

    def _count(self, at: int, number: float) -> None:
        if self._counts[at]:
            self._sums[at] += number
            if number < self._mins[at]:
                self._mins[at] = number
            elif number > self._maxs[at]:
                self._maxs[at] = number
        else:
            self._sums[at] = self._mins[at] = self._maxs[at] = self._firsts[at] = number
        self._lasts[at] = number
        self._counts[at] += 1

    def _hold(self, time: int, number: float) -> None:
        """Let a value hold from a time on, until the next gap or now at most."""
        self._since, self._until, self._value = time, self._now_ms, number
        if self._gap_starts:
            gap = bisect.bisect_left(self._gap_starts, time)
            if gap < len(self._gap_starts):
                self._until = min(self._until, self._gap_starts[gap])

    def _spread(self, end: int) -> None:
        """Put the time that the value held, until an end, down to the intervals that it held in."""
        since, until, at, edges = self._since, min(end, self._until), self._at, self._edges
        while since < until:
            upto = min(until, edges[at + 1])
            length = upto - since
            self._covered[at] += length
            self._integrals[at] += self._value * length
            if self._states is not None:
                state = int(self._value)
                if state not in self._states:
                    self._states[state] = array("q", bytes(8 * len(self._counts)))
                self._states[state][at] += length
            since, at = upto, at + 1


class TextAggregation:
    """Sums up samples of a text point, where only ``counts``, ``firsts``, ``lasts`` and ``covered`` make sense.

    The numbers of its `Buckets` stand for the texts in ``texts``; only those that they need are kept.
    """

    def __init__(
        self, edges: array[int], *, now_ms: int, gaps: Sequence[Gap] = (), before: Samples | None = None
    ) -> None:
        self.texts: dict[int, str] = {}
        self._next = 0
        numbered = None if before is None else self._numbered(before)
        self._kept = set(self.texts)
        self._inner = Aggregation(edges, now_ms=now_ms, gaps=gaps, before=numbered, states=False)

    def take(self, samples: Samples) -> None:
        """Sum up the next samples, as `Aggregation.take` does."""
        self._inner.take(self._numbered(samples))
        needed = self._kept.union(self._inner.outermost())
        self.texts = {number: text for number, text in self.texts.items() if number in needed}

    def buckets(self) -> Buckets:
        """Return what it all came to; no more samples follow."""
        return self._inner.buckets()

    def _numbered(self, samples: Samples) -> Samples:
        """Put a number of its own in the place of each text."""
        values = array("d", [_NAN]) * len(samples)
        for row, text in samples.texts.items():
            values[row] = self._next
            self.texts[self._next] = text
            self._next += 1
        return attrs.evolve(samples, values=values, texts={})


async def pages(history: History, slot: int, start_ms: int, end_ms: int, *, size: int) -> AsyncIterator[Samples]:
    """Give a point's samples with start <= time < end, oldest first, so many at once; others get a turn between."""
    while start_ms < end_ms:
        page = await history.samples(slot, start_ms, end_ms, limit=size)
        if len(page):
            yield page
            await asyncio.sleep(0)
        if len(page) < size:
            return
        start_ms = page.times[-1] + 1


async def aggregate(history: History, slot: int, edges: array[int], *, now_ms: int, states: bool) -> Buckets:
    """Sum a point's samples up, as `core.services.Aggregating` has it, whatever the history can do itself."""
    before, gaps = await _before(history, slot, edges)
    aggregation = Aggregation(edges, now_ms=now_ms, gaps=gaps, before=before, states=states)
    async for page in pages(history, slot, edges[0], edges[-1], size=SAMPLES_AT_ONCE):
        aggregation.take(page)
    return aggregation.buckets()


async def aggregate_texts(
    history: History, slot: int, edges: array[int], *, now_ms: int
) -> tuple[Buckets, Mapping[int, str]]:
    """Sum the samples of a text point up; the numbers in the buckets stand for the texts beside them."""
    before, gaps = await _before(history, slot, edges)
    aggregation = TextAggregation(edges, now_ms=now_ms, gaps=gaps, before=before)
    async for page in pages(history, slot, edges[0], edges[-1], size=SAMPLES_AT_ONCE):
        aggregation.take(page)
    return aggregation.buckets(), aggregation.texts


async def _before(history: History, slot: int, edges: array[int]) -> tuple[Samples, Sequence[Gap]]:
    """Return the last sample before the edges, if there is one, and the gaps from there on.

    A gap is cut to what is asked for: asked from a millisecond earlier on, one that had begun before the sample is told
    from one that begins with it.
    """
    before = (await history.latest([slot], edges[0])).samples
    since = before.times[0] if len(before) else edges[0]
    return before, await history.gaps(since - 1, edges[-1])
