"""Writes the past of points as lines: of JSON, and of CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.api.history.answers import SOURCES, flag_names, item_writer, moment, state_text
from core.api.history.buckets import BucketRow
from core.api.history.questions import Asked
from core.api.history.rows import SampleRow
from core.model import Reason, Value
from core.serialize import dumps

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a text must not begin with where a spreadsheet may take it for a formula (OWASP, CSV injection)."""


class JsonLines:
    """One JSON object on each line."""

    media_type = "application/x-ndjson"
    file_name = "history.ndjson"

    def __init__(self, asked: Asked) -> None:
        self._write = item_writer(asked)

    async def begin(self) -> bytes:
        return b""

    async def rows(self, rows: Sequence[Any]) -> bytes:
        write = self._write
        return b"".join([write(row) + b"\n" for row in rows])

    async def end(self) -> bytes:
        return b""


class Csv:
    """One line for each row, below one that names the columns (RFC 4180).

    Flags are separated by spaces, times in states are a JSON object. A text that a spreadsheet would take for a formula
    has an apostrophe before it; numbers, also negative ones, stay as they are.
    """

    media_type = "text/csv"
    file_name = "history.csv"

    def __init__(self, asked: Asked) -> None:
        self._names = {point.index: _text(point.entry.id) + "," if asked.several else "" for point in asked.points}
        self._several = asked.several
        self._aggregates = asked.aggregates
        self._line = self._bucket if asked.aggregated else self._sample
        self._aggregated = asked.aggregated

    async def begin(self) -> bytes:
        columns = ["point_id"] if self._several else []
        if self._aggregated:
            columns += ["start", "end", *self._aggregates, "quality", "filled"]
        else:
            columns += ["time", "value", "text", "quality", "reason", "flags", "source"]
        return f"{','.join(columns)}\r\n".encode()

    async def rows(self, rows: Sequence[Any]) -> bytes:
        line = self._line
        return "".join([line(row) for row in rows]).encode()

    async def end(self) -> bytes:
        return b""

    def _sample(self, row: SampleRow) -> str:
        time, index, point, samples, at = row
        value = samples.value(at, point.kind)
        text = _text(state_text(point.entry, value) or "") if point.entry.point.states is not None else ""
        reason = Reason(samples.reasons[at])
        because = "" if reason is Reason.NONE else reason.name.lower()
        flags = " ".join(flag_names(samples.flags[at]))
        return (
            f"{self._names[index]}{moment(time).decode()},{_cell(value)},{text},{reason.quality.name.lower()},"
            f"{because},{flags},{SOURCES[samples.sources[at]]}\r\n"
        )

    def _bucket(self, row: BucketRow) -> str:
        told = dict(zip(row.point.aggregates, row.values, strict=True))
        cells = [_cell(told.get(name)) for name in self._aggregates]
        times = (moment(each).decode() for each in (row.start_ms, row.end_ms))
        ends = row.quality.name.lower(), "true" if row.filled else "false"
        return f"{self._names[row.point.index]}{','.join((*times, *cells, *ends))}\r\n"


def _cell(value: Value | dict[str, float]) -> str:
    """Write a value: numbers and booleans as JSON has them."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return _quoted(dumps(value).decode())
    if isinstance(value, float):
        return repr(value)
    return str(value).lower()


def _text(text: str) -> str:
    """Write a text so that nothing takes it for more than that."""
    return _quoted(f"'{text}") if text.startswith(FORMULA) else _quoted(text)


def _quoted(text: str) -> str:
    if any(each in text for each in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
