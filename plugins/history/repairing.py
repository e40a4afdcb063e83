"""Saves what can be read of a damaged partition into a new file, and sets the damaged one aside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from structlog.typing import FilteringBoundLogger

from plugins.history import rollups
from plugins.history.blocks import Block
from plugins.history.catalog import REWRITTEN, ROLLED, Catalog, Key
from plugins.history.columns import Index
from plugins.history.containers import POINTS, Body
from plugins.history.databases import cut_off, salvaged, set_aside, unsound
from plugins.history.errors import DamagedHistory
from plugins.history.partitions import COLUMNS, BlockRow, block_row, rewritten, writing


class Repairer:
    """What looks after suspects; for the thread that writes partitions."""

    def __init__(self, catalog: Catalog, log: FilteringBoundLogger) -> None:
        self._catalog = catalog
        self._log = log

    @property
    def is_needed(self) -> bool:
        """Whether there are suspects."""
        return bool(self._catalog.suspects)

    def check(self, now_ms: int) -> None:
        """Look through the partitions that were open for writing when this was last at work: they are the latest."""
        for key in self._catalog.keys:
            is_open = key.span.end_ms > now_ms if key.is_rollup else key not in self._catalog.compact
            if is_open:
                self._note(key, unsound(self._catalog.path(key)))

    def check_lengths(self) -> None:
        """See whether the others are as long as they were."""
        for key in self._catalog.compact:
            self._note(key, cut_off(self._catalog.path(key)))

    def _note(self, key: Key, wrong: str | None) -> None:
        if wrong is not None:
            self._catalog.suspect(key, DamagedHistory(f"{self._catalog.path(key)} is damaged: {wrong}."))

    def repair(self) -> None:
        """Put a new file in the place of each suspect, with what can be read of it; raises HistoryError.

        Of samples the roll-ups are left as they are where they were made: there is more in them. Those of roll-ups are
        made anew, as far as there are samples.
        """
        for key, wrong in self._catalog.suspects.items():
            path = self._catalog.path(key)
            if not path.exists():
                self._catalog.forget(key)
                self._log.error("history_damaged", file=str(path), error=wrong, saved=0)
                continue
            compact, rolled = key in self._catalog.compact, key in self._catalog.rolled
            fresh = Key(key.span, key.class_name, key.generation + 1)
            blocks = _Counted(_readable(path, key))
            rewritten(self._catalog.path(fresh), blocks, {REWRITTEN: int(compact), ROLLED: int(rolled)})
            self._catalog.note(fresh)
            if compact:
                self._catalog.note_compact(fresh, rolled=rolled)
            aside = set_aside(path)
            self._log.error("history_damaged", file=str(path), set_aside=str(aside), error=wrong, saved=blocks.rows)
            if key.is_rollup:
                self._unroll(key)

    def _unroll(self, key: Key) -> None:
        made_of = [each for each in self._catalog.rolled if each.span.overlaps(key.span.start_ms, key.span.end_ms)]
        self._catalog.unroll(made_of)
        for each in made_of:
            with suppress(DamagedHistory), writing(self._catalog, each) as writer:
                writer.note(ROLLED, 0)


class _Counted:
    """Blocks on their way to a new file, with how many rows they have."""

    def __init__(self, blocks: Iterator[BlockRow]) -> None:
        self._blocks = blocks
        self.rows = 0

    def __iter__(self) -> Iterator[BlockRow]:
        for block in self._blocks:
            self.rows += block.rows
            yield block


def _readable(path: Path, key: Key) -> Iterator[BlockRow]:
    """Give the blocks that read as they were written; what their rows say of them is found out anew."""
    for number, *row in salvaged(path, "block", f"id, {COLUMNS}"):
        try:
            block = block_row((*row, number))
            slots, times = _rows_of_rollup(block.body) if key.is_rollup else _rows_of(block.body)
        except DamagedHistory:
            continue
        if len(times):
            points, start, end = int(slots[0]) // POINTS, int(times.min()), int(times.max())
            yield BlockRow(points, block.level, start, end, len(times), block.body, block.origin)


def _rows_of(body: Body) -> tuple[Index, Index]:
    rows = Block(body).all()
    return rows.slots.astype(np.int64), rows.times


def _rows_of_rollup(body: Body) -> tuple[Index, Index]:
    every = [(slot, rollups.decode(body, slot)) for slot in rollups.slots(body)]
    starts = [part.starts for _slot, part in every if part is not None]
    slots = np.array([slot for slot, _part in every], np.int64)
    return slots, np.concatenate(starts) if starts else slots[:0]
