"""Reads exported lists, JSON or CSV in all the forms that they come in, as records of known columns."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

_SPELLINGS = {
    "device": "device devicepk",
    "device_instance": "deviceid deviceinstance deviceinstancenumber devicenumber devicedeviceid bacnetid"
    " bacnetdeviceid bacnetdeviceinstance bacnetinstance",
    "device_name": "devicename",
    "nested_in": "nestedin",
    "address": "address ipaddress ip deviceaddress deviceipaddress bacnetaddress host",
    "port": "port udpport bacnetport",
    "vendor": "vendor vendorname devicevendor manufacturer",
    "model": "modelname devicemodel",
    "object_type": "objecttype bacnetobjecttype objtype pointtype",
    "type": "type",
    "object_instance": "objectinstance objectinstancenumber objectnumber instance instancenumber",
    "object": "object objectidentifier objectid bacnetobject bacnetobjectid",
    "name": "name objectname pointname",
    "units": "units unit engineeringunits",
    "pk": "id pk",
}
_COLUMNS = {spelling: column for column, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_TELLING = {"device", "device_instance", "address", "object_type", "object", "object_instance"}
_DELIMITERS = ",;\t"
_MISSING = ("", "None", "null", "NULL")
_NESTED = ("points", "objects")


class Unreadable(ValueError):
    """The file as a whole cannot be used."""


@attrs.frozen
class Record:
    """One device or point as it was exported: the texts of its known columns, and where it stands."""

    place: str
    columns: Mapping[str, str]

    @property
    def is_point(self) -> bool:
        return not {"object_type", "object", "object_instance"}.isdisjoint(self.columns)

    def get(self, column: str) -> str:
        """Return a column's text, empty where it is missing."""
        return self.columns.get(column, "")


@attrs.define
class Export:
    """All records of a file; ``unused`` are columns and models that mean nothing here, ``broken`` rows that are none.

    ``broken`` has a place and a reason for each.
    """

    devices: list[Record] = attrs.field(factory=list)
    points: list[Record] = attrs.field(factory=list)
    broken: list[tuple[str, str]] = attrs.field(factory=list)
    unused: set[str] = attrs.field(factory=set)

    def add(self, place: str, columns: Mapping[str, str]) -> None:
        """Take a record in; one of a point also tells of its device."""
        record = Record(place, columns)
        (self.points if record.is_point else self.devices).append(record)


def read(path: Path) -> Export:
    """Read a file, by what is in it; raises Unreadable, and OSError."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: not UTF-8 at byte {error.start}; export it again as UTF-8") from error
    export = Export()
    if text.lstrip()[:1] in ("[", "{"):
        _read_json(path, text, export)
    else:
        _read_csv(path, text, export)
    if not (export.devices or export.points or export.broken):
        raise Unreadable(f"{path}: no device and no point in it{_seen(export)}")
    return export


def _seen(export: Export) -> str:
    return f"; it has {', '.join(sorted(export.unused))}" if export.unused else ""


# CSV


def _read_csv(path: Path, text: str, export: Export) -> None:
    heading = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=heading.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    names: list[str] = []
    try:
        for row in rows:
            place = f"{path.name}:{rows.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if not names:
                names = row
            elif len(row) > len(names):
                export.broken.append((place, f"{len(row)} cells under {len(names)} headings"))
            else:
                _add(export, place, dict(zip(names, row, strict=False)))
    except csv.Error as error:
        raise Unreadable(f"{path}:{rows.line_num}: {error}") from error


# JSON


def _read_json(path: Path, text: str, export: Export) -> None:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{path}: not JSON: {error}") from error
    if isinstance(data, dict) and _about_device(data)["nested_in"] is not None:
        data = [data]
    if isinstance(data, list):
        _read_list(path.name, data, export)
        return
    lists = {name: value for name, value in data.items() if isinstance(value, list)}
    if not lists:
        raise Unreadable(f"{path}: an object without a list in it; lists of devices and points are looked for")
    for name, value in lists.items():
        _read_list(f"{path.name}: {name}", value, export)


def _read_list(place: str, items: list[Any], export: Export, above: Mapping[str, Any] | None = None) -> None:
    for number, item in enumerate(items, 1):
        where = f"{place}{',' if above else ''} item {number}"
        if not isinstance(item, dict):
            export.broken.append((where, "not an object"))
        elif isinstance(item.get("fields"), dict) and isinstance(item.get("model"), str):
            _add_dumped(export, where, item)
        else:
            own = {name: value for name, value in item.items() if name not in _NESTED}
            _add(export, where, {**(above or {}), **own})
            for name in _NESTED if above is None else ():
                if isinstance(item.get(name), list):
                    _read_list(f"{where}, {name}", item[name], export, above=_about_device(own))


def _add_dumped(export: Export, place: str, item: Mapping[str, Any]) -> None:
    """Take an item of Django's `dumpdata` in; what is neither a device nor a point is left alone."""
    columns = {**item["fields"], "pk": item.get("pk")}
    known = {_COLUMNS.get(_plain(name)) for name in item["fields"]}
    if not known & {"object_type", "object"}:
        if "device" in known or not known & {"device_instance", "object_instance", "address"}:
            export.unused.add(f"model {item['model']}")
            return
        if not known & {"device_instance", "object_instance"}:
            columns["device_instance"] = item.get("pk")  # the device number is the model's primary key
    _add(export, place, columns)


def _about_device(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a point that is nested in a device has from it."""
    given = {_COLUMNS.get(_plain(name)): value for name, value in item.items()}
    return {"nested_in": given.get("device_instance") or given.get("object_instance") or given.get("device")}


# columns


def _add(export: Export, place: str, cells: Mapping[str, Any]) -> None:
    columns: dict[str, str] = {}
    for name, value in cells.items():
        text = _text(value)
        column = _COLUMNS.get(_plain(name))
        if column is None:
            export.unused.add(name.strip())
        elif text is None:
            export.broken.append((place, f"{name} is not a text or number"))
            return
        elif text not in _MISSING:
            columns.setdefault(column, text)
    _settle(columns)
    if columns.keys() & _TELLING:
        export.add(place, columns)


def _settle(columns: dict[str, str]) -> None:
    """Give the plain words (type, instance, name) the meaning that they have in this record."""
    if "type" in columns and {"object_instance", "nested_in"} & columns.keys():
        columns.setdefault("object_type", columns["type"])
    of_device = not {"object_type", "object", "device_instance", "device", "nested_in"} & columns.keys()
    if of_device and "object_instance" in columns:
        columns["device_instance"] = columns.pop("object_instance")
    if not {"object_type", "object", "object_instance"} & columns.keys() and "name" in columns:
        columns.setdefault("device_name", columns["name"])


def _text(value: object) -> str | None:
    """Return a cell as text; a list of two is an object identifier, anything else that is nested is None."""
    match value:
        case None:
            return ""
        case bool() | dict():
            return None
        case [str() | int() as kind, int() as number]:
            return f"{kind},{number}"
        case [single]:  # a natural key
            return _text(single)
        case str() | int() | float():
            return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def records(export: Export) -> Iterator[Record]:
    """All records, devices first."""
    yield from export.devices
    yield from export.points
