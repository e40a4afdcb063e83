"""Writes what is logged as JSON, a line each; requests, of which there are many, a batch at a time."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

import orjson
from structlog.typing import EventDict, WrappedLogger

from core.printable import escaped
from core.security import redact

BATCH_S = 0.05
BATCH = 64
"""How many lines are written at once: a thousand would hold up every other request for 5 ms."""

Noted: TypeAlias = tuple[float, Callable[..., dict[str, Any]], tuple[Any, ...]]


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
        self._noted: deque[Noted] = deque()

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """Render an event, behind the lines that were noted before it."""
        return self._taken() + _rendered(event)

    def note(self, fields: Callable[..., dict[str, Any]], *about: Any) -> None:
        """Note an event of level info, which is written with the next line, or after 50 ms, or as one of 64.

        What it says is asked only then, as ``fields(*about)``.
        """
        if self._silent:
            return
        self._noted.append((time.time(), fields, about))
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
        noted, lines = self._noted, list[str]()
        with contextlib.suppress(IndexError):  # another thread may take from it at the same time
            while noted:
                lines.append(_line(*noted.popleft()))
        return "".join(lines)


def _line(at: float, fields: Callable[..., dict[str, Any]], about: tuple[Any, ...]) -> str:
    second = int(at)
    event = fields(*about)
    event["level"], event["time"] = "info", f"{_date_and_time(second)}.{int((at - second) * 1e6):06d}Z"
    text = _rendered(event)
    return f"{_rendered(redact(event)) if '://' in text else text}\n"


@functools.lru_cache(maxsize=4)
def _date_and_time(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


def _rendered(event: EventDict | dict[str, Any]) -> str:
    try:
        return escaped(orjson.dumps(event, default=_text, option=orjson.OPT_NON_STR_KEYS).decode())
    except TypeError:  # integers beyond 64 bits and half surrogates, which only the standard library writes
        return json.dumps(event, default=_text, skipkeys=True)


def _text(value: object) -> str:
    """Return what an object says of itself, such as an exception, without passwords."""
    text: str = redact(str(value))
    return text
