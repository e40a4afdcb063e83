"""The engine: confirmed requests out, answers matched by address and invoke id, deadlines by one timer.

No future, task or timer is made for a request. An invoke id below `OURS` is the engine's, the others are bacpypes3's,
so that both can use one port (ASHRAE 135, 5.4 and 20.1.2.6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeAlias

import attrs

from core.plugin import Clock, DeviceTimeout
from plugins.bacnet.addresses import Station
from plugins.bacnet.errors import Refusal, refused_with
from plugins.bacnet.wire import apdu, bvll, npdu, write_property_multiple
from plugins.bacnet.wire.apdu import FROM_SERVER, SEGMENTED, PduType, Service
from plugins.bacnet.wire.errors import DecodeError

OURS = 192
"""How many of the 256 invoke ids are the engine's; the rest is bacpypes3's."""

TICK_S = 0.02
SHORTEST_ANSWER = 9  # envelope, network header and the three octets of a Reject

_UNICAST = bvll.Function.ORIGINAL_UNICAST_NPDU
_PLAIN, _FROM_BEHIND_A_ROUTER = 0, npdu.HAS_SOURCE
_FROM_A_SERVER = {PduType.SIMPLE_ACK, PduType.COMPLEX_ACK, PduType.ERROR, PduType.REJECT}
_WITHOUT_RESULT = {Service.WRITE_PROPERTY, Service.WRITE_PROPERTY_MULTIPLE, Service.SUBSCRIBE_COV}
_SEGMENTATION_NOT_SUPPORTED = 4  # BACnetAbortReason
_IDS = [bytes((number,)) for number in range(256)]

Outcome: TypeAlias = bytes | Refusal | DeviceTimeout
"""What became of a request: the octets of its result (none, where the service has none), a device's no, or silence."""


@attrs.define
class Tally:
    """How the requests of an engine went; ``late`` answers came when nobody waited any more."""

    requests: int = 0
    repeats: int = 0
    timeouts: int = 0
    refusals: int = 0
    late: int = 0


@attrs.define(eq=False)
class Path:
    """The way to a station: whom to send to, the network header, and how its answers name their source."""

    station: Station
    address: tuple[str, int]
    header: bytes
    source: bytes
    last_id: int = 0

    @classmethod
    def to(cls, station: Station) -> Path:
        """Work out the way to a station."""
        address = station.ip, station.port
        if station.network is None:
            return cls(station, address, npdu.write_npdu(expects_reply=True), b"")
        place = npdu.Place(station.network, station.mac)
        header = npdu.write_npdu(destination=place, expects_reply=True)
        return cls(station, address, header, npdu.write_npdu(source=place)[2:])


class Sender(Protocol):
    """Who has sent a request."""

    def answered(self, outcome: Outcome) -> None:
        """Take the outcome; called once for each `Engine.ask`."""
        ...

    def overdue(self) -> None:
        """Hear that the first try has got no answer, and the next is under way."""
        ...


class Request:
    """A confirmed request that can be sent again and again, though not while it is under way.

    ``waits_s`` are the seconds to wait for an answer to each try. ``sender`` is there while it is under way.
    ``rtt_s`` is how long the answer took, None where it cannot be told because the request was repeated; times are
    monotonic seconds.
    """

    __slots__ = (
        "_after",
        "_before",
        "deadline",
        "ended_at",
        "invoke_id",
        "key",
        "path",
        "rtt_s",
        "sender",
        "sent_at",
        "service",
        "tries",
        "waits_s",
    )

    def __init__(self, path: Path, service: Service, parameters: bytes) -> None:
        message = apdu.write_request(service, parameters)
        whole = bvll.unicast(path.header + message)
        at = bvll.HEADER + len(path.header) + 2
        self._before, self._after = whole[:at], whole[at + 1 :]
        self.path = path
        self.service = service
        self.sender: Sender | None = None
        self.waits_s: tuple[float, ...] = ()
        self.tries = 0
        self.invoke_id = 0
        self.key: tuple[tuple[str, int], bytes, int] = path.address, path.source, 0
        self.sent_at = 0.0
        self.ended_at = 0.0
        self.deadline = 0.0
        self.rtt_s: float | None = None

    def datagram(self) -> bytes:
        """Return what is sent."""
        return self._before + _IDS[self.invoke_id] + self._after


class Engine:
    """Sends requests by ``send``, and takes the answers out of what a link hears."""

    def __init__(self, send: Callable[[bytes, tuple[str, int]], None], tally: Tally, clock: Clock) -> None:
        self.tally = tally
        self._send = send
        self._monotonic = clock.monotonic
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._pending: dict[tuple[tuple[str, int], bytes, int], Request] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def under_way(self) -> int:
        """How many requests wait for their answers."""
        return len(self._pending)

    def ask(self, request: Request, sender: Sender) -> None:
        """Send a request; its sender is told the outcome, never before this returns.

        The planner keeps far fewer requests than `OURS` under way to one station; one more than that is an abort.
        """
        self.tally.requests += 1
        request.tries = 0
        request.rtt_s = None
        if self._closed:
            self._loop.call_soon(sender.answered, DeviceTimeout("The link is closed."))
            return
        path = request.path
        for _ in range(OURS):
            path.last_id = invoke_id = (path.last_id + 1) % OURS
            key = path.address, path.source, invoke_id
            if key not in self._pending:
                break
        else:
            self._loop.call_soon(sender.answered, Refusal("abort", "out-of-resources"))
            return
        request.sender = sender
        request.invoke_id = invoke_id
        request.key = key
        self._pending[key] = request
        self._transmit(request)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_S, self._tick)

    def give_up(self, request: Request) -> None:
        """Wait no longer for a request; its outcome is not told."""
        if self._pending.get(request.key) is request:
            del self._pending[request.key]
        request.sender = None

    def close(self) -> None:
        """Give all requests up, those too that are yet to come."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for request in list(self._pending.values()):
            self._end(request, DeviceTimeout("The link was closed before an answer came."))

    def hear(self, data: bytes, address: tuple[str, int]) -> bool:
        """Take a datagram that answers a request of ours; False: it is for somebody else."""
        if len(data) < SHORTEST_ANSWER or data[1] != _UNICAST:
            return False
        control = data[5]
        if control == _PLAIN:
            at, source = 6, b""
        else:
            at, source = _behind_header(data, control)
            if at + 3 > len(data):
                return False
        first = data[at]
        kind = first >> 4
        if kind not in _FROM_A_SERVER and not (kind in _TWO_WAYS and first & FROM_SERVER):
            return False
        invoke_id = data[at + 1]
        if invoke_id >= OURS:
            return False
        request = self._pending.get((address, source, invoke_id))
        if request is None:
            self.tally.late += 1
        elif kind == PduType.COMPLEX_ACK and not first & SEGMENTED:
            if data[at + 2] == request.service:
                self._end(request, data[at + 3 :])
        else:
            self._told(request, data, at)
        return True

    def _told(self, request: Request, data: bytes, at: int) -> None:
        """Take an answer without result, and say no to one in segments, which was not asked for."""
        kind = data[at] >> 4
        if kind == PduType.SIMPLE_ACK:
            if data[at + 2] == request.service and request.service in _WITHOUT_RESULT:
                self._end(request, b"")
        elif kind == PduType.COMPLEX_ACK:
            abort = apdu.write_abort(request.invoke_id, _SEGMENTATION_NOT_SUPPORTED, from_server=False)
            self._try_to_send(bvll.unicast(request.path.header + abort), request.path.address)
            self._end(request, Refusal("abort", apdu.abort_reason(_SEGMENTATION_NOT_SUPPORTED)))
        else:
            self._refused(request, data, at)

    def _refused(self, request: Request, data: bytes, at: int) -> None:
        """Take an Error, Reject or Abort."""
        kind = data[at] >> 4
        if kind == PduType.ERROR:
            self._end(request, _error_in(data, at + 3, request.service))
        elif kind == PduType.REJECT:
            self._end(request, Refusal("reject", apdu.reject_reason(data[at + 2])))
        elif kind == PduType.ABORT:
            self._end(request, Refusal("abort", apdu.abort_reason(data[at + 2])))
        # A Segment-ACK answers no request of ours, which all come in one piece: as if nothing had come.

    def _transmit(self, request: Request) -> None:
        request.sent_at = now = self._monotonic()
        request.deadline = now + request.waits_s[request.tries]
        request.tries += 1
        error = self._try_to_send(request.datagram(), request.path.address)
        if error is not None:
            silence = DeviceTimeout(f"{request.path.station} did not answer ({error.strerror}).")
            self._loop.call_soon(self._end_if_pending, request, silence)

    def _try_to_send(self, datagram: bytes, address: tuple[str, int]) -> OSError | None:
        try:
            self._send(datagram, address)
        except OSError as error:
            return error
        return None

    def _end_if_pending(self, request: Request, outcome: Outcome) -> None:
        if self._pending.get(request.key) is request:
            self._end(request, outcome)

    def _end(self, request: Request, outcome: Outcome) -> None:
        del self._pending[request.key]
        request.ended_at = now = self._monotonic()
        if request.tries == 1:
            request.rtt_s = now - request.sent_at
        if isinstance(outcome, DeviceTimeout):
            self.tally.timeouts += 1
        elif isinstance(outcome, Refusal):
            self.tally.refusals += 1
        sender, request.sender = request.sender, None
        if sender is not None:
            sender.answered(outcome)

    def _tick(self) -> None:
        """Send what was not answered in time again, or give it up."""
        self._timer = self._loop.call_later(TICK_S, self._tick) if self._pending else None
        now = self._monotonic()
        for request in [request for request in self._pending.values() if request.deadline <= now]:
            if self._pending.get(request.key) is not request:
                continue  # given up meanwhile
            if request.tries < len(request.waits_s):
                self.tally.repeats += 1
                self._transmit(request)
                if request.tries == 2 and request.sender is not None:
                    request.sender.overdue()
            else:
                waited = sum(request.waits_s)
                self._end(request, DeviceTimeout(f"{request.path.station} did not answer within {waited:.3g} s."))


_TWO_WAYS = {PduType.SEGMENT_ACK, PduType.ABORT}


def _error_in(data: bytes, at: int, service: Service) -> Refusal:
    try:
        if service is Service.WRITE_PROPERTY_MULTIPLE:
            error, failed = write_property_multiple.read_error(data, at)
            return refused_with(error, failed=failed)
        return refused_with(apdu.read_error(data, at))
    except DecodeError:
        return Refusal("error", "undecodable-answer", "services")


def _behind_header(data: bytes, control: int) -> tuple[int, bytes]:
    """Return where the message begins, and how its header names the source; beyond the end where it is none for us."""
    if control == _FROM_BEHIND_A_ROUTER:
        at = 9 + data[8]
        return at, data[6:at]
    try:
        header = npdu.read_npdu(data, bvll.HEADER)
    except DecodeError:
        return len(data), b""
    if not header.for_application:
        return len(data), b""
    return header.at, b"" if header.source is None else npdu.write_npdu(source=header.source)[2:]
