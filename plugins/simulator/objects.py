"""The objects of a simulated device as plain data: what each is, and its present value under its priority array."""

from __future__ import annotations

import datetime as dt
import enum
import math
from typing import TypeAlias

import attrs

Value: TypeAlias = float | int | bool | str | dt.date | dt.time | tuple[bool, ...]


class ObjectType(enum.StrEnum):
    """The object types in the building, by the standard's names (ASHRAE 135, clause 12)."""

    ANALOG_INPUT = "analog-input"
    ANALOG_OUTPUT = "analog-output"
    ANALOG_VALUE = "analog-value"
    BINARY_INPUT = "binary-input"
    BINARY_OUTPUT = "binary-output"
    BINARY_VALUE = "binary-value"
    MULTI_STATE_INPUT = "multi-state-input"
    MULTI_STATE_OUTPUT = "multi-state-output"
    MULTI_STATE_VALUE = "multi-state-value"
    ACCUMULATOR = "accumulator"
    INTEGER_VALUE = "integer-value"
    POSITIVE_INTEGER_VALUE = "positive-integer-value"
    LARGE_ANALOG_VALUE = "large-analog-value"
    CHARACTER_STRING_VALUE = "characterstring-value"
    BIT_STRING_VALUE = "bitstring-value"
    DATE_VALUE = "date-value"
    TIME_VALUE = "time-value"

    @property
    def is_input(self) -> bool:
        """Whether it is a sensor, which can be taken out of service."""
        return self.endswith("-input")

    @property
    def is_multi_state(self) -> bool:
        """Whether its value counts states from 1."""
        return self.startswith("multi-state-")

    @property
    def is_binary(self) -> bool:
        """Whether its value is one of two states."""
        return self.startswith("binary-")


class Access(enum.Enum):
    """Who may write a present value: nobody, anybody, or anybody by way of a priority array."""

    READ_ONLY = "read-only"
    WRITABLE = "writable"
    COMMANDABLE = "commandable"


class WriteDenied(Exception):
    """The object does not take writes to this property."""


class ValueOutOfRange(Exception):
    """The value lies outside what the object takes."""


@attrs.define(eq=False)
class Changes:
    """Counts what changes in all objects of a device, so that one look tells whether an answer still holds."""

    count: int = 0


@attrs.define(eq=False, kw_only=True)
class SimulatedObject:
    """One object of a device.

    ``units`` is the standard's name. ``states`` are the texts of a binary object (inactive, active) or of a
    multi-state one (from 1). ``automatic`` is what process or controller give; it stands as relinquish default where
    there is a priority array. ``priorities`` holds slots 1 to 16, empty where there is no priority array.

    ``version`` goes up, and ``changes`` with it, whenever a property has another value than before: these change by
    the methods below only.
    """

    type: ObjectType
    instance: int
    name: str
    description: str
    automatic: Value
    units: str | None = None
    states: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    resolution: float | None = None
    access: Access = Access.READ_ONLY
    out_of_service: bool = False
    changes: Changes = attrs.field(factory=Changes, repr=False)
    version: int = attrs.field(default=0, init=False)
    priorities: list[Value | None] = attrs.field(init=False)
    _held: Value = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.priorities = [None] * 16 if self.access is Access.COMMANDABLE else []
        self._held = self.automatic

    @property
    def value(self) -> Value:
        """The present value: the highest command, else what is automatic; out of service, what was last written."""
        if self.out_of_service:
            return self._held
        for command in self.priorities:
            if command is not None:
                return command
        return self.automatic

    @property
    def number(self) -> float:
        """The present value of an analog object, as a number."""
        value = self.value
        if not isinstance(value, float | int):
            raise TypeError(f"{self.name} is not a number")
        return value

    @property
    def is_on(self) -> bool:
        """Whether a binary object is active."""
        return self.value is True

    @property
    def cov_increment(self) -> float | None:
        """How far an analog value must move before subscribers are told: five times its resolution."""
        return None if self.resolution is None else 5.0 * self.resolution

    @property
    def active_priority(self) -> int | None:
        """The slot that holds the value, 1 to 16, or None."""
        return next((slot for slot, command in enumerate(self.priorities, 1) if command is not None), None)

    def set(self, value: Value) -> None:
        """Take a new value from process or controller: analog ones are kept in range and rounded to the resolution."""
        if isinstance(value, float) and self.resolution:
            if self.minimum is not None and self.maximum is not None:
                value = min(max(value, self.minimum), self.maximum)
            value = round(round(value / self.resolution) * self.resolution, 6)
        if not _same(value, self.automatic):
            self.automatic = value
            self._changed()

    def write(self, value: Value, priority: int | None = None) -> None:
        """Write the present value as a client does; without a priority array ``priority`` has no meaning.

        Raises WriteDenied or ValueOutOfRange.
        """
        if self.out_of_service:
            self._check(value)
            if not _same(value, self._held):
                self._held = value
                self._changed()
        elif self.access is Access.READ_ONLY:
            raise WriteDenied(self.name)
        else:
            self._check(value)
            if self.priorities:
                self._command(value, priority)
            elif not _same(value, self.automatic):
                self.automatic = value
                self._changed()

    def relinquish(self, priority: int | None = None) -> None:
        """Empty a slot of the priority array; raises WriteDenied where there is none."""
        if not self.priorities:
            raise WriteDenied(self.name)
        self._command(None, priority)

    def forget_commands(self) -> None:
        """Empty the priority array, if there is one."""
        for priority in range(1, len(self.priorities) + 1):
            self._command(None, priority)

    def set_out_of_service(self, *, out_of_service: bool) -> None:
        """Decouple a sensor from its process, or couple it again; raises WriteDenied for what is no sensor."""
        if not self.type.is_input:
            raise WriteDenied(self.name)
        self._held = self.automatic
        self.out_of_service = out_of_service
        self._changed()

    def _command(self, value: Value | None, priority: int | None) -> None:
        slot = (priority or 16) - 1
        if not _same(value, self.priorities[slot]):
            self.priorities[slot] = value
            self._changed()

    def _changed(self) -> None:
        self.version += 1
        self.changes.count += 1

    def _check(self, value: Value) -> None:
        if self.type.is_multi_state:
            fits = isinstance(value, int) and 1 <= value <= len(self.states)
        elif isinstance(value, float | int) and not isinstance(value, bool):
            low = -math.inf if self.minimum is None else self.minimum
            high = math.inf if self.maximum is None else self.maximum
            fits = math.isfinite(value) and low <= value <= high
        else:
            fits = True
        if not fits:
            raise ValueOutOfRange(f"{self.name}: {value}")


def _same(new: Value | None, old: Value | None) -> bool:
    """Tell whether a value stays what it is; True is not 1 here, since they differ on the wire."""
    return new == old and new.__class__ is old.__class__
