"""Pages and readings that are kept ready, against the same written anew."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.api import pages, reading_answers
from core.api.points import Points, PointsQuery
from core.api.readings import Freshness, Readings
from core.api.render import PointAnswer, ReadingAnswer, json_value, render_reading
from core.callers import CALL
from core.clock import ManualClock
from core.cursors import Cursors
from core.errors import DeviceRefused, PlantroomError, PointNotFound
from core.events import EventBus
from core.model import Device, Flag, Inventory, Kind, Point, Quality, Reading, Reason, Source, rfc3339
from core.policies import call_of
from core.principals import Principal, PrincipalKind, Role, Scope
from core.readings import Chunk, Row, batch_of
from core.registry import Overrides, PointEntry, Registry
from core.replies import Answer
from core.serialize import dumps

KEYS = ("a", "b", "c", "d")
DEVICES = ("demo.1", "demo.2")
QUERIES = (
    PointsQuery(limit=1000, count=True),
    PointsQuery(limit=3, sort="-name"),
    PointsQuery(limit=1, device_id=("demo.2",)),
    PointsQuery(quality=("good",)),
    PointsQuery(device_id=("none",)),
)


def now(awaitable: Awaitable[Answer]) -> Answer:
    """Run what has nothing to wait for."""
    with pytest.raises(StopIteration) as done:
        awaitable.__await__().send(None)
    return done.value.value


def asked_by(scope: Scope | None) -> Any:
    """Make a request of a principal with a scope."""
    call = call_of()
    call.principal = Principal("key:k", "k", Role.VIEWER, PrincipalKind.KEY, scope)
    return {CALL: call}


class House:
    """A registry with what is prepared of it, and the plain way to write the same."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.registry = Registry(self.clock, EventBus())
        self.scope: Scope | None = None
        self.points = Points(self.registry, Cursors(b"secret"), self.clock)
        self.readings = Readings(self.registry, None, self.clock)  # type: ignore[arg-type]
        self.chunks: dict[tuple[int, ...], Chunk] = {}
        self.tags: dict[tuple[object, str | None], bytes] = {}

    def put(self, device_id: str, keys: tuple[str, ...] = KEYS) -> None:
        device = Device(device_id, "demo", device_id)
        self.registry.put([Inventory(device, [_point(device, key) for key in keys])])

    def apply(self, places: list[int], rows: list[Row], *, late: float, source: Source, again: bool) -> None:
        entries = [self.registry.point(each) for each in self.registry.point_ids()]
        slots = tuple(dict.fromkeys(entries[place % len(entries)].slot for place in places)) if entries else ()
        if slots:
            fresh = Chunk(array("I", slots))
            chunk = self.chunks.setdefault(slots, fresh) if again else fresh
            batch = batch_of(chunk, rows[: len(slots)], time=self.clock.utc() - late, source=source)
            self.registry.current.apply(batch)

    def forward(self, seconds: float) -> None:
        asyncio.run(self.clock.advance(seconds))

    def check(self) -> None:
        for query in QUERIES:
            answer = now(self.points.list(asked_by(self.scope), query=query))
            entries = [self.registry.point(item["id"]) for item in orjson.loads(answer.body)["items"]]
            rest = answer.body[answer.body.index(b'"next_cursor"') :]
            items = [dumps(_plain(entry, self.registry.reading(entry))) for entry in entries]
            assert answer.body == b'{"items":[%b],%b' % (b",".join(items), rest)
            assert entries == self._listed(query)
            self._note((query, self.scope), answer)
        for point_id in self.registry.point_ids():
            self._check_value(point_id)

    def _listed(self, query: PointsQuery) -> list[PointEntry]:
        entries = [self.registry.point(each) for each in self.registry.point_ids()]
        if query.sort == "-name":
            entries.sort(key=lambda entry: (entry.name.casefold(), entry.id), reverse=True)
        good = [each for each in entries if self.registry.quality(each) is Quality.GOOD]
        listed = good if query.quality else entries
        if query.device_id:
            listed = [each for each in listed if each.device.id in query.device_id]
        return [each for each in listed if each.within(self.scope)][: query.limit]

    def _check_value(self, point_id: str) -> None:
        reading = self.registry.reading(self.registry.point(point_id))
        answer = self.readings.value_now(point_id=point_id)
        assert answer.body == dumps(_plain_reading(reading))
        assert answer.headers == ({} if reading is None else {"Age": str(max(0, int(self.clock.utc() - reading.time)))})
        self._note(point_id, answer)

    def _note(self, resource: object, answer: Answer) -> None:
        """Equal ETags of a resource stand for equal content, time and source apart."""
        content = _timeless(orjson.loads(answer.body))
        assert self.tags.setdefault((resource, answer.etag), content) == content


def _point(device: Device, key: str) -> Point:
    kind = {"c": Kind.ENUM, "d": Kind.TEXT}.get(key, Kind.NUMBER)
    states = {"1": "On"} if kind is Kind.ENUM else None
    return device.point(key, kind=kind, states=states, interval={"a": 10.0, "b": 20.0, "c": None}.get(key, 10.0))


def _plain_reading(reading: Reading | None) -> ReadingAnswer | None:
    if reading is None:
        return None
    return ReadingAnswer(
        value=json_value(reading.value),
        text=reading.text,
        changed_at=str(rfc3339(reading.changed_at)),
        quality=reading.quality.name.lower(),  # type: ignore[arg-type]
        reason=None if reading.reason is Reason.NONE else reading.reason.name.lower(),  # type: ignore[arg-type]
        flags=tuple(flag.name.lower() for flag in Flag if flag in reading.flags and flag.name),  # type: ignore[misc]
        time=str(rfc3339(reading.time)),
        source=reading.source.name.lower(),  # type: ignore[arg-type]
    )


def _plain(entry: PointEntry, reading: Reading | None) -> PointAnswer:
    point = entry.point
    return PointAnswer(
        id=point.id, device_id=point.device_id, name=entry.name, description=point.description, kind=point.kind,
        unit=point.unit, symbol=point.symbol, states=point.states, writable=point.writable,
        commandable=point.commandable, min=point.min, max=point.max, resolution=point.resolution,
        enabled=entry.enabled, vanished=entry.vanished or entry.device.vanished, interval=entry.interval,
        delivery="polled" if entry.live_every is None else "live", tags=entry.overrides.tags,
        attributes=point.attributes, reading=_plain_reading(reading),
    )  # fmt: skip


def _timeless(document: Any) -> bytes:
    if isinstance(document, list):
        return b"".join(map(_timeless, document))
    if isinstance(document, dict):
        kept = {name: _timeless(member).hex() for name, member in document.items() if name not in ("time", "source")}
        return orjson.dumps(kept)
    return orjson.dumps(document)


some_rows = st.builds(
    Row,
    value=st.sampled_from([None, 0.0, 1.0, 1.0, float("nan"), 2**60 + 1, 2**70, "", "né"]),
    flags=st.sampled_from([Flag(0), Flag(0), Flag.IN_ALARM, Flag.FAULT]),
    error=st.sampled_from([None, None, None, DeviceRefused("no")]),
)
ROWS = len(KEYS) * len(DEVICES)
Step = Callable[[House], object]


def _silent(house: House, device_id: str) -> None:
    if house.registry.has_device(device_id):
        house.registry.silent(house.registry.device(device_id), "no answer")


def _answered(house: House, device_id: str) -> None:
    if house.registry.has_device(device_id):
        house.registry.answered(house.registry.device(device_id))


def _delete(house: House, device_id: str) -> None:
    if house.registry.has_device(device_id):
        house.registry.mark_vanished([device_id])
        house.check()
        house.registry.delete_device(device_id)


def _patch(house: House, place: int, overrides: Overrides) -> None:
    ids = house.registry.point_ids()
    if ids:
        house.registry.override_point(ids[place % len(ids)], lambda _: overrides)


def _pace(house: House, place: int, every: float) -> None:
    ids = house.registry.point_ids()
    if ids:
        house.registry.set_polled(house.registry.point(ids[place % len(ids)]), every)


def _live(house: House, place: int, every: float | None) -> None:
    ids = house.registry.point_ids()
    if ids:
        house.registry.set_live([house.registry.point(ids[place % len(ids)])], every)


def _scope(house: House, scope: Scope | None) -> None:
    house.scope = scope


places = st.integers(0, ROWS - 1)
device_ids = st.sampled_from(DEVICES)
batches = st.builds(
    lambda places, rows, late, source, again: (
        lambda house: house.apply(places, rows, late=late, source=source, again=again)
    ),
    st.lists(places, min_size=1, max_size=ROWS) | st.sampled_from([[0, 1, 2, 3], [4, 5, 6, 7], [0, 4]]),
    st.lists(some_rows, min_size=ROWS, max_size=ROWS) | st.sampled_from([[Row(1.0)] * ROWS, [Row(2.0)] * ROWS]),
    st.sampled_from([0.0, 0.0, 0.0, 3.0, 40.0]),
    st.sampled_from([Source.POLL, Source.POLL, Source.POLL, *Source]),
    st.sampled_from([True, True, False]),
)
SCOPE = Scope(devices=("*.1",))
steps: st.SearchStrategy[Step] = st.one_of(
    batches,
    batches,
    st.sampled_from([20.0, 25.0, 26.0, 60.0]).map(lambda s: lambda house: house.forward(s)),
    st.sampled_from([0.0, 0.4, 1.0, 20.0, 25.0, 30.0, 100.0, -30.0]).map(lambda s: lambda house: house.forward(s)),
    device_ids.map(lambda each: lambda house: _silent(house, each)),
    device_ids.map(lambda each: lambda house: _answered(house, each)),
    device_ids.map(lambda each: lambda house: _delete(house, each)),
    st.builds(lambda each, keys: lambda house: house.put(each, keys), device_ids, st.sampled_from([KEYS, KEYS[:2]])),
    st.builds(
        lambda place, overrides: lambda house: _patch(house, place, overrides),
        places,
        st.sampled_from([Overrides(), Overrides(name="Zulu"), Overrides(interval=1.0), Overrides(enabled=False)]),
    ),
    st.builds(lambda at, every: lambda house: _pace(house, at, every), places, st.sampled_from([5.0, 10.0])),
    st.builds(lambda at, every: lambda house: _live(house, at, every), places, st.sampled_from([None, 60.0])),
    st.sampled_from([None, SCOPE]).map(lambda scope: lambda house: _scope(house, scope)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(steps, st.booleans()), max_size=25))
def test_whatever_happens_what_is_prepared_is_what_would_be_written_anew(history: list[tuple[Step, bool]]) -> None:
    house = House()
    for device_id in DEVICES:
        house.put(device_id)
    house.check()
    for step, looked_at in history:
        step(house)
        if looked_at:
            house.check()
    house.check()


@given(st.floats(0, 4e9) | st.integers(0, 8 * 10**12).map(lambda halves: halves / 2000))
def test_times_are_written_as_the_model_writes_them(seconds: float) -> None:
    reading = Reading(None, None, seconds, seconds, Reason.NONE, Flag(0), Source.POLL)
    if seconds:
        assert orjson.loads(render_reading(reading))["time"] == rfc3339(seconds)


@pytest.mark.parametrize("source", [Source.POLL, Source.COV])
def test_readings_that_nothing_confirms_turn_stale_each_in_its_time_and_are_fresh_again_when_the_clock_steps_back(
    source: Source,
):
    house = House()
    house.put("demo.1")
    house.check()
    house.apply([0, 1, 2, 3], [Row(1.0)] * ROWS, late=0.0, source=source, again=True)
    qualities = []
    for step in (0.0, 25.0, 1.0, 24.0, 1.0, -20.0, -20.0, 60.0):
        house.forward(step)
        house.check()
        qualities.append([house.registry.quality(house.registry.point(f"demo.1.{key}")) for key in "ab"])
    good, stale = Quality.GOOD, Quality.UNCERTAIN
    assert qualities == [
        [good, good], [good, good], [stale, good], [stale, good], [stale, stale], [stale, good], [good, good],
        [stale, stale],
    ]  # fmt: skip


def test_a_device_that_is_found_anew_has_no_etag_that_it_had_before(prepared: House):
    prepared.apply([4], [Row(2.0)], late=0.0, source=Source.COV, again=False)
    prepared.check()
    prepared.registry.mark_vanished(["demo.1"])
    prepared.registry.delete_device("demo.1")
    prepared.put("demo.1")
    assert prepared.registry.reading(prepared.registry.point("demo.1.a")) is None
    prepared.check()


# what is kept, and for how long


@pytest.fixture
def prepared() -> House:
    """Two devices whose points have been polled once."""
    house = House()
    for device_id in DEVICES:
        house.put(device_id)
    poll(house, [Row(1.0)] * ROWS)
    return house


def poll(house: House, rows: list[Row]) -> None:
    house.apply(list(range(ROWS)), rows, late=0.0, source=Source.POLL, again=True)


def listed(house: House, **query: Any) -> Answer:
    return now(house.points.list(asked_by(None), query=PointsQuery(**query)))


def test_what_did_not_change_is_the_same_object_and_a_new_time_brings_another_with_the_same_etag(prepared: House):
    page, value = listed(prepared), prepared.readings.value_now(point_id="demo.1.a")
    assert listed(prepared) is page
    assert prepared.readings.value_now(point_id="demo.1.a") is value
    prepared.forward(10)
    poll(prepared, [Row(1.0)] * ROWS)
    later, later_value = listed(prepared), prepared.readings.value_now(point_id="demo.1.a")
    assert (later.etag, later_value.etag) == (page.etag, value.etag)
    assert later.body != page.body and later_value.body != value.body


def test_a_page_that_was_dropped_has_the_etag_it_had(prepared: House):
    before = listed(prepared)
    for limit in range(1, pages.PAGES_KEPT + 2):
        listed(prepared, limit=limit)
    again = listed(prepared)
    assert again is not before
    assert again == before


def test_another_process_has_other_etags_for_the_same_revisions():
    first, second = House(), House()
    for house in (first, second):
        house.put("demo.1")
    assert listed(first).body == listed(second).body
    assert listed(first).etag != listed(second).etag
    ours, theirs = (house.readings.value_now(point_id="demo.1.a") for house in (first, second))
    assert ours.body == theirs.body and ours.etag != theirs.etag


def test_pages_are_bounded_in_number_and_bytes_and_the_latest_stay(prepared: House):
    registry, kept = prepared.registry, pages.PointPages(prepared.registry)
    size = pages.BYTES_KEPT // 8
    fat = [pages.PointPage(registry, prepared.clock, entries=(), fixed=(), around=(b" " * size, b"")) for _ in range(9)]
    for number in range(3 * pages.PAGES_KEPT):
        kept.keep(number, pages.PointPage(registry, prepared.clock, entries=(), fixed=(), around=(b"{", b"}")))
        assert len(kept) == min(number + 1, pages.PAGES_KEPT)
    assert kept.take(2 * pages.PAGES_KEPT - 1) is None
    assert kept.take(2 * pages.PAGES_KEPT) is not None
    for number, page in enumerate(fat):
        kept.keep(f"fat {number}", page)
        assert len(kept) <= pages.PAGES_KEPT
    assert len(kept) == 4, "each takes two bytes for one of its body"
    registry.override_point("demo.1.a", lambda overrides: attrs.evolve(overrides, name="New"))
    assert kept.take("fat 8") is None
    assert len(kept) == 0


def test_pages_that_depend_on_readings_are_not_kept_and_random_cursors_do_not_add_up(prepared: House):
    kept = prepared.points._pages
    listed(prepared, quality=("good",))
    assert len(kept) == 0
    for number in range(50):
        cursor = None if number == 0 else orjson.loads(listed(prepared, limit=1 + number % 5).body)["next_cursor"]
        listed(prepared, limit=1 + number, cursor=cursor)
    assert len(kept) == pages.PAGES_KEPT


def test_answers_of_readings_are_bounded(prepared: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading_answers, "ANSWERS_KEPT", 3)
    answers = reading_answers.ReadingAnswers(prepared.registry, prepared.clock)
    entries = [prepared.registry.point(each) for each in prepared.registry.point_ids()]
    first = [answers.answer(entry) for entry in entries]
    assert len(answers) == 3
    assert answers.answer(entries[-1]) is first[-1]
    assert answers.answer(entries[0]) == first[0]


def test_a_page_whose_writing_failed_is_made_anew(prepared: House):
    listed(prepared)
    prepared.apply([3], [Row("\ud800")], late=0.0, source=Source.COV, again=False)
    for _ in range(2):
        with pytest.raises(TypeError):
            listed(prepared)
    prepared.apply([3], [Row("whole")], late=0.0, source=Source.COV, again=False)
    prepared.check()


def test_a_value_asked_for_in_either_way_is_one_answer_and_an_unknown_point_is_none(prepared: House):
    at_once = prepared.readings.value_now(point_id="demo.1.a")
    prepared.readings = Readings(prepared.registry, Idle(), prepared.clock)  # type: ignore[arg-type]
    waited = now(prepared.readings.get(asked_by(None), point_id="demo.1.a", query=Freshness()))
    assert waited == at_once
    with pytest.raises(PointNotFound):
        prepared.readings.value_now(point_id="demo.1.none")


class Idle:
    """An exchange that finds everything fresh."""

    async def refresh(self, _entries: object, *, spend=None, max_age: float | None) -> dict[str, PlantroomError]:
        assert max_age is None
        return {}
