"""Who-Is and Who-Has for people: what is answered, with nobody examined or listed."""

from __future__ import annotations

import pytest

from core.errors import Invalid
from plugins.bacnet.config import Bbmd, Foreign
from plugins.bacnet.routes.inquiries import InquiryRoutes, WhoHasBody, WhoIsBody

HERE = "127.0.0.90/8:47970"


def routes_of(house):
    return InquiryRoutes("bacnet", house.plugin.driver)


async def who_is(house, **body):
    answer = await routes_of(house).who_is({}, body=WhoIsBody(**body))
    return [(each.instance, each.address, each.known) for each in answer.items]


async def who_has(house, **body):
    answer = await routes_of(house).who_has({}, body=WhoHasBody(**body))
    return [(each.instance, each.address, each.object_id, each.name, each.known) for each in answer.items]


@pytest.fixture
async def site(bench):
    bench.device("127.0.0.91/8:47970", 2001, [bench.analog_input(1), bench.analog_output(1)])
    return bench.router("127.0.0.92/8:47970", 2001, [3001, 3002], lambda: [bench.analog_input(1)])[1]


async def test_who_answers_who_is_is_told_and_not_listed(site, start):
    house = await start(HERE)
    answer = await routes_of(house).who_is({}, body=WhoIsBody())
    assert [each.instance for each in answer.items] == [2001, 3001, 3002]
    first = answer.items[0]
    assert (first.address, first.interface, first.vendor_id, first.max_apdu, first.segmentation, first.known) == (
        "127.0.0.91:47970",
        HERE,
        999,
        1476,
        True,
        None,
    )
    assert site[0].requests == 0, "nobody is examined"
    await house.scan(instances=("3001",))
    assert await who_is(house, instances=("3001-3005",)) == [
        (3001, "2001:1@127.0.0.92:47970", "bacnet.3001"),
        (3002, "2001:2@127.0.0.92:47970", None),
    ]


async def test_only_those_that_are_asked_for_answer(site, start):
    house = await start(HERE)
    assert [number for number, _at, _known in await who_is(house, instances=(3002, "1-2001"))] == [2001, 3002]
    assert [number for number, _at, _known in await who_is(house, targets=("127.0.0.91:47970",))] == [2001]
    assert [number for number, _at, _known in await who_is(house, targets=("2001:2@127.0.0.92:47970",))] == [3002]
    assert await who_is(house, targets=("127.0.0.99:47970",)) == []
    everybody = await who_is(house, instances=(2001,), targets=("127.255.255.255:47970",))
    assert [number for number, _at, _known in everybody] == [2001], "our subnet's own broadcast"


async def test_two_devices_with_one_number_are_both_told(bench, site, start, until):
    house = await start(HERE)
    await house.scan(instances=("2001",))
    bench.device("127.0.0.93/8:47970", 2001)
    assert await who_is(house, instances=(2001,)) == [
        (2001, "127.0.0.91:47970", "bacnet.2001"),
        (2001, "127.0.0.93:47970", None),
    ]
    await until(lambda: len(house.plugin.driver.duplicates) == 1)


async def test_who_has_an_object_is_told_by_its_id_and_by_its_name(site, start):
    house = await start(HERE)
    await house.scan(instances=("2001",))
    assert await who_has(house, object_id="analog-input.1") == [
        (2001, "127.0.0.91:47970", "analog-input.1", "ai-1", "bacnet.2001"),
        (3001, "2001:1@127.0.0.92:47970", "analog-input.1", "ai-1", None),
        (3002, "2001:2@127.0.0.92:47970", "analog-input.1", "ai-1", None),
    ]
    assert [each[0] for each in await who_has(house, name="ao-1")] == [2001]
    assert [each[0] for each in await who_has(house, name="ai-1", instances=("3002-3009",))] == [3002]
    assert await who_has(house, object_id="device.3001") == [
        (3001, "2001:1@127.0.0.92:47970", "device.3001", "device-3001", None)
    ]
    assert await who_has(house, name="nothing") == []


async def test_targets_of_the_configuration_are_asked_too(bench, start):
    bench.device("127.0.0.91/8:47971", 2001, [bench.analog_input(1)])
    bench.router("127.0.0.92/8:47971", 2001, [3001], lambda: [bench.analog_input(1)])
    bench.router("127.0.0.93/8:47971", 2002, [3002], lambda: [bench.analog_input(1)])
    house = await start(HERE, targets=["127.0.0.91:47971", "127.0.0.92:47971", "2002:*@127.0.0.93:47971"])
    assert [each[0] for each in await who_has(house, name="ai-1")] == [2001, 3001, 3002]
    assert [each[0] for each in await who_is(house)] == [2001, 3001, 3002]


async def test_who_has_goes_through_a_bbmd_as_well(bench, start, until):
    bench.device("127.0.0.91/8:47971", 2001, [bench.analog_input(1)])
    await start("127.0.0.92/8:47971", bbmd=Bbmd())
    house = await start(HERE, foreign=Foreign("127.0.0.92:47971", 60))
    (client,) = house.plugin.clients.values()
    await until(lambda: client.state == ("up", ""))
    assert [each[0] for each in await who_has(house, name="ai-1")] == [2001]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (WhoHasBody(), "object_id"),
        (WhoHasBody(object_id="analog-input.1", name="ai-1"), "object_id"),
        (WhoHasBody(object_id="analog-inputs.1"), "object_id"),
        (WhoHasBody(object_id="analog-input.4194304"), "object_id"),
        (WhoHasBody(name="ai-1", instances=("5-1",)), "instances.0"),
    ],
)
async def test_what_makes_no_sense_is_invalid(start, body, field):
    house = await start(HERE)
    with pytest.raises(Invalid) as caught:
        await routes_of(house).who_has({}, body=body)
    assert caught.value.errors[0].field == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (WhoIsBody(instances=("5-1",)), "instances.0"),
        (WhoIsBody(targets=("999.1.1.1",)), "targets.0"),
        (WhoIsBody(targets=("127.0.0.1", "255.255.255.255")), "targets.1"),
        (WhoIsBody(targets=("224.0.0.1",)), "targets.0"),
        (WhoIsBody(targets=("0.0.0.0:1",)), "targets.0"),
    ],
)
async def test_whom_nobody_can_ask_is_invalid(start, body, field):
    house = await start(HERE)
    with pytest.raises(Invalid) as caught:
        await routes_of(house).who_is({}, body=body)
    assert caught.value.errors[0].field == field
