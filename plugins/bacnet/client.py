"""The door to one BACnet/IP network: the engine for what is read all day, bacpypes3 for everything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from core.plugin import Clock, DeviceTimeout
from plugins.bacnet.addresses import Interface, Station
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
    items_in,
    read_request,
    refusal_in,
    who_is_requests,
    write_request,
)
from plugins.bacnet.wire.datatypes import Items, Ref

MAX_APDU = 1476
_MAX_SEGMENTS = 64
_SEGMENTED_ANSWER_S = 20.0


@attrs.frozen
class Identity:
    """Who we are on the network, and how patient: seconds to wait for an answer, and how often to ask again."""

    instance: int
    name: str
    timeout_s: float
    retries: int


class Client:
    """Requests and answers over one interface; raises DeviceTimeout for silence and Refusal for a device's no.

    ``engine`` is there while the client is open. ``heard`` is called with each I-Am, asked for or not.
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
        self.tally = Tally()
        self.heard: Callable[[IAm], None] = lambda _i_am: None
        self._identity = identity
        self._foreign = foreign
        self._bbmd = bbmd
        self._clock = clock
        self._longest_s = identity.timeout_s * (identity.retries + 1) + _SEGMENTED_ANSWER_S
        self._stack: Stack
        self._end: ForeignEnd | BbmdEnd | None = None

    async def open(self) -> None:
        """Open the port, and register with the BBMD where there is one; raises LinkFailed."""
        self.link.open()
        self.engine = self.link.engine = Engine(self.link.send, self.tally, self._clock)
        device = _own_device(self._identity)
        self._stack, self._end = build(device, self.link, foreign=self._foreign, bbmd=self._bbmd)
        self._stack.heard = lambda apdu: self.heard(i_am_in(apdu, interface=str(self.interface)))

    async def close(self) -> None:
        """Leave the network."""
        self.engine.close()
        if self._end is not None:
            await self._end.leave()
        await self._stack.shut()
        await self.link.close()

    @property
    def state(self) -> tuple[str, str]:
        """Whether the link is ``up``, ``connecting`` or ``down``, and why."""
        if self.link.trouble:
            return "down", self.link.trouble
        if self._end is not None and not self._end.registered and self._foreign is not None:
            return "connecting", f"not registered with the BBMD at {self._foreign[0]}"
        return "up", ""

    def who_is(self, limits: tuple[int, int] | None = None, *, at: Station | None = None) -> None:
        """Ask who is there, all or within limits: everybody, or the one at an address and those behind it."""
        for request in who_is_requests(limits, at):
            self._stack.request(request)

    async def read_long(self, station: Station, ref: Ref) -> Items:
        """Read one property whose value may come in segments."""
        answer = await self._ask(station, read_request(station, ref))
        return items_in(answer.propertyValue)

    async def write(self, station: Station, ref: Ref, value: bytes, *, priority: int | None = None) -> None:
        """Write one property, of its tagged octets."""
        await self._ask(station, write_request(station, ref, value, priority=priority))

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
