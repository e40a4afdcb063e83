"""The one UDP socket: bound exclusively, drained in one go; the fast half has its turn first, then the others."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from bacpypes3.comm import Server, bind
from bacpypes3.ipv4.bvll import BVLLCodec
from bacpypes3.ipv4.service import BIPNormal, UDPMultiplexer
from bacpypes3.pdu import PDU, IPv4Address

from plugins.bacnet.wire.bvll import HEADER, Function
from plugins.simulator.errors import AddressTaken

RECEIVE_BUFFER_BYTES = 4 << 20
QUEUE_DATAGRAMS = 8192
DRAIN_DATAGRAMS = 64
AT_ONCE_DATAGRAMS = 64
PAUSE_S = 0.02
MOST_ASKERS = 256

Address: TypeAlias = tuple[str, int]
Answer: TypeAlias = Callable[[bytes], Sequence[bytes] | None]
Pass: TypeAlias = Callable[[bytes, Address], None]


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
    """Sends what ``answer`` has for a datagram; hands others up to bacpypes3 one by one, and sends what comes down.

    With `pass_by`, both go through somebody else's hands first. ``received`` counts the datagrams that came.

    More answers than a client's socket holds are spread over time: a thousand devices would hear a Who-Is in vain.
    It says once if it must drop something.
    """

    def __init__(self, opened: socket.socket, answer: Answer) -> None:
        super().__init__()
        self._log = logging.getLogger(__name__)
        self._dropped = 0
        self.received = 0
        self._allowed = AT_ONCE_DATAGRAMS
        self._askers: dict[Address, None] = {}
        self._arrive: Pass = self.hand_up
        self._depart: Pass = self.send
        self._socket = opened
        self._answer = answer
        self._waiting: deque[tuple[bytes, Address]] = deque()
        self._later: deque[tuple[bytes, Address]] = deque()
        self._arrived = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(opened.fileno(), self._drain)
        self._timer: asyncio.TimerHandle | None = None
        self._task = asyncio.create_task(self._deliver(), name="simulator:datagrams")

    def pass_by(self, *, arrive: Pass, depart: Pass) -> None:
        """Let ``arrive`` have what is not answered at once, and ``depart`` what bacpypes3 sends."""
        self._arrive, self._depart = arrive, depart

    async def close(self) -> None:
        """Stop, and give the port back."""
        self._loop.remove_reader(self._socket.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def indication(self, pdu: PDU) -> None:
        """Send a datagram from the stack; there is no broadcast behind a router's single address."""
        if not isinstance(pdu.pduDestination, IPv4Address):
            return
        self._depart(bytes(pdu.pduData), pdu.pduDestination.addrTuple)

    def _drain(self) -> None:
        receive, answer = self._socket.recvfrom, self._answer
        for _ in range(DRAIN_DATAGRAMS):
            try:
                data, address = receive(2048)
            except OSError:
                break
            self.received += 1
            self._askers[address] = None
            answers = answer(data)
            if answers is None:
                self._arrive(data, address)
            elif len(answers) == 1 and data[1] != Function.FORWARDED_NPDU:
                self.send(answers[0], address)
            else:
                self.spread(answers, asker_of(data, address))
        if len(self._askers) > MOST_ASKERS:
            self._askers = dict.fromkeys(list(self._askers)[-MOST_ASKERS:])

    def lately(self) -> list[Address]:
        """List who has sent something, the last 256 of them."""
        return list(self._askers)

    def hand_up(self, data: bytes, address: Address) -> None:
        """Let bacpypes3 answer a datagram when it comes to it."""
        if len(self._waiting) >= QUEUE_DATAGRAMS:
            self._drop("more arrive than can be answered")
        else:
            self._waiting.append((data, address))
        self._arrived.set()

    def send(self, data: bytes, address: Address) -> None:
        """Send a datagram at once."""
        try:
            self._socket.sendto(data, address)
        except OSError as error:
            self._drop(str(error))

    def spread(self, answers: Sequence[bytes], address: Address) -> None:
        """Send datagrams, so many at a time."""
        if len(self._later) > QUEUE_DATAGRAMS:
            self._drop("more is asked for than can be sent")
            return
        self._later.extend((data, address) for data in answers)
        self._send_some()

    def _send_some(self) -> None:
        while self._later and self._allowed:
            self._allowed -= 1
            self.send(*self._later.popleft())
        if self._timer is None and self._allowed < AT_ONCE_DATAGRAMS:
            self._timer = self._loop.call_later(PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._timer, self._allowed = None, AT_ONCE_DATAGRAMS
        self._send_some()

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


def asker_of(datagram: bytes, sender: Address) -> Address:
    """Say who wants the answer: the sender, or whose broadcast it forwards (J.2.5)."""
    if datagram[1] != Function.FORWARDED_NPDU:
        return sender
    origin = datagram[HEADER:]
    return socket.inet_ntoa(origin[:4]), int.from_bytes(origin[4:6], "big")
