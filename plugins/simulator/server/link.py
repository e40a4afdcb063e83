"""The one UDP socket below bacpypes3: bound exclusively, drained in one go, and never unbounded in what it queues."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections import deque

from bacpypes3.comm import Server, bind
from bacpypes3.ipv4.bvll import BVLLCodec
from bacpypes3.ipv4.service import BIPNormal, UDPMultiplexer
from bacpypes3.pdu import PDU, IPv4Address

from plugins.simulator.errors import AddressTaken

RECEIVE_BUFFER_BYTES = 4 << 20
QUEUE_DATAGRAMS = 8192
DRAIN_DATAGRAMS = 256


def open_socket(host: str, port: int) -> socket.socket:
    """Bind a UDP socket that shares its port with nobody; raises AddressTaken."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        opened.bind((host, port))
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressTaken(f"UDP port {port} of {host} is taken by another program") from error
        raise AddressTaken(f"cannot listen on UDP port {port} of {host}: {error.strerror}") from error
    return opened


class UdpLink(Server):  # type: ignore[misc]
    """Hands datagrams up to bacpypes3 one by one, and sends what comes down; says once if it must drop some."""

    def __init__(self, opened: socket.socket) -> None:
        super().__init__()
        self._log = logging.getLogger(__name__)
        self._dropped = 0
        self._socket = opened
        self._waiting: deque[tuple[bytes, tuple[str, int]]] = deque()
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(opened.fileno(), self._drain)
        self._task = asyncio.create_task(self._deliver(), name="simulator:datagrams")

    async def close(self) -> None:
        """Stop, and give the port back."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def indication(self, pdu: PDU) -> None:
        """Send a datagram from the stack; there is no broadcast behind a router's single address."""
        if not isinstance(pdu.pduDestination, IPv4Address):
            return
        try:
            self._socket.sendto(pdu.pduData, pdu.pduDestination.addrTuple)
        except OSError as error:
            self._drop(str(error))

    def _drain(self) -> None:
        for _ in range(DRAIN_DATAGRAMS):
            try:
                received = self._socket.recvfrom(2048)
            except OSError:
                break
            if len(self._waiting) >= QUEUE_DATAGRAMS:
                self._drop("more arrive than can be answered")
            else:
                self._waiting.append(received)
        self._arrived.set()

    def _drop(self, reason: str) -> None:
        if not self._dropped:
            self._log.warning("datagrams are being dropped: %s", reason)
        self._dropped += 1

    async def _deliver(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                data, address = self._waiting.popleft()
                try:
                    await self.response(PDU(data, source=IPv4Address(address)))
                except Exception as error:  # anybody's bytes in a foreign decoder: they must not end the service
                    self._log.debug("datagram from %s not understood: %r", address, error)
                await asyncio.sleep(0)


def stack_on(link: UdpLink) -> BIPNormal:
    """Build bacpypes3's BACnet/IP layers (annex J) on the link; what sits on top binds to the result."""
    layer, multiplexer = BIPNormal(), UDPMultiplexer()
    bind(layer, BVLLCodec(), multiplexer.annexJ)
    bind(multiplexer, link)
    return layer
