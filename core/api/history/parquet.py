"""Writes the past of points as Apache Parquet, a group of rows at a time; pyarrow does it, an extra (`parquet`)."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from core.api.history.answers import SOURCES, flag_names, state_text
from core.api.history.buckets import BucketRow
from core.api.history.questions import AGGREGATES, Asked
from core.api.history.rows import SampleRow
from core.errors import FieldFault, Invalid, NotAcceptable
from core.model import Kind, Reason

ROWS_IN_A_GROUP = 50_000
_MISSING = "Parquet needs the extra `parquet`, which is not installed: pip install 'plantroom[parquet]'. Accept {}."


class Parquet:
    """Columns as in CSV, but typed: times are UTC in milliseconds, values float64 beside the text that they have.

    Booleans are 0 and 1, enums their integer; integers beyond 2**53 are rounded. No more than a group of rows is in
    memory; it is encoded in a thread.
    """

    media_type = "application/vnd.apache.parquet"
    file_name = "history.parquet"

    def __init__(self, asked: Asked, *, otherwise: Sequence[str]) -> None:
        self._asked = asked
        self._otherwise = otherwise
        self._sink = _Sink()
        self._groups: list[Any] = []
        self._count = 0

    async def begin(self) -> bytes:
        """Begin the file; raises NotAcceptable where pyarrow is not installed, Invalid where values mix."""
        try:
            self._arrow, parquet = await asyncio.to_thread(_load)
        except ImportError:
            raise NotAcceptable(_MISSING.format(" or ".join(self._otherwise))) from None
        self._columns = self._bucket_columns() if self._asked.aggregated else self._sample_columns()
        self._schema = self._arrow.schema([*self._columns.items()])
        self._writer = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
        return self._sink.taken()

    async def rows(self, rows: Sequence[Any]) -> bytes:
        values = [self._bucket(row) for row in rows] if self._asked.aggregated else [self._sample(row) for row in rows]
        arrays = [
            self._arrow.array(column, type=kind)
            for column, kind in zip(zip(*values, strict=True), self._columns.values(), strict=True)
        ]
        self._groups.append(self._arrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._count += len(rows)
        if self._count >= ROWS_IN_A_GROUP:
            await self._write_group()
        return self._sink.taken()

    async def end(self) -> bytes:
        if self._groups:
            await self._write_group()
        await asyncio.to_thread(self._writer.close)
        return self._sink.taken()

    async def _write_group(self) -> None:
        table = self._arrow.Table.from_batches(self._groups, schema=self._schema)
        self._groups, self._count = [], 0
        await asyncio.to_thread(self._writer.write_table, table, row_group_size=ROWS_IN_A_GROUP)

    def _named(self) -> dict[str, Any]:
        """Return the column that names the point, where there are several."""
        return {"point_id": self._arrow.string()} if self._asked.several else {}

    def _sample_columns(self) -> Mapping[str, Any]:
        arrow = self._arrow
        words = dict.fromkeys(("text", "quality", "reason", "flags", "source"), arrow.string())
        return self._named() | {"time": arrow.timestamp("ms", tz="UTC"), "value": arrow.float64()} | words

    def _sample(self, row: SampleRow) -> tuple[Any, ...]:
        time, _index, point, samples, at = row
        value = samples.value(at, point.kind)
        text = value if isinstance(value, str) else state_text(point.entry, value)
        number = None if isinstance(value, str) or value is None else float(value)
        reason = Reason(samples.reasons[at])
        because = None if reason is Reason.NONE else reason.name.lower()
        words = reason.quality.name.lower(), because, " ".join(flag_names(samples.flags[at]))
        named = (point.entry.id,) if self._asked.several else ()
        return (*named, time, number, text, *words, SOURCES[samples.sources[at]])

    def _bucket_columns(self) -> Mapping[str, Any]:
        arrow = self._arrow
        texts = {point.kind is Kind.TEXT for point in self._asked.points}
        if len(texts) > 1:
            fault = FieldFault(
                "point_ids", "invalid", "has points with text and others; ask for them one after another"
            )
            raise Invalid("A column of Parquet has values of one type.", errors=[fault])
        value = arrow.string() if True in texts else arrow.float64()
        types = dict.fromkeys(AGGREGATES, arrow.float64()) | {
            "first": value, "last": value, "count": arrow.int64(),
            "time_in_state": arrow.map_(arrow.string(), arrow.float64()),
        }  # fmt: skip
        times = dict.fromkeys(("start", "end"), arrow.timestamp("ms", tz="UTC"))
        told = {name: types[name] for name in self._asked.aggregates}
        return self._named() | times | told | {"quality": arrow.string(), "filled": arrow.bool_()}

    def _bucket(self, row: BucketRow) -> tuple[Any, ...]:
        told = dict(zip(row.point.aggregates, row.values, strict=True))
        named = (row.point.entry.id,) if self._asked.several else ()
        cells = (_cell(name, told.get(name)) for name in self._asked.aggregates)
        return (*named, row.start_ms, row.end_ms, *cells, row.quality.name.lower(), row.filled)


class _Sink:
    """A file that keeps what is written to it until it is taken."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def taken(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken

    # what pyarrow asks of a file

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        return self._length

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def _load() -> tuple[Any, Any]:
    """Load what is too heavy to be loaded by everybody."""
    return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return [*value.items()]
    return float(value) if isinstance(value, bool | int) and name != "count" else value
