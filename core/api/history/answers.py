"""Describes what is told of the past of points, and writes it as JSON."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from core.api.history.buckets import BucketRow
from core.api.history.questions import Asked, AskedPoint
from core.api.history.rows import SampleRow
from core.api.render import EXAMPLE, FlagName, QualityName, ReasonName, SourceName, json_value
from core.model import Flag, Kind, Reason, Source, Value, rfc3339
from core.operations import ProblemDocument
from core.registry import PointEntry
from core.samples import Gap, Samples
from core.serialize import UNSET, Unset, dumps, field

_POINT_ID = "Its point, where several were asked for."
_NUMBER = "Null where there is no usable sample."
_NONE: Any = field(default=UNSET, description=_NUMBER)


@attrs.frozen(kw_only=True)
class SampleAnswer:
    """A point's value at a time in the past."""

    point_id: str | Unset = field(default=UNSET, description=_POINT_ID)
    time: str = field(format="date-time", example="2026-01-31T12:00:00.000Z")
    value: Value = field(description="A number, boolean, text, or the integer of an enum.", example=21.5)
    text: str | None | Unset = field(default=UNSET, description="The state text, of a point that has states.")
    quality: QualityName = field(description="How far to trust it.", example="good")
    reason: ReasonName | Unset = field(default=UNSET, description="Why the quality is not good.")
    flags: tuple[FlagName, ...] = field(example=[])
    source: SourceName = field(description="What it came from.", example="poll")


@attrs.frozen(kw_only=True)
class BucketAnswer:
    """What the samples of an interval come to, in what was asked for of it."""

    point_id: str | Unset = field(default=UNSET, description=_POINT_ID)
    start: str = field(format="date-time", example="2026-01-31T12:00:00.000Z")
    end: str = field(description="Itself left out.", format="date-time", example="2026-01-31T13:00:00.000Z")
    avg: float | None | Unset = field(default=UNSET, description=_NUMBER, example=21.4)
    min: float | bool | None | Unset = _NONE
    max: float | bool | None | Unset = _NONE
    count: int | Unset = field(default=UNSET, description="How many usable samples there are.", min=0, example=12)
    first: Value | Unset = _NONE
    last: Value | Unset = _NONE
    sum: float | None | Unset = _NONE
    time_weighted_avg: float | None | Unset = field(
        default=UNSET, description="The average over the time for which a value is known; null where it is for none."
    )
    time_in_state: Mapping[str, float] | Unset = field(
        default=UNSET, description="For how many seconds it was in each state, by value."
    )
    quality: QualityName = field(description="The worst of its samples.", example="good")
    filled: bool | Unset = field(default=UNSET, description="True where it has no samples, and `fill` made it.")


@attrs.frozen(kw_only=True)
class GapAnswer:
    """A time in which nothing was recorded, of the whole house."""

    start: str = field(format="date-time", example="2026-01-31T12:10:00.000Z")
    end: str = field(format="date-time", example="2026-01-31T12:12:30.000Z")
    reason: str = field(example="not_running")


@attrs.frozen(kw_only=True)
class FailedPoint:
    """A point of several of which nothing can be told, and why."""

    point_id: str = field(example=EXAMPLE)
    error: ProblemDocument = field()


@attrs.frozen(kw_only=True)
class HistoryPage:
    """One page of the past."""

    items: Sequence[SampleAnswer | BucketAnswer] = field(
        description="Samples, or intervals where these were asked for, by time and then in the order of their points."
    )
    next_cursor: str | None = field(description="What brings the next page as `cursor`; null on the last one.")
    gaps: Sequence[GapAnswer] = field(description="When nothing was recorded, in the time of this page.", example=[])
    errors: Sequence[FailedPoint] | Unset = field(default=UNSET, description="Points of several that failed alone.")


_FLAGS = [[flag.name.lower() for flag in Flag if flag & bits and flag.name] for bits in range(16)]
SOURCES = [source.name.lower() for source in Source]
_SECONDS = [b"%02d." % second for second in range(60)]
_THOUSANDTHS = [b"%03dZ" % thousandth for thousandth in range(1000)]


def moment(time_ms: int) -> bytes:
    """Write UTC milliseconds as `rfc3339` does, at less cost where another time was within the same minute."""
    minute, rest = divmod(time_ms, 60_000)
    second, thousandth = divmod(rest, 1000)
    return _minute(minute) + _SECONDS[second] + _THOUSANDTHS[thousandth]


@functools.lru_cache(maxsize=256)
def _minute(minute: int) -> bytes:
    return str(rfc3339(minute * 60)).encode()[:17]


def state_text(entry: PointEntry, value: Value) -> str | None:
    """Return the text of a point's state; None where it has none for this value."""
    states = entry.point.states or {}
    return states.get(str(value).lower() if isinstance(value, bool) else str(value))


def flag_names(flags: int) -> Sequence[str]:
    """Name the status flags that are set."""
    return _FLAGS[flags]


@functools.cache
def _how(reason: int, flags: int, source: int) -> bytes:
    """Write what many samples have in common."""
    known = Reason(reason)
    told = {} if known is Reason.NONE else {"reason": known.name.lower()}
    how = {"quality": known.quality.name.lower()} | told | {"flags": _FLAGS[flags], "source": SOURCES[source]}
    return dumps(how)[1:]


def sample_json(entry: PointEntry, samples: Samples, row: int) -> bytes:
    """Write a sample of a point, but for the brace before it."""
    point = entry.point
    if point.kind is Kind.NUMBER and not samples.texts and not samples.integers:
        written = dumps(samples.values[row])  # NaN is null
    else:
        value = samples.value(row, point.kind)
        written = dumps(json_value(value))
        if point.states is not None:
            written += b',"text":' + dumps(state_text(entry, value))
    how = _how(samples.reasons[row], samples.flags[row], samples.sources[row])
    return b'"time":"%b","value":%b,%b' % (moment(samples.times[row]), written, how)


def bucket_json(row: BucketRow) -> bytes:
    """Write an interval, but for the brace before it."""
    told = dict(zip(row.point.aggregates, row.values, strict=True)) | {"quality": row.quality.name.lower()}
    if row.filled:
        told["filled"] = True
    return b'"start":"%b","end":"%b",%b' % (moment(row.start_ms), moment(row.end_ms), dumps(told)[1:])


def item_writer(asked: Asked) -> Callable[[Any], bytes]:
    """Make what writes the rows of a question, each as one object."""
    names = {point.index: dumps({"point_id": point.entry.id})[:-1] + b"," for point in asked.points}

    def begin(point: AskedPoint) -> bytes:
        return names[point.index] if asked.several else b"{"

    def write_sample(row: SampleRow) -> bytes:
        return begin(row[2]) + sample_json(row[2].entry, row[3], row[4])

    def write_bucket(row: BucketRow) -> bytes:
        return begin(row.point) + bucket_json(row)

    return write_bucket if asked.aggregated else write_sample


def gap_answers(gaps: Sequence[Gap]) -> Iterator[GapAnswer]:
    """Show gaps."""
    for gap in gaps:
        start, end = (moment(each).decode() for each in (gap.start_ms, gap.end_ms))
        yield GapAnswer(start=start, end=end, reason=gap.reason)
