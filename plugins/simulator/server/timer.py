"""Time as the server needs it: the event loop's, or a test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Handle(Protocol):
    """Something that is to happen."""

    def cancel(self) -> None:
        """Let it not happen."""
        ...


class Timer(Protocol):
    """Tells the time in seconds, and calls back later; an asyncio event loop is one."""

    def time(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> Handle: ...
