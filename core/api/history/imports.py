"""Takes a point's past in that was recorded elsewhere, as JSON or CSV."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
import structlog
from aiohttp import web

from core.api.readings import POINT_ID
from core.api.render import QualityName
from core.callers import principal_of
from core.clock import Clock
from core.errors import FieldFault, Invalid, MalformedBody, PointNotFound, ValueNotSuitable
from core.model import Kind, Point, Reason, Source, Value
from core.principals import Role
from core.readings import EXACT_INTEGER, NAN
from core.registry import Registry
from core.routes import Media, Route
from core.samples import Samples, milliseconds, utc_ms
from core.scalars import TEXT, Wrong
from core.serialize import field
from core.services import Services
from core.structure import FAULTS_TOLD
from core.values import suitable

MIB = 1024 * 1024
MOST_SAMPLES = 10_000
AHEAD_MS = 5 * 60 * 1000
"""How far a time may be in the future: clocks differ."""
CHECKED_AT_ONCE = 500

CSV = "text/csv"
_TAKEN = ("time", "value", "quality")
_INTEGER = re.compile("-?[0-9]{1,300}")
_LEFT_OUT = ("text", "reason", "flags", "source")  # what an export has too
_REASONS = {"good": Reason.NONE, "uncertain": Reason.STALE, "bad": Reason.ERROR}


@attrs.frozen(kw_only=True)
class ImportedSample:
    """A value of the past."""

    time: str = field(
        max_length=50, format="date-time", example="2026-01-31T12:00:00Z",
        description="When it was so (RFC 3339); since 1970, and not in the future.",
    )  # fmt: skip
    value: float | int | bool | str | None = field(
        description="As the point's `kind` has it, or a state's text; null only where the quality is `bad`.",
        example=21.5,
    )
    quality: QualityName = field(
        default="good", example="good",
        description="How far to trust it: `uncertain` is kept as `stale`, `bad` as `error`.",
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class ImportBody:
    """What was recorded elsewhere."""

    samples: tuple[ImportedSample, ...] = field(
        min_items=1, max_items=MOST_SAMPLES, description="In any order.",
        example=[{"time": "2026-01-31T12:00:00Z", "value": 21.5}],
    )  # fmt: skip
    source: Literal["imported", "trend_log"] = field(default="imported", description="Where they are from.")
    only_gaps: bool = field(default=False, description="Keep only what falls into gaps of the record.")


@attrs.frozen(kw_only=True)
class ImportAnswer:
    """What became of the samples."""

    added: int = field(description="How many are kept now, safely.", example=1, min=0)
    known: int = field(
        description="How many are not: there is one of their time, or they are in no gap.", example=0, min=0
    )


def samples_in_csv(raw: bytes) -> Any:
    """Read a CSV body as JSON would have it; an export of ours is one. Raises MalformedBody."""
    try:
        text = io.StringIO(raw.decode("utf-8-sig"), newline="")
        header, *rows = csv.reader(text, strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise MalformedBody(f"The body is not CSV in UTF-8 with a line of column names: {error}.") from error
    unknown = sorted({*header} - {*_TAKEN, *_LEFT_OUT})
    if unknown or len({*header}) < len(header) or not {"time", "value"} <= {*header}:
        raise MalformedBody("The first line must name the columns: time, value, and perhaps quality.")
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise MalformedBody(f"Row {number} has {len(row)} columns, and the first one {len(header)}.")
    named = (dict(zip(header, row, strict=True)) for row in rows)
    return {"samples": [{name: row[name] for name in _TAKEN if row.get(name) or name == "value"} for row in named]}


class Imports:
    """The resource /api/v1/points/{point_id}/history, for writing."""

    def __init__(self, registry: Registry, services: Services, clock: Clock) -> None:
        self._registry = registry
        self._services = services
        self._clock = clock

    @property
    def routes(self) -> list[Route]:
        """The routes of this resource."""
        example = "time,value,quality\r\n2026-01-31T12:00:00Z,21.5,good\r\n"
        return [
            Route(
                "POST", "/api/v1/points/{point_id}/history", self.post, "Take in what was recorded elsewhere",
                body=ImportBody, takes_also=(Media(CSV, example, samples_in_csv),), answer=ImportAnswer,
                role=Role.ADMIN, errors=(PointNotFound, ValueNotSuitable), parameters=POINT_ID,
                max_body_bytes=2 * MIB,
                description=(
                    "All of it or, where one sample is wrong, nothing. What is known already stays as it is, so that "
                    "the same may be sent again. CSV has the columns `time`, `value` and perhaps `quality`"
                ),
            ),
        ]  # fmt: skip

    async def post(self, request: web.Request, *, point_id: str, body: ImportBody) -> ImportAnswer:
        """Keep samples of a point."""
        entry = self._registry.point(point_id)
        now_ms = milliseconds(self._clock.utc())
        check = _Check(entry.point, now_ms + AHEAD_MS, written=request.content_type == CSV)
        for begin in range(0, len(body.samples), CHECKED_AT_ONCE):
            check.take(body.samples[begin : begin + CHECKED_AT_ONCE])
            await asyncio.sleep(0)
        samples = check.columns(Source[body.source.upper()])
        added = await self._services.history.add(entry.slot, samples, only_gaps=body.only_gaps)
        structlog.get_logger().info(
            "history_imported", point=point_id, added=added, samples=len(body.samples), by=str(principal_of(request))
        )
        return ImportAnswer(added=added, known=len(body.samples) - added)


class _Check:
    """Checks the samples of a point; ``written`` where all values are text. Of those of one time the last counts."""

    def __init__(self, point: Point, latest_ms: int, *, written: bool) -> None:
        self._point = attrs.evolve(point, min=None, max=None)  # what may be written; what was measured may be beyond
        self._latest_ms = latest_ms
        self._written = written
        self._count = 0
        self._by_time: dict[int, tuple[Value, Reason]] = {}
        self._faults: list[FieldFault] = []

    def take(self, samples: Sequence[ImportedSample]) -> None:
        """Check some samples more."""
        for at, sample in enumerate(samples, self._count):
            time = self._time(sample.time, at)
            value = self._value(sample, at)
            if time is not None:
                self._by_time[time] = value, _REASONS[sample.quality]
        self._count += len(samples)

    def columns(self, source: Source) -> Samples:
        """Lay all out; raises Invalid, or ValueNotSuitable where only values are at fault, with every fault."""
        if self._faults:
            rows = f"row {self._row(self._faults[0])} of the CSV" if self._written else self._faults[0].field
            error = ValueNotSuitable if {fault.code for fault in self._faults} == {ValueNotSuitable.code} else Invalid
            raise error(f"Nothing was kept: correct {rows} and all others named.", errors=self._faults[:FAULTS_TOLD])
        times = sorted(self._by_time)
        values, texts, integers = array("d"), dict[int, str](), dict[int, int]()
        for row, time in enumerate(times):
            value = self._by_time[time][0]
            if isinstance(value, str):
                texts[row] = value
            elif type(value) is int and abs(value) > EXACT_INTEGER:
                integers[row] = value
            values.append(NAN if value is None or isinstance(value, str) else float(value))
        reasons = bytes(self._by_time[time][1] for time in times)
        return Samples(
            array("q", times), values, reasons, bytes(len(times)), bytes([source]) * len(times), texts, integers
        )

    def _row(self, fault: FieldFault) -> int:
        return int(fault.field.split(".")[1]) + 2

    def _time(self, text: str, at: int) -> int | None:
        try:
            time = utc_ms(text)
        except ValueError as error:
            self._faults.append(FieldFault(f"samples.{at}.time", "invalid", str(error)))
            return None
        if not 0 <= time <= self._latest_ms:
            says = "must be in 1970 or later" if time < 0 else "must not be in the future: only what was is kept"
            self._faults.append(FieldFault(f"samples.{at}.time", "range", says))
            return None
        return time

    def _value(self, sample: ImportedSample, at: int) -> Value:
        bad = sample.quality == "bad"
        if bad and (sample.value is None or (self._written and sample.value == "")):
            return None
        try:
            given = _read(self._point, str(sample.value)) if self._written else sample.value
            return suitable(self._point, given)
        except ValueNotSuitable as error:
            says = f"{error.errors[0].message}, or null of bad quality" if sample.value is None else ""
            fault = attrs.evolve(error.errors[0], field=f"samples.{at}.value")
            self._faults.append(attrs.evolve(fault, message=says or fault.message))
            return None


def _read(point: Point, text: str) -> Value:
    """Read a value that is written as text; what cannot be read stays text, to be found unsuitable."""
    words: Mapping[str, bool] = {"true": True, "false": False} if point.kind is Kind.BOOLEAN else {}
    if text in words or point.kind in (Kind.TEXT, Kind.BOOLEAN):
        return words.get(text, text)
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        number: Value = TEXT.parsers[float](text)
    except Wrong:
        return text
    return number
