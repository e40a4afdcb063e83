"""Sees to it that what is asked for under one id is carried out once, however often and by how many it is asked."""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from typing import Any

from core.model import Command, Deed
from core.records import RECORDS_KEPT, request_of, reused, target_of


class Once:
    """What is under way, and what the last came to; what came before a restart is in `core.records`."""

    def __init__(self) -> None:
        self._under_way: dict[str, tuple[Command | Deed, asyncio.Future[Any]]] = {}
        self._results: OrderedDict[str, tuple[Command | Deed, Any]] = OrderedDict()

    def claim(self, asked: Command | Deed) -> tuple[asyncio.Future[Any], bool]:
        """Return where the outcome will be, and whether it is yet to be worked for.

        Raises Invalid where the id stands for something else.
        """
        known = self._under_way.get(asked.id) or self._results.get(asked.id)
        if known is not None and _wish(known[0]) != _wish(asked):
            raise reused()
        if asked.id in self._under_way:
            return self._under_way[asked.id][1], False
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if asked.id in self._results:
            settle(outcome, self._results[asked.id][1])
            return outcome, False
        self._under_way[asked.id] = asked, outcome
        outcome.add_done_callback(functools.partial(self._ended, asked.id))
        return outcome, True

    def remember(self, asked: Command | Deed, result: Any) -> None:
        """Keep what something came to, from when it was done on, also where it cannot be put on record.

        A result that is an exception is raised to whoever asks again.
        """
        self._results[asked.id] = asked, result
        if len(self._results) > RECORDS_KEPT:
            self._results.popitem(last=False)

    def _ended(self, asked_id: str, outcome: asyncio.Future[Any]) -> None:
        del self._under_way[asked_id]
        if not outcome.cancelled():
            outcome.exception()  # noted here, since whoever asked may have gone


def settle(outcome: asyncio.Future[Any], result: Any) -> None:
    """Tell whoever waits what something came to; an exception is raised to them."""
    if isinstance(result, Exception):
        outcome.set_exception(result)
        outcome.exception()  # as where it has ended
    else:
        outcome.set_result(result)


def _wish(asked: Command | Deed) -> tuple[object, ...]:
    """What is asked for, whoever describes the point how, and however long it may take."""
    return asked.principal, asked.origin, target_of(asked), request_of(asked)
