"""The one narrow door to a BACnet/IP network: who-is, read, write. Another engine can stand behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from bacpypes3.local.device import DeviceObject

from core.plugin import DeviceTimeout
from plugins.bacnet.addresses import Interface, Station
from plugins.bacnet.errors import Refusal
from plugins.bacnet.link import Link
from plugins.bacnet.planner import Ref
from plugins.bacnet.protocol import Answer, IAm, Items
from plugins.bacnet.stack import Busy, ForeignEnd, Stack, Undecodable, build
from plugins.bacnet.translation import (
    answers_in,
    i_am_in,
    is_silence,
    items_in,
    read_multiple_request,
    read_request,
    refusal_in,
    who_is_requests,
    write_request,
)
from plugins.bacnet.values import Encoded

MAX_APDU = 1476
_MAX_SEGMENTS = 64
_SEGMENTED_ANSWER_S = 20.0
_MISSING = Refusal("error", "missing-from-answer", "services")


@attrs.define
class Tally:
    """How the requests of a client went."""

    requests: int = 0
    timeouts: int = 0
    refusals: int = 0


@attrs.frozen
class Identity:
    """Who we are on the network, and how patient: seconds to wait for an answer, and how often to ask again."""

    instance: int
    name: str
    timeout_s: float
    retries: int


class Client:
    """Requests and answers over one interface; raises DeviceTimeout for silence and Refusal for a device's no.

    ``heard`` is called with each I-Am, asked for or not.
    """

    def __init__(
        self, interface: Interface, identity: Identity, *, option: str, foreign: tuple[Station, int] | None = None
    ) -> None:
        self.interface = interface
        self.link = Link(interface, option=option, hears_broadcasts=foreign is None)
        self.tally = Tally()
        self.heard: Callable[[IAm], None] = lambda _i_am: None
        self._identity = identity
        self._foreign = foreign
        self._longest_s = identity.timeout_s * (identity.retries + 1) + _SEGMENTED_ANSWER_S
        self._stack: Stack
        self._end: ForeignEnd | None = None

    async def open(self) -> None:
        """Open the port, and register with the BBMD where there is one; raises LinkFailed."""
        self.link.open()
        self._stack, self._end = build(_own_device(self._identity), self.link, foreign=self._foreign)
        self._stack.heard = lambda apdu: self.heard(i_am_in(apdu, interface=str(self.interface)))

    async def close(self) -> None:
        """Leave the network."""
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

    async def read(self, station: Station, ref: Ref) -> Items:
        """Read one property."""
        answer = await self._ask(station, read_request(station, ref))
        return items_in(answer.propertyValue)

    async def read_multiple(self, station: Station, refs: Sequence[Ref]) -> list[Answer]:
        """Read several properties with one ReadPropertyMultiple; each has its own value or refusal."""
        answers = answers_in(await self._ask(station, read_multiple_request(station, refs)))
        return [answers.get(ref, _MISSING) for ref in refs]

    async def write(self, station: Station, ref: Ref, value: Sequence[Encoded], *, priority: int | None = None) -> None:
        """Write one property."""
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
            raise Refusal("abort", "undecodable-answer" if isinstance(error, Undecodable) else "busy") from error
        if is_silence(answer):
            self.tally.timeouts += 1
            raise DeviceTimeout(f"{station} did not answer within {self._identity.timeout_s:g} s.")
        refusal = refusal_in(answer)
        if refusal is not None:
            self.tally.refusals += 1
            raise refusal
        return answer


def _own_device(identity: Identity) -> DeviceObject:
    return DeviceObject(
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
