"""Seals rows into the partitions, and makes few large blocks of many small ones; for the thread that writes them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from plugins.history import blocks
from plugins.history.catalog import REWRITTEN, ROLLED, Catalog, Key
from plugins.history.classes import Classes
from plugins.history.columns import Columns, joined
from plugins.history.containers import POINTS
from plugins.history.databases import removed
from plugins.history.partitions import BlockRow, rewritten, writing
from plugins.history.rolling import files_of, origin
from plugins.history.spans import Span, spans_between

SMALL, LARGE = 0, 1
SMALL_BLOCKS = 16
BLOCK_ROWS = 131_072
"""About how many rows a large block has."""
GRACE_MS = 3_600_000
"""How long after its end a span is waited with: much of what comes late comes soon."""


class Sealer:
    """What writes partitions: files of samples by class and span."""

    def __init__(self, catalog: Catalog, classes: Classes) -> None:
        self._catalog = catalog
        self._classes = classes

    def seal(self, columns: Columns) -> None:
        """Put rows, ordered by slot and time, into the partitions where they belong."""
        numbers = self._classes.numbers(columns.slots)
        found = np.unique(numbers).tolist()
        for number in found:
            rows = columns if len(found) == 1 else columns.take(np.flatnonzero(numbers == number))
            kept = self._classes.kept[number]
            for span in spans_between(int(rows.times.min()), int(rows.times.max()) + 1, kept.span):
                part = rows.between(span.start_ms, span.end_ms)
                if len(part):
                    self._add(self._catalog.current(span, kept.name), part)

    def _add(self, key: Key, columns: Columns) -> None:
        self._catalog.note_grown(key)
        with writing(self._catalog, key) as writer:
            writer.add(_small(columns))
            for points, count, rows in writer.groups():
                if count >= SMALL_BLOCKS or rows >= BLOCK_ROWS:
                    old = writer.blocks(points, level=SMALL)
                    whole = joined([blocks.Block(block.body).all() for block in old]).ordered()
                    writer.replace(old, [_block(points, whole, LARGE)])

    def due(self, now_ms: int) -> list[Key]:
        """Return the partitions of samples whose time is over, and that are not compact and in order, oldest first."""
        over = [key for key in self._catalog.samples() if key.span.end_ms + GRACE_MS <= now_ms]
        return [key for key in over if key not in self._catalog.compact]

    def rewrite(self, key: Key) -> None:
        """Write a partition anew: each sample once, in order, in large blocks.

        What was rolled up of later ones may not be so any more. Where it had been deleted, and holds only what came
        late, its roll-ups are left as they are: there is more in them.
        """
        fresh = Key(key.span, key.class_name, key.generation + 1)
        outlived = not key.generation and self._is_outlived(key)
        with writing(self._catalog, key) as writer:
            groups = sorted(points for points, _blocks, _rows in writer.groups())
            rows = (
                _block(points, columns, LARGE)
                for points in groups
                for columns in _windows(writer.blocks(points), key.span)
            )
            rewritten(self._catalog.path(fresh), rows, {REWRITTEN: 1, ROLLED: int(outlived)})
        self._catalog.note(fresh)
        self._catalog.note_compact(fresh, rolled=outlived)
        removed(self._catalog.path(key))
        self._unroll_after(key)

    def _is_outlived(self, key: Key) -> bool:
        """Tell whether there are roll-ups of a partition that has never been rolled up since it was made."""
        for into in files_of(self._catalog, key):
            if into in self._catalog.keys:
                with writing(self._catalog, into) as writer:
                    if writer.has_origin(origin(key)):
                        return True
        return False

    def _unroll_after(self, key: Key) -> None:
        others = self._classes.others(key.class_name)
        later = [
            each
            for each in self._catalog.rolled
            if each.class_name not in others and each.span.start_ms > key.span.start_ms
        ]
        self._catalog.unroll(later)
        for each in later:
            with writing(self._catalog, each) as writer:
                writer.note(ROLLED, 0)


def _small(columns: Columns) -> Iterator[BlockRow]:
    """Lay ordered rows out in one small block for each group of points."""
    groups, firsts = np.unique(columns.slots // POINTS, return_index=True)
    ends = [*firsts[1:].tolist(), len(columns)]
    for points, start, end in zip(groups.tolist(), firsts.tolist(), ends, strict=True):
        yield _block(points, columns.part(start, end), SMALL)


def _block(points: int, columns: Columns, level: int) -> BlockRow:
    start_ms, end_ms = int(columns.times.min()), int(columns.times.max())
    return BlockRow(points, level, start_ms, end_ms, len(columns), blocks.encode(columns))


def _windows(found: Sequence[BlockRow], span: Span) -> Iterator[Columns]:
    """Give a group's rows, ordered, for one time of the span after the other: about as many as a large block has."""
    count = max(1, math.ceil(sum(block.rows for block in found) / BLOCK_ROWS))
    edges = [span.start_ms + (span.end_ms - span.start_ms) * number // count for number in range(count + 1)]
    for start_ms, end_ms in pairwise(edges):
        rows = joined(
            [
                blocks.Block(block.body).all().between(start_ms, end_ms)
                for block in found
                if block.start_ms < end_ms and block.end_ms >= start_ms
            ]
        ).ordered()
        if len(rows):
            yield rows
