"""What we are to others on the network: our own Device object, asked by other people's clients."""

from __future__ import annotations

import asyncio
import socket

import pytest

from plugins.bacnet.config import Bbmd, Network
from plugins.bacnet.wire.apdu import PduType, reject_reason
from plugins.bacnet.wire.enumerations import type_number

from .asking import (
    ALL,
    ANALOG_INPUT,
    ANY_INSTANCE,
    DEVICE,
    OBJECT_LIST,
    OBJECT_NAME,
    OBJECT_TYPES_SUPPORTED,
    OPTIONAL,
    PORT,
    PRESENT_VALUE,
    REQUIRED,
    REQUIRED_OF_A_DEVICE,
    SERVICES_SUPPORTED,
    Refused,
    text,
)
from .house import HERE, LONGEST_S

US = 599
OWN = (DEVICE, US)
PLACE = f"127.0.0.80:{PORT}"
WRITE_PROPERTY_MULTIPLE = "write-property-multiple"

# The bits of BACnetServicesSupported (clause 21): confirmed-cov-notification, read-property, read-property-multiple,
# write-property, i-am, i-have, unconfirmed-cov-notification, who-has, who-is.
EXECUTED = {1, 12, 14, 15, 26, 27, 28, 33, 34}


@pytest.fixture
async def met(house, asker):
    """A client that has found us."""
    await asker.find(None, expected={US})
    return asker


async def test_who_is_finds_us_by_broadcast_and_by_address_within_its_limits(house, asker):
    for at, limits in ((None, None), (PLACE, None), (None, (US, US)), (PLACE, (0, US))):
        found = await asker.find(at, limits, expected={US})
        assert (found[US].max_apdu, found[US].segmented, found[US].network) == (1476, True, None)
    await asker.find(None, (US + 1, US + 100), expected=set())
    assert await asker.read(US, OWN, OBJECT_NAME) == ["Plantroom"]
    assert US not in await asker.heard()


async def test_every_property_that_a_device_must_have_can_be_read(met):
    for prop in REQUIRED_OF_A_DEVICE:
        assert await met.read(US, OWN, prop) is not None, prop
    assert await met.read(US, OWN, OBJECT_LIST) == [OWN]
    if "element 0" in met.knows:
        assert await met.read(US, OWN, OBJECT_LIST, 0) == [1]
    assert await met.read(US, OWN, OBJECT_LIST, 1) == [OWN]


async def test_what_it_says_to_support_is_what_it_does_support(met):
    (services,) = await met.read(US, OWN, SERVICES_SUPPORTED)
    assert services == EXECUTED
    (types,) = await met.read(US, OWN, OBJECT_TYPES_SUPPORTED)
    assert types == {type_number("device")}


async def test_a_device_of_unknown_number_is_ours(met):
    anybody = (DEVICE, ANY_INSTANCE)
    assert await met.read(US, anybody, OBJECT_NAME) == ["Plantroom"]
    found = await met.read_many(US, {anybody: [OBJECT_NAME]})
    assert found == {OWN: {OBJECT_NAME: ["Plantroom"]}}


async def test_all_required_and_optional_properties_can_be_asked_for(met):
    everything = (await met.read_many(US, {OWN: [ALL]}))[OWN]
    required = (await met.read_many(US, {OWN: [REQUIRED]}))[OWN]
    optional = (await met.read_many(US, {OWN: [OPTIONAL]}))[OWN]
    assert everything.keys() == required.keys() | optional.keys()
    assert required.keys() >= set(REQUIRED_OF_A_DEVICE) - {371}  # the property list is none of them (15.7.3.1.2)
    assert not required.keys() & optional.keys()
    assert not any(isinstance(value, Refused) for value in everything.values())


async def test_what_is_not_there_is_an_error_that_says_what(met):
    asked = (
        ((ANALOG_INPUT, 1), PRESENT_VALUE, None, ("object", "unknown-object")),
        (OWN, PRESENT_VALUE, None, ("property", "unknown-property")),
        (OWN, OBJECT_LIST, 2, ("property", "invalid-array-index")),
        (OWN, OBJECT_NAME, 1, ("property", "property-is-not-an-array")),
    )
    for object_id, prop, index, (error_class, code) in asked:
        with pytest.raises(Refused) as caught:
            await met.read(US, object_id, prop, index)
        assert (caught.value.error_class, caught.value.said["error"]) == (error_class, code)
    found = await met.read_many(US, {OWN: [OBJECT_NAME, PRESENT_VALUE], (ANALOG_INPUT, 1): [PRESENT_VALUE]})
    assert found[OWN][OBJECT_NAME] == ["Plantroom"]
    assert found[OWN][PRESENT_VALUE].said["error"] == "unknown-property"
    assert found[ANALOG_INPUT, 1][PRESENT_VALUE].said["error"] == "unknown-object"


async def test_nobody_can_write_to_us(met):
    with pytest.raises(Refused) as caught:
        await met.write(US, OWN, OBJECT_NAME, text("Mine"))
    assert (caught.value.error_class, caught.value.said["error"]) == ("property", "write-access-denied")
    assert await met.read(US, OWN, OBJECT_NAME) == ["Plantroom"]


async def test_every_service_that_we_do_not_execute_is_rejected_and_none_is_met_with_silence(met):
    others = {
        "subscribe-cov": lambda: met.subscribe(US, OWN, 1, confirmed=False),
        "cancel-cov": lambda: met.cancel(US, OWN, 1),
        WRITE_PROPERTY_MULTIPLE: lambda: met.write_many(US, {OWN: {OBJECT_NAME: text("Mine")}}, 8),
        **met.others(US),
    }
    for service, ask in others.items():
        with pytest.raises(Refused) as caught:
            await ask()
        assert caught.value.said.get("reject") == "unrecognized-service", service
    await met.announce(US)
    assert await met.read(US, OWN, OBJECT_NAME) == ["Plantroom"]


@pytest.mark.parametrize("asker", ["rusty-bacnet"], indirect=True)
async def test_who_has_finds_our_device_by_number_and_name_within_its_limits(house, asker):
    ours = [(US, OWN, "Plantroom")]
    assert await asker.has(OWN) == ours
    assert await asker.has("Plantroom") == ours
    assert await asker.has("Plantroom", limits=(US, US)) == ours
    assert await asker.has("Plantroom", limits=(US + 1, US + 9)) == []
    assert await asker.has("plantroom") == []
    assert await asker.has((ANALOG_INPUT, 1)) == []


@pytest.mark.parametrize("asker", ["rusty-bacnet"], indirect=True)
async def test_one_that_is_no_bbmd_says_so_to_who_takes_it_for_one(house, asker):
    for ask in (asker.client.read_bdt, asker.client.read_fdt):
        with pytest.raises(asker.rusty.BacnetBvlcNakError):
            await ask(PLACE)
    with pytest.raises(asker.rusty.BacnetBvlcNakError):
        await asker.client.register_foreign_device_bvlc(PLACE, 60)


@pytest.mark.parametrize("asker", ["rusty-bacnet"], indirect=True)
async def test_a_bbmd_of_ours_tells_its_tables_and_takes_registrations(start, asker):
    await start(network=Network(HERE, bbmd=Bbmd()))
    assert [row[0] for row in await asker.client.read_bdt(PLACE)] == [PLACE]
    await asker.client.register_foreign_device_bvlc(PLACE, 60)
    ((entry),) = await asker.client.read_fdt(PLACE)
    assert (entry["address"], entry["ttl"]) == (f"127.0.0.91:{PORT}", 60)
    await asker.client.delete_fdt_entry(PLACE, f"127.0.0.91:{PORT}")
    assert await asker.client.read_fdt(PLACE) == []


@pytest.mark.parametrize("asker", ["bacnet-js"], indirect=True)
async def test_a_foreign_device_on_bacnet_js_finds_us_through_our_bbmd(start, asker):
    await start(network=Network(HERE, bbmd=Bbmd()))
    await asker.node.call("registerForeignDevice", {"address": PLACE}, 60)
    await asker.node.call("whoIsThroughBBMD", {"address": PLACE}, {})
    assert (await asker.node.event("iAm"))["payload"]["deviceId"] == US


MAKES_NO_SENSE = {
    "a service that nobody has": ("0104000501 63", "unrecognized-service"),
    "a write of many in segments": ("01040c0501 00 04 10", "unrecognized-service"),
    "read-property without its property": ("0104000501 0c 0c02000257", "invalid-tag"),
    "read-property cut short": ("0104000501 0c 0c02", "invalid-tag"),
    "read-property of rubbish": ("0104000501 0c ffff", "invalid-tag"),
    "read-property-multiple of nothing": ("0104000501 0e", "invalid-tag"),
}


@pytest.mark.parametrize("what", MAKES_NO_SENSE)
async def test_a_request_that_makes_no_sense_is_rejected(house, what):
    message, reason = MAKES_NO_SENSE[what]
    npdu = bytes.fromhex(message)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.setblocking(False)
        end.bind(("127.0.0.95", PORT))
        end.sendto(b"\x81\x0a" + (len(npdu) + 4).to_bytes(2, "big") + npdu, ("127.0.0.80", PORT))
        async with asyncio.timeout(LONGEST_S):
            answer = await loop.sock_recv(end, 1500)
    assert (answer[6] >> 4, answer[7], reject_reason(answer[8])) == (PduType.REJECT, 1, reason)
