"""Device numbers that two devices have, and devices that move: who is listed, and what is told of it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from core.model import Device
from core.plugin import Health
from plugins.bacnet.config import Network

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
        report = await house.scan()
    assert report.inventories["bacnet.2001"].device.address == "127.0.0.91:47942"
    assert report.codes == []
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
