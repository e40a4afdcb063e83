"""Device numbers that two devices have, and devices that move: who is listed, and what is told of it."""

from __future__ import annotations

import attrs
import pytest
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.model import Device
from core.plugin import Health
from plugins.bacnet.config import Network
from plugins.bacnet.discovery.duplicates import REMEMBERED_S, ROUNDS, Duplicates

HERE = "127.0.0.90/8:47942"
FIRST, SECOND, THIRD = (f"127.0.0.{number}/8:47942" for number in (91, 92, 93))


def numbers(house):
    return [(each.instance, sorted(map(str, each.places)), each.kept and str(each.kept)) for each in duplicates(house)]


def duplicates(house):
    return house.plugin.driver.duplicates


def health(house):
    return next(check for check in house.plugin.register_health_checks() if check.name == "device numbers").check()


def gauge(house):
    metrics = {metric.name: metric for metric in house.plugin.register_metrics()}
    return list(metrics["plantroom_bacnet_duplicate_device_numbers"].collect())


async def test_of_two_devices_that_are_new_neither_is_listed(bench, start):
    bench.device(FIRST, 2001, [bench.analog_input(1)])
    bench.device(SECOND, 2001, [bench.analog_input(2)])
    bench.device(THIRD, 2003, [bench.analog_input(1)])
    house = await start(HERE)
    with capture_logs() as logs:
        report = await house.scan()
    assert list(report.inventories) == ["bacnet.2003"]
    ((code, detail, remedy),) = report.warnings
    assert code == "device.duplicate"
    assert "127.0.0.91:47942" in detail
    assert "127.0.0.92:47942" in detail
    assert "none of them is listed" in detail
    assert "number of its own" in remedy
    assert numbers(house) == [(2001, ["127.0.0.91:47942", "127.0.0.92:47942"], None)]
    assert [line["event"] for line in logs] == ["device_number_duplicate"]
    state, sentence = health(house)
    assert state is Health.DEGRADED
    assert "2001" in sentence
    assert "127.0.0.91:47942" in sentence
    assert gauge(house) == [({"plugin": "bacnet"}, 1)]


async def test_the_newcomer_is_refused_and_the_device_that_is_known_stays(bench, start):
    bench.device(FIRST, 2001, [bench.analog_input(1)])
    house = await start(HERE)
    await house.scan()
    bench.device(SECOND, 2001, [bench.analog_input(2)])
    report = await house.scan()
    assert report.codes == ["device.duplicate"]
    (inventory,) = report.inventories.values()
    assert inventory.device.address == "127.0.0.91:47942"
    assert [point.key for point in inventory.points] == ["analog-input.1"]
    assert numbers(house) == [(2001, ["127.0.0.91:47942", "127.0.0.92:47942"], "127.0.0.91:47942")]


async def test_a_device_that_is_known_from_before_a_restart_stays_too(bench, start):
    bench.device(FIRST, 2001, [bench.analog_input(1)])
    bench.device(SECOND, 2001, [bench.analog_input(2)])
    house = await start(HERE)
    kept = Device(id="bacnet.2001", plugin="bacnet", name="kept", address="127.0.0.92:47942")
    nowhere = Device(id="bacnet.2002", plugin="bacnet", name="nowhere", address="somewhere")
    report = await house.scan(known=(kept, nowhere))
    assert report.inventories["bacnet.2001"].device.address == "127.0.0.92:47942"


async def test_a_scan_lists_the_one_that_is_left(bench, start):
    bench.device(FIRST, 2001, [bench.analog_input(1)])
    other = bench.device(SECOND, 2001, [bench.analog_input(2)])
    house = await start(HERE)
    assert (await house.scan()).inventories == {}
    await other.unplug()
    with capture_logs() as logs:
        reports = [await house.scan() for _ in range(ROUNDS)]
    assert [report.codes for report in reports[:-1]] == [["device.duplicate"]] * (ROUNDS - 1), "it may be away a moment"
    assert reports[-1].inventories["bacnet.2001"].device.address == "127.0.0.91:47942"
    assert reports[-1].codes == []
    assert [line["event"] for line in logs] == ["device_number_unique"]
    assert health(house)[0] is Health.OK
    assert gauge(house) == [({"plugin": "bacnet"}, 0)]


async def test_one_whose_answer_is_not_heard_is_a_duplicate_yet(bench, start):
    bench.device(FIRST, 2001, [bench.analog_input(1)])
    other = bench.device(SECOND, 2001, [bench.analog_input(2)])
    house = await start(HERE)
    await house.scan()
    other.deaf = True
    report = await house.scan()
    assert report.inventories == {}
    assert report.codes == ["device.duplicate"]


async def test_a_device_whose_answer_is_not_heard_is_not_taken_for_moved(bench, start):
    first = bench.device(FIRST, 2001, [bench.analog_input(1)])
    house = await start(HERE)
    await house.scan()
    first.deaf = True
    bench.device(SECOND, 2001, [bench.analog_input(2)])
    report = await house.scan()
    assert report.inventories == {}
    assert numbers(house) == [(2001, ["127.0.0.91:47942", "127.0.0.92:47942"], "127.0.0.91:47942")]
    assert house.plugin.driver.profiles.get("bacnet.2001").station.ip == "127.0.0.91"


async def test_a_duplicate_that_gets_a_number_of_its_own_is_listed_under_it(bench, start):
    bench.device(FIRST, 2001, [bench.analog_input(1)])
    other = bench.device(SECOND, 2001, [bench.analog_input(2)])
    house = await start(HERE)
    await house.scan()
    await other.unplug()
    bench.device(SECOND, 2002, [bench.analog_input(2)])
    report = await house.scan()
    assert {name: found.device.address for name, found in report.inventories.items()} == {
        "bacnet.2001": "127.0.0.91:47942",
        "bacnet.2002": "127.0.0.92:47942",
    }


async def test_a_newcomer_is_noticed_between_scans(bench, start, until):
    bench.device(FIRST, 2001, [bench.analog_input(1)])
    house = await start(HERE)
    await house.scan()
    newcomer = bench.device(SECOND, 2001, [bench.analog_input(2)])
    newcomer.i_am()
    await until(lambda: len(duplicates(house)) == 1)
    assert numbers(house) == [(2001, ["127.0.0.91:47942", "127.0.0.92:47942"], "127.0.0.91:47942")]
    assert house.found == []


async def test_a_duplicate_ends_when_one_of_them_is_gone(bench, start):
    bench.device(FIRST, 2001, [bench.analog_input(1)])
    house = await start(HERE)
    await house.scan()
    newcomer = bench.device(SECOND, 2001, [bench.analog_input(2)])
    await house.scan()
    await house.plugin.driver.claims.look_again()
    assert len(duplicates(house)) == 1
    await newcomer.unplug()
    for _ in range(ROUNDS - 1):
        await house.plugin.driver.claims.look_again()
        assert len(duplicates(house)) == 1, "it may be away a moment"
    await house.plugin.driver.claims.look_again()
    assert numbers(house) == []


async def test_a_device_that_moved_is_followed_when_it_says_so(bench, start, until):
    before = bench.device(FIRST, 2001, [bench.analog_input(1, 1.0)])
    house = await start(HERE)
    inventory = (await house.scan()).inventories["bacnet.2001"]
    await before.unplug()
    after = bench.device(SECOND, 2001, [bench.analog_input(1, 2.0)])
    with capture_logs() as logs:
        after.i_am()
        await until(lambda: bool(house.found))
    assert [(found.device.id, found.device.address) for found in house.found] == [("bacnet.2001", "127.0.0.92:47942")]
    assert [line["event"] for line in logs] == ["device_moved"]
    assert (await house.read(house.group(inventory)))["analog-input.1"][0] == 2.0
    assert numbers(house) == []


async def test_a_scan_follows_a_device_that_moved(bench, start):
    before = bench.device(FIRST, 2001, [bench.analog_input(1)])
    house = await start(HERE)
    await house.scan()
    await before.unplug()
    bench.device(SECOND, 2001, [bench.analog_input(1)])
    report = await house.scan()
    assert report.inventories["bacnet.2001"].device.address == "127.0.0.92:47942"
    assert report.warnings == []


@pytest.mark.parametrize("lies", ["silent", "stranger"])
async def test_whoever_only_claims_to_be_a_device_is_not_followed(bench, start, until, lies):
    before = bench.device(FIRST, 2001, [bench.analog_input(1)])
    house = await start(HERE)
    await house.scan()
    await before.unplug()
    liar = bench.device(SECOND, 2001 if lies == "silent" else 2999)
    liar.mute = lies == "silent"
    claims = house.plugin.driver.claims
    liar.says_i_am(2001)
    await until(lambda: bool(claims._checking))
    await until(lambda: not claims._checking)
    assert house.found == []
    assert house.plugin.driver.profiles.get("bacnet.2001").station.ip == "127.0.0.91"


async def test_devices_of_two_networks_with_one_number_are_a_duplicate_within_an_instance(bench, start):
    bench.device(FIRST, 2001, [bench.analog_input(1)])
    bench.device("127.0.0.94/8:47943", 2001, [bench.analog_input(1)])
    networks = (Network(HERE), Network("127.0.0.90/8:47943"))
    house = await start(HERE, networks=networks)
    report = await house.scan()
    assert report.inventories == {}
    assert numbers(house) == [(2001, ["127.0.0.91:47942", "127.0.0.94:47943"], None)]


# another device under a number that is known


@pytest.fixture
async def replaced(bench, start):
    """A device that is listed and silent, and another one with its number at another address."""
    first = bench.device(FIRST, 2001, [bench.analog_input(1), bench.analog_output(1)], objectName="chiller")
    house = await start(HERE)
    await house.scan()
    other = bench.device(SECOND, 2001, [bench.analog_input(2), bench.analog_output(1)], objectName="boiler")
    first.mute = first.deaf = True
    return house, first, other


def place_of(house):
    return house.plugin.driver.profiles.get("bacnet.2001").station.ip


CLAIMED = [(2001, ["127.0.0.91:47942", "127.0.0.92:47942"], "127.0.0.91:47942")]


async def test_another_device_is_never_followed_under_the_number_of_a_silent_one(replaced, until):
    house, _first, other = replaced
    with capture_logs() as logs:
        other.i_am()
        await until(lambda: len(duplicates(house)) == 1)
        other.i_am()
        await house.plugin.driver.claims.look_again()
    assert numbers(house) == CLAIMED
    assert (house.found, place_of(house)) == ([], "127.0.0.91")
    assert [(line["event"], line["address"], line["listed"]) for line in logs] == [
        ("device_number_claimed", "127.0.0.92:47942", "127.0.0.91:47942")
    ]
    state, sentence = health(house)
    assert state is Health.DEGRADED
    assert "claimed at 127.0.0.92:47942 by another device than the one at 127.0.0.91:47942" in sentence


@pytest.mark.parametrize("instances", [(), ("2000-2002",)])
async def test_a_scan_that_does_not_name_the_number_lists_no_other_device_under_it(replaced, instances):
    house, _first, _other = replaced
    for _ in range(ROUNDS + 1):
        report = await house.scan(instances=instances)
        assert report.inventories == {}
        ((code, detail, remedy),) = report.warnings
        assert code == "device.duplicate"
        assert "claimed at 127.0.0.92:47942 by another device" in detail
        assert "scan with instances [2001]" in remedy
    assert numbers(house) == CLAIMED
    assert place_of(house) == "127.0.0.91"


async def test_a_scan_that_names_the_number_takes_the_replacement(replaced):
    house, first, _other = replaced
    assert (await house.scan()).inventories == {}
    with capture_logs() as logs:
        report = await house.scan(instances=(2001,))
    assert report.codes == []
    assert report.inventories["bacnet.2001"].device.name == "boiler"
    assert place_of(house) == "127.0.0.92"
    assert [line["event"] for line in logs] == ["device_number_unique", "device_replaced"]
    first.mute = first.deaf = False
    assert (await house.scan()).codes == ["device.duplicate"]
    assert place_of(house) == "127.0.0.92"


async def test_a_scan_that_names_the_number_keeps_a_listed_device_that_answers(replaced):
    house, first, _other = replaced
    first.mute = False
    report = await house.scan(instances=(2001,))
    assert report.codes == ["device.duplicate"]
    assert place_of(house) == "127.0.0.91"


async def test_when_the_known_device_was_deleted_the_other_is_listed(replaced):
    house, _first, _other = replaced
    assert (await house.scan()).inventories == {}
    del house.listed.devices["bacnet.2001"]
    await house.plugin.driver.claims.look_again()
    report = await house.scan()
    assert report.inventories["bacnet.2001"].device.name == "boiler"
    assert place_of(house) == "127.0.0.92"
    assert numbers(house) == []


async def test_a_copy_that_was_seen_beside_the_device_is_not_taken_for_it_within_a_day(bench, start, until):
    first = bench.device(FIRST, 2001, [bench.analog_input(1)])
    clock = ManualClock()
    house = await start(HERE)
    await house.scan()
    copy = bench.device(SECOND, 2001, [bench.analog_input(1)])
    copy.i_am()
    await until(lambda: len(duplicates(house)) == 1)
    await copy.unplug()
    for _ in range(ROUNDS):
        await house.plugin.driver.claims.look_again()
    assert numbers(house) == []
    first.mute = True
    bench.device(SECOND, 2001, [bench.analog_input(1)]).i_am()
    await until(lambda: len(duplicates(house)) == 1)
    assert (house.found, place_of(house)) == ([], "127.0.0.91")
    place = next(place for place in duplicates(house).get(2001).places if place.ip == "127.0.0.92")
    aged = Duplicates(attrs.evolve(house.plugin.ctx, clock=clock))
    aged.note(2001, duplicates(house).get(2001).places, None)
    aged.looked(2001, gone=(place,), silent=())
    assert aged.concerned(2001, place)
    await clock.advance(REMEMBERED_S)
    assert not aged.concerned(2001, place)


async def test_probes_of_whoever_claims_a_number_leave_the_known_profile_alone(replaced, until):
    house, _first, other = replaced
    known = house.plugin.driver.profiles.get("bacnet.2001")
    learned, network = known.learned(), known.lane
    other.knows_multiple = False
    other.i_am()
    await until(lambda: len(duplicates(house)) == 1)
    assert house.plugin.driver.profiles.get("bacnet.2001") is known
    assert known.lane is network
    assert known.silent, "the other's answers are none of its"
    assert known.learned() == learned


async def test_a_plan_of_before_a_move_asks_at_the_new_address(bench, start, until):
    before = bench.device(FIRST, 2001, [bench.analog_input(1, 1.0)])
    house = await start(HERE)
    group = house.group((await house.scan()).inventories["bacnet.2001"])
    assert (await house.read(group))["analog-input.1"][0] == 1.0
    await before.unplug()
    bench.device(SECOND, 2001, [bench.analog_input(1, 2.0)]).i_am()
    await until(lambda: bool(house.found))
    assert (await house.read(group))["analog-input.1"][0] == 2.0


KERNEL = """
plugins:
  bacnet:
    networks: [{address: "127.0.0.90/8:47942"}]
    scan: {interval: null}
    interval: 1
    probe_delay: 1
    timeout: 0.2
    retries: 0
"""
OUTPUT = "/api/v1/points/bacnet.2001.analog-output.1/value"


async def scan(site, **body):
    started = await site.api.post("/api/v1/scans", body)

    async def ended():
        job = (await site.api.get(started.headers["Location"])).json
        return job if job["state"] in ("succeeded", "failed") else None

    return await site.until(ended, seconds=30)


async def test_a_write_reaches_the_device_that_is_listed_or_none(bench, plantroom):
    first = bench.device(FIRST, 2001, [bench.analog_output(1)], objectName="chiller")
    bench.device(THIRD, 2003, [bench.analog_input(1)])
    site = await plantroom(KERNEL)
    assert (await scan(site))["result"]["devices"] == 2
    other = bench.device(SECOND, 2001, [bench.analog_output(1)], objectName="boiler")
    written = []
    take = type(other).do_WritePropertyRequest

    async def write(apdu):
        written.append(apdu)
        await take(other, apdu)

    other.do_WritePropertyRequest = write
    first.mute = first.deaf = True
    other.i_am()

    async def told():
        return (await site.api.get("/api/v1/bacnet/duplicates")).json["items"]

    (duplicate,) = await site.until(told, seconds=10)
    assert duplicate["listed"] == "127.0.0.91:47942"
    assert (await site.api.put(OUTPUT, {"value": 77.0, "priority": 8})).status == 504

    async def offline():
        return (await site.api.get("/api/v1/devices/bacnet.2001")).json["status"] == "offline"

    await site.until(offline, seconds=20)
    job = await scan(site)
    assert [warning["code"] for warning in job["warnings"]] == ["device.duplicate"]
    device = (await site.api.get("/api/v1/devices/bacnet.2001")).json
    assert (device["name"], device["address"], device["vanished"]) == ("chiller", "127.0.0.91:47942", True)
    assert (await site.api.put(OUTPUT, {"value": 77.0, "priority": 8})).status in (409, 504)
    assert written == []

    assert (await site.api.delete("/api/v1/devices/bacnet.2001")).status == 204
    job = await scan(site)
    assert job["warnings"] == []
    device = (await site.api.get("/api/v1/devices/bacnet.2001")).json
    assert (device["name"], device["address"]) == ("boiler", "127.0.0.92:47942")
    assert (await site.api.put(OUTPUT, {"value": 77.0, "priority": 8})).status == 200
    assert len(written) == 1
