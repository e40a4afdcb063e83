"""The building over real UDP, asked by somebody else's BACnet client."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from bacpypes3.apdu import AbortPDU, ErrorPDU, RejectPDU, WritePropertyRequest
from bacpypes3.basetypes import BinaryPV, PropertyIdentifier
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.pdu import Address
from bacpypes3.primitivedata import Boolean, CharacterString, Date, ObjectIdentifier, Real, Time, Unsigned

from plugins.simulator.building import Building
from plugins.simulator.config import SimulatorConfig
from plugins.simulator.errors import AddressTaken

from .conftest import LONGEST_S, Client, bacnet_client, served, until

READ_PRESENT_VALUE = "0005010c0c0000000119" + "55"
AHU, VAV, OLD_VAV, OLD_LIGHTING, SIMPLE_METER = 2001, 2004, 2017, 2028, 2024


async def exchange(port: int, *messages: str, expected: int) -> list[bytes]:
    """Send network messages, given in hex, and return so many answers, without their BVLL headers."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        other.bind(("127.0.0.1", 0))
        for message in map(bytes.fromhex, messages):
            other.sendto(b"\x81\x0a" + (len(message) + 4).to_bytes(2, "big") + message, ("127.0.0.1", port))
        async with asyncio.timeout(LONGEST_S):
            return [(await loop.sock_recv(other, 1500))[4:] for _ in range(expected)]


def code(refusal: Any) -> str:
    assert isinstance(refusal, ErrorPDU), refusal
    return str(refusal.errorCode)


async def test_a_who_is_without_network_finds_every_device(client: Client, building: Building) -> None:
    assert await client.who_is_there() == {device.instance for device in building.devices}
    assert {found.maxAPDULengthAccepted for found in client.found.values()} == {1476, 480, 206}


@pytest.mark.parametrize("network", ["07d1", "ffff"])
async def test_a_who_is_to_the_network_or_to_all_finds_every_device(
    building: Building, port: int, network: str
) -> None:
    answers = await exchange(port, "0120" + network + "00ff" + "1008", expected=len(building.devices))
    assert {answer[5] for answer in answers} == {device.instance - 2000 for device in building.devices}


async def test_a_who_is_range_is_respected(client: Client) -> None:
    assert await client.who_is_there(2004, 2006, expected=3) == {2004, 2005, 2006}
    assert await client.who_is_there(2004, 2004, expected=1) == {2004}


async def test_the_router_tells_of_its_network_and_of_no_other(client: Client) -> None:
    async with asyncio.timeout(LONGEST_S):
        answers = await client.nse.who_is_router_to_network(destination=Address(client.server), network=2001)
    assert [answer.iartnNetworkList for _, answer in answers] == [[2001]]


async def test_devices_describe_themselves(client: Client) -> None:
    assert await client.read(VAV, f"device,{VAV}", "object-name") == "VAV-1-01"
    assert await client.read(VAV, f"device,{VAV}", "vendor-name") == "Northgate Controls"
    assert await client.read(VAV, f"device,{VAV}", "model-name") == "RoomBox 20"
    assert await client.read(VAV, f"device,{VAV}", "location") == "Floor 1, room 1.01"
    services = str(await client.read(VAV, f"device,{VAV}", "protocol-services-supported"))
    assert "read-property-multiple" in services.split(";")
    services = str(await client.read(SIMPLE_METER, f"device,{SIMPLE_METER}", "protocol-services-supported"))
    assert "read-property-multiple" not in services.split(";")
    assert str(await client.read(VAV, f"device,{VAV}", "local-time")).startswith("08:0")
    assert "2026" in str(await client.read(VAV, f"device,{VAV}", "local-date"))
    assert PropertyIdentifier.location in await client.read(VAV, f"device,{VAV}", "property-list")
    assert (
        code(await client.write(VAV, f"device,{VAV}", CharacterString("x"), name="object-name"))
        == "write-access-denied"
    )


async def test_object_lists_are_read_whole_or_by_index(client: Client, building: Building) -> None:
    objects = await client.read(AHU, f"device,{AHU}", "object-list")
    assert len(objects) == len(building.devices[0].objects) + 1
    assert await client.read(AHU, f"device,{AHU}", "object-list[0]") == len(objects)
    assert await client.read(AHU, f"device,{AHU}", "object-list[2]") == objects[1]


async def test_a_device_without_segmentation_aborts_what_does_not_fit(client: Client) -> None:
    refusal = await client.read(OLD_LIGHTING, f"device,{OLD_LIGHTING}", "object-list")
    assert isinstance(refusal, AbortPDU)
    assert str(refusal.apduAbortRejectReason) == "segmentation-not-supported"
    assert await client.read(OLD_LIGHTING, f"device,{OLD_LIGHTING}", "object-list[0]") == 44
    everything = await client.read_many(OLD_VAV, "analog-input,1", ["all"], "analog-input,2", ["all"])
    assert isinstance(everything, AbortPDU)


async def test_no_answer_is_longer_than_client_or_device_accepts(building: Building, port: int) -> None:
    longest: dict[int, int] = {}
    async with bacnet_client(port, max_apdu=480) as client:
        await client.who_is_there()
        received = client.nsap.local_adapter.confirmation

        async def measure(pdu: Any) -> None:
            longest[client_device] = max(longest.get(client_device, 0), len(pdu.pduData))
            await received(pdu)

        client.nsap.local_adapter.confirmation = measure
        for client_device in (AHU, 2018):
            assert len(await client.read_many(client_device, "analog-input,1", ["all"], "analog-value,1", ["all"])) > 20
    npdu_header = 6
    assert all(length <= 480 + npdu_header for length in longest.values())


async def test_units_states_limits_and_texts_are_there(client: Client) -> None:
    assert str(await client.read(VAV, "analog-input,1", "units")) == "degrees-celsius"
    assert await client.read(VAV, "analog-value,1", "min-pres-value") == 14.0
    assert await client.read(VAV, "analog-value,1", "description") == "Room Temperature Set-point, set by the operator"
    assert await client.read(VAV, "multi-state-value,1", "state-text") == [
        "Automatic",
        "Occupied",
        "Standby",
        "Unoccupied",
    ]
    assert await client.read(VAV, "multi-state-value,1", "state-text[2]") == "Occupied"
    assert await client.read(VAV, "binary-input,1", "active-text") == "Occupied"
    assert await client.read(VAV, "analog-input,1", "cov-increment") == pytest.approx(0.05)
    assert PropertyIdentifier.units in await client.read(VAV, "analog-input,1", "property-list")


async def test_every_object_of_every_device_can_be_read(client: Client, building: Building) -> None:
    for device in building.devices:
        for data in device.objects:
            value = await client.read(device.instance, f"{data.type},{data.instance}")
            assert not isinstance(value, (ErrorPDU, RejectPDU, AbortPDU)), data.name
            if isinstance(data.automatic, str):
                assert value == data.value


async def test_what_is_not_there_is_an_error_in_its_own_place(client: Client) -> None:
    assert code(await client.read(VAV, "analog-input,99")) == "unknown-object"
    assert code(await client.read(VAV, "analog-input,1", "high-limit")) == "unknown-property"
    assert code(await client.read(VAV, "analog-input,1", "units[1]")) == "property-is-not-an-array"
    assert code(await client.read(VAV, "multi-state-value,1", "state-text[9]")) == "invalid-array-index"
    assert await client.read(VAV, "multi-state-value,1", "state-text[0]") == 4
    results = await client.read_many(VAV, "analog-input,1", ["present-value", "high-limit"], "analog-input,99", ["all"])
    assert isinstance(results[0][3], float)
    assert [str(result[3].errorCode) for result in results[1:]] == ["unknown-property", "unknown-object"]


async def test_all_required_and_optional_properties_can_be_asked_for(client: Client) -> None:
    async def names(which: str) -> set[str]:
        return {str(result[1]) for result in await client.read_many(AHU, "analog-input,1", [which])}

    everything, required, optional = await names("all"), await names("required"), await names("optional")
    assert everything == required | optional
    assert "present-value" in required
    assert "resolution" in optional
    device = await client.read_many(AHU, "device,4194303", ["required"])
    assert (device[0][0][1], len(device) > 15) == (AHU, True)


async def test_a_device_without_read_property_multiple_rejects_it(client: Client) -> None:
    refusal = await client.read_many(SIMPLE_METER, "analog-input,1", ["present-value"])
    assert isinstance(refusal, RejectPDU)
    assert str(refusal.apduAbortRejectReason) == "unrecognized-service"
    assert await client.read(SIMPLE_METER, "analog-input,1") > 200.0


async def test_a_command_is_written_read_back_and_relinquished(client: Client) -> None:
    start = await client.read(VAV, "analog-value,1")
    assert await client.write(VAV, "analog-value,1", Real(24.5), priority=8) is None
    assert await client.read(VAV, "analog-value,1") == 24.5
    slots = await client.read(VAV, "analog-value,1", "priority-array")
    assert [slot.real for slot in slots] == [None] * 7 + [24.5] + [None] * 8
    assert (await client.read(VAV, "analog-value,1", "current-command-priority")).unsigned == 8
    assert (await client.read(VAV, "analog-value,1", "priority-array[8]")).real == 24.5
    assert await client.read(VAV, "analog-value,1", "relinquish-default") == start
    assert await client.write(VAV, "analog-value,1", None, priority=8) is None
    assert await client.read(VAV, "analog-value,1") == start
    assert (await client.read(VAV, "analog-value,1", "current-command-priority")).unsigned is None


async def test_all_sorts_of_values_can_be_written(client: Client) -> None:
    assert await client.write(VAV, "binary-output,1", BinaryPV("inactive"), priority=8) is None
    assert str(await client.read(VAV, "binary-output,1")) == "inactive"
    assert await client.write(VAV, "multi-state-value,1", Unsigned(4), priority=8) is None
    assert await client.read(VAV, "multi-state-value,1") == 4
    assert await client.write(VAV, "characterstring-value,1", CharacterString("Küche")) is None
    assert await client.read(VAV, "characterstring-value,1") == "Küche"
    assert await client.write(AHU, "time-value,1", Time("05:15:00")) is None
    assert str(await client.read(AHU, "time-value,1")).startswith("05:15:00")
    assert await client.write(2023, "date-value,1", Date("2025-02-28")) is None
    assert str(await client.read(2023, "date-value,1")).startswith("2025-2-28")


async def test_unsuitable_writes_are_refused_with_the_reason(client: Client) -> None:
    assert code(await client.write(VAV, "analog-value,1", Real(99.0), priority=8)) == "value-out-of-range"
    assert code(await client.write(VAV, "analog-value,1", Real(float("nan")), priority=8)) == "value-out-of-range"
    assert code(await client.write(VAV, "multi-state-value,1", Unsigned(9), priority=8)) == "value-out-of-range"
    assert code(await client.write(AHU, "time-value,1", Time("05:*:*"))) == "value-out-of-range"
    assert code(await client.write(VAV, "analog-input,1", Real(21.0))) == "write-access-denied"
    assert code(await client.write(VAV, "positive-integer-value,1", Unsigned(1))) == "write-access-denied"
    assert (
        code(await client.write(VAV, "analog-value,1", CharacterString("x"), name="description"))
        == "write-access-denied"
    )
    assert code(await client.write(VAV, "analog-value,1", Real(1.0), name="high-limit")) == "unknown-property"
    assert code(await client.write(2023, "analog-value,1", None, priority=8)) == "write-access-denied"
    assert isinstance(await client.write(VAV, "analog-value,1", Real(21.0), priority=17), (RejectPDU, ErrorPDU))


async def test_a_value_of_the_wrong_datatype_is_an_error(client: Client) -> None:
    request = WritePropertyRequest(
        objectIdentifier=ObjectIdentifier("analog-value,1"),
        propertyIdentifier=PropertyIdentifier.presentValue,
        propertyValue=AnyValue(CharacterString("warm")),
        destination=client.address(VAV),
    )
    async with asyncio.timeout(LONGEST_S):
        try:
            refusal = await client.request(request)
        except ErrorPDU as error:
            refusal = error
    assert code(refusal) == "invalid-data-type"


async def test_a_sensor_can_be_taken_out_of_service_and_is_flagged(client: Client) -> None:
    assert await client.write(VAV, "analog-input,1", Boolean(True), name="out-of-service") is None
    assert await client.write(VAV, "analog-input,1", Real(33.0)) is None
    assert await client.read(VAV, "analog-input,1") == 33.0
    assert list(await client.read(VAV, "analog-input,1", "status-flags")) == [0, 0, 0, 1]
    assert await client.write(VAV, "analog-input,1", Boolean(False), name="out-of-service") is None
    assert await client.read(VAV, "analog-input,1") < 30.0


async def test_a_subscriber_is_told_at_once_what_another_client_writes(client: Client) -> None:
    async def next_value(subscription: Any) -> float:
        while True:
            name, value = await subscription.get_value()
            if name == PropertyIdentifier.presentValue:
                return float(value)

    async with asyncio.timeout(LONGEST_S):
        async with client.change_of_value(
            client.address(VAV), await client.parse_object_identifier("analog-value,1"), 1, False, 60
        ) as subscription:
            start = await next_value(subscription)
            await client.write(VAV, "analog-value,1", Real(start + 0.25), priority=8)
            await client.write(VAV, "analog-value,1", Real(start + 2.0), priority=8)
            assert await next_value(subscription) == start + 2.0


async def test_a_room_follows_its_set_point_on_the_wire(port: int) -> None:
    async with served(SimulatorConfig(port=port, speed=1800.0)), bacnet_client(port) as client:
        await client.who_is_there()
        start = await client.read(VAV, "analog-input,1")
        await client.write(VAV, "analog-value,1", Real(start + 3.0), priority=8)

        async def warmer() -> bool:
            return bool(await client.read(VAV, "analog-input,1") > start + 0.3)

        await until(warmer)


async def test_garbage_does_not_disturb_it(client: Client) -> None:
    host, port = client.server.split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for rubbish in (b"", b"x", b"\x81\x0a", b"\x81\x0a\x00\x06\x01\x80", b"\x81\x0a\x00\x08\x01\x04\x00\x05"):
            other.sendto(rubbish, (host, int(port)))
    assert await client.read(VAV, "analog-value,1") > 14.0


async def test_a_message_for_another_network_is_refused_and_one_for_no_device_ignored(
    building: Building, port: int
) -> None:
    to_nobody = "012c" + "07d101ee" + "ff" + READ_PRESENT_VALUE
    to_all_elsewhere = "0120" + "030900" + "ff" + "1008"
    to_one_elsewhere = "0124" + "03090101" + "ff" + READ_PRESENT_VALUE
    [answer] = await exchange(port, to_nobody, to_all_elsewhere, to_one_elsewhere, expected=1)
    assert answer.hex() == "0180" + "03" + "01" + "0309"


async def test_a_client_behind_another_router_gets_its_answer_back_that_way(building: Building, port: int) -> None:
    [answer] = await exchange(port, "0128" + "07d100" + "03070105" + "ff" + "1008" + "0a07d4" + "1a07d4", expected=1)
    assert answer.hex().startswith("0128" + "03070105" + "07d10104" + "ff" + "1000")


async def test_a_taken_port_is_refused_and_named(building: Building, port: int) -> None:
    with pytest.raises(AddressTaken, match=f"UDP port {port} of 127.0.0.1 is taken"):
        async with served(SimulatorConfig(port=port)):
            pass


async def test_a_port_that_a_sharing_program_holds_counts_as_taken(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        with pytest.raises(AddressTaken):
            async with served(SimulatorConfig(port=port)):
                pass


async def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(AddressTaken, match=r"cannot listen on UDP port 47999 of 192\.0\.2\.1"):
        async with served(SimulatorConfig(host="192.0.2.1", port=47999)):
            pass
