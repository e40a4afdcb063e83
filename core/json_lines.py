"""Writes what is logged as JSON, a line each; requests, of which there are many, a batch at a time."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

import orjson
from structlog.typing import EventDict, WrappedLogger

from core.security import redact

BATCH_S = 0.05
BATCH = 1_000

Noted: TypeAlias = tuple[float, str, str, Mapping[str, Any]]


class Stream(Protocol):
    """Where lines go."""

    def write(self, text: str) -> object: ...


class JsonLines:
    """The last of the log's processors: it renders, and keeps batched lines before those that come after them.

    ``batches`` says whether `note` may be used: no plugin's processor wants to see the lines. ``silent`` where their
    level is not logged.
    """

    def __init__(self, stream: Stream, *, batches: bool, silent: bool) -> None:
        self.batches = batches
        self._silent = silent
        self._stream = stream
        self._noted: list[Noted] = []

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """Render an event, behind the lines that were noted before it."""
        return self._taken() + _rendered(event)

    def note(self, event: str, request_id: str, fields: Mapping[str, Any]) -> None:
        """Note an event of level info, which is written with the next line, or after 50 ms, or as one of a thousand."""
        if self._silent:
            return
        self._noted.append((time.time(), event, request_id, fields))
        if len(self._noted) == 1:
            asyncio.get_running_loop().call_later(BATCH_S, self.flush)
        elif len(self._noted) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what is noted."""
        text = self._taken()
        if text:
            self._stream.write(text)

    def retire(self) -> None:
        """Write what is noted, and take no more notes."""
        self.batches = False
        self.flush()

    def _taken(self) -> str:
        if not self._noted:
            return ""
        noted, self._noted = self._noted, []
        return "".join([_line(*each) for each in noted])


def _line(at: float, event: str, request_id: str, fields: Mapping[str, Any]) -> str:
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    about = {"event": event, **fields, "request_id": request_id, "level": "info", "time": f"{when}Z"}
    text = _rendered(about)
    return f"{_rendered(redact(about)) if '://' in text else text}\n"


def _rendered(event: EventDict | dict[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # integers beyond 64 bits and half surrogates, which only the standard library writes
        return json.dumps(event, default=str, skipkeys=True)
