"""Faults as data: from the configuration, through REST and from tests, by one set of checks."""

from __future__ import annotations

from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from core.testing import StartPlantroom
from plugins.bacnet.wire import enumerations
from plugins.bacnet.wire.apdu import Service
from plugins.simulator.config import SCHEMA
from plugins.simulator.faults import PARAMETERS, Fault, FaultKind, read_fault
from plugins.simulator.standard_names import ABORT_REASONS, ERROR_CLASSES, ERROR_CODES, REJECT_REASONS, SERVICES
from plugins.simulator.testing import Simulate

ONE_OF_EACH: list[dict[str, Any]] = [
    {"kind": "silent"},
    {"kind": "delay", "seconds": 0.5, "jitter": 0.1, "devices": [2001, "2004-2010"]},
    {"kind": "loss", "probability": 0.1},
    {"kind": "duplicate"},
    {"kind": "reorder", "probability": 0.5},
    {"kind": "truncate", "probability": 0},
    {"kind": "garbage", "probability": 1},
    {"kind": "abort", "reason": "out-of-resources", "services": ["read-property-multiple"], "probability": 0.2},
    {"kind": "reject", "reason": "invalid-tag"},
    {"kind": "error", "objects": ["analog-input.3"], "error_class": "object", "error_code": "unknown-object"},
    {"kind": "choke", "objects": ["analog-input.3"]},
    {"kind": "wrong_type", "objects": ["binary-value.1"]},
    {"kind": "no_read_property_multiple"},
    {"kind": "small_apdu", "octets": 206},
    {"kind": "no_segmentation"},
    {"kind": "cov_slots", "count": 0},
    {"kind": "no_cov"},
    {"kind": "deaf_cov", "probability": 0.3},
    {"kind": "duplicate_instance", "instance": 2005, "devices": ["2004"]},
    {"kind": "clock", "seconds": -86_400},
]

WRONG: list[tuple[Any, str, str]] = [
    ("silent", "body", "must be an object"),
    ({}, "kind", "is required"),
    ({"kind": "dead"}, "kind", "must be one of silent, delay"),
    ({"kind": "silent", "devices": ["all"]}, "devices.0", "must match"),
    ({"kind": "silent", "devices": 2001}, "devices", "must be a list"),
    ({"kind": "silent", "device": [2001]}, "device", "did you mean 'devices'"),
    ({"kind": "silent", "seconds": 3}, "body", "seconds is no parameter of silent"),
    ({"kind": "delay"}, "body", "seconds is required"),
    ({"kind": "delay", "seconds": -1}, "body", "seconds must be from 0 to 60"),
    ({"kind": "delay", "seconds": "1 s"}, "seconds", "must be a number"),
    ({"kind": "delay", "seconds": 1, "jitter": 61}, "jitter", "must be 0 to 60"),
    ({"kind": "loss", "probability": 1.5}, "probability", "must be 0 to 1"),
    ({"kind": "loss", "probability": True}, "probability", "must be a number"),
    ({"kind": "abort", "reason": "invalid-tag"}, "body", "reason must be one of other, buffer-overflow"),
    ({"kind": "reject", "reason": "tsm-timeout"}, "body", "reason must be one of other"),
    ({"kind": "abort", "services": ["read"]}, "services.0", "must match subscribe-cov|read-property"),
    ({"kind": "error", "objects": ["analog-inputs.1"]}, "objects.0", "must match"),
    ({"kind": "error"}, "body", "objects is required"),
    ({"kind": "choke", "objects": ["analog-input.1"], "error_code": "oops"}, "body", "error_code must be one of"),
    ({"kind": "small_apdu", "octets": 100}, "body", "octets must be one of 50, 128, 206, 480, 1024"),
    ({"kind": "cov_slots"}, "body", "count is required"),
    ({"kind": "duplicate_instance", "instance": 4194303}, "instance", "must be 0 to"),
]


def test_there_is_an_example_of_each_kind_and_its_parameters() -> None:
    assert [each["kind"] for each in ONE_OF_EACH] == list(FaultKind) == list(PARAMETERS)
    for plain in ONE_OF_EACH:
        assert {*plain} - {"kind", "devices"} <= {*PARAMETERS[FaultKind(plain["kind"])]}


@pytest.mark.parametrize("plain", ONE_OF_EACH, ids=lambda each: each["kind"])
def test_a_fault_is_the_same_after_it_was_written_and_read(plain: dict[str, Any]) -> None:
    fault = read_fault(plain)
    assert fault.plain == plain
    assert read_fault(fault.plain) == fault


@pytest.mark.parametrize(("plain", "field", "message"), WRONG)
def test_what_is_wrong_with_a_fault_is_told_with_its_place(plain: Any, field: str, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_fault(plain)
    [fault] = refused.value.errors
    assert fault.field == field
    assert message in fault.message


@pytest.mark.parametrize(("plain", "field", "message"), WRONG)
def test_the_configuration_is_checked_in_the_same_way(plain: Any, field: str, message: str) -> None:
    with pytest.raises(vol.Invalid) as refused:
        vol.Schema(SCHEMA)({"faults": [plain]})
    assert message in str(refused.value)


_ANYTHING = st.integers() | st.text(max_size=5) | st.none() | st.lists(st.integers() | st.text(max_size=3), max_size=2)


@settings(deadline=None)
@given(
    st.sampled_from(FaultKind),
    st.dictionaries(st.sampled_from(["devices", "seconds", "objects", "reason", "octets", "x"]), _ANYTHING),
)
def test_whatever_is_given_is_a_fault_or_invalid(kind: FaultKind, plain: dict[str, Any]) -> None:
    try:
        fault = read_fault(plain | {"kind": kind.value})
    except Invalid as refused:
        assert refused.errors
    else:
        assert isinstance(fault, Fault)


def test_a_range_means_all_between_and_none_means_everybody() -> None:
    fault = read_fault({"kind": "silent", "devices": [2001, "2004-2006"]})
    assert [each for each in range(2000, 2010) if fault.concerns(each)] == [2001, 2004, 2005, 2006]
    assert read_fault({"kind": "silent"}).concerns(4194302)


def test_names_are_those_of_the_standard() -> None:
    assert dict(enumerate(ABORT_REASONS)) == enumerations.ABORT_REASONS
    assert dict(enumerate(REJECT_REASONS)) == enumerations.REJECT_REASONS
    assert dict(enumerate(ERROR_CLASSES)) == enumerations.ERROR_CLASSES
    assert all(enumerations.ERROR_CODES[number] == name for name, number in ERROR_CODES.items())
    assert {name: Service[name.replace("-", "_").upper()] for name in SERVICES} == SERVICES


async def test_a_test_is_told_of_its_mistake(simulate: Simulate) -> None:
    simulation = await simulate(controllers=1)
    with pytest.raises(Invalid, match="Correct these: body"):
        simulation.inject("delay", devices=[10001])
    assert simulation.faults == ()


async def test_a_mistake_in_the_yaml_is_told_with_its_line(plantroom: StartPlantroom) -> None:
    with pytest.raises(Exception, match=r"yaml:\d+: .*simulator\.faults.*seconds is required"):
        await plantroom("""
            plugins:
              simulator:
                faults:
                  - {kind: silent, devices: [2001]}
                  - {kind: delay, devices: [2001]}
        """)
