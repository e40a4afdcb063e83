"""Sums a point up by interval: of roll-ups where these are made and fit, else of samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import attrs
import numpy as np
import numpy.typing as npt

from core.samples import Gap
from plugins.history import head, reading
from plugins.history.catalog import Catalog
from plugins.history.columns import Index
from plugins.history.containers import group_of
from plugins.history.errors import DamagedHistory
from plugins.history.head import Run
from plugins.history.partitions import PartitionReader
from plugins.history.rollups import LEVELS, Level, decode
from plugins.history.spans import Span
from plugins.history.summing import Sums, combined, concatenated, nothing, summed


@attrs.frozen
class Wanted:
    """What is asked for: of which point, between which edges, as of when, and whether with the time in each state.

    ``other_classes`` are those that the point is not of.
    """

    slot: int
    other_classes: frozenset[str]
    edges: Index
    gaps: Sequence[Gap]
    now_ms: int
    states: bool


def aggregate(reader: PartitionReader, catalog: Catalog, runs: Sequence[Run], wanted: Wanted) -> Sums:
    """Sum up; raises Moved where the partitions were others by the time they were read."""
    edges = wanted.edges
    result = nothing(len(edges) - 1)
    level, start, end = _from_rollups(reader, catalog, runs, wanted)
    if level is not None:
        result.put(start, _rolled_up(reader, catalog, level, wanted.slot, edges[start : end + 1]))
    for first, last in ((0, start), (end, len(edges) - 1)):
        if first < last:
            result.put(first, _of_samples(reader, catalog, runs, wanted, edges[first : last + 1]))
    return result


def _of_samples(reader: PartitionReader, catalog: Catalog, runs: Sequence[Run], wanted: Wanted, edges: Index) -> Sums:
    keys, slot, start, end = catalog.samples(), wanted.slot, int(edges[0]), int(edges[-1])
    return summed(
        reading.samples(reader, keys, runs, slot, start_ms=start, end_ms=end),
        edges,
        before=reading.latest(reader, keys, runs, [slot], start),
        gap_starts=np.array([gap.start_ms for gap in wanted.gaps], np.int64),
        now_ms=wanted.now_ms,
        states=wanted.states,
    )


def _from_rollups(
    reader: PartitionReader, catalog: Catalog, runs: Sequence[Run], wanted: Wanted
) -> tuple[Level | None, int, int]:
    """Return the roll-up with which most intervals that follow one another can be summed up, and which these are."""
    best: tuple[Level | None, int, int] = None, 0, 0
    over = _over(reader, catalog, runs, wanted)
    for level in reversed(LEVELS):
        there = [key.span.start_ms for key in catalog.keys if key.class_name == level.name]
        if not there:
            continue
        aligned = wanted.edges % level.interval_ms == 0
        fit = over & aligned[:-1] & aligned[1:] & (wanted.edges[:-1] >= min(there))
        start, end = _longest(fit)
        if end - start > best[2] - best[1]:
            best = level, start, end
    return best


def _over(
    reader: PartitionReader, catalog: Catalog, runs: Sequence[Run], wanted: Wanted
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """Tell of which intervals nothing is missing in the roll-ups: those of which these are made, or no samples left.

    Of another class than the point's, only a partition matters in which it has samples that are not rolled up.
    """
    begins, ends = wanted.edges[:-1], wanted.edges[1:]
    samples = [
        key
        for key in catalog.samples()
        if key.class_name not in wanted.other_classes
        or (key not in catalog.rolled and reading.holds(reader, key, wanted.slot))
    ]
    made = [key.span for key in samples if key in catalog.rolled]
    others = [key.span.start_ms for key in samples if key not in catalog.rolled]
    unsealed = head.of_slot(runs, wanted.slot).times
    changing = min([*others, int(unsealed.min(initial=reading.NEVER_MS))])
    over = ends <= (min(samples).span.start_ms if samples else wanted.now_ms)
    for span in _touching(made):
        over |= (begins >= span[0]) & (ends <= span[1])
    result: npt.NDArray[np.bool_] = over & (ends <= changing) & (ends <= wanted.now_ms)
    return result


def _touching(spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Join times that overlap or touch."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted((span.start_ms, span.end_ms) for span in spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _longest(fit: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return where the longest run of true begins and ends."""
    best, at = (0, 0), 0
    for value, run in groupby(fit.tolist()):
        length = len(list(run))
        if value and length > best[1] - best[0]:
            best = at, at + length
        at += length
    return best


def _rolled_up(reader: PartitionReader, catalog: Catalog, level: Level, slot: int, edges: Index) -> Sums:
    start, end = int(edges[0]), int(edges[-1])
    found = []
    for key in catalog.keys:
        if key.class_name == level.name and key.span.overlaps(start, end):
            for block in reader.blocks(key, group_of(slot), start, end, slots=[slot]):
                try:
                    part = decode(block.body, slot)
                except DamagedHistory as error:
                    reader.suspect(key, error)
                    continue
                if part is not None:
                    found.append(part)
    if not found:
        return nothing(len(edges) - 1)
    starts = np.concatenate([part.starts for part in found])
    sums = concatenated([part.sums for part in found])
    order = np.argsort(starts, kind="stable")
    last = np.append(starts[order][1:] != starts[order][:-1], True)
    order = order[last]
    return combined(sums.take(order), starts[order], edges)
