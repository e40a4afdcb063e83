"""What can be made to go wrong with simulated devices: kinds of faults, and which parameters each takes."""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from core.serialize import compile_body, field
from plugins.simulator.objects import ObjectType
from plugins.simulator.standard_names import ABORT_REASONS, ERROR_CLASSES, ERROR_CODES, REJECT_REASONS, SERVICES

HIGHEST_INSTANCE = 4194302
LONGEST_DELAY_S = 60.0
LARGEST_OFFSET_S = 1e9


class FaultKind(enum.StrEnum):
    """What goes wrong; the README has what a client sees of each."""

    SILENT = "silent"
    DELAY = "delay"
    LOSS = "loss"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    TRUNCATE = "truncate"
    GARBAGE = "garbage"
    ABORT = "abort"
    REJECT = "reject"
    ERROR = "error"
    CHOKE = "choke"
    WRONG_TYPE = "wrong_type"
    NO_READ_PROPERTY_MULTIPLE = "no_read_property_multiple"
    SMALL_APDU = "small_apdu"
    NO_SEGMENTATION = "no_segmentation"
    COV_SLOTS = "cov_slots"
    NO_COV = "no_cov"
    DEAF_COV = "deaf_cov"
    DUPLICATE_INSTANCE = "duplicate_instance"
    CLOCK = "clock"


@attrs.frozen(kw_only=True)
class Parameter:
    """A parameter as one kind takes it: needed or not, one of several values, or within limits."""

    required: bool = False
    choices: Sequence[str | int] = ()
    limits: tuple[float, float] | None = None

    def schema(self, name: str) -> dict[str, Any]:
        """Say in JSON Schema what the field's own type does not."""
        schema: dict[str, Any] = {}
        if name in _LISTS:
            return {"minItems": 1} if self.required else schema
        if self.choices:
            schema["enum"] = [*self.choices] if self.required else [*self.choices, None]
        if self.limits is not None:
            schema["minimum"], schema["maximum"] = self.limits
        return schema | ({"not": {"type": "null"}} if self.required else {})

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value, None where nothing is."""
        if value is None:
            return "is required" if self.required else None
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(map(str, self.choices))}"
        if self.limits is not None and not self.limits[0] <= value <= self.limits[1]:
            return f"must be from {self.limits[0]:g} to {self.limits[1]:g}"
        return None


_NEEDED, _OPTIONAL = Parameter(required=True), Parameter()
_OFTEN = {"probability": _OPTIONAL}
_ERROR = {"error_class": Parameter(choices=ERROR_CLASSES), "error_code": Parameter(choices=tuple(ERROR_CODES))}

PARAMETERS: Mapping[FaultKind, Mapping[str, Parameter]] = {
    FaultKind.SILENT: {},
    FaultKind.DELAY: {
        "seconds": Parameter(required=True, limits=(0.0, LONGEST_DELAY_S)),
        "jitter": Parameter(limits=(0.0, LONGEST_DELAY_S)),
    },
    FaultKind.LOSS: {"probability": _NEEDED},
    FaultKind.DUPLICATE: _OFTEN,
    FaultKind.REORDER: _OFTEN,
    FaultKind.TRUNCATE: _OFTEN,
    FaultKind.GARBAGE: _OFTEN,
    FaultKind.ABORT: _OFTEN | {"reason": Parameter(choices=ABORT_REASONS), "services": _OPTIONAL},
    FaultKind.REJECT: _OFTEN | {"reason": Parameter(choices=REJECT_REASONS), "services": _OPTIONAL},
    FaultKind.ERROR: _ERROR | {"objects": _NEEDED},
    FaultKind.CHOKE: _ERROR | {"objects": _NEEDED},
    FaultKind.WRONG_TYPE: {"objects": _NEEDED},
    FaultKind.NO_READ_PROPERTY_MULTIPLE: {},
    FaultKind.SMALL_APDU: {"octets": Parameter(required=True, choices=(50, 128, 206, 480, 1024))},
    FaultKind.NO_SEGMENTATION: {},
    FaultKind.COV_SLOTS: {"count": _NEEDED},
    FaultKind.NO_COV: {},
    FaultKind.DEAF_COV: _OFTEN,
    FaultKind.DUPLICATE_INSTANCE: {"instance": _NEEDED},
    FaultKind.CLOCK: {"seconds": _NEEDED},
}
"""Which parameters each kind takes beside ``devices``; any other is an error."""

_LISTS = ("services", "objects")
_ABSENT: Sequence[dict[str, Any]] = ({"type": "null"}, {"maxItems": 0})  # of a single value, of a list
_EVERY = tuple(dict.fromkeys(name for taken in PARAMETERS.values() for name in taken))
_DEVICES = r"[0-9]{1,7}(?:-[0-9]{1,7})?"
_OBJECTS = rf"(?:{'|'.join(ObjectType)})\.[1-9][0-9]{{0,5}}"


def _by_kind() -> list[dict[str, Any]]:
    return [
        {
            "properties": {
                "kind": {"const": kind.value},
                **{name: taken[name].schema(name) if name in taken else _ABSENT[name in _LISTS] for name in _EVERY},
            },
            "required": [name for name, parameter in taken.items() if parameter.required],
        }
        for kind, taken in PARAMETERS.items()
    ]


@attrs.frozen(kw_only=True)
class Fault:
    """Something that goes wrong with devices until it is taken back; what a kind does not take is null.

    ``devices`` are numbers and ranges of them, all devices where it is empty. Raises ValueError for a parameter that
    is missing, too much, or out of its range.
    """

    ALSO_HOLDS: ClassVar[dict[str, Any]] = {"oneOf": _by_kind()}

    kind: FaultKind = field(description="What goes wrong.", example="delay")
    devices: tuple[str | int, ...] = field(
        default=(), pattern=_DEVICES, min=0, max=HIGHEST_INSTANCE, max_items=1000,
        description="Device numbers and ranges of them; none stands for all devices.", example=["2004-2010", 2023],
    )  # fmt: skip
    probability: float | None = field(
        default=None, min=0, max=1, description="In which share of the cases; otherwise in all."
    )
    seconds: float | None = field(
        default=None, min=-LARGEST_OFFSET_S, max=LARGEST_OFFSET_S,
        description="How long an answer is held back, or by how much the clock is fast.", example=0.5,
    )  # fmt: skip
    jitter: float | None = field(
        default=None, min=0, max=LONGEST_DELAY_S, description="So many seconds more at random, at most.", example=0.1
    )
    reason: str | None = field(default=None, max_length=64, description="The standard's name of it.")
    services: tuple[str, ...] = field(
        default=(), max_items=16, pattern="|".join(SERVICES),
        description="Which services are refused, by the standard's names; none stands for all.",
    )  # fmt: skip
    error_class: str | None = field(default=None, max_length=64, description="The standard's name of it.")
    error_code: str | None = field(default=None, max_length=64, description="The standard's name of it.")
    objects: tuple[str, ...] = field(default=(), max_items=1000, pattern=_OBJECTS, description="Of which objects.")
    octets: int | None = field(default=None, min=50, max=1024, description="The longest message that it takes.")
    count: int | None = field(default=None, min=0, max=10_000, description="How many subscriptions it takes.")
    instance: int | None = field(
        default=None, min=0, max=HIGHEST_INSTANCE, description="The other device number that it claims."
    )

    def __attrs_post_init__(self) -> None:
        taken = PARAMETERS[self.kind]
        problems = []
        for name in _EVERY:
            value = getattr(self, name)
            given = value if value != () else None
            if name in taken:
                problem = taken[name].problem(given)
            else:
                problem = f"is no parameter of {self.kind}" if given is not None else None
            if problem is not None:
                problems.append(f"{name} {problem}")
        if problems:
            raise ValueError("; ".join(problems))

    def concerns(self, instance: int) -> bool:
        """Tell whether a device has it."""
        return not self.devices or any(low <= instance <= high for low, high in map(_range_of, self.devices))

    @property
    def chance(self) -> float:
        """In which share of the cases it happens, 0 to 1."""
        return 1.0 if self.probability is None else self.probability

    @property
    def error(self) -> tuple[int, int]:
        """The numbers of its error class and code: device operational-problem, where it names none."""
        return ERROR_CLASSES.index(self.error_class or "device"), ERROR_CODES[self.error_code or "operational-problem"]

    @property
    def reason_number(self) -> int:
        """The number of its reason: other, where it names none."""
        reasons = ABORT_REASONS if self.kind is FaultKind.ABORT else REJECT_REASONS
        return reasons.index(self.reason or "other")

    @property
    def plain(self) -> dict[str, Any]:
        """What it says, as `read_fault` takes it."""
        members = {each.name: getattr(self, each.name) for each in attrs.fields(type(self))}
        said = {name: value for name, value in members.items() if value not in (None, ())}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


_structure = compile_body(Fault)


def read_fault(data: object) -> Fault:
    """Make a fault of plain data, as YAML and JSON have it; raises core.errors.Invalid with all that is wrong."""
    return _structure(data)


@functools.lru_cache(4096)
def _range_of(devices: str | int) -> tuple[int, int]:
    low, _, high = str(devices).partition("-")
    return int(low), int(high or low)
