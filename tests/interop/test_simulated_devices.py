"""The simulator's devices, asked by other people's clients: directly, and through its virtual router."""

from __future__ import annotations

import attrs
import pytest

from plugins.bacnet.wire.enumerations import type_number
from plugins.simulator.building import make_building
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.server.link import open_socket
from plugins.simulator.server.service import Service

from .asking import (
    ALL,
    ANALOG_INPUT,
    ANALOG_VALUE,
    ANY_INSTANCE,
    BINARY_OUTPUT,
    DEVICE,
    HIGH_LIMIT,
    MULTI_STATE_VALUE,
    NULL,
    OBJECT_LIST,
    OBJECT_NAME,
    PORT,
    PRESENT_VALUE,
    PRIORITY_ARRAY,
    REQUIRED_OF_A_DEVICE,
    SERVICES_SUPPORTED,
    STATUS_FLAGS,
    Asker,
    Refused,
    enumerated,
    real,
    text,
    unsigned,
)

PLACE = f"127.0.0.94:{PORT}"
AHU, BOX, OLD_BOX, CHILLER, METER, LIGHTING = 2001, 2004, 2017, 2018, 2025, 2028
ROUTED = {AHU, OLD_BOX, CHILLER, METER, LIGHTING}
ROOM, SET_POINT, FAN, MODE = (ANALOG_INPUT, 1), (ANALOG_VALUE, 1), (BINARY_OUTPUT, 1), (MULTI_STATE_VALUE, 1)
SLOTS = 16
PRIORITY = 8

through_routers = pytest.mark.parametrize("asker", ["rusty-bacnet", "bacnet-js"], indirect=True)


@attrs.frozen
class Site:
    """A client, and the devices that it has found; ``places`` are those that it can ask."""

    asker: Asker
    devices: dict[int, SimulatedDevice]
    places: set[int]


@pytest.fixture
async def site(asker, running):
    """Some devices of the building behind the router, and a VAV box on the router's own address."""
    devices = {device.instance: device for device in make_building(1).devices}
    routed = [devices[instance] for instance in sorted(ROUTED)]
    service = Service(routed, open_socket("127.0.0.94", PORT), network=2001, direct=devices[BOX])
    running.push_async_callback(service.close)
    found = await asker.find(PLACE, expected={BOX, *ROUTED})
    assert found.keys() == {BOX, *ROUTED}
    return Site(asker, devices, {BOX, AHU} if "routers" in asker.knows else {BOX})


async def test_a_who_is_to_the_router_finds_all_devices_and_what_they_can(site):
    found = await site.asker.find(PLACE, (OLD_BOX, CHILLER), expected={OLD_BOX, CHILLER})
    network = 2001 if "routers" in site.asker.knows else None
    assert {instance: (each.max_apdu, each.segmented, each.network) for instance, each in found.items()} == {
        OLD_BOX: (206, False, network),
        CHILLER: (480, True, network),
    }
    found = await site.asker.find(PLACE, (BOX, BOX), expected={BOX})
    assert (found[BOX].max_apdu, found[BOX].segmented) == (480, False)


async def test_every_property_that_a_device_must_have_can_be_read(site):
    for place in site.places:
        device = site.devices[place]
        for prop in REQUIRED_OF_A_DEVICE:
            assert await site.asker.read(place, (DEVICE, place), prop) is not None, prop
        assert await site.asker.read(place, (DEVICE, ANY_INSTANCE), OBJECT_NAME) == [device.name]
        objects = await site.asker.read(place, (DEVICE, place), OBJECT_LIST)
        assert objects == [(DEVICE, place), *((type_number(each.type), each.instance) for each in device.objects)]
        assert await site.asker.read(place, (DEVICE, place), OBJECT_LIST, 2) == [objects[1]]
        if "element 0" in site.asker.knows:
            assert await site.asker.read(place, (DEVICE, place), OBJECT_LIST, 0) == [len(objects)]


async def test_every_object_is_read_one_by_one_and_together(site):
    for place in site.places:
        ids = [(type_number(each.type), each.instance) for each in site.devices[place].objects]
        singly = {each: await site.asker.read(place, each, PRESENT_VALUE) for each in ids}
        for first in range(0, len(ids), 10):
            together = await site.asker.read_many(place, {each: [PRESENT_VALUE] for each in ids[first : first + 10]})
            assert together == {each: {PRESENT_VALUE: singly[each]} for each in ids[first : first + 10]}
    room = site.devices[BOX].objects[0]
    assert await site.asker.read(BOX, ROOM, PRESENT_VALUE) == [pytest.approx(room.value, rel=1e-6)]


async def test_all_properties_of_an_object_can_be_asked_for(site):
    for place in site.places:
        everything = (await site.asker.read_many(place, {SET_POINT: [ALL]}))[SET_POINT]
        assert {PRESENT_VALUE, STATUS_FLAGS, PRIORITY_ARRAY, OBJECT_NAME} <= everything.keys()
        assert not any(isinstance(value, Refused) for value in everything.values())


@pytest.mark.parametrize("asker", ["bacnet-js"], indirect=True)  # rusty-bacnet never acknowledges the first of them
async def test_an_answer_that_is_longer_than_an_apdu_comes_in_segments(site):
    ids = [(type_number(each.type), each.instance) for each in site.devices[CHILLER].objects[:8]]
    found = await site.asker.read_many(CHILLER, {each: [ALL] for each in ids})
    names = [each.name for each in site.devices[CHILLER].objects[:8]]
    assert [found[each][OBJECT_NAME] for each in ids] == [[name] for name in names]


@through_routers
async def test_a_device_without_segmentation_aborts_what_is_too_long_and_is_read_by_index(site):
    with pytest.raises(Refused) as caught:
        await site.asker.read(LIGHTING, (DEVICE, LIGHTING), OBJECT_LIST)
    assert caught.value.said["abort"] == "segmentation-not-supported"
    (count,) = await site.asker.read(LIGHTING, (DEVICE, LIGHTING), OBJECT_LIST, 0)
    assert count == len(site.devices[LIGHTING].objects) + 1
    assert await site.asker.read(LIGHTING, (DEVICE, LIGHTING), OBJECT_LIST, 1) == [(DEVICE, LIGHTING)]


@through_routers
async def test_a_device_without_read_property_multiple_rejects_it_and_does_not_claim_to_have_it(site):
    with pytest.raises(Refused) as caught:
        await site.asker.read_many(METER, {ROOM: [PRESENT_VALUE]})
    assert caught.value.said["reject"] == "unrecognized-service"
    (services,) = await site.asker.read(METER, (DEVICE, METER), SERVICES_SUPPORTED)
    assert 12 in services
    assert 14 not in services


async def test_a_point_is_commanded_at_a_priority_and_relinquished(site):
    for place in site.places:
        before = await site.asker.read(place, SET_POINT, PRESENT_VALUE)
        await site.asker.write(place, SET_POINT, PRESENT_VALUE, real(19.5), PRIORITY)
        await site.asker.write(place, SET_POINT, PRESENT_VALUE, real(18.5), 16)
        assert await site.asker.read(place, SET_POINT, PRESENT_VALUE) == [19.5]
        slots = await site.asker.read(place, SET_POINT, PRIORITY_ARRAY)
        assert slots == [19.5 if slot == PRIORITY else 18.5 if slot == SLOTS else None for slot in range(1, SLOTS + 1)]
        assert await site.asker.read(place, SET_POINT, PRIORITY_ARRAY, PRIORITY) == [19.5]
        for priority in (PRIORITY, 16):
            await site.asker.write(place, SET_POINT, PRESENT_VALUE, NULL, priority)
        assert await site.asker.read(place, SET_POINT, PRESENT_VALUE) == before


async def test_all_sorts_of_points_are_written(site):
    for object_id, value in ((FAN, enumerated(1)), (MODE, unsigned(3)), ((40, 1), text("Küche"))):
        await site.asker.write(BOX, object_id, PRESENT_VALUE, value, PRIORITY)
        assert await site.asker.read(BOX, object_id, PRESENT_VALUE) == [value.value]


async def test_several_points_are_written_by_one_request(site):
    for place in site.places:
        some = {SET_POINT: {PRESENT_VALUE: real(19.5)}, MODE: {PRESENT_VALUE: unsigned(2)}}
        await site.asker.write_many(place, some, PRIORITY)
        for object_id, written in some.items():
            assert await site.asker.read(place, object_id, PRESENT_VALUE) == [written[PRESENT_VALUE].value]


@through_routers
async def test_the_first_of_several_points_that_cannot_be_written_ends_the_request(site):
    for place in site.places:
        some = {SET_POINT: {PRESENT_VALUE: real(20.5)}, ROOM: {PRESENT_VALUE: real(1.0)}, MODE: {PRESENT_VALUE: NULL}}
        with pytest.raises(Refused) as caught:
            await site.asker.write_many(place, some, PRIORITY)
        if "failed writes" in site.asker.knows:
            assert caught.value.said["error"] == "write-access-denied"
            assert caught.value.failed == ROOM
        assert await site.asker.read(place, SET_POINT, PRESENT_VALUE) == [20.5]
        await site.asker.write(place, SET_POINT, PRESENT_VALUE, NULL, PRIORITY)  # it still is served


async def test_what_cannot_be_done_is_an_error_that_says_what(site):
    read, write = site.asker.read, site.asker.write
    refusals = {
        "unknown-object": lambda place: read(place, (ANALOG_INPUT, 99), PRESENT_VALUE),
        "unknown-property": lambda place: read(place, SET_POINT, HIGH_LIMIT),
        "invalid-array-index": lambda place: read(place, SET_POINT, PRIORITY_ARRAY, 17),
        "property-is-not-an-array": lambda place: read(place, SET_POINT, PRESENT_VALUE, 1),
        "write-access-denied": lambda place: write(place, ROOM, PRESENT_VALUE, real(1.0), PRIORITY),
        "value-out-of-range": lambda place: write(place, SET_POINT, PRESENT_VALUE, real(1e6), PRIORITY),
        "invalid-data-type": lambda place: write(place, SET_POINT, PRESENT_VALUE, text("warm"), PRIORITY),
    }
    for place in site.places:
        for code, ask in refusals.items():
            with pytest.raises(Refused) as caught:
                await ask(place)
            assert caught.value.said.get("error") == code
        found = await site.asker.read_many(place, {ROOM: [OBJECT_NAME, HIGH_LIMIT], (ANALOG_INPUT, 99): [OBJECT_NAME]})
        assert found[ROOM][HIGH_LIMIT].said["error"] == "unknown-property"
        assert found[ANALOG_INPUT, 99][OBJECT_NAME].said["error"] == "unknown-object"


@pytest.mark.parametrize("confirmed", [True, False])
async def test_a_subscriber_is_told_how_things_stand_and_of_each_change_until_it_cancels(site, confirmed):
    asker = site.asker
    before = await asker.read(BOX, SET_POINT, PRESENT_VALUE)
    await asker.subscribe(BOX, SET_POINT, 7, confirmed=confirmed)
    first = await asker.told(confirmed=confirmed)
    assert (first.process_id, first.object, first.values[PRESENT_VALUE]) == (7, SET_POINT, before)
    await asker.write(BOX, SET_POINT, PRESENT_VALUE, real(19.5), PRIORITY)
    change = await asker.told(confirmed=confirmed)
    assert (change.process_id, change.values[PRESENT_VALUE]) == (7, [19.5])
    assert change.values.keys() == {PRESENT_VALUE, STATUS_FLAGS}

    await asker.cancel(BOX, SET_POINT, 7)
    await asker.subscribe(BOX, MODE, 8, confirmed=confirmed)
    assert (await asker.told(confirmed=confirmed)).object == MODE
    await asker.write(BOX, SET_POINT, PRESENT_VALUE, real(18.5), PRIORITY)
    await asker.write(BOX, MODE, PRESENT_VALUE, unsigned(4), PRIORITY)
    last = await asker.told(confirmed=confirmed)
    assert (last.process_id, last.object, last.values[PRESENT_VALUE]) == (8, MODE, [4])


@pytest.mark.parametrize("asker", ["bacnet-js"], indirect=True)
async def test_a_subscriber_is_told_through_the_router_as_well(site):
    await site.asker.subscribe(AHU, SET_POINT, 7, confirmed=True)
    assert (await site.asker.told(confirmed=True)).object == SET_POINT
    (now,) = await site.asker.read(AHU, SET_POINT, PRESENT_VALUE)
    await site.asker.write(AHU, SET_POINT, PRESENT_VALUE, real(now + 1.0), PRIORITY)
    assert (await site.asker.told(confirmed=True)).values[PRESENT_VALUE] == [now + 1.0]


async def test_a_subscription_to_what_is_not_there_is_an_error(site):
    with pytest.raises(Refused) as caught:
        await site.asker.subscribe(BOX, (ANALOG_INPUT, 99), 7, confirmed=False)
    assert caught.value.said["error"] == "unknown-object"
    await site.asker.cancel(BOX, (ANALOG_INPUT, 1), 99)  # there never was one: no error (13.14.1.3)


async def test_every_service_that_is_not_offered_is_rejected_and_none_is_met_with_silence(site):
    for service, ask in site.asker.others(BOX).items():
        with pytest.raises(Refused) as caught:
            await ask()
        assert "reject" in caught.value.said, service
    await site.asker.announce(BOX)
    assert await site.asker.read(BOX, (DEVICE, BOX), OBJECT_NAME) == [site.devices[BOX].name]
