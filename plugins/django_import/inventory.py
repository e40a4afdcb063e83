"""Makes devices and points of exported records, and says of each record that cannot be used why."""

from __future__ import annotations

import ipaddress
import re

import attrs

from core.model import Device, Kind, Point
from plugins.django_import.reader import Export, Record, records
from plugins.django_import.words import NoPoint, Unit, object_type, unit

IMPORTED = "imported"
HIGHEST_INSTANCE = 0x3FFFFE
DEFAULT_PORT = 47808
_LONGEST_NAME = 200
_ADDRESS = re.compile(r"(?:(\d{1,5}):(\d{1,3}|0x(?:[0-9a-fA-F]{2})+)@)?([0-9.]+)(?::(\d{1,5}))?")
_REMOTE = re.compile(r"\d{1,5}:\d{1,3}|\d{1,5}:0x[0-9a-fA-F]+")
_OBJECT = re.compile(r"[('\"]*([A-Za-z][A-Za-z _-]*|\d+)['\"]*\s*[,:.]\s*(\d+)\)?")


@attrs.frozen
class Remark:
    """What is to be said of a record, and where it stands."""

    place: str
    text: str


@attrs.define
class Found:
    """A device as its records tell of it, with its points by id; ``address`` is empty where no record has one."""

    instance: int
    place: str
    address: str = ""
    name: str = ""
    vendor: str = ""
    model: str = ""
    points: dict[str, Point] = attrs.field(factory=dict)
    places: dict[str, str] = attrs.field(factory=dict)

    def device(self, plugin: str) -> Device:
        """Describe the device as the plugin's own, until a scan describes it better."""
        return Device(
            id=f"{plugin}.{self.instance}",
            plugin=plugin,
            name=self.name or str(self.instance),
            address=self.address,
            vendor=self.vendor,
            model=self.model,
            attributes={"instance": self.instance, IMPORTED: True},
        )


@attrs.define
class Inventories:
    """What a file comes to: devices by number, what was refused, and how many objects have no value to read.

    ``unitless`` are points whose unit is not known: they are taken over without it, as the device itself will tell.
    """

    devices: dict[int, Found] = attrs.field(factory=dict)
    refused: list[Remark] = attrs.field(factory=list)
    unitless: list[Remark] = attrs.field(factory=list)
    without_value: int = 0


def inventories(export: Export, plugin: str) -> Inventories:
    """Make devices and points for a plugin; what cannot be used is refused, record by record."""
    made = Inventories(refused=[Remark(place, reason) for place, reason in export.broken])
    numbers = _Numbers(export)
    for record in records(export):
        try:
            found = _device(made, record, numbers.of(record))
            if record.is_point:
                _add_point(made, found, record, plugin)
        except NoPoint:
            made.without_value += 1
        except ValueError as error:
            made.refused.append(Remark(record.place, str(error)))
    return made


class _Numbers:
    """Tells device numbers: written in a record, or by a foreign key to the device's record."""

    def __init__(self, export: Export) -> None:
        devices = [each for each in export.devices if each.get("device_instance")]
        self._instances = {each.get("device_instance") for each in devices}
        self._by_key = {each.get("pk"): each.get("device_instance") for each in devices if each.get("pk")}

    def of(self, record: Record) -> int:
        """Return the number of a record's device; raises ValueError."""
        written = record.get("nested_in") or record.get("device_instance") or record.get("device")
        if not written:
            raise ValueError("no column names its device; device_id is looked for, and its like")
        if record.is_point and self._by_key and not record.get("nested_in"):
            written = self._followed(written, is_key=not record.get("device_instance"))
        return _number(written, "device number")

    def _followed(self, written: str, *, is_key: bool) -> str:
        """Follow a reference to a device's record; Django writes foreign keys as ``device_id``, too."""
        number = self._by_key.get(written)
        if number is None and written not in self._instances:
            raise ValueError(f"it belongs to device {written}, which the file does not have")
        if number not in (None, written) and written in self._instances and not is_key:
            raise ValueError(f"device_id {written} is the number of one device and the key of another; name it device")
        return written if number is None else number


def _device(made: Inventories, record: Record, instance: int) -> Found:
    """Return a record's device, with what this record says about it; raises ValueError where records contradict."""
    address = _address(record)
    found = made.devices.get(instance)
    if found is not None and address and found.address not in ("", address):
        raise ValueError(f"device {instance} is at {found.address} in {found.place}, and at {address} here")
    if found is None:
        found = made.devices[instance] = Found(instance, record.place)
    found.address = found.address or address
    for name, text in (("name", "device_name"), ("vendor", "vendor"), ("model", "model")):
        if not getattr(found, name):
            setattr(found, name, _name(record.get(text)))
    return found


def _add_point(made: Inventories, found: Found, record: Record, plugin: str) -> None:
    """Add a point to its device; raises ValueError, and NoPoint for an object without a value."""
    type_text, instance_text = record.get("object_type"), record.get("object_instance")
    match = _OBJECT.fullmatch(record.get("object"))
    if match is not None:
        type_text, instance_text = match[1].strip(), match[2]
    if not type_text:
        given = record.get("object") or instance_text
        raise ValueError(f"{given!r} names no object without an object_type; write it like analog-input:1")
    kind = object_type(type_text)
    key = f"{kind.name}.{_number(instance_text or record.get('object'), 'object number')}"
    measured = _unit(made, record) if kind.kind is Kind.NUMBER else None
    device_id = f"{plugin}.{found.instance}"
    point = Point(
        id=f"{device_id}.{key}",
        device_id=device_id,
        name=_name(record.get("name")) or key,
        kind=kind.kind,
        unit=None if measured is None else measured.name,
        symbol=None if measured is None else measured.symbol,
        writable=kind.output,
        commandable=kind.output,
        attributes={"object_type": kind.name, "object_instance": int(key.rpartition(".")[2])},
    )
    if found.points.setdefault(point.id, point) != point:
        raise ValueError(f"{key} of device {found.instance} is told otherwise in {found.places[point.id]}")
    found.places.setdefault(point.id, record.place)


def _unit(made: Inventories, record: Record) -> Unit | None:
    text = record.get("units")
    try:
        return unit(text) if text else None
    except ValueError as error:
        made.unitless.append(Remark(record.place, str(error)))
        return None


def _number(text: str, what: str) -> int:
    text = text.removesuffix(".0")  # as programs write whole numbers in columns that have empty cells
    if not (text.isascii() and text.isdigit() and int(text) <= HIGHEST_INSTANCE):
        raise ValueError(f"{text!r} is no {what} from 0 to {HIGHEST_INSTANCE}")
    return int(text)


def _name(text: str) -> str:
    if len(text) > _LONGEST_NAME or not text.isprintable():
        raise ValueError(f"{text[:20]!r}... is no name: up to {_LONGEST_NAME} printable characters are")
    return text


def _address(record: Record) -> str:
    """Return an address as the plugin writes it, empty where there is none; raises ValueError."""
    text = record.get("address")
    if not text:
        return ""
    if _REMOTE.fullmatch(text):
        raise ValueError(f"address {text} is behind a router that it does not name; write {text}@<its IP address>")
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an address; write it like 10.0.5.7:47808 or 2001:5@10.0.5.7:47808")
    network, mac, ip, port = match.groups()
    try:
        place = ipaddress.IPv4Address(ip)
    except ipaddress.AddressValueError as error:
        raise ValueError(f"{ip!r} is not an IPv4 address") from error
    if place.is_unspecified or place.is_multicast:
        raise ValueError(f"{ip} names no single machine")
    end = f"{place}:{_port(port or record.get('port'))}"
    if network is None:
        return end
    if not 0 < int(network) < 0xFFFF or (mac.isdigit() and int(mac) > 255):
        raise ValueError(f"{text!r} has no network from 1 to 65534 and MAC from 0 to 255 before its @")
    return f"{network}:{_mac(mac)}@{end}"


def _port(text: str) -> int:
    text = text.removesuffix(".0") or str(DEFAULT_PORT)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"{text!r} is no UDP port from 1 to 65535")
    return int(text)


def _mac(text: str) -> str:
    """Write a MAC as the plugin does: one octet as a number, more as hex digits."""
    octets = bytes.fromhex(text[2:]) if text.startswith("0x") else bytes([int(text)])
    return str(octets[0]) if len(octets) == 1 else f"0x{octets.hex()}"
