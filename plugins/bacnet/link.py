"""Our own UDP end below bacpypes3: one port for it and the engine, shared with no other program."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
from bacpypes3.comm import Server
from bacpypes3.pdu import PDU, IPv4Address, LocalBroadcast

from plugins.bacnet.addresses import Interface
from plugins.bacnet.engine import Engine
from plugins.bacnet.errors import LinkFailed

_EVERYBODY = "255.255.255.255"
_LARGEST_DATAGRAM = 2048
_DRAIN_AT_ONCE = 64
_RECEIVE_BUFFER = 4 << 20
_MOST_AT_WORK = 2000
_MOST_REMEMBERED = 10_000
_LINK_IS_DOWN = {errno.ENETDOWN, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.ENODEV}


@attrs.define
class Traffic:
    """What a link has carried; ``dropped`` came in while too many datagrams were at work, ``broken`` made no sense."""

    datagrams_in: int = 0
    datagrams_out: int = 0
    octets_in: int = 0
    octets_out: int = 0
    dropped: int = 0
    broken: int = 0


class Link(Server):  # type: ignore[misc]
    """The lowest layer of a bacpypes3 stack: datagrams in and out of one port of one interface.

    What answers a request of ``engine`` is its own, and what one of the ``hearers`` takes; all else goes up unchanged.
    The port is bound exclusively. Broadcasts to the subnet come in at a second socket; that one is shared, so that
    several programs on different addresses of this machine each get their copy.
    """

    def __init__(self, interface: Interface, *, option: str, hears_broadcasts: bool = True) -> None:
        super().__init__()
        self.interface = interface
        self.traffic = Traffic()
        self.trouble = ""
        self.engine: Engine | None = None
        self.hearers: list[Callable[[bytes, tuple[str, int]], bool]] = []
        self._option = option
        self._hears_broadcasts = hears_broadcasts and interface.broadcast is not None
        self._own = (interface.ip, interface.port)
        self._sockets: list[socket.socket] = []
        self._at_work: set[asyncio.Task[None]] = set()
        self._peers: dict[tuple[str, int], Any] = {}

    def open(self) -> None:
        """Bind the port and begin to listen; raises LinkFailed, which says which option to change."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            undo.callback(self._close_sockets)
            here = IPv4Address(self._own)
            self._listen(loop, self._own, here, shared=False)
            if self._hears_broadcasts and self.interface.broadcast:
                self._listen(loop, (self.interface.broadcast, self.interface.port), LocalBroadcast(), shared=True)
                self._listen_to_everybody(loop)
            undo.pop_all()

    async def close(self) -> None:
        """Stop listening, and let go of the port."""
        self._close_sockets()
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)

    async def indication(self, pdu: Any) -> None:
        """Send a datagram that comes down the stack; raises OSError where there is no way to its destination."""
        if isinstance(pdu.pduDestination, LocalBroadcast):
            if self.interface.broadcast is None:
                return
            destination = (self.interface.broadcast, self.interface.port)
        else:
            destination = endpoint(pdu.pduDestination)
        self.send(pdu.pduData, destination)

    def send(self, datagram: bytes, destination: tuple[str, int]) -> None:
        """Send a datagram; raises OSError where there is no way to its destination."""
        if not self._sockets:
            raise OSError(errno.ENETDOWN, "the link is closed")
        try:
            self._sockets[0].sendto(datagram, destination)
        except BlockingIOError:  # the send buffer is full: like any datagram on its way, this one is lost
            return
        except OSError as error:
            if error.errno in _LINK_IS_DOWN:
                self.trouble = f"{destination[0]}:{destination[1]}: {error.strerror}"
            raise
        self.trouble = ""
        self.traffic.datagrams_out += 1
        self.traffic.octets_out += len(datagram)

    def _listen(
        self, loop: asyncio.AbstractEventLoop, address: tuple[str, int], heard_at: Any, *, shared: bool
    ) -> None:
        end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sockets.append(end)
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if shared:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT"):  # what bacpypes3 and others share it with
                end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            end.bind(address)
        except OSError as error:
            raise self._failure(address, error) from error
        loop.add_reader(end.fileno(), self._drain, end, heard_at, address[0] == _EVERYBODY)

    def _listen_to_everybody(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear devices, too, that broadcast to 255.255.255.255 instead of to their subnet, where the system lets us."""
        if not ipaddress.IPv4Address(self.interface.ip).is_loopback:
            with contextlib.suppress(LinkFailed):
                self._listen(loop, (_EVERYBODY, self.interface.port), LocalBroadcast(), shared=True)

    def _is_neighbour(self, ip: str) -> bool:
        return ipaddress.IPv4Address(ip) in self.interface.network

    def _failure(self, address: tuple[str, int], error: OSError) -> LinkFailed:
        place = f"UDP port {address[1]} of {address[0]}"
        if error.errno == errno.EADDRINUSE:
            return LinkFailed(f"{place} is taken by another program; stop it, or change {self._option}.")
        if error.errno == errno.EADDRNOTAVAIL:
            return LinkFailed(
                f"No network interface of this machine has the address {address[0]}; change {self._option}."
            )
        return LinkFailed(f"{place} cannot be opened ({error.strerror}); change {self._option}.")

    def _drain(self, end: socket.socket, heard_at: Any, to_everybody: bool) -> None:  # noqa: FBT001 - add_reader's
        """Take what waits in the socket, a bounded number at once, so that nothing else starves.

        What is for everybody comes in from all interfaces of this machine; ours is only what our subnet said.
        """
        own, traffic, engine = self._own, self.traffic, self.engine
        for _ in range(_DRAIN_AT_ONCE):
            try:
                data, address = end.recvfrom(_LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            except OSError as error:  # such as a refused port: what an earlier datagram met with
                self.trouble = str(error.strerror)
                continue
            if address == own or (to_everybody and not self._is_neighbour(address[0])):
                continue
            traffic.datagrams_in += 1
            traffic.octets_in += len(data)
            if (engine is None or not engine.hear(data, address)) and not any(
                hear(data, address) for hear in self.hearers
            ):
                self._hand_up(data, address, heard_at)

    def _hand_up(self, data: bytes, address: tuple[str, int], heard_at: Any) -> None:
        if len(self._at_work) >= _MOST_AT_WORK:
            self.traffic.dropped += 1
        else:
            self._work(self._respond(data, address, heard_at))

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def _respond(self, data: bytes, address: tuple[str, int], heard_at: Any) -> None:
        try:
            await self.response(PDU(data, source=self._peer(address), destination=heard_at))
        except Exception:  # anyone may send anything to a UDP port, and bacpypes3 raises what it likes
            self.traffic.broken += 1

    def _peer(self, address: tuple[str, int]) -> Any:
        peer = self._peers.get(address)
        if peer is None:
            if len(self._peers) >= _MOST_REMEMBERED:
                self._peers.clear()
            peer = self._peers[address] = IPv4Address(address)
        return peer

    def _close_sockets(self) -> None:
        loop = asyncio.get_running_loop()
        for end in self._sockets:
            loop.remove_reader(end.fileno())
            end.close()
        self._sockets.clear()


def endpoint(address: Any) -> tuple[str, int]:
    """Return the IP address and UDP port that a bacpypes3 address of six octets stands for."""
    octets = bytes(address.addrAddr)
    return socket.inet_ntoa(octets[:4]), int.from_bytes(octets[4:], "big")
