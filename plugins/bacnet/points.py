"""Makes points of a device's objects, from what it answers about them."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from core.plugin import Device, Kind, Point
from plugins.bacnet.config import PointRule
from plugins.bacnet.errors import Refusal
from plugins.bacnet.objects import TYPES, Commandable, ObjectType, Prop
from plugins.bacnet.protocol import Answer
from plugins.bacnet.units import unit_name, unit_symbol
from plugins.bacnet.values import kind_of
from plugins.bacnet.wire.datatypes import Datum, ObjectId, Ref

MOST_STATES = 1000
"""How many states a point has at most; a device that says more of an object is not believed."""

_ABSURD = 3.0e38  # a device's way to say that there is no limit


def questions(object_id: ObjectId) -> list[Ref]:
    """Return what to ask about an object that becomes a point."""
    kind = TYPES[object_id.type]
    wanted = [Prop.OBJECT_NAME, Prop.DESCRIPTION, *kind.about]
    if kind.commandable is Commandable.OPTIONAL:
        wanted.append(Prop.RELINQUISH_DEFAULT)  # it is there exactly where a priority array is (ASHRAE 135, 12)
    return [Ref(object_id, prop) for prop in wanted]


def point_of(device: Device, object_id: ObjectId, answers: Mapping[Ref, Answer]) -> Point | None:
    """Make the point of an object; None where the device, asked, does not know the object that it listed."""
    about = _About(object_id, answers)
    if about.unknown:
        return None
    kind, array = TYPES[object_id.type], has_priority_array(object_id, answers)
    low, high = kind.limits or (about.limit(Prop.MIN_PRES_VALUE), about.limit(Prop.MAX_PRES_VALUE))
    if low is not None and high is not None and low >= high:
        low = high = None
    unit = kind.unit if kind.unit is not None else about.number(Prop.UNITS, Prop.OUTPUT_UNITS)
    return device.point(
        str(object_id),
        kind=kind_of(about.items(Prop.PRESENT_VALUE)) if Prop.PRESENT_VALUE in kind.about else kind.kind,
        name=about.text(Prop.OBJECT_NAME),
        description=about.text(Prop.DESCRIPTION),
        unit=None if unit is None else unit_name(int(unit)),
        symbol=None if unit is None else unit_symbol(int(unit)),
        states=about.states(kind),
        writable=kind.writable and array is not None,  # else it might be written at a priority not asked for
        commandable=array is True,
        min=low,
        max=high,
        resolution=about.limit(Prop.RESOLUTION),
        attributes={"object_type": kind.name, "object_instance": object_id.instance},
    )


def has_priority_array(object_id: ObjectId, answers: Mapping[Ref, Answer]) -> bool | None:
    """Tell whether an object has a priority array; None where it could not be told.

    One of a type that may or may not has none where the device says that it does not have the property, for no other
    refusal: taken for one without, it would be written to without the priority that was asked for.
    """
    kind = TYPES[object_id.type]
    if kind.commandable is not Commandable.OPTIONAL:
        return kind.commandable is Commandable.ALWAYS
    for prop in (Prop.RELINQUISH_DEFAULT, Prop.PRIORITY_ARRAY):
        answer = answers.get(Ref(object_id, prop))
        if answer is None:
            continue
        if not isinstance(answer, Refusal):
            return True
        if answer.code == "unknown-property" or answer.object_is_missing:
            return False
    return None


def ruled(point: Point, rules: Sequence[PointRule], *, interval: float) -> Point:
    """Apply the configuration's rules to a point; of two that say something, the later wins."""
    enabled = True
    for rule in rules:
        if fnmatch.fnmatchcase(point.id, rule.match):
            interval = interval if rule.interval is None else rule.interval
            enabled = enabled if rule.enabled is None else rule.enabled
    return attrs.evolve(point, enabled=enabled, interval=interval)


def wants_cov(point: Point, rules: Sequence[PointRule]) -> bool:
    """Tell whether the configuration's rules want a point by change of value; of two that say something, the later."""
    said = [rule.cov for rule in rules if rule.cov is not None and fnmatch.fnmatchcase(point.id, rule.match)]
    return bool(said) and said[-1] is True


class _About:
    """An object's answers, each as what a point wants."""

    def __init__(self, object_id: ObjectId, answers: Mapping[Ref, Answer]) -> None:
        self._object = object_id
        self._answers = answers

    @property
    def unknown(self) -> bool:
        answer = self._answers.get(Ref(self._object, Prop.OBJECT_NAME))
        return isinstance(answer, Refusal) and answer.object_is_missing

    def items(self, prop: Prop, index: int | None = None) -> Sequence[Datum]:
        answer = self._answers.get(Ref(self._object, prop, index), ())
        return () if isinstance(answer, Refusal) else answer

    def text(self, prop: Prop, index: int | None = None) -> str:
        return text_in(self.items(prop, index))

    def number(self, *props: Prop) -> float | None:
        for prop in props:
            match self.items(prop):
                case [int() | float() as number] if math.isfinite(number):
                    return number
        return None

    def limit(self, prop: Prop) -> float | None:
        number = self.number(prop)
        return float(number) if number is not None and math.isfinite(number) and abs(number) < _ABSURD else None

    def states(self, kind: ObjectType) -> dict[str, str] | None:
        if kind.states is not None:
            return dict(kind.states)
        if kind.kind is Kind.BOOLEAN and kind.about:
            return {
                "false": self.text(Prop.INACTIVE_TEXT) or "inactive",
                "true": self.text(Prop.ACTIVE_TEXT) or "active",
            }
        return self._many_states() if Prop.STATE_TEXT in kind.about else None

    def _many_states(self) -> dict[str, str] | None:
        texts: list[Any] = list(self.items(Prop.STATE_TEXT))
        count = min(int(self.number(Prop.NUMBER_OF_STATES) or len(texts)), MOST_STATES)
        states = {}
        for state in range(1, count + 1):
            listed = text_in(texts[state - 1 : state])
            states[str(state)] = listed or self.text(Prop.STATE_TEXT, state) or f"State {state}"
        return states or None


def text_in(items: Sequence[Datum]) -> str:
    """Return a property that is one text, without the padding that some devices leave in it; else nothing."""
    match items:
        case [str() as text]:
            return text.replace("\0", "").strip()
    return ""
