"""Holds a plugin's lifespan open, in a task of its own: entered and left there, so that task groups work in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from core.belongings import Belongings, note_tasks
from core.errors import PluginError
from core.owner import owned_by
from core.request_ids import working_for
from core.tasks import GIVEN_UP_AFTER_S


class Life:
    """One run of a plugin, from `start` to `stop`; ``died`` is told when it ends before that.

    What is made in it is noted among the plugin's ``belongings``, for `core.belongings.clear_up` when it has been left.
    """

    def __init__(
        self,
        name: str,
        lifespan: AbstractAsyncContextManager[Any],
        died: Callable[[Exception], None],
        belongings: Belongings | None = None,
    ) -> None:
        self._name = name
        self._lifespan = lifespan
        self._died = died
        self._belongings = belongings or Belongings(name)
        self._stopping = False
        self._leave = asyncio.Event()

    async def start(self, limit_s: float) -> None:
        """Enter the lifespan; raises what it raises, and PluginError when it takes longer than ``limit_s``."""
        loop = asyncio.get_running_loop()
        note_tasks(loop)
        up: asyncio.Future[None] = loop.create_future()
        self._task = asyncio.create_task(self._run(up), name=f"plugin:{self._name}")
        self._belongings.note(self._task)
        try:
            await asyncio.wait({self._task, up}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if up.done():
            self._task.add_done_callback(self._ended)
        elif self._task.done():
            raise _failure(self._task) or PluginError("its lifespan ended before it began")
        else:
            await self._give_up()
            raise PluginError(f"did not start within {limit_s:g} s")

    async def stop(self, limit_s: float) -> None:
        """Leave the lifespan; raises what it raises, and PluginError when it takes longer than ``limit_s``."""
        self._stopping = True
        self._leave.set()
        await asyncio.wait({self._task}, timeout=limit_s)
        if not self._task.done():
            await self._give_up()
            raise PluginError(f"did not stop within {limit_s:g} s")
        failure = _failure(self._task)
        if failure is not None:
            raise failure

    async def _run(self, up: asyncio.Future[None]) -> None:
        with owned_by(self._belongings), working_for(None):  # it outlives the request that may have started it
            async with self._lifespan:
                up.set_result(None)
                await self._leave.wait()

    async def _give_up(self) -> None:
        """Cancel, and wait for a moment only: code that swallows it is left behind, and let go when it comes round."""
        self._leave.set()
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=GIVEN_UP_AFTER_S)
        if self._task.done():
            _failure(self._task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._stopping:
            self._died(_failure(task) or PluginError("its lifespan ended by itself"))


def _failure(task: asyncio.Task[None]) -> Exception | None:
    if task.cancelled():
        return PluginError("it was cancelled from within")
    error = task.exception()
    return error if isinstance(error, Exception) or error is None else PluginError(f"it raised {type(error).__name__}")
