"""A client that is nothing but a socket: what it sends and gets are octets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from plugins.bacnet.wire import apdu, bvll, cov, read_property, read_property_multiple, who_is, write_property
from plugins.bacnet.wire.apdu import PduType, Service
from plugins.bacnet.wire.cov import Subscription
from plugins.bacnet.wire.datatypes import ObjectId, Ref
from plugins.bacnet.wire.enumerations import type_number
from plugins.bacnet.wire.npdu import Npdu, Place, read_npdu, write_npdu
from plugins.simulator.server.service import mac_of

from .asking import NETWORK
from .conftest import LONGEST_S

PRESENT_VALUE = 85
SUBSCRIBED, NOTIFIED, CONFIRMED_NOTIFICATION = b"\x20", b"\x10\x02", b"\x00"


class Heard(NamedTuple):
    """A datagram that came: its network header, and its APDU."""

    npdu: Npdu
    apdu: bytes

    @property
    def type(self) -> PduType:
        return PduType(self.apdu[0] >> 4)

    @property
    def error(self) -> apdu.PropertyError:
        assert self.type is PduType.ERROR, self.apdu.hex()
        return apdu.read_error(self.apdu, 3)

    @property
    def value(self) -> Any:
        """The value that an answer to ReadProperty brings."""
        assert self.apdu[0] == PduType.COMPLEX_ACK << 4, self.apdu.hex()
        return read_property.read_result(self.apdu, 3).items(self.apdu)[0]

    @property
    def values(self) -> list[Any]:
        """The values and errors that an answer to ReadPropertyMultiple brings."""
        assert self.apdu[0] == PduType.COMPLEX_ACK << 4, self.apdu.hex()
        return [each.error or each.items(self.apdu)[0] for each in read_property_multiple.read_result(self.apdu, 3)]

    @property
    def notification(self) -> cov.Notification:
        at = 4 if self.type is PduType.CONFIRMED_REQUEST else 2
        return cov.read_notification(self.apdu, at)

    @property
    def told(self) -> Any:
        """The present value that a notification brings."""
        return self.notification.values[0].items(self.apdu)[0]


def ref(name: str, number: int = PRESENT_VALUE, index: int | None = None) -> Ref:
    kind, _, instance = name.rpartition(".")
    return Ref(ObjectId(type_number(kind), int(instance)), number, index)


def place_of(device: int | Place) -> Place:
    return device if isinstance(device, Place) else Place(NETWORK, mac_of(device))


class Wire:
    """Sends to one address, hears what comes."""

    def __init__(self, own: socket.socket, source: Place | None = None) -> None:
        self._socket = own
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._last_id = 0

    async def send(self, device: int | Place, message: bytes) -> None:
        npdu = write_npdu(destination=place_of(device), source=self._source, expects_reply=True)
        await self._loop.sock_sendall(self._socket, bvll.unicast(npdu + message))

    async def hear(self) -> Heard:
        async with asyncio.timeout(LONGEST_S):
            datagram = await self._loop.sock_recv(self._socket, 2048)
        npdu = read_npdu(datagram, bvll.HEADER)
        return Heard(npdu, datagram[npdu.at :])

    async def ask(self, device: int | Place, service: Service, parameters: bytes) -> Heard:
        await self.send(device, self.request(service, parameters))
        return await self.hear()

    def request(self, service: Service, parameters: bytes) -> bytes:
        self._last_id = (self._last_id + 1) % 256
        return apdu.write_request(service, parameters, invoke_id=self._last_id)

    async def read(self, device: int | Place, name: str, number: int = PRESENT_VALUE) -> Heard:
        return await self.ask(device, Service.READ_PROPERTY, read_property.write_parameters(ref(name, number)))

    async def read_many(self, device: int | Place, refs: Sequence[Ref]) -> Heard:
        return await self.ask(
            device, Service.READ_PROPERTY_MULTIPLE, read_property_multiple.write_parameters(list(refs))
        )

    async def write(self, device: int | Place, name: str, value: bytes, *, priority: int = 8) -> Heard:
        parameters = write_property.write_parameters(ref(name), value, priority=priority)
        return await self.ask(device, Service.WRITE_PROPERTY, parameters)

    async def subscribe(
        self,
        device: int | Place,
        name: str,
        *,
        confirmed: bool | None = False,
        lifetime_s: int | None = 0,
        process: int = 1,
    ) -> Heard:
        wanted = Subscription(process, ref(name).object, confirmed, lifetime_s)
        return await self.ask(device, Service.SUBSCRIBE_COV, cov.write_subscription(wanted))

    async def who_is(self, low: int, high: int | None = None) -> None:
        message = who_is.write_who_is((low, low if high is None else high))
        await self._loop.sock_sendall(self._socket, bvll.unicast(write_npdu(source=self._source) + message))

    async def found(self, count: int) -> list[who_is.IAm]:
        return [who_is.read_i_am((await self.hear()).apdu) for _ in range(count)]


@asynccontextmanager
async def wire_to(address: str, *, source: Place | None = None) -> AsyncIterator[Wire]:
    host, _, port = address.partition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.connect((host, int(port)))
        yield Wire(own, source)
