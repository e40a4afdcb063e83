"""The current reading of every point."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from core.current import CurrentReadings
from core.errors import DeviceRefused
from core.model import Device, Flag, Kind, Quality, Reading, Reason, Source, Value
from core.readings import Chunk, Row, StoredReading, batch_of

DEVICE = Device(id="demo.room", plugin="demo", name="Room")
NUMBER = DEVICE.point("number")
TEXT = DEVICE.point("text", kind=Kind.TEXT)
SLOTS = range(1, 7)


def readings(slots: int = 6) -> CurrentReadings:
    current = CurrentReadings()
    current.reserve(slots)
    return current


def apply(
    current: CurrentReadings, chunk: Chunk | int, *rows: Row | Value, at: float, source: Source = Source.POLL
) -> tuple[int, ...]:
    taken = chunk if isinstance(chunk, Chunk) else Chunk(array("I", [chunk]))
    laid_out = [row if isinstance(row, Row) else Row(row) for row in rows]
    return current.apply(batch_of(taken, laid_out, time=at, source=source))


def read(current: CurrentReadings, slot: int = 1, **how: Reason) -> Reading:
    reading = current.reading(slot, NUMBER, **how)
    assert reading is not None
    return reading


def test_a_point_has_no_reading_before_the_first():
    assert readings().reading(1, NUMBER) is None


def test_a_poll_brings_value_quality_flags_times_and_source():
    current = readings()
    assert apply(current, 1, Row(21.5, Flag.OVERRIDDEN), at=10.0) == (0,)
    assert read(current) == Reading(21.5, None, 10.0, 10.0, Reason.NONE, Flag.OVERRIDDEN, Source.POLL)


def test_value_and_flags_that_change_together_both_arrive():
    current, chunk = readings(), Chunk(array("I", [1]))
    apply(current, chunk, 1.0, at=10.0)
    assert apply(current, chunk, Row(2.0, Flag.IN_ALARM), at=20.0) == (0,)
    reading = read(current)
    assert (reading.value, reading.flags, reading.changed_at) == (2.0, Flag.IN_ALARM, 20.0)


def test_an_unchanged_answer_confirms_the_value_and_changes_nothing():
    current, chunk = readings(), Chunk(array("I", [1, 2]))
    apply(current, chunk, 1.0, "x", at=10.0)
    assert apply(current, chunk, 1.0, "x", at=20.0) == ()
    reading = read(current)
    assert (reading.time, reading.changed_at) == (20.0, 10.0)


def test_only_rows_that_changed_are_told():
    current, chunk = readings(), Chunk(array("I", [1, 2, 3]))
    apply(current, chunk, 1.0, 2.0, 3.0, at=10.0)
    assert apply(current, chunk, 1.0, 2.5, 3.0, at=20.0) == (1,)
    assert [read(current, slot).changed_at for slot in (1, 2, 3)] == [10.0, 20.0, 10.0]


def test_an_error_keeps_the_last_value_with_its_time_and_its_flags():
    current, chunk = readings(), Chunk(array("I", [1]))
    apply(current, chunk, Row(1.0, Flag.IN_ALARM), at=10.0)
    assert apply(current, chunk, Row(error=DeviceRefused("no")), at=20.0) == (0,)
    assert read(current) == Reading(1.0, None, 10.0, 20.0, Reason.ERROR, Flag.IN_ALARM, Source.POLL)
    apply(current, chunk, Row(1.0, Flag.IN_ALARM), at=30.0)
    assert (read(current).quality, read(current).time) == (Quality.GOOD, 30.0)


def test_a_point_whose_first_answer_is_an_error_has_a_bad_reading_without_a_value():
    current = readings()
    apply(current, 1, Row(error=DeviceRefused("no")), at=10.0)
    assert (read(current).value, read(current).reason, read(current).time) == (None, Reason.ERROR, 10.0)


def test_an_older_answer_never_overwrites_a_newer_reading():
    current, polled = readings(), Chunk(array("I", [1, 2]))
    apply(current, polled, 1.0, 1.0, at=10.0)
    apply(current, 1, 7.0, at=20.0, source=Source.WRITE)
    assert apply(current, polled, 1.0, 2.0, at=15.0) == (1,), "the poll was under way when the write was read back"
    assert (read(current).value, read(current).time) == (7.0, 20.0)
    assert (read(current, 2).value, read(current, 2).time) == (2.0, 15.0)


def test_a_poll_that_says_what_it_said_before_a_write_is_taken_over_again():
    current, polled = readings(), Chunk(array("I", [1]))
    apply(current, polled, 1.0, at=10.0)
    apply(current, 1, 7.0, at=20.0, source=Source.WRITE)
    assert apply(current, polled, 1.0, at=30.0) == (0,), "the device went back by itself"
    assert (read(current).value, read(current).source) == (1.0, Source.POLL)


def test_points_that_move_to_another_chunk_follow_it():
    current, old, new = readings(), Chunk(array("I", [1, 2])), Chunk(array("I", [2, 3]))
    apply(current, old, 1.0, 2.0, at=10.0)
    apply(current, new, 2.0, 3.0, at=20.0)
    apply(current, new, 2.0, 3.0, at=30.0)
    assert [read(current, slot).time for slot in (1, 2, 3)] == [10.0, 30.0, 30.0]


def test_what_age_and_device_add_shows_only_on_good_readings_but_offline_on_all():
    current = readings()
    apply(current, 1, 1.0, at=10.0)
    apply(current, 2, Row(2.0, Flag.FAULT), at=10.0)
    assert read(current, overlay=Reason.STALE).reason is Reason.STALE
    assert read(current, 2, overlay=Reason.STALE).reason is Reason.FAULT
    assert read(current, 2, overlay=Reason.OFFLINE).reason is Reason.OFFLINE
    assert read(current, overlay=Reason.OFFLINE).value == 1.0


def test_a_value_shows_as_its_points_kind_has_it_with_its_state_text():
    current = readings()
    apply(current, Chunk(array("I", [1, 2, 3, 4, 5])), True, 2, "open", 2**60 + 1, False, at=10.0)
    boolean = DEVICE.point("b", kind=Kind.BOOLEAN, states={"true": "On", "false": "Off"})
    enum = DEVICE.point("e", kind=Kind.ENUM, states={"1": "Low", "2": "High"})
    shown = [current.reading(slot, point) for slot, point in enumerate([boolean, enum, TEXT, NUMBER, boolean], 1)]
    assert [(type(each.value), each.value, each.text) for each in shown if each] == [
        (bool, True, "On"), (int, 2, "High"), (str, "open", None), (int, 2**60 + 1, None), (bool, False, "Off"),
    ]  # fmt: skip


def test_a_state_that_the_point_does_not_name_has_no_text():
    current = readings()
    apply(current, 1, 9, at=10.0)
    enum = DEVICE.point("e", kind=Kind.ENUM, states={"1": "Low"})
    reading = current.reading(1, enum)
    assert reading is not None
    assert (reading.value, reading.text) == (9, None)


def test_no_value_has_no_text():
    current = readings()
    apply(current, 1, math.nan, at=10.0)
    reading = current.reading(1, DEVICE.point("e", kind=Kind.ENUM, states={"1": "Low"}))
    assert reading is not None
    assert (reading.value, reading.text, reading.reason) == (None, None, Reason.FAULT)


def test_a_forgotten_slot_has_no_reading_and_is_not_saved():
    current, chunk = readings(), Chunk(array("I", [1, 2]))
    apply(current, chunk, "a", 2**60 + 1, at=10.0)
    current.forget(1)
    current.forget(2)
    assert current.reading(1, TEXT) is None
    assert current.unsaved() == current.all_rows() == []


def test_the_columns_grow_with_the_slots_and_keep_what_they_have():
    current = readings(1)
    apply(current, 1, 1.0, at=10.0)
    current.reserve(5000)
    apply(current, 5000, 2.0, at=20.0)
    assert (read(current).value, read(current, 5000).value) == (1.0, 2.0)


def test_only_changes_are_unsaved_and_each_is_taken_once():
    current, chunk = readings(), Chunk(array("I", [1, 2]))
    apply(current, chunk, 1.0, "x", at=10.0)
    assert [row.slot for row in current.unsaved()] == [1, 2]
    apply(current, chunk, 1.0, "y", at=20.0)
    rows = current.unsaved()
    assert [(row.slot, row.value, row.text, row.time) for row in rows] == [(2, None, "y", 20.0)]
    assert current.unsaved() == []
    current.mark_unsaved([2])
    assert [row.slot for row in current.unsaved()] == [2]


def test_all_rows_tell_when_each_value_was_last_confirmed():
    current, chunk = readings(), Chunk(array("I", [1]))
    apply(current, chunk, 1.0, at=10.0)
    apply(current, chunk, 1.0, at=20.0)
    assert [(row.slot, row.time, row.changed_at) for row in current.all_rows()] == [(1, 20.0, 10.0)]
    assert current.unsaved() == []


stored_values = st.floats() | st.text(max_size=3) | st.integers(min_value=2**54, max_value=2**70) | st.none()


@given(stored_values, st.sampled_from(Flag), st.sampled_from(Source))
def test_what_was_stored_comes_back_the_same_but_marked_as_restored(value: Value, flags: Flag, source: Source):
    before, after = readings(), readings()
    apply(before, 1, Row(value, flags), at=10.0, source=source)
    for row in before.unsaved():
        after.restore(row)
    point = TEXT if isinstance(value, str) else NUMBER
    old, new = before.reading(1, point), after.reading(1, point)
    assert old is not None
    assert new == attrs.evolve(old, reason=Reason.RESTORED)
    assert after.unsaved() == []


def test_the_first_poll_after_a_restart_makes_a_restored_reading_good():
    current = readings()
    current.restore(StoredReading(1, 5.0, None, None, 0, 0, 0, 10.0, 4.0))
    assert read(current).quality is Quality.UNCERTAIN
    assert apply(current, 1, 5.0, at=100.0) == (0,)
    assert (read(current).quality, read(current).time) == (Quality.GOOD, 100.0)


# the columns against a plain dictionary


@attrs.define
class Plain:
    """A point's reading, kept the simple way."""

    value: Value
    reason: Reason
    flags: Flag
    time: float
    changed_at: float


class PlainReadings:
    """What `CurrentReadings` promises, one object a point and one rule after the other."""

    def __init__(self) -> None:
        self.of: dict[int, Plain] = {}

    def apply(self, slots: Sequence[int], rows: Sequence[Row], *, time: float) -> tuple[int, ...]:
        return tuple(index for index, slot in enumerate(slots) if self._take(slot, rows[index], time))

    def _take(self, slot: int, row: Row, time: float) -> bool:
        value, reason = row.value, row.flags.reason
        if row.error is not None:
            value, reason = None, Reason.ERROR
        elif isinstance(value, float) and not math.isfinite(value):
            value, reason = None, Reason.FAULT
        known = self.of.get(slot)
        if known is None:
            flags = Flag(0) if reason.keeps_value else row.flags
            self.of[slot] = Plain(value, reason, flags, time, time)
            return True
        if time < known.time:
            return False
        if reason.keeps_value:
            changed = reason is not known.reason
            known.reason = reason
        else:
            changed = (value, reason, row.flags) != (known.value, known.reason, known.flags)
            known.value, known.reason, known.flags, known.time = value, reason, row.flags, time
        if changed:
            known.changed_at = time
        return changed


some_rows = st.builds(
    Row,
    value=st.sampled_from([None, 0.0, 1.0, math.nan, math.inf, 2**60, 2**60 + 1, "", "on"]),
    flags=st.sampled_from([Flag(0), Flag.IN_ALARM, Flag.FAULT, Flag.OUT_OF_SERVICE]),
    error=st.sampled_from([None, None, None, DeviceRefused("no")]),
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, tuple[int, ...], list[Row], float, Source]]:
    """Batches over a few chunks that overlap: (number of the chunk or -1 for a new one, slots, rows, time, source)."""
    chunks = draw(st.lists(st.sets(st.sampled_from(SLOTS), min_size=1).map(tuple), min_size=1, max_size=3))
    time, steps = 100.0, []
    for _ in range(draw(st.integers(1, 12))):
        time += draw(st.sampled_from([0.0, 1.0, 1.0, 5.0]))
        number = draw(st.integers(-1, len(chunks) - 1))
        slots = chunks[number] if number >= 0 else draw(st.sets(st.sampled_from(SLOTS), min_size=1).map(tuple))
        again = [step for step in steps if step[0] == number >= 0]
        repeat = bool(again) and draw(st.booleans())
        rows = again[-1][2] if repeat else draw(st.lists(some_rows, min_size=len(slots), max_size=len(slots)))
        late = draw(st.sampled_from([0.0, 0.0, 0.0, 2.0, 7.0]))
        source = draw(st.sampled_from([Source.POLL, Source.POLL, Source.POLL, Source.READ, Source.WRITE, Source.COV]))
        steps.append((number, slots, rows, time - late, source))
    return steps


@settings(max_examples=200, deadline=None)
@given(histories())
def test_any_order_of_polls_reads_and_writes_leaves_what_a_plain_dictionary_would(steps):
    current, plain = readings(max(SLOTS)), PlainReadings()
    chunks: dict[int, Chunk] = {}
    for number, slots, rows, time, source in steps:
        fresh = Chunk(array("I", slots))
        chunk = fresh if number < 0 else chunks.setdefault(number, fresh)
        changed = current.apply(batch_of(chunk, rows, time=time, source=source))
        assert changed == plain.apply(slots, rows, time=time)
        for slot in SLOTS:
            _agree(current, slot, plain.of.get(slot))


def _agree(current: CurrentReadings, slot: int, known: Plain | None) -> None:
    shown = current.reading(slot, TEXT if known and isinstance(known.value, str) else NUMBER)
    if known is None:
        assert shown is None
        return
    assert shown is not None
    assert Plain(shown.value, shown.reason, shown.flags, shown.time, shown.changed_at) == known
