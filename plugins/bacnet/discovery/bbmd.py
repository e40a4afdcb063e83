"""Asks BBMDs for their tables, and changes them: requests from our own port, one at a time to each (annex J)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TypeVar
from weakref import WeakValueDictionary

import attrs

from core.plugin import DeviceRefused, DeviceTimeout
from plugins.bacnet.wire import bvll_tables as tables
from plugins.bacnet.wire.bvll import Function
from plugins.bacnet.wire.bvll_tables import BdtEntry, End, FdtEntry, ResultCode
from plugins.bacnet.wire.errors import DecodeError

T = TypeVar("T")

_NOT_OURS = (ResultCode.SUCCESSFUL_COMPLETION, ResultCode.DISTRIBUTE_BROADCAST_TO_NETWORK_NAK)


@attrs.define(eq=False)
class _Asked:
    """A request under way: the function that answers it, and where the answer goes."""

    answer: Function
    outcome: asyncio.Future[bytes]


class BbmdRequests:
    """Requests to BBMDs; each raises DeviceTimeout for silence, and DeviceRefused with what the BBMD said.

    ``unasked`` is called with each result that no request waits for: whose it is, and its code.
    """

    def __init__(self, send: Callable[[bytes, tuple[str, int]], None], *, timeout_s: float, retries: int) -> None:
        self.unasked: Callable[[End, int], None] = lambda _end, _code: None
        self._send = send
        self._timeout_s = timeout_s
        self._tries = retries + 1
        self._asked: dict[End, _Asked] = {}
        self._turns: WeakValueDictionary[End, asyncio.Lock] = WeakValueDictionary()

    async def bdt(self, bbmd: End) -> tuple[BdtEntry, ...]:
        """Read the broadcast distribution table."""
        answer = await self._ask(bbmd, tables.write_read_bdt(), Function.READ_BROADCAST_DISTRIBUTION_TABLE_ACK)
        return _decoded(tables.read_bdt, answer, bbmd)

    async def fdt(self, bbmd: End) -> tuple[FdtEntry, ...]:
        """Read the table of foreign devices."""
        answer = await self._ask(bbmd, tables.write_read_fdt(), Function.READ_FOREIGN_DEVICE_TABLE_ACK)
        return _decoded(tables.read_fdt, answer, bbmd)

    async def write_bdt(self, bbmd: End, entries: Sequence[BdtEntry]) -> None:
        """Replace the broadcast distribution table."""
        await self._ask(bbmd, tables.write_bdt(entries), Function.RESULT)

    async def remove_foreign(self, bbmd: End, device: End) -> None:
        """Remove a foreign device from the table."""
        await self._ask(bbmd, tables.write_delete_foreign(device), Function.RESULT)

    async def register(self, bbmd: End, ttl_s: int) -> None:
        """Register as a foreign device for so many seconds."""
        await self._ask(bbmd, tables.write_register(ttl_s), Function.RESULT)

    def hear(self, datagram: bytes, address: tuple[str, int]) -> bool:
        """Take a datagram that answers a request of ours; False: it is for somebody else."""
        end = End(*address)
        asked = self._asked.get(end)
        function = datagram[1] if len(datagram) > 1 else None
        if function != Function.RESULT:
            if asked is None or function != asked.answer:
                return False
            _settle(asked.outcome, datagram)
            return True
        try:
            code = tables.read_result(datagram)
        except DecodeError:
            return False
        if asked is not None and code not in _NOT_OURS:
            _settle(asked.outcome, refused(end, code))
        elif asked is not None and asked.answer is Function.RESULT and code == ResultCode.SUCCESSFUL_COMPLETION:
            _settle(asked.outcome, datagram)
        else:
            self.unasked(end, code)
            return False
        return True

    async def _ask(self, bbmd: End, request: bytes, answer: Function) -> bytes:
        turn = self._turns.setdefault(bbmd, asyncio.Lock())
        async with turn:
            asked = self._asked[bbmd] = _Asked(answer, asyncio.get_running_loop().create_future())
            try:
                return await self._until_answered(bbmd, request, asked)
            finally:
                del self._asked[bbmd]

    async def _until_answered(self, bbmd: End, request: bytes, asked: _Asked) -> bytes:
        for _ in range(self._tries):
            try:
                self._send(request, bbmd)
            except OSError as error:
                raise DeviceTimeout(f"The BBMD at {named(bbmd)} cannot be asked: {error.strerror}.") from error
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    return await asyncio.shield(asked.outcome)
        waited = self._tries * self._timeout_s
        raise DeviceTimeout(f"The BBMD at {named(bbmd)} did not answer within {waited:.3g} s.")


def refused(bbmd: End, code: int) -> DeviceRefused:
    """Say which no a BBMD answered with."""
    known = code in set(ResultCode)
    name = ResultCode(code).name.lower().replace("_", "-") if known else f"result-{code:#06x}"
    words = {"kind": "result", "class": None, "code": name}
    return DeviceRefused(f"{named(bbmd)} refused: {name} (0x{code:04X}).", extra={"bacnet": words})


def named(end: End) -> str:
    """Write an address as people do."""
    return f"{end.ip}:{end.port}"


def _decoded(reader: Callable[[bytes], tuple[T, ...]], datagram: bytes, bbmd: End) -> tuple[T, ...]:
    try:
        return reader(datagram)
    except DecodeError as error:
        words = {"kind": "result", "class": None, "code": "undecodable-answer"}
        raise DeviceRefused(
            f"{named(bbmd)} sent a table that cannot be read: {error}.", extra={"bacnet": words}
        ) from error


def _settle(outcome: asyncio.Future[bytes], what: bytes | Exception) -> None:
    if outcome.done():
        return
    if isinstance(what, bytes):
        outcome.set_result(what)
    else:
        outcome.set_exception(what)
