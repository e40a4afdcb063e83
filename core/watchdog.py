"""Watches from a thread that the event loop keeps turning, and tells whose code blocks it, and where, while it does."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from asyncio.events import Handle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import attrs
import structlog

from core.owner import CORE, owner_in
from core.routes import Metric
from core.tasks import place

BLOCKED_AFTER_S = 0.5
LOOKS = 10
"""How many looks the time is divided into after which a loop counts as blocked."""

LINES_MOST = 12
JOIN_WITHIN_S = 1.0
PLUGIN_PACKAGES = ("plugins", "custom_plugins")
BORDERS = ("core.answers", "core.belongings")
"""Modules that only pass calls on, and are left out of stacks."""


@attrs.frozen
class Blockage:
    """A time in which the event loop stood still: whose code ran, in which task, and where it was seen.

    ``stack`` has ``file:line function``, innermost last. ``seconds`` is how long it took, or has taken until now.
    """

    owner: str
    task: str
    stack: tuple[str, ...]
    seconds: float
    over: bool = False


class Watchdog:
    """Keeps an eye on one event loop at a time; ``last`` is the last blockage, ``over`` or not.

    A loop is blocked when it does not answer for ``blocked_after_s`` seconds in which this process ran: time in which
    the machine was suspended, or the process stopped or starved, is nobody's fault.
    """

    def __init__(self, *, blocked_after_s: float = BLOCKED_AFTER_S) -> None:
        self.last: Blockage | None = None
        self._blocked_after_s = blocked_after_s
        self._count: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the running loop while the context is open."""
        watch = _Watch(asyncio.get_running_loop(), self._blocked_after_s, self._blocked, self._resumed)
        thread = threading.Thread(target=watch.run, name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            watch.end()
            thread.join(JOIN_WITHIN_S)  # it may be writing to a log that nobody reads

    def metrics(self) -> list[Metric]:
        """Count blockages and how long they took, by whose code ran."""
        blocked, seconds = "plantroom_event_loop_blocked_total", "plantroom_event_loop_blocked_seconds_total"
        return [
            Metric(blocked, "counter", "Times that the event loop stood still.", _by_owner(self._count)),
            Metric(seconds, "counter", "Seconds in which the event loop stood still.", _by_owner(self._seconds)),
        ]

    def _blocked(self, frame: FrameType, seconds: float) -> None:
        blockage = self.last = _examine(frame, seconds)
        self._count[blockage.owner] += 1
        log = structlog.get_logger().bind(plugin=blockage.owner, task=blockage.task)
        log.warning("event_loop_blocked", seconds=round(seconds, 3), stack="\n".join(blockage.stack))

    def _resumed(self, seconds: float) -> None:
        if self.last is not None:
            self.last = attrs.evolve(self.last, seconds=seconds, over=True)
            owner = self.last.owner
            self._seconds[owner] = self._seconds.get(owner, 0.0) + seconds
            log = structlog.get_logger().bind(plugin=owner, task=self.last.task)
            log.info("event_loop_resumed", seconds=round(seconds, 3))


class _Watch:
    """The thread's work: ask the loop for an answer, again and again, and count how long it takes."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        blocked_after_s: float,
        blocked: Callable[[FrameType, float], None],
        resumed: Callable[[float], None],
    ) -> None:
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._look_s = blocked_after_s / LOOKS
        self._pause_s = 2 * self._look_s
        self._blocked_after_s = blocked_after_s
        self._blocked, self._resumed = blocked, resumed
        self._answered = threading.Event()
        self._ended = threading.Event()

    def end(self) -> None:
        self._ended.set()
        self._answered.set()

    def run(self) -> None:
        while True:
            ended, took = self._wait(self._ended, self._pause_s)
            if ended:
                return
            waited = took - self._pause_s
            told = self._tell(waited)  # before the loop is asked: that lets its thread go on
            self._answered.clear()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # closed while nobody ended the watch
                return
            self._await_answer(waited, told=told)

    def _await_answer(self, waited: float, *, told: bool) -> None:
        answered = False
        while not answered and not self._ended.is_set():
            told = told or self._tell(waited)
            answered, took = self._wait(self._answered, self._look_s)
            waited += took
            told = told or self._tell(took)  # even one that answered may not have let this thread go on
        if told:
            self._resumed(waited)

    def _tell(self, waited: float) -> bool:
        """Tell of a loop that has not turned for too long; answer whether that was so."""
        if waited < self._blocked_after_s:
            return False
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001  # its documented name
        if frame is None:
            return False
        self._blocked(frame, waited)
        return True

    @staticmethod
    def _wait(event: threading.Event, seconds: float) -> tuple[bool, float]:
        """Wait for an event; tell whether it came, and for how many seconds the loop might have turned meanwhile.

        Where this took much longer than it should, either nothing of the process ran, and that does not count; or code
        that lets no other thread run kept the processor busy, and that does.
        """
        began, busy = time.monotonic(), time.process_time()
        came = event.wait(seconds)
        elapsed, busy = time.monotonic() - began, time.process_time() - busy
        return came, min(elapsed, max(seconds, busy))


def _by_owner(counts: Mapping[str, float]) -> Callable[[], list[tuple[Mapping[str, str], float]]]:
    return lambda: [({"plugin": owner}, count) for owner, count in dict(counts).items()]


def _examine(frame: FrameType, seconds: float) -> Blockage:
    """See what the loop's thread is at: the loop runs each callback and each step of a task by a handle."""
    frames: list[FrameType] = []
    step: FrameType | None = frame
    while step is not None and step.f_code is not Handle._run.__code__:  # noqa: SLF001  # where the loop's own code ends
        frames.append(step)
        step = step.f_back
    owner, task = (None, "") if step is None else _at_work(step.f_locals["self"])
    stack = [place(each.f_code, each.f_lineno) for each in reversed(frames) if _module(each) not in BORDERS]
    return Blockage(owner or _plugin_in(frames), task, tuple(stack[-LINES_MOST:]), seconds)


def _at_work(handle: Any) -> tuple[str | None, str]:
    """Name the owner of what a handle runs, where it is a plugin's, and its task or callback."""
    owner = owner_in(handle._context)  # noqa: SLF001  # tasks do not say what their context is before Python 3.12
    task = getattr(handle._callback, "__self__", None)  # noqa: SLF001
    name = task.get_name() if isinstance(task, asyncio.Task) else repr(handle._callback)  # noqa: SLF001
    return None if owner is None else owner.name, name


def _plugin_in(frames: list[FrameType]) -> str:
    """Name the innermost plugin whose module is on a stack, for code that runs on nobody's behalf."""
    for each in frames:
        package, _, rest = _module(each).partition(".")
        if package in PLUGIN_PACKAGES and rest:
            return rest.partition(".")[0]
    return CORE


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
