"""Finds samples: in the partitions, and in what is not sealed yet; for the threads that read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import methodcaller

import numpy as np

from plugins.history import head
from plugins.history.blocks import Block
from plugins.history.catalog import Key
from plugins.history.columns import NOTHING, Columns, Index, joined
from plugins.history.containers import POINTS, group_of
from plugins.history.errors import DamagedHistory
from plugins.history.head import Run
from plugins.history.partitions import BlockRow, PartitionReader

FEW_POINTS = 4
NEVER_MS = 2**62


def samples(
    reader: PartitionReader, keys: Sequence[Key], runs: Sequence[Run], slot: int, *, start_ms: int, end_ms: int,
    limit: int | None = None,
) -> Columns:  # fmt: skip
    """Return a point's rows with start <= time < end, by time, each time once: the first ``limit`` of them.

    ``keys`` are the partitions of samples, by time. Raises Moved where one of them is not there any more.
    """
    wanted = [key for key in keys if key.span.overlaps(start_ms, end_ms)]
    unsealed = head.of_slot(runs, slot).between(start_ms, end_ms)
    one = methodcaller("of", slot)
    found: list[Columns] = []
    for number, key in enumerate(wanted):
        found += [
            _read(reader, key, block, one).between(start_ms, end_ms)
            for block in reader.blocks(key, group_of(slot), start_ms, end_ms, slots=[slot])
        ]
        later = wanted[number + 1].span.start_ms if number + 1 < len(wanted) else end_ms
        if limit is not None and later < end_ms:
            rows = joined([*found, unsealed]).between(start_ms, later).ordered()
            if len(rows) >= limit:
                return rows.part(0, limit)
            found = [joined(found)]
    rows = joined([*found, unsealed]).ordered()
    return rows if limit is None else rows.part(0, limit)


def latest(
    reader: PartitionReader, keys: Sequence[Key], runs: Sequence[Run], slots: Iterable[int], before_ms: int
) -> Columns:
    """Return the last row before a time of each point that has one, by slot."""
    wanted = np.unique(np.fromiter(slots, np.int64))
    unsealed = last_of_each(_unsealed(runs, wanted), before_ms)
    known = np.full(len(wanted), -1, np.int64)
    known[np.searchsorted(wanted, unsealed.slots)] = unsealed.times
    early = [key for key in reversed(keys) if key.span.start_ms < before_ms]
    found: list[Columns] = []
    for points in np.unique(wanted // POINTS).tolist():
        start, end = np.searchsorted(wanted, [points * POINTS, (points + 1) * POINTS])
        found += _latest_of_group(reader, early, wanted[start:end], known[start:end], before_ms)
    return last_of_each(joined([*found, unsealed]), before_ms)


def last_of_each(columns: Columns, before_ms: int) -> Columns:
    """Return the last row of each point before a time, of several for one millisecond the one that comes last."""
    rows = columns.between(0, before_ms).ordered()
    return rows.take(np.flatnonzero(np.append(rows.slots[1:] != rows.slots[:-1], True))) if len(rows) else rows


def of_group(reader: PartitionReader, keys: Sequence[Key], points: int, start_ms: int, end_ms: int) -> Columns:
    """Return the rows of a group's points with start <= time < end that are in the partitions, by slot and time."""
    parts = [
        _read(reader, key, block, Block.all).between(start_ms, end_ms)
        for key in keys
        if key.span.overlaps(start_ms, end_ms)
        for block in reader.blocks(key, points, start_ms, end_ms)
    ]
    return joined(parts).ordered()


def holds(reader: PartitionReader, key: Key, slot: int) -> bool:
    """Tell whether a partition has samples of a point."""
    blocks = reader.blocks(key, group_of(slot), 0, NEVER_MS, slots=[slot])
    return any(len(_read(reader, key, block, methodcaller("of", slot))) for block in blocks)


def _read(reader: PartitionReader, key: Key, block: BlockRow, wanted: Callable[[Block], Columns]) -> Columns:
    """Return what is wanted of a block; nothing where it is damaged, which makes its partition a suspect."""
    try:
        return wanted(Block(block.body))
    except DamagedHistory as error:
        reader.suspect(key, error)
        return NOTHING


def _latest_of_group(
    reader: PartitionReader, keys: Sequence[Key], slots: Index, known: Index, before_ms: int
) -> list[Columns]:
    """Return rows of the partitions, in the order in which they came, among which are the last ones of each point.

    ``known`` are the times of the last ones that are known; it is brought up to date.
    """
    found: list[tuple[Key, int, Columns]] = []
    few = slots.tolist() if len(slots) <= FEW_POINTS else None
    for key in keys:
        if (known >= min(key.span.end_ms, before_ms) - 1).all():
            continue
        for block in reader.blocks(key, group_of(int(slots[0])), 0, before_ms, slots=few, newest_first=True):
            missing = slots[known <= block.end_ms]
            if not len(missing):
                break
            rows = last_of_each(_read(reader, key, block, partial(_rows, slots=missing)), before_ms)
            places = np.searchsorted(slots, rows.slots)
            known[places] = np.maximum(known[places], rows.times)
            found.append((key, block.id or 0, rows))
    return [rows for _key, _block, rows in sorted(found, key=lambda each: each[:2])]


def _rows(block: Block, slots: Index) -> Columns:
    if len(slots) <= FEW_POINTS:
        return joined([block.of(slot) for slot in slots.tolist()])
    rows = block.all()
    return rows.take(np.flatnonzero(np.isin(rows.slots, slots)))


def _unsealed(runs: Sequence[Run], slots: Index) -> Columns:
    if len(slots) <= FEW_POINTS:
        return joined([head.of_slot(runs, slot) for slot in slots.tolist()])
    parts = [run.columns.take(np.flatnonzero(np.isin(run.columns.slots, slots))) for run in runs]
    return joined(parts)
