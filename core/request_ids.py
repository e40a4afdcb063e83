"""Which request code works for: its id is on each line that is logged on the way, down to the device that is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import structlog

IDS_TOLD = 16
"""How many requests that share one read are named in its lines at most."""

_PREFIX = structlog.contextvars.STRUCTLOG_KEY_PREFIX

REQUEST_ID: ContextVar[Any] = ContextVar(f"{_PREFIX}request_id")
"""The request that is being answered: structlog puts it on each line. Tasks and threads inherit it."""
_SHARED: ContextVar[Any] = ContextVar(f"{_PREFIX}request_ids")


def request_id() -> str | None:
    """Return the id of the request that the code which asks works for; None where it works for none."""
    known = REQUEST_ID.get(None)
    return known if isinstance(known, str) else None


def request_ids() -> tuple[str, ...]:
    """Return the ids of all requests that the code which asks works for, of ``IDS_TOLD`` at most."""
    shared = _SHARED.get(None)
    if isinstance(shared, list):
        return tuple(shared)
    known = request_id()
    return () if known is None else (known,)


@contextmanager
def working_for(known: str | None) -> Iterator[None]:
    """Run the block for another request, or for none: what it starts goes on when this one is answered."""
    tokens = [(REQUEST_ID, REQUEST_ID.set(... if known is None else known)), (_SHARED, _SHARED.set(...))]
    try:
        yield
    finally:
        with suppress(ValueError):  # a coroutine that is thrown away ends in a context that is not its own
            for variable, token in tokens:
                variable.reset(token)


class Sharers:
    """The requests that wait for one piece of work, which was begun for the first of them."""

    def __init__(self) -> None:
        known = request_id()
        self._ids = [] if known is None else [known]

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run the block for all of them, those too that join later."""
        token = _SHARED.set(self._ids)
        try:
            yield
        finally:
            _SHARED.reset(token)

    def join(self) -> None:
        """Have the request of whoever asks wait for it too."""
        known = request_id()
        if known is not None and known not in self._ids and len(self._ids) < IDS_TOLD:
            self._ids.append(known)


def told_once(event: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a line the list of requests where one id says it all."""
    ids = event["request_ids"]
    rest = {key: value for key, value in event.items() if key != "request_ids"}
    return {**rest, "request_ids": list(ids)} if len(ids) > 1 else rest
