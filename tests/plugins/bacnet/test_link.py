"""Our end of the wire: a port that nobody shares in silence, broadcasts for everybody, rubbish that hurts nobody."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest
from bacpypes3.comm import Client, bind

from core.errors import PlantroomError
from core.routes import Health
from plugins.bacnet.config import Bbmd, Foreign

HERE = "127.0.0.90/8:47910"


def udp(*options):
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in options:
        end.setsockopt(socket.SOL_SOCKET, option, 1)
    return end


@pytest.mark.parametrize(
    "options", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)]
)
@pytest.mark.parametrize("address", ["127.0.0.90", "0.0.0.0"])
async def test_a_port_that_another_program_has_is_named_with_the_option_that_changes_it(start, options, address):
    with udp(*options) as other:
        other.bind((address, 47910))
        with pytest.raises(PlantroomError) as caught:
            await start(HERE)
    assert "47910" in str(caught.value)
    assert "plugins.bacnet.networks[0].address" in str(caught.value)
    assert caught.value.code == "bacnet.link_failed"


@pytest.mark.parametrize(
    "options", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)]
)
async def test_nobody_can_join_our_port(start, options):
    await start(HERE)
    with udp(*options) as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.90", 47910))


async def test_another_process_on_bacpypes3_is_noticed(start):
    program = (
        "import asyncio, sys\n"
        "from bacpypes3.ipv4.link import NormalLinkLayer\n"
        "from bacpypes3.pdu import IPv4Address\n"
        "async def main():\n"
        "    link = NormalLinkLayer(IPv4Address('127.0.0.90/8:47910'))\n"
        "    await link.server._local_transport_ready.wait()\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    try:
        async with asyncio.timeout(4):
            assert await child.stdout.readline() == b"ready\n"
        with pytest.raises(PlantroomError, match="taken by another program"):
            await start(HERE)
    finally:
        child.kill()
        await child.communicate()


async def test_an_address_that_is_not_ours_is_named(start):
    with pytest.raises(PlantroomError, match=r"has the address 192\.0\.2\.1.*networks\[0\]"):
        await start("192.0.2.1/24:47910")


async def test_a_failed_start_lets_go_of_what_it_had(start):
    with pytest.raises(PlantroomError):
        await start("192.0.2.1/24:47910")
    with udp() as other:
        other.bind(("127.255.255.255", 47910))


async def test_several_addresses_of_one_machine_hear_every_broadcast(bench, start):
    devices = [bench.device(f"127.0.0.{number}/8:47910", 2000 + number) for number in (91, 92, 93)]
    first, second = await start(HERE), await start("127.0.0.89/8:47910")
    assert len(devices) == 3
    for house in (first, second):
        assert sorted((await house.scan()).inventories) == ["bacnet.2091", "bacnet.2092", "bacnet.2093"]


async def test_rubbish_is_counted_and_hurts_nobody(bench, start, until):
    bench.device("127.0.0.91/8:47910", 2001, [bench.analog_input(1)])
    house = await start(HERE)
    traffic = house.plugin.clients[HERE].link.traffic
    rubbish = [
        b"",
        b"\x81",
        b"\x81\x0a\x00\x04",
        b"\x81\x0a\x00\x06\x01\x80",
        b"\x55" * 40,
        b"\x81\x0a\x00\x0a\x01\x00\x30\x01\x0e\xff",
    ]
    with udp() as other:
        for data in rubbish:
            other.sendto(data, ("127.0.0.90", 47910))
    await until(lambda: traffic.datagrams_in >= len(rubbish))
    assert list((await house.scan()).inventories) == ["bacnet.2001"]
    assert traffic.broken > 0


class Stuck(Client):
    """A layer above the link that finishes nothing."""

    async def confirmation(self, _pdu):
        await asyncio.Event().wait()


async def test_what_comes_while_too_much_is_at_work_is_dropped_and_counted(bench):
    link = bench.link(HERE)
    bind(Stuck(), link)
    with udp() as other:
        async with asyncio.timeout(4):
            while not link.traffic.dropped:
                for _ in range(50):
                    other.sendto(b"\x81", ("127.0.0.90", 47910))
                await asyncio.sleep(0)
    assert link.traffic.datagrams_in > 2000


async def test_what_has_no_way_out_is_a_link_that_is_down_until_something_gets_out(bench, start):
    bench.device("127.0.0.91/8:47910", 2001)
    house = await start(HERE)
    check, _numbers = house.plugin.register_health_checks()
    assert check.check() == (Health.OK, "up")
    house.plugin.clients[HERE].link.trouble = "10.0.0.1:47808: Network is unreachable"
    assert check.check() == (Health.DEGRADED, "down: 10.0.0.1:47808: Network is unreachable")
    await house.scan()
    assert check.check() == (Health.OK, "up")


async def test_figures_are_told_for_each_network(bench, start):
    bench.device("127.0.0.91/8:47910", 2001)
    house = await start(HERE)
    await house.scan()
    figures = {metric.name: list(metric.collect()) for metric in house.plugin.register_metrics()}
    ((labels, requests),) = figures["plantroom_bacnet_requests_total"]
    assert labels == {"plugin": "bacnet", "network": HERE}
    assert requests > 0
    assert figures["plantroom_bacnet_datagrams_in_total"][0][1] > 0
    assert house.plugin.register_driver() is house.plugin.driver


async def test_a_foreign_device_finds_what_the_bbmd_reaches(bench, start, until):
    bench.bbmd("127.0.0.91/8:47911", 2001)
    bench.device("127.0.0.92/8:47911", 2002, [bench.analog_input(1)])
    house = await start("127.0.0.90/8:47912", foreign=Foreign("127.0.0.91:47911", 30))
    client = next(iter(house.plugin.clients.values()))
    assert client.state[0] == "connecting"
    await until(lambda: client.state == ("up", ""))
    report = await house.scan()
    assert sorted(report.inventories) == ["bacnet.2001", "bacnet.2002"]
    rows = await house.read(house.group(report.inventories["bacnet.2002"]))
    assert rows["analog-input.1"][0] == 21.5


async def test_a_bbmd_of_ours_polls_on_the_port_by_which_others_reach_further(bench, start, until):
    bench.device("127.0.0.92/8:47911", 2002, [bench.analog_input(1)])
    ours = await start("127.0.0.91/8:47911", bbmd=Bbmd(("127.0.0.93:47911",)))
    foreign = await start("127.0.0.90/8:47912", foreign=Foreign("127.0.0.91:47911", 30))
    client = next(iter(foreign.plugin.clients.values()))
    await until(lambda: client.state == ("up", ""))
    for house in (ours, foreign):
        report = await house.scan()
        assert "bacnet.2002" in report.inventories
        for _ in range(2):
            rows = await house.read(house.group(report.inventories["bacnet.2002"]))
            assert rows["analog-input.1"][0] == 21.5
    assert next(iter(ours.plugin.clients.values())).state == ("up", "")


async def test_a_prefix_without_broadcast_still_reaches_targets(bench, start):
    bench.device("127.0.0.91/8:47910", 2001, [bench.analog_input(1)])
    house = await start("127.0.0.90/32:47910", targets=["127.0.0.91:47910"])
    house.plugin.clients["127.0.0.90/32:47910"].who_is()
    other = await start(HERE.replace("90", "89"))
    inventory = (await other.scan()).inventories["bacnet.2001"]
    rows = await house.read(house.group(inventory))
    assert rows["analog-input.1"][0] == 21.5
