"""The words of a building."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model import Device, Flag, Kind, Priorities, Quality, Reading, Reason, Source, rfc3339

DEVICE = Device(id="demo.room", plugin="demo", name="Room")


def test_a_point_takes_its_id_from_its_device_and_its_name_from_its_key():
    point = DEVICE.point("analog-input.1", unit="degrees-celsius")
    assert (point.id, point.device_id, point.key) == ("demo.room.analog-input.1", "demo.room", "analog-input.1")
    assert (point.name, point.kind, point.unit) == ("analog-input.1", Kind.NUMBER, "degrees-celsius")
    assert DEVICE.point("lamp", kind=Kind.BOOLEAN, name="Ceiling lamp").name == "Ceiling lamp"


def test_devices_and_points_serve_as_keys_although_their_attributes_are_dictionaries():
    point = DEVICE.point("t", attributes={"property": 85})
    assert {point: 1}[DEVICE.point("t", attributes={"property": 85})] == 1
    assert {DEVICE: 1}[Device(id="demo.room", plugin="demo", name="Room")] == 1


def test_every_reason_has_one_quality():
    qualities = {reason: reason.quality for reason in Reason}
    assert {reason for reason in Reason if qualities[reason] is Quality.GOOD} == {Reason.NONE}
    uncertain = {reason for reason in Reason if qualities[reason] is Quality.UNCERTAIN}
    assert uncertain == {Reason.STALE, Reason.RESTORED, Reason.OUT_OF_SERVICE}
    bad = {reason for reason in Reason if qualities[reason] is Quality.BAD}
    assert bad == {Reason.OFFLINE, Reason.TIMEOUT, Reason.FAULT, Reason.ERROR}


def test_the_last_value_stands_only_where_no_new_one_came():
    assert {reason for reason in Reason if reason.keeps_value} == {Reason.OFFLINE, Reason.TIMEOUT, Reason.ERROR}


def test_stored_numbers_never_change_their_meaning():
    assert [reason.name for reason in sorted(Reason)] == [
        "NONE", "STALE", "RESTORED", "OUT_OF_SERVICE", "OFFLINE", "TIMEOUT", "FAULT", "ERROR",
    ]  # fmt: skip
    assert [source.name for source in sorted(Source)] == ["POLL", "COV", "READ", "WRITE", "IMPORTED", "TREND_LOG"]
    assert [quality.name for quality in sorted(Quality)] == ["GOOD", "UNCERTAIN", "BAD"]
    assert [int(flag) for flag in Flag] == [1, 2, 4, 8]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (Flag(0), Reason.NONE),
        (Flag.IN_ALARM | Flag.OVERRIDDEN, Reason.NONE),
        (Flag.OUT_OF_SERVICE, Reason.OUT_OF_SERVICE),
        (Flag.FAULT | Flag.OUT_OF_SERVICE, Reason.FAULT),
    ],
)
def test_flags_say_what_is_wrong_with_the_value_a_fault_first(flags: Flag, reason: Reason):
    assert flags.reason is reason


def test_a_reading_has_the_quality_of_its_reason():
    reading = Reading(1.0, None, 10.0, 10.0, Reason.STALE, Flag(0), Source.POLL)
    assert reading.quality is Quality.UNCERTAIN


@given(st.lists(st.none() | st.floats(allow_nan=False) | st.booleans(), min_size=16, max_size=16))
def test_the_active_priority_is_the_first_slot_in_use(slots: list[float | None]):
    active = Priorities(tuple(slots), relinquish_default=0.0).active
    if active is None:
        assert slots == [None] * 16
    else:
        assert slots[active - 1] is not None
        assert slots[: active - 1] == [None] * (active - 1)


def test_a_slot_that_commands_false_or_zero_is_in_use():
    assert Priorities((None, 0.0, *[None] * 14), relinquish_default=1.0).active == 2
    assert Priorities((False, *[None] * 15), relinquish_default=True).active == 1


def test_times_are_written_in_utc_with_milliseconds():
    assert rfc3339(1_769_860_800.0) == "2026-01-31T12:00:00.000Z"
    assert rfc3339(1_769_860_800.1239) == "2026-01-31T12:00:00.124Z"
    assert rfc3339(0.0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(None) is None


@given(st.floats(min_value=0, max_value=4e9))
def test_a_written_time_reads_back_to_the_millisecond(seconds: float):
    text = rfc3339(seconds)
    assert text is not None
    assert len(text) == 24
    assert abs(dt.datetime.fromisoformat(text).timestamp() - seconds) <= 0.001
