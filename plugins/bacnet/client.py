"""The door to one BACnet/IP network: the engine for what is read all day, bacpypes3 for everything else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import attrs

from core.plugin import Clock, DeviceTimeout
from core.tasks import end_tasks
from plugins.bacnet.addresses import Interface, Station
from plugins.bacnet.discovery.bbmd import BbmdRequests
from plugins.bacnet.discovery.registration import Registration
from plugins.bacnet.discovery.routers import Routers
from plugins.bacnet.engine import Engine, Tally
from plugins.bacnet.errors import Refusal
from plugins.bacnet.link import Link
from plugins.bacnet.own_device import OurDevice
from plugins.bacnet.protocol import IAm
from plugins.bacnet.requests import undecodable
from plugins.bacnet.stack import BbmdEnd, Busy, ForeignEnd, Stack, Undecodable, build
from plugins.bacnet.translation import (
    i_am_in,
    is_silence,
    octets_in,
    read_request,
    refusal_in,
    who_is_requests,
)
from plugins.bacnet.wire.bvll import CARRIES_NPDU, Function, origin, read_function
from plugins.bacnet.wire.bvll_tables import End, write_register
from plugins.bacnet.wire.datatypes import Ref
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.network_messages import write_what_is_number, write_who_is_router
from plugins.bacnet.wire.npdu import GLOBAL_NETWORK, Place, read_npdu, write_npdu
from plugins.bacnet.wire.who_has import I_HAVE, IHave, WhoHas, read_i_have, write_who_has

LinkState: TypeAlias = Literal["up", "connecting", "down"]

MAX_APDU = 1476
_MAX_SEGMENTS = 64
_SEGMENTED_ANSWER_S = 20.0
_EVERYWHERE = Place(GLOBAL_NETWORK, b"")


@attrs.frozen
class Identity:
    """Who we are on the network, and how patient: seconds to wait for an answer, and how often to ask again."""

    instance: int
    name: str
    timeout_s: float
    retries: int


class Client:
    """Requests and answers over one interface; raises DeviceTimeout for silence and Refusal for a device's no.

    ``engine`` is there while the client is open. ``heard`` is called with each I-Am, asked for or not, ``told`` with
    each I-Have. ``registration`` is ours as a foreign device, of which ``noticed`` hears that it began or ended.
    """

    engine: Engine

    def __init__(
        self,
        interface: Interface,
        identity: Identity,
        *,
        option: str,
        foreign: tuple[Station, int] | None = None,
        bbmd: Sequence[Station] | None = None,
        clock: Clock,
    ) -> None:
        self.interface = interface
        self.link = Link(interface, option=option, hears_broadcasts=foreign is None)
        self.link.hearers.append(self._take)
        self.tally = Tally()
        self.heard: Callable[[IAm], None] = lambda _i_am: None
        self.told: Callable[[IHave, Station], None] = lambda _i_have, _station: None
        self.routers = Routers(clock)
        self.bbmds = BbmdRequests(self.link.send, timeout_s=identity.timeout_s, retries=identity.retries)
        self.registration = None if foreign is None else Registration(_end(foreign[0]), foreign[1], self.bbmds, clock)
        if self.registration is not None:
            self.registration.changed = self._registration_changed
        self.noticed: Callable[[Registration], None] = lambda _registration: None
        self._identity = identity
        self._foreign = None if foreign is None else foreign[0]
        self._bbmd = bbmd
        self._clock = clock
        self._longest_s = identity.timeout_s * (identity.retries + 1) + _SEGMENTED_ANSWER_S
        self._stack: Stack
        self._end: ForeignEnd | BbmdEnd | None = None
        self._keeping: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open the port, and begin to register with the BBMD where there is one; raises LinkFailed."""
        self.link.open()
        self.engine = self.link.engine = Engine(self.link.send, self.tally, self._clock)
        device = _own_device(self._identity)
        self._stack, self._end = build(device, self.link, foreign=self._foreign, bbmd=self._bbmd)
        self._stack.heard = lambda apdu: self.heard(i_am_in(apdu, interface=str(self.interface)))

        if self.registration is not None:
            self._keeping.append(asyncio.create_task(self.registration.keep(), name="bacnet:registration"))

    async def close(self) -> None:
        """Leave the network."""
        self.engine.close()
        await end_tasks(self._keeping)
        self._keeping.clear()
        if self.registration is not None and self.registration.registered:
            with contextlib.suppress(OSError):
                self.link.send(write_register(0), self.registration.bbmd)
        if isinstance(self._end, BbmdEnd):
            self._end.stop()
        await self._stack.shut()
        await self.link.close()

    @property
    def state(self) -> tuple[LinkState, str]:
        """Whether the link is ``up``, ``connecting`` or ``down``, and why."""
        if self.link.trouble:
            return "down", self.link.trouble
        if self.registration is not None and not self.registration.registered:
            return "connecting", f"not registered with the BBMD at {self._foreign}: {self.registration.reason}"
        return "up", ""

    @property
    def own_bbmd(self) -> BbmdEnd | None:
        """Our tables, where we are a BBMD."""
        return self._end if isinstance(self._end, BbmdEnd) else None

    def who_is(self, limits: tuple[int, int] | None = None, *, at: Station | None = None) -> None:
        """Ask who is there, all or within limits: everybody, or the one at an address and those behind it."""
        for request in who_is_requests(limits, at):
            self._stack.request(request)

    def who_has(self, asked: WhoHas, *, at: Station | None = None) -> None:
        """Ask who has an object, as `who_is` asks who is there."""
        self._say(write_who_has(asked), at)

    def who_is_router(self, *, at: Station | None = None) -> None:
        """Ask which networks are behind which routers, and what our network is called."""
        self._stack.send(write_who_is_router(), at)
        if at is None:
            self._stack.send(write_what_is_number(), None)

    async def read_long(self, station: Station, ref: Ref) -> bytes:
        """Read one property whose value may come in segments; answers its tagged octets."""
        answer = await self._ask(station, read_request(station, ref))
        return octets_in(answer.propertyValue)

    def _registration_changed(self) -> None:
        """Let broadcasts through while we are registered, and tell whoever wants to know."""
        if isinstance(self._end, ForeignEnd) and self.registration is not None:
            self._end.is_registered(self.registration.registered)
            self.noticed(self.registration)

    def _say(self, apdu: bytes, at: Station | None) -> None:
        """Send a message without answer to everybody, or to an address and those behind it."""
        headers = [write_npdu(destination=_EVERYWHERE)]
        if at is not None and at.network is not None:
            headers = [write_npdu(destination=Place(at.network, at.mac))]
        elif at is not None:
            headers.append(write_npdu())
        for header in headers:
            self._stack.send(header + apdu, at)

    def _take(self, datagram: bytes, address: tuple[str, int]) -> bool:
        """Hear, below bacpypes3, what is ours alone; answer whether nobody else wants it."""
        try:
            function = read_function(datagram)
            at = CARRIES_NPDU.get(function)
            if at is None:
                return self.bbmds.hear(datagram, address)
            header = read_npdu(datagram, at)
            sender = origin(datagram) if function == Function.FORWARDED_NPDU else address
            if header.for_application:
                if datagram[header.at : header.at + 2] == I_HAVE:
                    self.told(read_i_have(datagram, header.at), self._station(sender, header.source))
            elif header.source is None:
                self.routers.hear(datagram, header.at, self._station(sender, None))
        except DecodeError:  # bacpypes3 counts it
            return False
        return False

    def _station(self, address: tuple[str, int], source: Place | None) -> Station:
        if source is None:
            return Station(str(self.interface), *address)
        return Station(str(self.interface), *address, source.network, source.mac)

    async def _ask(self, station: Station, request: Any) -> Any:
        self.tally.requests += 1
        try:
            answer = await self._stack.ask(request, longest_s=self._longest_s)
        except OSError as error:  # a TimeoutError is one
            self.tally.timeouts += 1
            why = f" ({error.strerror})" if error.strerror else ""
            raise DeviceTimeout(f"{station} did not answer{why}.") from error
        except (Undecodable, Busy) as error:
            self.tally.refusals += 1
            raise (undecodable() if isinstance(error, Undecodable) else Refusal("abort", "busy")) from error
        if is_silence(answer):
            self.tally.timeouts += 1
            raise DeviceTimeout(f"{station} did not answer within {self._identity.timeout_s:g} s.")
        refusal = refusal_in(answer)
        if refusal is not None:
            self.tally.refusals += 1
            raise refusal
        return answer


def _end(station: Station) -> End:
    return End(station.ip, station.port)


def _own_device(identity: Identity) -> OurDevice:
    return OurDevice(
        objectIdentifier=("device", identity.instance),
        objectName=identity.name,
        vendorIdentifier=999,
        vendorName="Plantroom",
        modelName="Plantroom",
        maxApduLengthAccepted=MAX_APDU,
        maxSegmentsAccepted=_MAX_SEGMENTS,
        apduTimeout=int(identity.timeout_s * 1000),
        apduSegmentTimeout=int(identity.timeout_s * 1000),
        numberOfApduRetries=identity.retries,
    )
