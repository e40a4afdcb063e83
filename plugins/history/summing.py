"""Sums rows of one point up by interval, in numpy, to the same as `core.aggregation` does."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from core.aggregation import Buckets
from core.model import Quality, Reason
from plugins.history.columns import Columns, Index, Values

_QUALITIES = np.array([reason.quality for reason in Reason], np.uint8)
_BAD = int(Quality.BAD)

States: TypeAlias = dict[int, Index]


@attrs.frozen(eq=False)
class Sums:
    """The columns of `core.aggregation.Buckets`, as numpy has them."""

    counts: Index
    sums: Values
    mins: Values
    maxs: Values
    firsts: Values
    lasts: Values
    integrals: Values
    covered: Index
    worst: npt.NDArray[np.uint8]
    states: States = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self.counts)

    def buckets(self) -> Buckets:
        """Return them as the service gives them."""
        return Buckets(
            _array("q", self.counts), _array("d", self.sums), _array("d", self.mins), _array("d", self.maxs),
            _array("d", self.firsts), _array("d", self.lasts), _array("d", self.integrals), _array("q", self.covered),
            self.worst.astype(np.uint8).tobytes(),
            {state: _array("q", lengths) for state, lengths in self.states.items()},
        )  # fmt: skip

    def take(self, index: Index) -> Sums:
        """Return the intervals of an index."""
        columns: dict[str, Any] = {name: getattr(self, name)[index] for name in COLUMNS}
        return Sums(**columns, states={state: lengths[index] for state, lengths in self.states.items()})

    def put(self, at: int | Index, other: Sums) -> None:
        """Write others over those of an index, or those that begin at a place."""
        place = slice(at, at + len(other)) if isinstance(at, int) else at
        for name in COLUMNS:
            getattr(self, name)[place] = getattr(other, name)
        for state, lengths in other.states.items():
            self.states.setdefault(state, np.zeros(len(self), np.int64))[place] = lengths


COLUMNS = tuple(field.name for field in attrs.fields(Sums) if field.name != "states")


def nothing(count: int) -> Sums:
    """Return the sums of so many intervals in which there is nothing."""
    whole, none = np.zeros(count, np.int64), np.full(count, np.nan)
    return Sums(
        counts=whole, sums=none, mins=none.copy(), maxs=none.copy(), firsts=none.copy(), lasts=none.copy(),
        integrals=np.zeros(count), covered=whole.copy(), worst=np.zeros(count, np.uint8),
    )  # fmt: skip


def concatenated(parts: Sequence[Sums]) -> Sums:
    """Put sums behind one another."""
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    whole = Sums(**columns)
    first = 0
    for part in parts:
        for state, lengths in part.states.items():
            whole.states.setdefault(state, np.zeros(len(whole), np.int64))[first : first + len(part)] = lengths
        first += len(part)
    return whole


def summed(rows: Columns, edges: Index, *, before: Columns, gap_starts: Index, now_ms: int, states: bool) -> Sums:
    """Sum up a point's rows, which are by time, between the first edge and the last.

    ``before`` is the last row before, if there is one; ``gap_starts`` are when gaps begin, ascending.
    """
    count = len(edges) - 1
    qualities = _QUALITIES[rows.status & 0xFF]
    usable = ~np.isnan(rows.values) & (qualities != _BAD)
    times, values = rows.times[usable], rows.values[usable]
    starts = np.searchsorted(times, edges)
    result = nothing(count)
    np.maximum.at(result.worst, np.searchsorted(edges, rows.times, "right") - 1, qualities)
    result.counts[:] = np.diff(starts)
    full = np.flatnonzero(result.counts)
    with np.errstate(over="ignore", invalid="ignore"):  # a sum beyond all numbers is infinite, as in Python
        if len(full):
            first = starts[full]
            result.sums[full] = np.add.reduceat(values, first)
            result.mins[full] = np.minimum.reduceat(values, first)
            result.maxs[full] = np.maximum.reduceat(values, first)
            result.firsts[full] = values[first]
            result.lasts[full] = values[starts[full + 1] - 1]
        _hold(result, rows, usable, edges, before=before, gap_starts=gap_starts, now_ms=now_ms, states=states)
    return result


def _hold(
    result: Sums, rows: Columns, usable: npt.NDArray[np.bool_], edges: Index, *, before: Columns, gap_starts: Index,
    now_ms: int, states: bool,
) -> None:  # fmt: skip
    """Put down to each interval for how long what value held in it."""
    count = len(edges) - 1
    since, values = rows.times[usable], rows.values[usable]
    until = np.append(rows.times[1:], edges[-1])[usable] if len(rows) else since
    begin = since
    if len(before) and not np.isnan(before.values[0]) and _QUALITIES[before.status[0] & 0xFF] != _BAD:
        since, values = np.append(edges[0], since), np.append(before.values, values)
        begin = np.append(before.times, begin)
        until = np.append(rows.times[0] if len(rows) else edges[-1], until)
    until = np.minimum(until, now_ms)
    if len(gap_starts):
        gap = np.searchsorted(gap_starts, begin)
        until = np.minimum(until, np.append(gap_starts, np.iinfo(np.int64).max)[gap])
    held = since < until
    since, until, values = since[held], until[held], values[held]
    if not len(since):
        return
    since, until, values, bucket = _split(since, until, values, edges)
    lengths = until - since
    result.integrals[:] = np.bincount(bucket, values * lengths, count)
    result.covered[:] = np.bincount(bucket, lengths, count).astype(np.int64)
    if states:
        whole = values.astype(np.int64)
        for state in np.unique(whole).tolist():
            of_state = whole == state
            held_in = np.bincount(bucket[of_state], lengths[of_state], count)
            result.states[state] = held_in.astype(np.int64)


def _split(since: Index, until: Index, values: Values, edges: Index) -> tuple[Index, Index, Values, Index]:
    """Cut the times in which values held, which are ascending and do not overlap, where intervals end.

    The fourth column is which interval each piece is in.
    """
    first = np.searchsorted(edges, since, "right") - 1
    last = np.searchsorted(edges, until, "left") - 1
    pieces = last - first + 1
    if (pieces == 1).all():
        return since, until, values, first
    holder = np.repeat(np.arange(len(since)), pieces)
    begins = np.cumsum(pieces) - pieces
    bucket = first[holder] + np.arange(len(holder)) - begins[holder]
    starts = np.maximum(since[holder], edges[bucket])
    ends = np.minimum(until[holder], edges[bucket + 1])
    return starts, ends, values[holder], bucket


def combined(parts: Sums, starts: Index, edges: Index) -> Sums:
    """Sum sums up: those of intervals that begin at ``starts``, which are ascending, to those between edges."""
    places = np.searchsorted(starts, edges)
    count = len(edges) - 1
    result = nothing(count)
    filled = np.flatnonzero(np.diff(places))
    if not len(filled):
        return result
    first = places[filled]
    if int(places[-1] - places[0]) == len(filled):
        result.put(filled, parts.take(first))
        return result
    for name in ("counts", "covered", "integrals"):
        getattr(result, name)[filled] = _within(np.add, getattr(parts, name), first, places)
    result.worst[filled] = _within(np.maximum, parts.worst, first, places)
    for state, lengths in parts.states.items():
        result.states[state] = np.zeros(count, np.int64)
        result.states[state][filled] = _within(np.add, lengths, first, places)
    some = np.flatnonzero(parts.counts)
    if len(some):
        _combine_values(result, parts.take(some), np.searchsorted(starts[some], edges))
    return result


def _combine_values(result: Sums, parts: Sums, places: Index) -> None:
    """Fill in what there is only where there are samples."""
    filled = np.flatnonzero(np.diff(places))
    if len(filled):
        first = places[filled]
        result.sums[filled] = _within(np.add, parts.sums, first, places)
        result.mins[filled] = _within(np.minimum, parts.mins, first, places)
        result.maxs[filled] = _within(np.maximum, parts.maxs, first, places)
        result.firsts[filled] = parts.firsts[first]
        result.lasts[filled] = parts.lasts[places[filled + 1] - 1]


def _within(function: np.ufunc, column: npt.NDArray[Any], first: Index, places: Index) -> npt.NDArray[Any]:
    """Reduce a column between places, each part of which begins at one of ``first``."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(function.reduceat(column[: int(places[-1])], first))


def _array(code: str, column: npt.NDArray[Any]) -> Any:
    return array(code, column.astype(np.int64 if code == "q" else np.float64).tobytes())
