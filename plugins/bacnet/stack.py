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
from bacpypes3.ipv4.bvll import BVLLCodec, DistributeBroadcastToNetwork, Result
from bacpypes3.ipv4.service import BIPBBMD, BIPForeign, BIPNormal, UDPMultiplexer
from bacpypes3.local.device import DeviceObject
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import PDU, IPv4Address, LocalBroadcast
from bacpypes3.settings import settings

from plugins.bacnet.addresses import Interface, Station
from plugins.bacnet.engine import OURS
from plugins.bacnet.link import Link
from plugins.bacnet.own_device import ANY_DEVICE, AccessPoint
from plugins.bacnet.wire.bvll_tables import BdtEntry, End, FdtEntry, ResultCode

_INVOKE_IDS = range(OURS, 256)
_MOST_REMEMBERED = 20_000
_IN_PROCESS = -1  # bacpypes3's own word for a registration that is on its way


class Undecodable(Exception):
    """An answer came that bacpypes3 cannot read."""


class Busy(Exception):
    """All of bacpypes3's invoke ids of a device are in use."""


class Stack(Application):  # type: ignore[misc]
    """A bacpypes3 application that owns its tasks and its outstanding requests.

    ``heard`` is called with each I-Am, ``end`` is the layer that knows how broadcasts leave.
    """

    end: Any

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

    def send(self, npdu: bytes, at: Station | None) -> None:
        """Send a message of our own making to an address, or as a broadcast on our network."""
        destination = LocalBroadcast() if at is None else IPv4Address((at.ip, at.port))
        self._own(self.end.indication(PDU(npdu, destination=destination)), None)

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
    """A foreign device's end of the link, whose registration is kept for it: bacpypes3 itself stops at a refusal."""

    def __init__(self, bbmd: Station) -> None:
        super().__init__()
        self.bbmdAddress = IPv4Address((bbmd.ip, bbmd.port))
        self.is_registered(False)

    def is_registered(self, registered: bool) -> None:  # noqa: FBT001 - it is the value
        """Hand on broadcasts from now on, or have them wait for a moment until there is a registration."""
        self.bbmdRegistrationStatus = 0 if registered else _IN_PROCESS
        if registered:
            self._registration_event.set()
        else:
            self._registration_event.clear()


class BbmdEnd(BIPBBMD):  # type: ignore[misc]
    """The end of a link that hands broadcasts on to other BBMDs, and to foreign devices that register with us."""

    def __init__(self, interface: Interface, peers: Sequence[Station]) -> None:
        here = IPv4Address(f"{interface.ip}/{interface.prefix}:{interface.port}")
        super().__init__(here)
        self.add_peer(here)
        for peer in peers:
            self.add_peer(IPv4Address((peer.ip, peer.port)))

    async def confirmation(self, lpdu: Any) -> None:
        """Hand on no broadcast of a stranger's: one that we have forgotten learns so, and registers again (J.4.5)."""
        if isinstance(lpdu, DistributeBroadcastToNetwork) and not self._is_registered(lpdu.pduSource):
            await self.request(Result(ResultCode.DISTRIBUTE_BROADCAST_TO_NETWORK_NAK, destination=lpdu.pduSource))
            return
        await super().confirmation(lpdu)

    @property
    def bdt(self) -> tuple[BdtEntry, ...]:
        """The broadcast distribution table, ourselves included."""
        return tuple(BdtEntry(End(*each.addrTuple), str(each.netmask)) for each in self.bbmdBDT)

    @bdt.setter
    def bdt(self, entries: Sequence[BdtEntry]) -> None:
        self.bbmdBDT = [IPv4Address(f"{each.address.ip}/{each.mask}:{each.address.port}") for each in entries]

    @property
    def fdt(self) -> tuple[FdtEntry, ...]:
        """The foreign devices that are registered with us."""
        return tuple(FdtEntry(End(*each.fdAddress.addrTuple), each.fdTTL, each.fdRemain) for each in self.bbmdFDT)

    def remove_foreign(self, device: End) -> bool:
        """Forget a foreign device; False where it is not registered."""
        return bool(self.delete_foreign_device_table_entry(IPv4Address(tuple(device))) == 0)

    def stop(self) -> None:
        """Let registrations expire no more."""
        self._fdt_clock_handle.cancel()

    def _is_registered(self, device: Any) -> bool:
        return any(each.fdAddress == device for each in self.bbmdFDT)


def build(
    device: DeviceObject,
    link: Link,
    *,
    foreign: Station | None = None,
    bbmd: Sequence[Station] | None = None,
) -> tuple[Stack, ForeignEnd | BbmdEnd | None]:
    """Put a device's layers on top of an open link.

    ``foreign`` is the BBMD that we are registered with; ``bbmd`` are the other BBMDs, where we are to be one
    (annex J.4, J.5).
    """
    logging.getLogger("bacpypes3").setLevel(logging.CRITICAL + 1)  # what it says, we say in our own words
    settings.route_aware = True  # addresses carry their router, so nothing is asked to find it
    stack = Stack(device)
    special: ForeignEnd | BbmdEnd | None = None
    if foreign is not None:
        special = ForeignEnd(foreign)
    elif bbmd is not None:
        special = BbmdEnd(link.interface, bbmd)
    end = special or BIPNormal()
    multiplexer = UDPMultiplexer()
    bind(end, BVLLCodec(), multiplexer.annexJ)
    bind(multiplexer, link)
    stack.nsap.bind(end, None, IPv4Address((link.interface.ip, link.interface.port)))
    stack.end = end
    stack.nse.NetworkNumberIs = lambda _adapter, _npdu: None  # what others call our network is no reason to drop theirs
    return stack, special
