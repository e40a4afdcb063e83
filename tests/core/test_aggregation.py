"""Samples summed up, compared with a look at every millisecond."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_history import imported, record

from core.aggregation import Aggregation, Buckets, TextAggregation, aggregate, aggregate_texts
from core.memory_history import MemoryHistory
from core.model import Reason
from core.readings import Row
from core.samples import Gap, Samples
from core.services import Aggregating

FIRST, LAST = 100, 200  # of milliseconds that are looked at; samples and gaps are before and behind them too
REASONS = (Reason.NONE, Reason.STALE, Reason.OUT_OF_SERVICE, Reason.OFFLINE, Reason.FAULT)


@attrs.frozen
class Past:
    """What a history knows of one point, and when it is asked."""

    samples: Samples
    gaps: tuple[Gap, ...]
    edges: array
    now_ms: int

    def between(self, start: int, end: int) -> Samples:
        times = self.samples.times
        return self.samples.part(sum(each < start for each in times), sum(each < end for each in times))

    def before(self) -> Samples:
        return self.between(0, self.edges[0]).part(max(0, len(self.between(0, self.edges[0])) - 1), 2**31)


@st.composite
def pasts(draw: st.DrawFn) -> Past:
    times = sorted(draw(st.sets(st.integers(60, 240), max_size=25)))
    count = len(times)
    values = draw(st.lists(st.sampled_from((-1.0, 0.0, 1.0, 2.0, 5.0, math.nan)), min_size=count, max_size=count))
    reasons = draw(st.lists(st.sampled_from(REASONS), min_size=count, max_size=count))
    samples = Samples(array("q", times), array("d", values), bytes(reasons), bytes(count), bytes(count))
    bounds = sorted(draw(st.sets(st.integers(50, 250), max_size=6)))
    gaps = tuple(Gap(start, end, "") for start, end in zip(bounds[::2], bounds[1::2], strict=False))
    inner = sorted(draw(st.sets(st.integers(FIRST + 1, LAST - 1), max_size=8)))
    return Past(samples, gaps, array("q", [FIRST, *inner, LAST]), draw(st.integers(50, 260)))


def held_at(past: Past, at: int) -> float:
    """The value that holds in the millisecond that begins at a time; NaN for none."""
    row = sum(each <= at for each in past.samples.times) - 1
    if row < 0 or not past.samples.usable(row) or at >= past.now_ms:
        return math.nan
    since = past.samples.times[row]
    return math.nan if any(since <= gap.start_ms <= at for gap in past.gaps) else past.samples.values[row]


def looked_at(past: Past, *, states: bool) -> Buckets:
    """Sum up by looking at every millisecond."""
    columns: dict[str, list] = {field.name: [] for field in attrs.fields(Buckets)} | {"states": {}}
    samples, count = past.samples, len(past.edges) - 1
    for index, (start, end) in enumerate(zip(past.edges, past.edges[1:], strict=False)):
        rows = [row for row, time in enumerate(samples.times) if start <= time < end]
        usable = [samples.values[row] for row in rows if samples.usable(row)]
        held = [value for value in (held_at(past, at) for at in range(start, end)) if not math.isnan(value)]
        columns["counts"].append(len(usable))
        for name, of in (("sums", sum), ("mins", min), ("maxs", max)):
            columns[name].append(of(usable) if usable else math.nan)
        columns["firsts"].append(usable[0] if usable else math.nan)
        columns["lasts"].append(usable[-1] if usable else math.nan)
        columns["integrals"].append(sum(held))
        columns["covered"].append(len(held))
        columns["worst"].append(max((Reason(samples.reasons[row]).quality for row in rows), default=0))
        for value in held if states else ():
            columns["states"].setdefault(int(value), [0] * count)[index] += 1
    return Buckets(**columns)


def plain(buckets: Buckets) -> dict:
    """Make the columns comparable: no value is None."""
    columns = {field.name: getattr(buckets, field.name) for field in attrs.fields(Buckets)}
    states = {state: [*spent] for state, spent in columns.pop("states").items()}
    return {name: [None if each != each else each for each in column] for name, column in columns.items()} | {  # noqa: PLR0124
        "states": states
    }


def summed_up(past: Past, sizes: Sequence[int] = (1000,), *, states: bool = True) -> Buckets:
    aggregation = Aggregation(past.edges, now_ms=past.now_ms, gaps=past.gaps, before=past.before(), states=states)
    taken = past.between(FIRST, LAST)
    at = 0
    while at < len(taken):
        for size in sizes:
            aggregation.take(taken.part(at, at + size))
            at += size
    return aggregation.buckets()


@settings(max_examples=120, deadline=None)
@given(past=pasts(), sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_it_comes_to_what_a_look_at_every_millisecond_shows_however_many_are_taken_at_once(
    past: Past, sizes: list[int]
) -> None:
    assert plain(summed_up(past, sizes)) == plain(looked_at(past, states=True))


async def history_of(past: Past) -> MemoryHistory:
    """A history that has it, with its gaps cut to what is asked for as every history does it."""

    class Gapped(MemoryHistory):
        async def gaps(self, start_ms: int, end_ms: int) -> Sequence[Gap]:
            cut = [Gap(max(gap.start_ms, start_ms), min(gap.end_ms, end_ms), "") for gap in past.gaps]
            return [gap for gap in cut if gap.start_ms < gap.end_ms]

    history = Gapped()
    await history.add(7, past.samples)
    return history


@settings(max_examples=60, deadline=None)
@given(past=pasts(), split=st.integers(0, 8))
async def test_a_history_is_asked_for_what_it_takes_in_one_piece_or_several(past: Past, split: int) -> None:
    history = await history_of(past)
    at = min(split, len(past.edges) - 2)
    parts = [past.edges[: at + 1], past.edges[at:]] if at else [past.edges]
    found = [await aggregate(history, 7, part, now_ms=past.now_ms, states=False) for part in parts]
    joined = [plain(each) for each in found]
    whole = plain(looked_at(past, states=False))
    for name in whole.keys() - {"states"}:
        assert [*itertools.chain.from_iterable(each[name] for each in joined)] == whole[name]


@settings(max_examples=60, deadline=None)
@given(past=pasts(), size=st.integers(1, 3))
def test_texts_are_counted_and_the_first_and_last_of_each_interval_kept(past: Past, size: int) -> None:
    texts = {row: f"text {row}" for row, value in enumerate(past.samples.values) if not math.isnan(value)}
    nothing = array("d", [math.nan]) * len(past.samples)
    spoken = attrs.evolve(past, samples=attrs.evolve(past.samples, values=nothing, texts=texts))
    rows = array("d", [row if row in texts else math.nan for row in range(len(past.samples))])
    numbered = attrs.evolve(past, samples=attrs.evolve(past.samples, values=rows))
    aggregation = TextAggregation(past.edges, now_ms=past.now_ms, gaps=past.gaps, before=spoken.before())
    taken = spoken.between(FIRST, LAST)
    for at in range(0, len(taken), size):
        aggregation.take(taken.part(at, at + size))
    found, expected = plain(aggregation.buckets()), plain(looked_at(numbered, states=False))
    for name in ("counts", "covered", "worst"):
        assert found[name] == expected[name]
    for name in ("firsts", "lasts"):
        assert [None if each is None else aggregation.texts[each] for each in found[name]] == [
            None if each is None else f"text {each:.0f}" for each in expected[name]
        ]
    assert len(aggregation.texts) <= 2 * len(found["counts"]) + 1


async def test_texts_of_a_history_are_summed_up() -> None:
    history = MemoryHistory()
    for time, text in ((50, "a"), (100, "b"), (110, "c"), (160, "d")):
        record(history, 7, time, text)
    record(history, 7, 170, Row(reason=Reason.OFFLINE))
    buckets, texts = await aggregate_texts(history, 7, array("q", [60, 120, 150, 200]), now_ms=1000)
    named = [[texts.get(int(each)) if not math.isnan(each) else None for each in column]
             for column in (buckets.firsts, buckets.lasts)]  # fmt: skip
    assert named == [["b", None, "d"], ["c", None, "d"]]
    assert [*buckets.counts] == [2, 0, 1]
    assert [*buckets.covered] == [60, 30, 20]


async def test_a_value_from_before_holds_until_what_ends_it() -> None:
    history = MemoryHistory()
    await history.add(7, imported([(0, 4.0)]))
    record(history, 7, 150, Row(reason=Reason.OFFLINE))
    buckets = await aggregate(history, 7, array("q", [100, 200, 300]), now_ms=1000, states=True)
    assert [*buckets.covered] == [50, 0]
    assert [*buckets.integrals] == [200.0, 0.0]
    assert {state: [*spent] for state, spent in buckets.states.items()} == {4: [50, 0]}
    assert buckets.worst == bytes([2, 0])


@pytest.mark.parametrize("count", [1999, 2000, 2001, 5000])
async def test_any_number_of_samples_is_summed_up_page_by_page(count: int) -> None:
    history = MemoryHistory()
    await history.add(7, imported((time, 1.0) for time in range(count)))
    buckets = await aggregate(history, 7, array("q", [0, 100, 10_000]), now_ms=10_000, states=False)
    assert [*buckets.counts] == [100, count - 100]
    assert [*buckets.covered] == [100, 9900]


def test_the_history_in_memory_leaves_it_to_others() -> None:
    assert not isinstance(MemoryHistory(), Aggregating)
