"""Time-outs for many short pieces of work: one timer for all of them, to the second."""

from __future__ import annotations

import asyncio
from types import TracebackType

TICK_S = 1.0


class Deadlines:
    """Hands out time-outs of the same length; none of them makes a timer of its own, as `asyncio.timeout` does."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.running: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def one(self) -> Deadline:
        """Return a time-out for a block: ``with deadlines.one():``; raises TimeoutError up to a second late."""
        return Deadline(self)

    def begin(self, deadline: Deadline) -> None:
        """Watch a block from now on."""
        loop = asyncio.get_running_loop()
        deadline.at = loop.time() + self.seconds
        self.running.add(deadline)
        if self._timer is None:
            self._timer = loop.call_later(TICK_S, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for deadline in [deadline for deadline in self.running if deadline.at <= now and not deadline.expired]:
            deadline.expire()
        self._timer = loop.call_later(TICK_S, self._tick, loop) if self.running else None


class Deadline:
    """One block that must end in time."""

    __slots__ = ("_cancelling", "_deadlines", "_task", "at", "expired")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self.at = 0.0
        self.expired = False

    def expire(self) -> None:
        """Cancel what runs in the block."""
        self.expired = True
        self._task.cancel()

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is for code in a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._deadlines.begin(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.running.discard(self)
        if self.expired and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error
