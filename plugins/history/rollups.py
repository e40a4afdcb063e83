"""Roll-ups: what samples come to in 5 minutes, an hour and a day, kept longer than the samples.

They are made when a time is over: of an hour from those of 5 minutes, of a day from those of an hour. A block of them
is a container (`plugins.history.containers`): a part has the beginnings of its intervals, the columns of sums, and for
points with states the interval, the state and the milliseconds of each that was held. An interval in which there is
nothing is left out. Where a point has few intervals, all columns are one section (`plugins.history.tables`) and what
was held is another; else each column is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from plugins.history.coding import pack, pack_values, unpack, unpack_values
from plugins.history.columns import Index
from plugins.history.containers import Body, opened, written
from plugins.history.errors import DamagedHistory
from plugins.history.spans import SpanKind
from plugins.history.summing import COLUMNS, Sums
from plugins.history.tables import pack_table, unpack_table

MAGIC = b"PRR\x01"
FEW_ROWS = 24
"""Fewer intervals of each point than these are written together with those of others."""
LONG_ROWS = 512
"""From so many on each column is compressed better by itself: a week has 2016 intervals of 5 minutes, 168 hours."""
MINUTE_MS = 60_000
SHORT_SECTIONS = 2
_WHOLE = frozenset({"counts", "covered", "worst"})


@attrs.frozen
class Level:
    """A roll-up: the name of its class of partitions, its interval, and how much time one of its files holds."""

    name: str
    interval_ms: int
    span: SpanKind


LEVELS = (
    Level("rollup-5m", 5 * MINUTE_MS, SpanKind.MONTH),
    Level("rollup-1h", 60 * MINUTE_MS, SpanKind.YEAR),
    Level("rollup-1d", 1440 * MINUTE_MS, SpanKind.YEAR),
)


@attrs.frozen(eq=False)
class Rolled:
    """A point's roll-ups: the beginnings of the intervals that have something, and what is in each."""

    starts: Index
    sums: Sums


def rolled(edges: Index, sums: Sums) -> Rolled:
    """Leave out the intervals between edges in which there is nothing."""
    there = np.flatnonzero((sums.counts > 0) | (sums.covered > 0) | (sums.worst > 0))
    return Rolled(edges[there], sums.take(there))


def encode(points: Sequence[tuple[int, Rolled]]) -> bytes:
    """Write the roll-ups of at most `POINTS` points, of which each has some, by slot."""
    starts = np.concatenate([each.starts for _slot, each in points])
    slots = np.repeat(
        np.array([slot for slot, _each in points], np.uint32), [len(each.starts) for _slot, each in points]
    )
    columns = {name: np.concatenate([getattr(each.sums, name) for _slot, each in points]) for name in COLUMNS}
    states = _states(points)
    sections = _short if len(starts) < LONG_ROWS * len(points) else _long

    def part(start: int, end: int) -> list[bytes]:
        rows, values, lengths = states[(states[:, 0] >= start) & (states[:, 0] < end)].T
        own = [columns[name][start:end] for name in COLUMNS]
        return list(sections(starts[start:end], own, [rows - start, values, lengths]))

    return written(MAGIC, slots, b"", part, few_rows=FEW_ROWS)


def _short(starts: Index, columns: Sequence[npt.NDArray[Any]], held: Sequence[Index]) -> Iterator[bytes]:
    whole = [
        column.astype(np.int64) if name in _WHOLE else column for name, column in zip(COLUMNS, columns, strict=True)
    ]
    yield pack_table([starts, *whole])
    yield pack_table(held) if len(held[0]) else b""


def _long(starts: Index, columns: Sequence[npt.NDArray[Any]], held: Sequence[Index]) -> Iterator[bytes]:
    yield pack(starts)
    for name, column in zip(COLUMNS, columns, strict=True):
        yield pack(column.astype(np.uint32)) if name in _WHOLE else pack_values(column)
    for each in held:
        yield pack(each) if len(each) else b""


def _states(points: Sequence[tuple[int, Rolled]]) -> Index:
    """Return row, state and milliseconds of what was held, in the order of the rows."""
    found = [np.empty((0, 3), np.int64)]
    first = 0
    for _slot, each in points:
        for state, lengths in each.sums.states.items():
            rows = np.flatnonzero(lengths)
            found.append(np.column_stack([rows + first, np.full(len(rows), state), lengths[rows]]))
        first += len(each.starts)
    held = np.concatenate(found)
    return held[np.argsort(held[:, 0], kind="stable")]


def slots(body: Body) -> list[int]:
    """Return which points a block has roll-ups of; raises DamagedHistory."""
    return [int(slot) for slot in opened(body, MAGIC).slots]


def decode(body: Body, slot: int) -> Rolled | None:
    """Read a point's roll-ups of a block; None where it has none. Raises DamagedHistory."""
    container = opened(body, MAGIC)
    place = container.place(slot)
    if place is None:
        return None
    part, start, end = place
    sections = container.of_part(part)
    (starts, *columns), held = (_read_short if container.sections_of_part == SHORT_SECTIONS else _read_long)(sections)
    if len(columns) != len(COLUMNS) or any(len(column) < end for column in columns):
        raise DamagedHistory("The columns of a roll-up are not those that it should have.")
    own: dict[str, Any] = {name: column[start:end] for name, column in zip(COLUMNS, columns, strict=True)}
    starts, sums = starts[start:end], Sums(**own)
    if held:
        rows, states, lengths = held
        mine = (rows >= start) & (rows < end)
        for state in np.unique(states[mine]).tolist():
            of_state = mine & (states == state)
            sums.states[state] = np.zeros(len(starts), np.int64)
            sums.states[state][rows[of_state] - start] = lengths[of_state]
    return Rolled(starts, sums)


def _read_short(sections: Sequence[memoryview]) -> tuple[list[npt.NDArray[Any]], list[Index]]:
    """Return the columns, the beginnings first, and what was held."""
    return unpack_table(sections[0]), unpack_table(sections[1]) if sections[1] else []


def _read_long(sections: Sequence[memoryview]) -> tuple[list[npt.NDArray[Any]], list[Index]]:
    """Return the columns, the beginnings first, and what was held."""
    columns: list[npt.NDArray[Any]] = [unpack(sections[0])[0].astype(np.int64)]
    for name, section in zip(COLUMNS, sections[1:], strict=False):
        columns.append(unpack(section)[0].astype(np.int64) if name in _WHOLE else unpack_values(section))
    held = sections[1 + len(COLUMNS) :]
    return columns, [unpack(section)[0].astype(np.int64) for section in held] if held[0] else []
