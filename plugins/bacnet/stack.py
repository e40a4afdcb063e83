"""bacpypes3 on top of our link: its layers put together, its requests and tasks owned, its traps closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bacpypes3.apdu import UnconfirmedRequestPDU
from bacpypes3.app import Application, DeviceInfo
from bacpypes3.comm import ApplicationServiceElement, bind
from bacpypes3.errors import ExecutionError
from bacpypes3.ipv4.bvll import BVLLCodec
from bacpypes3.ipv4.service import BIPBBMD, BIPForeign, BIPNormal, UDPMultiplexer
from bacpypes3.local.device import DeviceObject
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import IPv4Address
from bacpypes3.settings import settings

from plugins.bacnet.addresses import Interface, Station
from plugins.bacnet.engine import OURS
from plugins.bacnet.link import Link
from plugins.bacnet.own_device import ANY_DEVICE, AccessPoint

_INVOKE_IDS = range(OURS, 256)
_MOST_REMEMBERED = 20_000


class Undecodable(Exception):
    """An answer came that bacpypes3 cannot read."""


class Busy(Exception):
    """All of bacpypes3's invoke ids of a device are in use."""


class Stack(Application):  # type: ignore[misc]
    """A bacpypes3 application that owns its tasks and its outstanding requests.

    ``heard`` is called with each I-Am.
    """

    def __init__(self, device: DeviceObject) -> None:
        super().__init__()
        self.asap = AccessPoint(device, self.device_info_cache)
        self.nsap = NetworkServiceAccessPoint()
        self.nse = NetworkServiceElement()
        bind(self.nse, self.nsap)
        bind(self, self.asap, self.nsap)
        self.add_object(device)
        self.heard: Callable[[Any], None] = lambda _i_am: None
        self._outstanding: dict[Any, dict[int, asyncio.Future[Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_id = OURS

    async def ask(self, apdu: Any, *, longest_s: float) -> Any:
        """Send a confirmed request and return the answer, whichever it is.

        Raises Undecodable, Busy, OSError where there is no way to the device, ValueError and the like where the
        request cannot be encoded, TimeoutError after ``longest_s`` seconds, which bacpypes3's own time-outs precede.
        """
        apdu.encode()
        waiting = self._outstanding.setdefault(apdu.pduDestination, {})
        apdu.apduInvokeID = self._free_id(waiting)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting[apdu.apduInvokeID] = answer
        try:
            async with asyncio.timeout(longest_s):
                self._own(ApplicationServiceElement.request(self, apdu), answer)
                return await answer
        finally:
            del waiting[apdu.apduInvokeID]
            if not waiting:
                self._outstanding.pop(apdu.pduDestination, None)
            self._forget(apdu)

    def request(self, apdu: Any) -> asyncio.Future[Any]:
        """Send an unconfirmed request; there is nothing to wait for."""
        if not isinstance(apdu, UnconfirmedRequestPDU):
            raise TypeError("confirmed requests go through ask()")
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        self._own(ApplicationServiceElement.request(self, apdu), None)
        return done

    async def confirmation(self, apdu: Any) -> None:
        """Hand an answer to whoever waits for it; one that could not be decoded has no invoke id any more."""
        waiting = self._outstanding.get(apdu.pduSource, {})
        if apdu.apduInvokeID is None:
            for answer in waiting.values():
                if not answer.done():
                    answer.set_exception(Undecodable("the answer cannot be decoded"))
            return
        future = waiting.get(apdu.apduInvokeID)
        if future is not None and not future.done():
            future.set_result(apdu)

    async def do_IAmRequest(self, apdu: Any) -> None:  # noqa: N802 - bacpypes3 finds it by this name
        """Note how long an APDU the device takes, and tell who listens."""
        known = self.device_info_cache.address_cache
        if len(known) >= _MOST_REMEMBERED:
            known.clear()
        info = DeviceInfo(int(apdu.iAmDeviceIdentifier[1]), apdu.pduSource)
        info.max_apdu_length_accepted = int(apdu.maxAPDULengthAccepted)
        info.segmentation_supported = apdu.segmentationSupported
        known[apdu.pduSource] = info
        self.heard(apdu)

    async def do_ReadPropertyRequest(self, apdu: Any) -> None:  # noqa: N802 - as above
        """Read a property, also of the device whose number is not known, which bacpypes3 does not find."""
        apdu.objectIdentifier = self._named(apdu.objectIdentifier)
        await super().do_ReadPropertyRequest(apdu)

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802 - as above
        """As with single properties."""
        for specification in apdu.listOfReadAccessSpecs:
            specification.objectIdentifier = self._named(specification.objectIdentifier)
        await super().do_ReadPropertyMultipleRequest(apdu)

    async def do_WritePropertyRequest(self, _apdu: Any) -> None:  # noqa: N802 - as above
        """Let nobody on the network change who we are or how patient."""
        raise ExecutionError(errorClass="property", errorCode="writeAccessDenied")

    async def shut(self) -> None:
        """Stop all timers and tasks."""
        for transaction in [*self.asap.clientTransactions, *self.asap.serverTransactions]:
            transaction.stop_timer()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _named(self, identifier: Any) -> Any:
        return self.device_object.objectIdentifier if identifier == ANY_DEVICE else identifier

    def _free_id(self, waiting: dict[int, asyncio.Future[Any]]) -> int:
        for _ in _INVOKE_IDS:
            self._last_id = self._last_id + 1 if self._last_id + 1 in _INVOKE_IDS else OURS
            if self._last_id not in waiting:
                return self._last_id
        raise Busy

    def _own(self, work: Coroutine[Any, Any, None], answer: asyncio.Future[Any] | None) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) and answer is not None and not answer.done():
                answer.set_exception(error)

        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)

    def _forget(self, apdu: Any) -> None:
        """Remove bacpypes3's state of a request, so that its invoke id is free for the next."""
        running = self.asap.clientTransactions
        for transaction in [*running]:
            if transaction.invokeID == apdu.apduInvokeID and transaction.pdu_address == apdu.pduDestination:
                transaction.stop_timer()
                running.remove(transaction)


class ForeignEnd(BIPForeign):  # type: ignore[misc]
    """A foreign device's end of the link that never gives up its registration (bacpypes3 does, once it has expired)."""

    @property
    def registered(self) -> bool:
        """Whether the BBMD has accepted us."""
        return bool(self.bbmdRegistrationStatus == 0)

    def _registration_expired(self) -> None:
        super()._registration_expired()
        self.register(self.bbmdAddress, self.bbmdTimeToLive)

    async def leave(self) -> None:
        """Stop renewing, and tell the BBMD."""
        self._stop_tracking_registration()
        await self._stop_registration(self.bbmdAddress)


class BbmdEnd(BIPBBMD):  # type: ignore[misc]
    """The end of a link that hands broadcasts on to other BBMDs, and to foreign devices that register with us."""

    registered = True

    def __init__(self, interface: Interface, peers: Sequence[Station]) -> None:
        here = IPv4Address(f"{interface.ip}/{interface.prefix}:{interface.port}")
        super().__init__(here)
        self.add_peer(here)
        for peer in peers:
            self.add_peer(IPv4Address((peer.ip, peer.port)))

    async def leave(self) -> None:
        """Let registrations expire no more."""
        self._fdt_clock_handle.cancel()


def build(
    device: DeviceObject,
    link: Link,
    *,
    foreign: tuple[Station, int] | None = None,
    bbmd: Sequence[Station] | None = None,
) -> tuple[Stack, ForeignEnd | BbmdEnd | None]:
    """Put a device's layers on top of an open link.

    ``foreign`` is a BBMD to register with and the seconds a registration lives; ``bbmd`` are the other BBMDs, where we
    are to be one (annex J.4, J.5).
    """
    logging.getLogger("bacpypes3").setLevel(logging.CRITICAL + 1)  # what it says, we say in our own words
    settings.route_aware = True  # addresses carry their router, so nothing is asked to find it
    stack = Stack(device)
    special: ForeignEnd | BbmdEnd | None = None
    if foreign is not None:
        special = ForeignEnd()
    elif bbmd is not None:
        special = BbmdEnd(link.interface, bbmd)
    end = special or BIPNormal()
    multiplexer = UDPMultiplexer()
    bind(end, BVLLCodec(), multiplexer.annexJ)
    bind(multiplexer, link)
    stack.nsap.bind(end, None, IPv4Address((link.interface.ip, link.interface.port)))
    if foreign is not None:
        end.register(IPv4Address((foreign[0].ip, foreign[0].port)), foreign[1])
    return stack, special
