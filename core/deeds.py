"""Carries out what plugins do to devices beside the writing of points: in its turn, once, and on record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from core.errors import PlantroomError, PluginNotRunning
from core.model import Deed, Done
from core.once import Once, settle
from core.outcomes import error_in, perhaps, result_of_deed
from core.records import Records
from core.turns import GIVEN_UP, LONGEST_WRITE_S, Turns, within


class Deeds:
    """The way of deeds; ``check`` raises where a device may not be written to now."""

    def __init__(self, turns: Turns, once: Once, records: Records, check: Callable[[str], None]) -> None:
        self._turns = turns
        self._once = once
        self._records = records
        self._check = check

    async def carry_out(self, deed: Deed, run: Callable[[], Awaitable[Done]]) -> Any:
        """Run a deed in its device's turn, and answer what its target showed afterwards; see `core.plugin.Commands`."""
        outcome, is_new = self._once.claim(deed)
        if is_new:
            self._turns.start(self._do(deed, run, outcome), f"deed:{deed.device_id}")
        await asyncio.wait([outcome])
        return outcome.result()

    async def _do(self, deed: Deed, run: Callable[[], Awaitable[Done]], outcome: asyncio.Future[Any]) -> None:
        try:
            async with self._turns.of(deed.device_id):
                known = await self._records.result_of(deed)
                if known is None:
                    known = await self._done(deed, run)
            settle(outcome, error_in(known) or known["after"])
        except Exception as error:  # a plugin's code: whoever asked is told
            outcome.set_exception(error)
        finally:
            if not outcome.done():
                outcome.set_exception(PluginNotRunning(GIVEN_UP))

    async def _done(self, deed: Deed, run: Callable[[], Awaitable[Done]]) -> dict[str, Any]:
        self._check(deed.device_id)
        log = structlog.get_logger().bind(
            command=deed.id, principal=deed.principal, origin=deed.origin, target=deed.target, request=deed.request
        )
        try:
            done = await within(_awaited(run()), LONGEST_WRITE_S, deed.device_id)
        except PlantroomError as error:
            log.warning("deed_failed", code=error.code, error=str(error))
            result = perhaps(error)
            if result is not None:
                await self._records.keep([self._records.of(deed, result)])
            raise
        if done.error is None:
            log.info("deed_done", before=done.before, after=done.after)
        else:
            log.warning("deed_done", before=done.before, code=done.error.code, error=str(done.error))
        result = result_of_deed(done)
        self._once.remember(deed, done.error or done.after)
        await self._records.keep([self._records.of(deed, result)])
        return result


async def _awaited(work: Awaitable[Done]) -> Done:
    return await work
