"""Our registration as a foreign device: renewed, asked for again after a refusal or a restart, shown as it is."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from core.plugin import Health
from plugins.bacnet.config import Bbmd, Foreign
from plugins.bacnet.wire import bvll, bvll_tables
from plugins.bacnet.wire.bvll_tables import ResultCode

BBMD, HERE = "127.0.0.91:47951", "127.0.0.90/8:47952"


class Registrar(asyncio.DatagramProtocol):
    """A BBMD that registers foreign devices, or answers with another result, or not at all."""

    def __init__(self):
        self.code = ResultCode.SUCCESSFUL_COMPLETION
        self.silent = False
        self.ttls = []
        self.broadcasts = 0

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        function = bvll.read_function(data)
        if function == bvll.Function.REGISTER_FOREIGN_DEVICE:
            self.ttls.append(int.from_bytes(data[4:6], "big"))
            if not self.silent:
                self.transport.sendto(bvll_tables.write_result(self.code), address)
        elif function == bvll.Function.DISTRIBUTE_BROADCAST_TO_NETWORK:
            self.broadcasts += 1

    def forgets(self, address):
        code = ResultCode.DISTRIBUTE_BROADCAST_TO_NETWORK_NAK
        self.transport.sendto(bvll_tables.write_result(code), address)


@pytest.fixture
async def registrar():
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Registrar, local_addr=("127.0.0.91", 47951))
    yield protocol
    transport.close()


async def house_of(start, ttl):
    house = await start(HERE, foreign=Foreign(BBMD, ttl), timeout=0.1)
    (client,) = house.plugin.clients.values()
    return house, client


async def test_a_registration_is_renewed_before_it_ends(start, registrar, until):
    _house, client = await house_of(start, 1)
    await until(lambda: len(registrar.ttls) >= 4)
    assert set(registrar.ttls) == {1}
    assert client.registration.registered
    since = client.registration.since
    await until(lambda: len(registrar.ttls) >= 5)
    assert client.registration.since == since, "a renewal is no new registration"


async def test_a_refused_registration_is_tried_again_and_shown(start, registrar, until):
    registrar.code = ResultCode.REGISTER_FOREIGN_DEVICE_NAK
    house, client = await house_of(start, 1)
    await until(lambda: len(registrar.ttls) >= 2)
    assert client.state[0] == "connecting"
    assert "register-foreign-device-nak" in client.state[1]
    check = house.plugin.register_health_checks()[0]
    assert check.check()[0] is Health.DEGRADED
    with capture_logs() as logs:
        registrar.code = ResultCode.SUCCESSFUL_COMPLETION
        await until(lambda: client.state == ("up", ""))
    assert [line["event"] for line in logs] == ["foreign_device_registered"]
    assert check.check() == (Health.OK, "up")


async def test_a_renewal_that_is_refused_ends_the_registration(start, registrar, until):
    _house, client = await house_of(start, 1)
    await until(lambda: client.registration.registered)
    with capture_logs() as logs:
        registrar.code = ResultCode.REGISTER_FOREIGN_DEVICE_NAK
        await until(lambda: not client.registration.registered)
    assert [(line["event"], line["bbmd"]) for line in logs] == [("foreign_device_unregistered", BBMD)]
    registrar.code = ResultCode.SUCCESSFUL_COMPLETION
    await until(lambda: client.registration.registered)


async def test_a_bbmd_that_was_restarted_and_has_forgotten_us_is_asked_again_at_once(start, registrar, until):
    _house, client = await house_of(start, 30)
    await until(lambda: client.registration.registered)
    registrar.silent = True
    registrar.forgets(("127.0.0.90", 47952))
    await until(lambda: not client.registration.registered)
    assert "has forgotten" in client.state[1] or "did not answer" in client.state[1]
    registrar.silent = False
    await until(lambda: client.registration.registered)
    assert len(registrar.ttls) >= 2


async def test_a_bbmd_that_is_silent_ends_the_registration_when_its_time_is_over(start, registrar, until):
    _house, client = await house_of(start, 1)
    await until(lambda: client.registration.registered)
    registrar.silent = True
    await until(lambda: not client.registration.registered)
    assert "did not answer" in client.state[1]


async def test_broadcasts_go_out_through_the_bbmd_once_there_is_a_registration(start, registrar, until):
    _house, client = await house_of(start, 30)
    client.who_is()
    await until(lambda: registrar.broadcasts == 1)


async def test_we_take_our_leave(start, registrar, until):
    _house, client = await house_of(start, 30)
    await until(lambda: client.registration.registered)
    await client.close()
    await until(lambda: registrar.ttls[-1] == 0)


async def test_a_scan_finds_everything_though_the_bbmd_was_restarted_before_it(bench, start, until):
    bench.device("127.0.0.92/8:47951", 2002, [bench.analog_input(1)])
    bbmd = await start("127.0.0.91/8:47951", bbmd=Bbmd())
    house = await start(HERE, foreign=Foreign(BBMD, 30))
    (client,), (theirs,) = house.plugin.clients.values(), bbmd.plugin.clients.values()
    await until(lambda: client.state == ("up", ""))
    theirs.own_bbmd.bbmdFDT.clear()
    assert sorted((await house.scan()).inventories) == ["bacnet.2002"]
    assert [each.ttl_s for each in theirs.own_bbmd.fdt] == [30]
