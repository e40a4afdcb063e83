"""The usual spellings of object types and units, each read as one thing or not at all."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import attrs

from core.model import Kind


@attrs.frozen
class ObjectType:
    """What a point of a type is before its device has been asked; ``output``: always with a priority array."""

    name: str
    kind: Kind
    output: bool


@attrs.frozen
class Unit:
    """A unit as the standard names it, and how it is written."""

    name: str
    symbol: str


class NoPoint(ValueError):
    """The object type is one of the standard's, but its objects have no value to read."""


# ASHRAE 135, BACnetObjectType: number -> (name, kind, whether it is always commandable).
_TYPES = {
    0: ("analog-input", Kind.NUMBER, False),
    1: ("analog-output", Kind.NUMBER, True),
    2: ("analog-value", Kind.NUMBER, False),
    3: ("binary-input", Kind.BOOLEAN, False),
    4: ("binary-output", Kind.BOOLEAN, True),
    5: ("binary-value", Kind.BOOLEAN, False),
    6: ("calendar", Kind.BOOLEAN, False),
    7: ("command", Kind.NUMBER, False),
    12: ("loop", Kind.NUMBER, False),
    13: ("multi-state-input", Kind.ENUM, False),
    14: ("multi-state-output", Kind.ENUM, True),
    17: ("schedule", Kind.NUMBER, False),
    19: ("multi-state-value", Kind.ENUM, False),
    21: ("life-safety-point", Kind.ENUM, False),
    22: ("life-safety-zone", Kind.ENUM, False),
    23: ("accumulator", Kind.NUMBER, False),
    24: ("pulse-converter", Kind.NUMBER, False),
    28: ("load-control", Kind.ENUM, False),
    30: ("access-door", Kind.ENUM, True),
    31: ("timer", Kind.ENUM, False),
    39: ("bitstring-value", Kind.TEXT, False),
    40: ("characterstring-value", Kind.TEXT, False),
    41: ("datepattern-value", Kind.TEXT, False),
    42: ("date-value", Kind.TEXT, False),
    43: ("datetimepattern-value", Kind.TEXT, False),
    44: ("datetime-value", Kind.TEXT, False),
    45: ("integer-value", Kind.NUMBER, False),
    46: ("large-analog-value", Kind.NUMBER, False),
    47: ("octetstring-value", Kind.TEXT, False),
    48: ("positive-integer-value", Kind.NUMBER, False),
    49: ("timepattern-value", Kind.TEXT, False),
    50: ("time-value", Kind.TEXT, False),
    52: ("alert-enrollment", Kind.TEXT, False),
    54: ("lighting-output", Kind.NUMBER, True),
    55: ("binary-lighting-output", Kind.ENUM, True),
    60: ("staging", Kind.NUMBER, False),
    64: ("color-temperature", Kind.NUMBER, False),
}
_WITHOUT_VALUE = {
    8: "device",
    9: "event-enrollment",
    10: "file",
    11: "group",
    15: "notification-class",
    16: "program",
    18: "averaging",
    20: "trend-log",
    25: "event-log",
    26: "global-group",
    27: "trend-log-multiple",
    29: "structured-view",
    32: "access-credential",
    33: "access-point",
    34: "access-rights",
    35: "access-user",
    36: "access-zone",
    37: "credential-data-input",
    38: "network-security",
    51: "notification-forwarder",
    53: "channel",
    56: "network-port",
    57: "elevator-group",
    58: "escalator",
    59: "lift",
    61: "audit-log",
    62: "audit-reporter",
    63: "color",
}
_SHORT = {
    "ai": "analog-input", "ao": "analog-output", "av": "analog-value",
    "bi": "binary-input", "bo": "binary-output", "bv": "binary-value",
    "mi": "multi-state-input", "mo": "multi-state-output", "mv": "multi-state-value",
    "msi": "multi-state-input", "mso": "multi-state-output", "msv": "multi-state-value",
}  # fmt: skip

# ASHRAE 135, BACnetEngineeringUnits, as far as buildings' exports use it: number -> (name, symbol).
_UNITS = {
    0: ("square-meters", "m²"),
    2: ("milliamperes", "mA"),
    3: ("amperes", "A"),
    4: ("ohms", "Ω"),
    5: ("volts", "V"),
    6: ("kilovolts", "kV"),
    8: ("volt-amperes", "VA"),
    9: ("kilovolt-amperes", "kVA"),
    11: ("volt-amperes-reactive", "var"),
    12: ("kilovolt-amperes-reactive", "kvar"),
    14: ("degrees-phase", "°"),
    15: ("power-factor", "cos φ"),
    16: ("joules", "J"),
    17: ("kilojoules", "kJ"),
    18: ("watt-hours", "Wh"),
    19: ("kilowatt-hours", "kWh"),
    20: ("btus", "BTU"),
    22: ("ton-hours", "ton·h"),
    27: ("hertz", "Hz"),
    28: ("grams-of-water-per-kilogram-dry-air", "g/kg dry air"),
    29: ("percent-relative-humidity", "% RH"),
    30: ("millimeters", "mm"),
    31: ("meters", "m"),
    33: ("feet", "ft"),
    35: ("watts-per-square-meter", "W/m²"),
    37: ("luxes", "lx"),
    39: ("kilograms", "kg"),
    42: ("kilograms-per-second", "kg/s"),
    44: ("kilograms-per-hour", "kg/h"),
    47: ("watts", "W"),
    48: ("kilowatts", "kW"),
    49: ("megawatts", "MW"),
    50: ("btus-per-hour", "BTU/h"),
    52: ("tons-refrigeration", "TR"),
    53: ("pascals", "Pa"),
    54: ("kilopascals", "kPa"),
    55: ("bars", "bar"),
    56: ("pounds-force-per-square-inch", "psi"),
    57: ("centimeters-of-water", "cmH₂O"),
    58: ("inches-of-water", "inH₂O"),
    62: ("degrees-celsius", "°C"),
    63: ("degrees-kelvin", "K"),
    64: ("degrees-fahrenheit", "°F"),
    70: ("days", "d"),
    71: ("hours", "h"),
    72: ("minutes", "min"),
    73: ("seconds", "s"),
    74: ("meters-per-second", "m/s"),
    75: ("kilometers-per-hour", "km/h"),
    80: ("cubic-meters", "m³"),
    82: ("liters", "L"),
    84: ("cubic-feet-per-minute", "ft³/min"),
    85: ("cubic-meters-per-second", "m³/s"),
    87: ("liters-per-second", "L/s"),
    88: ("liters-per-minute", "L/min"),
    89: ("us-gallons-per-minute", "gal (US)/min"),
    90: ("degrees-angular", "°"),
    95: ("no-units", ""),
    96: ("parts-per-million", "ppm"),
    98: ("percent", "%"),
    99: ("percent-per-second", "%/s"),
    104: ("revolutions-per-minute", "rpm"),
    118: ("centimeters", "cm"),
    121: ("delta-degrees-kelvin", "ΔK"),
    122: ("kilohms", "kΩ"),
    126: ("megajoules", "MJ"),
    133: ("hectopascals", "hPa"),
    134: ("millibars", "mbar"),
    135: ("cubic-meters-per-hour", "m³/h"),
    136: ("liters-per-hour", "L/h"),
    146: ("megawatt-hours", "MWh"),
    157: ("kilo-btus-per-hour", "kBTU/h"),
    159: ("milliseconds", "ms"),
    165: ("cubic-meters-per-minute", "m³/min"),
    186: ("kilograms-per-cubic-meter", "kg/m³"),
}
_NO_UNITS = "no-units"
_WRITTEN_OTHERWISE = {
    "degC": "degrees-celsius", "deg C": "degrees-celsius", "ºC": "degrees-celsius",
    "degF": "degrees-fahrenheit", "deg F": "degrees-fahrenheit", "ºF": "degrees-fahrenheit",
    "%RH": "percent-relative-humidity", "%rH": "percent-relative-humidity",
    "m3": "cubic-meters", "m3/h": "cubic-meters-per-hour", "m3/s": "cubic-meters-per-second",
    "m2": "square-meters", "l/s": "liters-per-second", "l/h": "liters-per-hour", "l": "liters",
    "cfm": "cubic-feet-per-minute",
    "s": "seconds", "sec": "seconds", "hrs": "hours", "ohm": "ohms", "inWC": "inches-of-water",
}  # fmt: skip


def object_type(text: str) -> ObjectType:
    """Read ``analogInput``, ``analog-input``, ``Analog Input``, ``AI`` or ``0``.

    Raises NoPoint for a type without a value, ValueError with near names for one that is none.
    """
    if text.isascii() and text.isdigit():
        name = _TYPES[int(text)][0] if int(text) in _TYPES else _WITHOUT_VALUE.get(int(text))
    else:
        plain = _squashed(text)
        name = _SHORT.get(plain) or _TYPE_NAMES.get(plain)
    if name is None:
        raise ValueError(f"object type {text!r} is unknown{_near(text, _TYPE_NAMES)}")
    if name not in _BY_NAME:
        raise NoPoint(f"objects of the type {name} have no value")
    return _BY_NAME[name]


def unit(text: str) -> Unit | None:
    """Read ``degreesCelsius``, ``degrees-celsius``, ``62`` or ``°C``; None where it says that there is no unit.

    Raises ValueError with near names for one that is not known.
    """
    if text.isascii() and text.isdigit():
        name = _UNITS[int(text)][0] if int(text) in _UNITS else None
    else:
        same = [known for known, symbol in _UNITS.values() if symbol and symbol == text]
        if len(same) > 1:
            raise ValueError(f"unit {text!r} may be {' or '.join(same)}; write its name")
        name = (same[0] if same else None) or _WRITTEN_OTHERWISE.get(text) or _UNIT_NAMES.get(_squashed(text))
    if name is None:
        raise ValueError(f"unit {text!r} is unknown{_near(text, _UNIT_NAMES)}")
    return None if name == _NO_UNITS else Unit(name, _SYMBOLS[name])


def _squashed(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _near(text: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(_squashed(text), list(names), n=2)
    known = _TYPE_NAMES | _UNIT_NAMES
    return f"; did you mean {' or '.join(known[each] for each in near)}?" if near else ""


_BY_NAME = {name: ObjectType(name, kind, output) for name, kind, output in _TYPES.values()}
_TYPE_NAMES = {_squashed(name): name for name in (*_BY_NAME, *_WITHOUT_VALUE.values())}
_SYMBOLS = dict(_UNITS.values())
_UNIT_NAMES = {_squashed(name): name for name in _SYMBOLS}
