"""Our decoder, bacpypes3's and rusty-bacnet's make the same of every property of every object that can be served here.

Each property is read by all three, ours by requests made of octets alone; one that changes meanwhile is read again.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
from bacpypes3 import primitivedata
from bacpypes3.apdu import AbortPDU, ErrorRejectAbortNack, RejectPDU, WhoIsRequest
from bacpypes3.app import Application
from bacpypes3.basetypes import PropertyIdentifier
from bacpypes3.constructeddata import AnyAtomic
from bacpypes3.ipv4.link import NormalLinkLayer
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import Address, IPv4Address

from plugins.bacnet.wire import apdu, bvll, npdu, read_property, who_is
from plugins.bacnet.wire.apdu import PduType, Service
from plugins.bacnet.wire.datatypes import Bits, Date, Datum, Enumerated, Group, Items, ObjectId, Ref, Time
from plugins.bacnet.wire.enumerations import OBJECT_TYPES
from plugins.bacnet.wire.items import decode_items
from plugins.bacnet.wire.npdu import Place
from plugins.bacnet.wire.primitives import shortest
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.server.service import serve

LONGEST_S = 5.0
MOST_TRIES = 5
DEVICE, OBJECT_LIST, PROPERTY_LIST = 8, 76, 371
NETWORK_SECURITY = 38  # which rusty-bacnet does not have
FEW = 3
# Property_List names all others (12.1.1.4.2).
UNLISTED = (75, 77, 79, PROPERTY_LIST)


EVERY = None
EXPLAINED = {
    ("bacpypes3", 63, EVERY): "it has no Color",
    ("bacpypes3", 64, EVERY): "it has no Color Temperature",
    ("bacpypes3", 54, 4194329): "it has no Color_Reference",
    ("bacpypes3", 54, 4194335): "it has no High_End_Trim",
    ("bacpypes3", 54, 4194337): "it has no Trim_Fade_Time",
    ("bacpypes3", 55, 4194329): "it has no Color_Reference",
    ("bacpypes3", 62, 501): "it fills the bits of Auditable_Operations up to those that it knows",
    ("bacpypes3", 31, 85): "it takes unsigned numbers only where a timer's Present_Value is an enumeration",
    ("bacpypes3", 21, 158): "rusty-bacnet's Maintenance_Required is a boolean where an enumeration belongs",
    ("bacpypes3", 23, 186): "rusty-bacnet's Pulse_Rate is a real where an unsigned number belongs",
    ("bacpypes3", 56, 440): "rusty-bacnet's multicast address has its port with it, and bacpypes3 takes 16 octets only",
}
"""What others read otherwise than we do, by whose, type of object and property, and why: all refuse or fill up."""


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@attrs.frozen
class Refused:
    """What a device said instead of a value."""

    kind: str
    reason: tuple[int, ...]


TOO_LONG = Refused("abort", (4,))
"""Segmentation is what our requests do not ask for."""


class Ours(asyncio.DatagramProtocol):
    """Asks by our codec alone; ``found`` has what each device said in its I-Am, and where it is."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.found: dict[int, Place | None] = {}
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._last_id = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, _address: Any) -> None:
        header = npdu.read_npdu(data, bvll.CARRIES_NPDU[bvll.Function(bvll.read_function(data))])
        message = data[header.at :]
        if message[0] >> 4 == PduType.UNCONFIRMED_REQUEST:
            if message[1] == 0:
                self.found[who_is.read_i_am(message).device.instance] = header.source
        elif message[1] in self._answers:
            self._answers.pop(message[1]).set_result(message)

    async def who_is_there(self, expected: int) -> None:
        self._transport.sendto(bvll.unicast(npdu.write_npdu() + who_is.write_who_is()), self.server)
        async with asyncio.timeout(LONGEST_S):
            while len(self.found) < expected:
                await asyncio.sleep(0.01)

    async def read(self, device: int, ref: Ref) -> Items | Refused:
        self._last_id = invoke_id = (self._last_id + 1) % 256
        header = npdu.write_npdu(destination=self.found[device], expects_reply=True)
        request = apdu.write_request(Service.READ_PROPERTY, read_property.write_parameters(ref), invoke_id=invoke_id)
        future = self._answers[invoke_id] = asyncio.get_running_loop().create_future()
        self._transport.sendto(bvll.unicast(header + request), self.server)
        async with asyncio.timeout(LONGEST_S):
            answer = await future
        match answer[0] >> 4:
            case PduType.COMPLEX_ACK:
                found = read_property.read_result(answer, 3)
                assert found.ref == ref
                return found.items(answer)
            case PduType.ERROR:
                return Refused("error", tuple(apdu.read_error(answer, 3)))
            case PduType.REJECT:
                return Refused("reject", (answer[2],))
            case _:
                return Refused("abort", (answer[2],))


class Bacpypes3(Application):
    """bacpypes3 as a client."""

    found: dict[int, Any]

    async def do_IAmRequest(self, message: Any) -> None:  # noqa: N802 - bacpypes3 calls it so
        self.found[message.iAmDeviceIdentifier[1]] = message.pduSource

    async def who_is_there(self, server: tuple[str, int], expected: int) -> None:
        self.found = {}
        self.request(WhoIsRequest(destination=Address(f"{server[0]}:{server[1]}")))
        async with asyncio.timeout(LONGEST_S):
            while len(self.found) < expected:
                await asyncio.sleep(0.01)

    async def read(self, device: int, ref: Ref) -> Items | Refused:
        object_id = primitivedata.ObjectIdentifier((ref.object.type, ref.object.instance))
        try:
            async with asyncio.timeout(LONGEST_S):
                value = await self.read_property(
                    self.found[device], object_id, PropertyIdentifier(ref.property), ref.index
                )
        except ErrorRejectAbortNack as refusal:  # which is no Exception
            value = refusal
        if value in ("-no object class-", "-no property type-"):
            raise LookupError(value)
        if isinstance(value, RejectPDU | AbortPDU):
            kind = "reject" if isinstance(value, RejectPDU) else "abort"
            return Refused(kind, (int(value.apduAbortRejectReason),))
        if isinstance(value, ErrorRejectAbortNack):
            return Refused("error", (int(value.errorClass), int(value.errorCode)))
        return items_of_bacpypes3(value)


class Rusty:
    """rusty-bacnet as a client."""

    def __init__(self, rusty: Any, client: Any) -> None:
        self.rusty = rusty
        self.client = client

    async def who_is_there(self, server: tuple[str, int], expected: int) -> None:
        await self.client.who_is_directed(f"{server[0]}:{server[1]}")
        async with asyncio.timeout(LONGEST_S):
            while len(await self.client.discovered_devices()) < expected:
                await asyncio.sleep(0.01)

    async def read(self, device: int, ref: Ref) -> Items | Refused:
        asked = (
            self.rusty.ObjectIdentifier(self.rusty.ObjectType.from_raw(ref.object.type), ref.object.instance),
            self.rusty.PropertyIdentifier.from_raw(ref.property),
            ref.index,
        )
        try:
            return items_of_rusty(await self.client.read_property_from_device(device, *asked))
        except self.rusty.BacnetProtocolError as error:
            return Refused("error", (error.error_class, error.error_code))
        except self.rusty.BacnetAbortError as error:
            return Refused("abort", (error.reason,))
        except self.rusty.BacnetRejectError as error:
            return Refused("reject", (error.reason,))


def items_of_bacpypes3(value: Any) -> Items:
    """Return what bacpypes3 made of a property: one datum, or those of an array or list, one behind the other."""
    if isinstance(value, list) and not isinstance(value, primitivedata.BitString):
        return tuple(item for element in value for item in items_of_bacpypes3(element))
    if isinstance(value, AnyAtomic):
        return items_of_bacpypes3(value.get_value())
    for their_class, convert in FROM_BACPYPES3.items():
        if isinstance(value, their_class):
            return (convert(value),)
    return decode_items(bytes(value.encode().encode().pduData))  # constructed: as bacpypes3 writes what it has read


FROM_BACPYPES3 = {
    primitivedata.Null: lambda _: None,
    primitivedata.Boolean: bool,
    primitivedata.Enumerated: Enumerated,
    primitivedata.Unsigned: int,
    primitivedata.Integer: int,
    primitivedata.Double: float,  # before Real, of which it is one to bacpypes3
    primitivedata.Real: lambda value: shortest(float(value)),
    primitivedata.OctetString: bytes,
    primitivedata.CharacterString: str,
    primitivedata.BitString: lambda value: Bits(tuple(map(bool, value))),
    primitivedata.Date: lambda value: Date(*value),
    primitivedata.Time: lambda value: Time(*value),
    primitivedata.ObjectIdentifier: lambda value: ObjectId(int(value[0]), value[1]),
}


def items_of_rusty(value: Any) -> Items:
    """Return what rusty-bacnet made of a property; of what has several parts, by how it writes what it has read."""
    if value.tag in FROM_RUSTY:
        return (FROM_RUSTY[value.tag](value.value),)
    return decode_items(value.octets)


def bits_of_rusty(value: Any) -> Bits:
    digits = "".join(f"{octet:08b}" for octet in value["data"])
    return Bits.parse(digits[: len(digits) - value["unused_bits"]])


FROM_RUSTY = {
    "null": lambda _: None,
    "boolean": bool,
    "enumerated": Enumerated,
    "unsigned": int,
    "signed": int,
    "real": shortest,
    "double": float,
    "octet_string": bytes,
    "character_string": str,
    "bit_string": bits_of_rusty,
    "date": lambda value: Date(value[0] if value[0] == 255 else value[0] - 1900, *value[1:]),
    "time": lambda value: Time(*value),
    "object_identifier": lambda value: ObjectId(value.object_type.to_raw(), value.instance),
}


def spelt(items: Items | Refused) -> object:
    """Return data with their types, so that 1, True and 1.0 differ, and with one form for what is no number."""
    if isinstance(items, Refused):
        return items

    def one(item: Datum) -> object:
        if isinstance(item, Group):
            return "Group", item.number, tuple(map(one, item.items))
        return type(item).__name__, "nan" if isinstance(item, float) and math.isnan(item) else item

    return tuple(map(one, items))


@attrs.frozen
class Three:
    """The three clients."""

    ours: Ours
    bacpypes3: Bacpypes3
    rusty: Rusty


@attrs.define
class Comparison:
    """What was compared, and which properties the others read otherwise, or not at all.

    ``kinds`` counts the data, ``types`` has the types of the objects; ``otherwise`` is by whose, type and property.
    """

    kinds: Counter[str] = attrs.field(factory=Counter)
    types: set[int] = attrs.field(factory=set)
    otherwise: dict[tuple[str, int, int], str] = attrs.field(factory=dict)

    def count(self, items: Items | Refused) -> None:
        if isinstance(items, Refused):
            self.kinds["refused"] += 1
        for item in () if isinstance(items, Refused) else items:
            self.kinds[type(item).__name__] += 1
            if isinstance(item, Group):
                self.count(item.items)


@pytest.fixture
async def clients(rusty):
    """Start the three clients of a server: ``await clients(server, devices)``."""
    async with AsyncExitStack() as running:

        async def start(server, devices):
            loop = asyncio.get_running_loop()
            transport, ours = await loop.create_datagram_endpoint(lambda: Ours(server), local_addr=("127.0.0.1", 0))
            running.callback(transport.close)
            await ours.who_is_there(devices)

            name = DeviceObject(objectIdentifier=("device", 599), objectName="Test client")
            theirs = Bacpypes3.from_object_list([name])
            address = IPv4Address(f"127.0.0.1:{free_port()}")
            link = NormalLinkLayer(address)
            theirs.nsap.bind(link, address=address)
            running.push_async_callback(asyncio.sleep, 0)
            running.callback(link.close)
            await link.server._local_transport_ready.wait()
            await theirs.who_is_there(server, devices)

            client = rusty.BACnetClient(interface="127.0.0.1", port=free_port(), broadcast_address="127.255.255.255")
            rustys = Rusty(rusty, await running.enter_async_context(client))
            await rustys.who_is_there(server, devices)
            return Three(ours, theirs, rustys)

        yield start


async def compare_all(clients: Three) -> Comparison:
    """Read every property of every object of every device."""
    comparison = Comparison()
    for device in clients.ours.found:
        for object_id in await compare(clients, device, Ref(ObjectId(DEVICE, device), OBJECT_LIST), comparison):
            comparison.types.add(object_id.type)
            numbers = await compare(clients, device, Ref(object_id, PROPERTY_LIST), comparison)
            for number in {*numbers, *UNLISTED} - {PROPERTY_LIST}:
                await compare(clients, device, Ref(object_id, number), comparison)
    return comparison


async def compare(clients: Three, device: int, ref: Ref, comparison: Comparison) -> Items | Refused:
    """Read a property by all three, by its elements where it does not fit in one answer; return what we have."""
    items = await compare_one(clients, device, ref, comparison)
    if items != TOO_LONG:
        return items
    (count,) = await compare_one(clients, device, attrs.evolve(ref, index=0), comparison)
    elements = []
    for index in range(1, count + 1):
        elements += await compare_one(clients, device, attrs.evolve(ref, index=index), comparison)
    return tuple(elements)


async def compare_one(clients: Three, device: int, ref: Ref, comparison: Comparison) -> Items | Refused:
    """Read a property by all three; where our two readings around theirs differ, it changed, and is read again."""
    for _ in range(MOST_TRIES):
        before = await clients.ours.read(device, ref)
        if before == TOO_LONG:  # theirs may come in segments
            return before
        read = {}
        for name, client in (("bacpypes3", clients.bacpypes3), ("rusty", clients.rusty)):
            try:
                read[name] = await client.read(device, ref)
            except Exception as error:  # whatever it is that somebody else's client cannot read
                read[name] = error
        if spelt(before) == spelt(await clients.ours.read(device, ref)):
            break
    else:
        comparison.kinds["changing"] += 1
        return before
    comparison.count(before)
    for name, theirs in read.items():
        if isinstance(theirs, Exception):
            comparison.otherwise[name, ref.object.type, ref.property] = f"{theirs!r} where we have {before}"
        elif spelt(theirs) != spelt(before):
            comparison.otherwise[name, ref.object.type, ref.property] = f"{theirs} where we have {before}"
    return before


async def test_all_three_agree_on_the_simulated_building(clients):
    server = ("127.0.0.1", free_port())
    stop = asyncio.Event()
    ready = asyncio.get_running_loop().create_future()
    config = SimulatorConfig(port=server[1], speed=0.0, controllers=2, points=40, changing=0.0)
    serving = asyncio.create_task(serve(config, ready=ready.set_result, stop=stop))
    try:
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=LONGEST_S)
        if serving.done():
            serving.result()
        comparison = await compare_all(await clients(server, len(ready.result().devices)))
    finally:
        stop.set()
        await asyncio.wait({serving})
    assert comparison.otherwise == {}
    assert {"Enumerated", "NoneType", "str", "float", "ObjectId", "Bits", "bool", "int"} <= set(comparison.kinds)
    assert comparison.kinds["changing"] <= FEW


def fill(server, rusty):
    """Add one object, at least, of each type that rusty-bacnet's Python API has, with lists that are not empty."""
    for method, *arguments in PLAIN:
        getattr(server, f"add_{method}")(1, method, *arguments)
    fill_logs_and_schedules(server, rusty)
    fill_groups_and_lighting(server, rusty)
    fill_access(server, rusty)


PLAIN = (
    *(("analog_output",), ("analog_value",), ("binary_input",), ("binary_output",), ("binary_value",)),
    *(("multistate_input", 4), ("multistate_output", 4), ("multistate_value", 300)),
    *(("date_value",), ("time_value",), ("date_time_value",)),
    *(("date_pattern_value",), ("time_pattern_value",), ("date_time_pattern_value",)),
    *(("integer_value",), ("positive_integer_value",), ("large_analog_value",)),
    *(("character_string_value",), ("octet_string_value",), ("bit_string_value",)),
    *(("event_log",), ("audit_reporter",), ("event_enrollment",), ("averaging",), ("pulse_converter",), ("file",)),
    *(("timer",), ("load_control",), ("program",), ("structured_view",), ("loop",), ("escalator",), ("lift", 5)),
    *(("life_safety_point",), ("life_safety_zone",), ("color",), ("color_temperature",), ("access_credential",)),
)


def named(rusty, kind, instance=1):
    return rusty.ObjectIdentifier(getattr(rusty.ObjectType, kind), instance)


def fill_logs_and_schedules(server, rusty):
    value = rusty.PropertyValue
    present_value = (named(rusty, "ANALOG_INPUT"), rusty.PropertyIdentifier.PRESENT_VALUE)
    tags = [{"name": "room"}, {"name": "floor", "value": value.unsigned(3)}]
    server.add_analog_input(1, "Grüße", 62, 21.7, tags=tags, profile_location="http://x/y", profile_name="555-room")
    server.add_analog_value(2, "writable", present_value_access="writable", value_source_tracking=True)
    christmas = {"kind": "date", "date": (2026, 12, 24, 255)}
    holidays = {"kind": "date_range", "start_date": (2026, 7, 1, 255), "end_date": (2026, 7, 31, 255)}
    fridays = {"kind": "week_n_day", "month": 13, "week_of_month": 6, "day_of_week": 5}
    server.add_calendar(1, "calendar", date_list=[christmas, holidays, fridays])
    day = [((8, 0, 0, 0), value.real(21.5)), ((18, 30, 0, 0), value.null())]
    server.add_schedule(
        1,
        "schedule",
        weekly_schedule=[day] * 5 + [[]] * 2,
        exception_schedule=[
            {"period": christmas, "time_values": day, "priority": 3},
            {"period": named(rusty, "CALENDAR"), "time_values": [], "priority": 16},
        ],
        effective_period=((2026, 1, 1, 4), (255, 255, 255, 255)),
    )
    device = {"kind": "device", "object_identifier": named(rusty, "DEVICE", 77)}
    station = {"kind": "address", "network_number": 5, "mac_address": b"\x07"}
    recipients = [{"recipient": one, "process_identifier": 70_000} for one in (device, station)]
    server.add_notification_class(1, "notification class", 1, recipients=recipients)
    server.add_notification_forwarder(1, "forwarder", recipients=recipients, port_filter=[(0, True), (1, False)])
    server.add_trend_log(1, "trend log", reference=present_value, log_interval=6000)
    server.add_trend_log_multiple(1, "trend log multiple", members=[present_value, (*present_value, 2)])
    server.add_accumulator(1, "accumulator", scale=-2, prescale=(3, 70_000))
    server.add_accumulator(2, "accumulator with a float scale", scale=0.5)
    server.add_alert_enrollment(1, "alert enrollment", present_value[0])


def fill_groups_and_lighting(server, rusty):
    prop = rusty.PropertyIdentifier
    present_value = (named(rusty, "ANALOG_INPUT"), prop.PRESENT_VALUE)
    color = named(rusty, "COLOR")
    command = {
        "object_identifier": named(rusty, "ANALOG_VALUE"),
        "property_identifier": prop.PRESENT_VALUE,
        "property_value": rusty.PropertyValue.real(1.5),
        "priority": 8,
        "post_delay": 2,
    }
    server.add_command(1, "command", action=[[command], [], [command, command]], action_text=["one", "two", "three"])
    server.add_lighting_output(1, "lighting output", high_end_trim=90.0, color_reference=color)
    server.add_binary_lighting_output(1, "binary lighting output", color_reference=color)
    server.add_channel(1, "channel", 7, [present_value], [100], [1, 2])
    members = [(prop.PRESENT_VALUE, None), (prop.STATUS_FLAGS, None), (prop.EVENT_TIME_STAMPS, 1)]
    server.add_group(1, "group", [(present_value[0], members), (named(rusty, "BINARY_INPUT"), members[:1])])
    server.add_global_group(1, "global group", members=[present_value])
    server.add_elevator_group(1, "elevators", named(rusty, "POSITIVE_INTEGER_VALUE"))
    stages = [(10.0, [False], 1.0), (20.0, [True], 1.0)]
    server.add_staging(1, "staging", 5.0, 0.0, 98, 12, stages, [named(rusty, "BINARY_OUTPUT")])
    server.add_bip_network_port(1, "port", ip_address="127.0.0.1", dns_servers=["127.0.0.2"])
    server.add_bip6_network_port(2, "port of IPv6", vmac=b"\x01\x02\x03")


def fill_access(server, rusty):
    elsewhere = (named(rusty, "DEVICE", 77), named(rusty, "ANALOG_INPUT"))
    door, point = named(rusty, "ACCESS_DOOR"), named(rusty, "ACCESS_POINT")
    policies = [("card", ([(named(rusty, "CREDENTIAL_DATA_INPUT"), 1)], True, 30))]
    rules = [{"enable": True, "location": point}, {"enable": False}]
    server.add_access_door(1, "door", door_members=[elsewhere], alarm_values=[1, 2])
    server.add_access_point(1, "access point", access_doors=[door], authentication_policies=policies)
    server.add_access_rights(1, "rights", positive_access_rules=rules)
    server.add_access_user(1, "user", credentials=[named(rusty, "ACCESS_CREDENTIAL")])
    server.add_access_zone(1, "zone", entry_points=[point], alarm_values=[1, 2])
    server.add_credential_data_input(1, "reader", supported_formats=[(7, 1), ((2, 555, 9), 2)])


async def test_all_three_agree_on_every_type_of_object_that_rusty_bacnet_serves(clients, rusty, tmp_path):
    server = ("127.0.0.1", free_port())
    device = rusty.BACnetServer(
        5042,
        "rusty-42",
        interface=server[0],
        port=server[1],
        broadcast_address="127.255.255.255",
        segmentation_supported=rusty.Segmentation.BOTH,
    )
    fill(device, rusty)
    device.add_audit_log(1, "audit log", str(tmp_path / "audit"))
    await device.start()
    try:
        comparison = await compare_all(await clients(server, 1))
    finally:
        await device.stop()
    unexplained = {
        key: what for key, what in comparison.otherwise.items() if not {key, (*key[:2], EVERY)} & EXPLAINED.keys()
    }
    assert unexplained == {}
    assert comparison.types == OBJECT_TYPES.keys() - {NETWORK_SECURITY}
    assert {"Group", "Date", "Time", "bytes", "refused"} <= set(comparison.kinds)
    assert comparison.kinds["changing"] <= FEW
