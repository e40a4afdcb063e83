"""Numbers that strangers give: whatever is said on the network, what is built of it is bounded."""

from __future__ import annotations

import gc
import socket

import pytest
from bacpypes3.apdu import ReadPropertyACK
from bacpypes3.local.multistate import MultiStateValueObject
from bacpypes3.primitivedata import Unsigned
from structlog.testing import capture_logs

from core.clock import ManualClock
from plugins.bacnet.addresses import Station, parse_station
from plugins.bacnet.discovery.calls import MOST_ANSWERS, RollCall, Search
from plugins.bacnet.discovery.duplicates import MOST_PLACES, Duplicates
from plugins.bacnet.discovery.routers import Routers
from plugins.bacnet.objects import Prop
from plugins.bacnet.points import MOST_STATES
from plugins.bacnet.protocol import IAm
from plugins.bacnet.routes.inquiries import InquiryRoutes, WhoIsBody
from plugins.bacnet.wire import bvll, npdu, who_is
from plugins.bacnet.wire import network_messages as messages
from plugins.bacnet.wire.datatypes import ObjectId
from plugins.bacnet.wire.who_has import IHave

HERE = "127.0.0.90/8:47945"
THERE = "127.0.0.91/8:47945"


def says_that_it_has(device, count):
    """Have a device give a wrong length of its object list."""
    answer = type(device).do_ReadPropertyRequest

    async def read(apdu):
        if int(apdu.propertyIdentifier) == Prop.OBJECT_LIST and apdu.propertyArrayIndex == 0:
            ack = ReadPropertyACK(
                objectIdentifier=apdu.objectIdentifier, propertyIdentifier=apdu.propertyIdentifier,
                propertyArrayIndex=0, propertyValue=Unsigned(count), context=apdu,
            )  # fmt: skip
            await device.response(ack)
        else:
            await answer(device, apdu)

    device.do_ReadPropertyRequest = read


def say_i_am(instance, *, behind=None, max_apdu=1476, sender="127.0.0.92"):
    """Send an I-Am to us from an address, or from a network behind it."""
    i_am = who_is.IAm(ObjectId(8, instance), max_apdu, who_is.Segmentation.NONE, 999)
    header = npdu.write_npdu(source=None if behind is None else npdu.Place(behind, b"\x01"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind((sender, 47945))
        end.sendto(bvll.unicast(header + who_is.write_i_am(i_am)), ("127.0.0.90", 47945))


def place(number):
    return Station("here", "10.0.0.1", 47808, 1 + number // 200, bytes((1 + number % 200,)))


def claim(instance, number):
    return IAm(instance, place(number), 480, can_segment=False, vendor_id=999)


@pytest.mark.parametrize("count", [100_001, 3_000_000, 0xFFFFFFFF])
async def test_a_device_that_says_it_has_billions_of_objects_is_told_of_and_not_read(bench, start, count):
    device = bench.device(THERE, 2001, [bench.analog_input(1)], segmentationSupported="no-segmentation")
    says_that_it_has(device, count)
    house = await start(HERE)
    report = await house.scan()
    assert report.inventories == {}
    ((code, detail, _remedy),) = report.warnings
    assert code == "device.unreadable"
    assert f"{count}-objects" in detail
    assert device.requests < 20


async def test_a_list_that_ends_before_it_says_is_not_asked_for_to_its_end(bench, start):
    device = bench.device(THERE, 2001, [bench.analog_input(1)], segmentationSupported="no-segmentation")
    says_that_it_has(device, 100_000)
    house = await start(HERE)
    report = await house.scan()
    assert report.codes == ["device.incomplete"]
    assert [point.key for point in report.inventories["bacnet.2001"].points] == ["analog-input.1"]
    assert device.requests < 500, "one more slice of a thousand, asked for twice"


async def test_a_point_with_billions_of_states_has_those_that_have_a_text(bench, start):
    states = MultiStateValueObject(
        objectIdentifier=("multi-state-value", 1), objectName="mode", presentValue=1, statusFlags=[0, 0, 0, 0],
        eventState="normal", outOfService=False, numberOfStates=0xFFFFFFFF, stateText=["Off", "On"],
    )  # fmt: skip
    bench.device(THERE, 2001, [states])
    house = await start(HERE)
    with capture_logs() as logs:
        report = await house.scan()
    shown = report.point("bacnet.2001.multi-state-value.1").states
    assert (len(shown), shown["1"], shown["2"]) == (MOST_STATES, "Off", "On")
    assert [(line["event"], line["states"]) for line in logs] == [("states_not_believed", 0xFFFFFFFF)]


async def test_networks_that_are_only_claimed_leave_nothing(bench, start, until):
    bench.router("127.0.0.93/8:47945", 5000, [3001])
    house = await start(HERE, timeout=0.1)
    driver, heard = house.plugin.driver, []
    for client in house.plugin.clients.values():
        client.heard = lambda i_am, heard_by=client.heard: (heard.append(i_am), heard_by(i_am))
    asked = []
    send = client.who_is
    client.who_is = lambda *limits, **at: (
        send(*limits, **at),
        [say_i_am(10_000 + number, behind=1 + number) for number in range(50) if not asked],
        asked.append(1),
    )
    report = await house.scan()
    assert len({i_am.instance for i_am in heard}) == 51
    assert list(report.inventories) == ["bacnet.3001"]
    assert report.codes.count("device.unreadable") == 50
    gc.collect()
    assert len(driver.reader.traffic._networks) == 1
    assert [device_id for device_id, _profile in driver.profiles] == ["bacnet.3001"]


async def test_a_number_that_is_claimed_at_too_many_places_is_told_of(start):
    house = await start(HERE, timeout=0.1)
    (client,) = house.plugin.clients.values()
    send = client.who_is
    client.who_is = lambda *limits, **at: (
        send(*limits, **at),
        [say_i_am(2001, behind=1 + number) for number in range(MOST_PLACES + 2)],
    )
    report = await house.scan()
    assert report.inventories == {}
    assert sorted(report.codes) == ["device.duplicate", "scan.too_many"]
    detail = next(detail for code, detail, _remedy in report.warnings if code == "scan.too_many")
    assert detail.startswith("4 answers"), "two of each round"


def test_a_scan_notes_so_many_devices_and_counts_the_others():
    call = RollCall(())
    for instance in range(MOST_ANSWERS + 7):
        call.note(claim(instance, 0), 0.0)
    assert (len(call.answers), call.left_out) == (MOST_ANSWERS, 7)
    call.note(claim(0, 0), 0.0)
    assert call.left_out == 7, "it is noted already"
    search = Search("x")
    for instance in range(MOST_ANSWERS + 7):
        search.note(IHave(ObjectId(8, 1), ObjectId(0, instance), "x"), place(0), 0.0)
    assert len(search.answers) == MOST_ANSWERS


async def test_numbers_that_are_duplicates_are_bounded_with_their_places(start):
    house = await start(HERE)
    duplicates = Duplicates(house.plugin.ctx)
    for instance in range(1010):
        duplicates.note(instance, {place(0): claim(instance, 0), place(1): claim(instance, 1)}, None)
    assert len(duplicates) == 1000
    for first in range(0, 100, 10):
        many = {place(number): claim(0, number) for number in range(first, first + 10)}
        duplicates.note(0, many | {place(99): claim(0, 99)}, place(99))
    assert len(duplicates.get(0).places) == MOST_PLACES
    assert place(99) in duplicates.get(0).places, "the one that is listed is always shown"


@pytest.mark.parametrize(
    ("instance", "station", "max_apdu"),
    [
        (0x3FFFFF, "10.0.0.7", 480),
        (2001, "10.0.0.7", 49),
        (2001, "255.255.255.255", 480),
        (2001, "224.0.0.1", 480),
        (2001, "0.0.0.0", 480),
    ],
)
def test_an_i_am_that_no_device_sends_is_absurd(instance, station, max_apdu):
    assert IAm(instance, Station("here", station, 47808), max_apdu, can_segment=False, vendor_id=999).is_absurd
    assert not IAm(2001, Station("here", "10.0.0.7", 47808), 50, can_segment=False, vendor_id=999).is_absurd


@pytest.mark.parametrize(
    ("network", "mac", "port"), [(0, b"\x01", 1), (0xFFFF, b"\x01", 1), (5, b"", 1), (5, b"\x01", 0)]
)
def test_nobody_is_at_a_place_that_is_none(network, mac, port):
    assert not Station("here", "10.0.0.7", port, network, mac).is_single
    assert parse_station("5:1@10.0.0.7").is_single


async def test_absurd_answers_are_not_told(start):
    house = await start(HERE, timeout=0.2)
    (client,) = house.plugin.clients.values()
    send = client.who_is
    client.who_is = lambda *limits, **at: (
        send(*limits, **at),
        say_i_am(0x3FFFFF),
        say_i_am(2001, max_apdu=0),
        say_i_am(2002, behind=0xFFFF),
        say_i_am(2003),
    )
    answer = await InquiryRoutes("bacnet", house.plugin.driver).who_is({}, body=WhoIsBody())
    assert [each.instance for each in answer.items] == [2003]


async def test_what_routers_say_is_bounded_and_what_was_said_last_is_kept():
    clock = ManualClock()
    routers, home = Routers(clock), parse_station("10.0.0.1")

    def say(station, numbers):
        data = messages.write_i_am_router(numbers)
        routers.hear(data, 2, station)

    say(parse_station("10.0.0.9"), [7])
    say(home, [1, 2])
    for first in range(0, 6000, 500):
        await clock.advance(1)
        say(parse_station(f"10.0.1.{1 + first // 500}"), list(range(1000 + first, 1500 + first)))
        say(home, [1, 2])
    assert sum(len(router.networks) for router in routers) == 4096
    known = {str(router.station): router.networks for router in routers}
    assert set(known["10.0.0.1:47808"]) == {1, 2}, "it is said again and again"
    assert "10.0.0.9:47808" not in known
    routers.forget(clock.monotonic())
    say(parse_station("10.0.0.9"), [7])
    assert sum(len(router.networks) for router in routers) == 503
