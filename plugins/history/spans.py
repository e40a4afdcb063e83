"""How time is divided into files: by UTC days, weeks (from Monday), months or years."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterator

import attrs

DAY_MS = 86_400_000


class SpanKind(enum.StrEnum):
    """How much time a file holds."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


@attrs.frozen(order=True)
class Span:
    """A time from ``start_ms`` up to ``end_ms``, UTC milliseconds."""

    start_ms: int
    end_ms: int
    kind: SpanKind = attrs.field(order=False)

    @property
    def label(self) -> str:
        """Its first day and how long it is: ``2026-11-23.week``."""
        return f"{_day(self.start_ms).isoformat()}.{self.kind}"

    def overlaps(self, start_ms: int, end_ms: int) -> bool:
        """Tell whether any of it is between two times."""
        return self.start_ms < end_ms and start_ms < self.end_ms


def span_of(time_ms: int, kind: SpanKind) -> Span:
    """Return the span in which a time is."""
    day = _day(time_ms)
    match kind:
        case SpanKind.DAY:
            first, end = day, day + dt.timedelta(days=1)
        case SpanKind.WEEK:
            first = day - dt.timedelta(days=day.weekday())
            end = first + dt.timedelta(days=7)
        case SpanKind.MONTH:
            first = day.replace(day=1)
            end = (first + dt.timedelta(days=31)).replace(day=1)
        case SpanKind.YEAR:
            first, end = day.replace(month=1, day=1), day.replace(year=day.year + 1, month=1, day=1)
    return Span(_milliseconds(first), _milliseconds(end), kind)


def spans_between(start_ms: int, end_ms: int, kind: SpanKind) -> Iterator[Span]:
    """Give all spans that have something of the time between, in order."""
    while start_ms < end_ms:
        span = span_of(start_ms, kind)
        yield span
        start_ms = span.end_ms


def span_labelled(label: str) -> Span | None:
    """Return the span that has a label; None where none has."""
    first, _dot, kind = label.partition(".")
    try:
        span = span_of(_milliseconds(dt.date.fromisoformat(first)), SpanKind(kind))
    except ValueError:
        return None
    return span if span.label == label else None


def _day(time_ms: int) -> dt.date:
    return dt.date(1970, 1, 1) + dt.timedelta(days=time_ms // DAY_MS)


def _milliseconds(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days * DAY_MS
