"""The samples of a house in files, and what Python programs read of them; with Python alone, for the peers' sake."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

POINTS_A_READ = 50
NUMBER, BOOLEAN, ENUM, TEXT = range(4)
OFFLINE = 4
"""The code of the reason that a sample without a value has, as in `core.model.Reason`."""
POLL = 0
"""The code of the source, as in `core.model.Source`."""

Row = tuple[int, int, float | str | None, int, int, int]
"""Point, time, value, reason, flags, source."""


class Read(NamedTuple):
    """What was read at one time: the number of the first of the points, and their values.

    ``values`` are NaN for texts, which stand in ``texts`` by row, and where the device was silent.
    """

    first: int
    time_ms: int
    values: array[float]
    texts: dict[int, str]

    def rows(self) -> Iterator[Row]:
        """Give each sample as a row of a table."""
        for row, number in enumerate(self.values):
            value: float | str | None = self.texts.get(row, number)
            missing = value is number and math.isnan(number)
            yield (self.first + row, self.time_ms, None if missing else value, OFFLINE * missing, 0, POLL)


class House:
    """Points that were read once a minute, fifty at a time.

    The files: ``house.json``; ``values`` (float64, minute after minute, a text as its number); ``times`` (int64, minute
    after minute, one for each read); ``kinds``, one byte a point; ``texts``, one a line. All in the machine's order.
    """

    def __init__(self, folder: Path) -> None:
        about: dict[str, Any] = json.loads((folder / "house.json").read_text())
        self.folder = folder
        self.points: int = about["points"]
        self.minutes: int = about["minutes"]
        self.start_ms: int = about["start_ms"]
        self.kinds = (folder / "kinds").read_bytes()
        self._texts = (folder / "texts").read_text(encoding="utf-8").splitlines()
        self._values = memoryview((folder / "values").read_bytes())
        self._times = memoryview((folder / "times").read_bytes()).cast("q")
        self._firsts = range(0, self.points, POINTS_A_READ)
        self._text_rows = [
            [row for row, kind in enumerate(self.kinds[first : first + POINTS_A_READ]) if kind == TEXT]
            for first in self._firsts
        ]

    @property
    def end_ms(self) -> int:
        """The end of the last minute."""
        return self.start_ms + self.minutes * 60_000

    @property
    def reads_a_minute(self) -> int:
        return len(self._firsts)

    @property
    def numbers(self) -> Sequence[int]:
        """Which points have numbers."""
        return [point for point, kind in enumerate(self.kinds) if kind == NUMBER]

    def reads(self, first_minute: int, end_minute: int) -> Iterator[Read]:
        """Give the reads of some minutes, as they came."""
        for minute in range(first_minute, end_minute):
            for number in range(len(self._firsts)):
                yield self._read(minute, number)

    def _read(self, minute: int, number: int) -> Read:
        first = self._firsts[number]
        begin = minute * self.points + first
        end = minute * self.points + min(first + POINTS_A_READ, self.points)
        values = array("d", self._values[8 * begin : 8 * end].tobytes())
        texts: dict[int, str] = {}
        for row in self._text_rows[number]:
            if not math.isnan(values[row]):
                texts[row] = self._texts[int(values[row])]
                values[row] = math.nan
        return Read(first, self._times[minute * len(self._firsts) + number], values, texts)

    def column(self, point: int) -> tuple[list[int], list[float | str | None]]:
        """Return the times and the values of one point."""
        number, row = divmod(point, POINTS_A_READ)
        reads = [self._read(minute, number) for minute in range(self.minutes)]
        values = [None if math.isnan(read.values[row]) else read.values[row] for read in reads]
        return [read.time_ms for read in reads], [
            read.texts.get(row, value) for read, value in zip(reads, values, strict=True)
        ]
