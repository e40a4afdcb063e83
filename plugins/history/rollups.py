"""Roll-ups: what samples come to in 5 minutes, an hour and a day, kept longer than the samples.

They are made when a time is over: of an hour from those of 5 minutes, of a day from those of an hour. A block of them
is a container (`plugins.history.containers`): a part has the beginnings of its intervals, the columns of sums, and for
points with states the interval, the state and the milliseconds of each that was held. An interval in which there is
nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np

from plugins.history.coding import pack, pack_values, unpack, unpack_values
from plugins.history.columns import Index
from plugins.history.containers import Container, written
from plugins.history.errors import DamagedHistory
from plugins.history.spans import SpanKind
from plugins.history.summing import COLUMNS, Sums, nothing

MAGIC = b"PRR\x01"
FEW_ROWS = 100
"""A week by hours is read for one point at a time, and there is little of it."""
MINUTE_MS = 60_000
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

    def part(start: int, end: int) -> Iterator[bytes]:
        yield pack(starts[start:end])
        for name in COLUMNS:
            column = columns[name][start:end]
            yield pack(column.astype(np.uint32)) if name in _WHOLE else pack_values(column)
        rows, values, lengths = states[(states[:, 0] >= start) & (states[:, 0] < end)].T
        for held in (rows - start, values, lengths):
            yield pack(held) if len(held) else b""

    return written(MAGIC, slots, b"", lambda start, end: list(part(start, end)), few_rows=FEW_ROWS)


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


def slots(body: bytes) -> list[int]:
    """Return which points a block has roll-ups of; raises DamagedHistory."""
    return [int(slot) for slot in Container.opened(body, MAGIC).slots]


def decode(body: bytes, slot: int) -> Rolled | None:
    """Read a point's roll-ups of a block; None where it has none. Raises DamagedHistory."""
    container = Container.opened(body, MAGIC)
    place = container.place(slot)
    if place is None:
        return None
    part, start, end = place
    sections = container.of_part(part)
    starts = unpack(sections[0])[0].astype(np.int64)[start:end]
    sums = nothing(len(starts))
    for name, section in zip(COLUMNS, sections[1:], strict=False):
        column = unpack(section)[0] if name in _WHOLE else unpack_values(section)
        if len(column) < end:
            raise DamagedHistory("The columns of a roll-up are not equally long.")
        getattr(sums, name)[:] = column[start:end]
    held = sections[1 + len(COLUMNS) :]
    if held[0]:
        rows, states, lengths = (unpack(section)[0].astype(np.int64) for section in held)
        mine = (rows >= start) & (rows < end)
        for state in np.unique(states[mine]).tolist():
            of_state = mine & (states == state)
            sums.states[state] = np.zeros(len(starts), np.int64)
            sums.states[state][rows[of_state] - start] = lengths[of_state]
    return Rolled(starts, sums)
