"""Repeats work at intervals: one timer heap, phases spread by hash, back-off with jitter, overruns skipped."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import structlog

from core.clock import Clock
from core.errors import PlantroomError, PluginError
from core.owner import owned_by
from core.routes import Health
from core.tasks import end_tasks

BREAK_AFTER = 3
LONGEST_DELAY_S = 300.0
LONGEST_WAIT_S = 3600.0


@attrs.define(eq=False)
class Repeated:
    """One piece of repeated work with its figures.

    ``interval`` is in seconds; ``longest_delay`` bounds the seconds between tries while it fails. Failures of a class
    in ``quiet`` are told of elsewhere and not logged. ``overruns`` counts the times it was still running, or the house
    was too late, when its turn came: those turns were skipped; ``skipped`` those of the run under way.
    """

    name: str
    owner: str
    interval: float
    work: Callable[[], Awaitable[None]]
    longest_delay: float = LONGEST_DELAY_S
    quiet: tuple[type[Exception], ...] = ()
    due: float = 0.0
    started: float = 0.0
    running: asyncio.Task[None] | None = None
    removed: bool = False
    failures: int = 0
    logged: bool = False
    runs: int = 0
    overruns: int = 0
    skipped: int = 0
    late: bool = False
    last_error: str | None = None

    def health(self) -> tuple[Health, str]:
        """Say how it does."""
        if self.last_error is not None:
            return Health.DEGRADED, self.last_error
        if self.skipped:
            return Health.DEGRADED, f"a run has not returned, {self.skipped} turns were skipped"
        return Health.OK, f"polls every {self.interval:g} s"


class Poller:
    """Runs repeated work, each piece in a task of its own, so that none delays another.

    The first run is spread over the interval by a hash of the name, unless it is asked for at once. After
    ``BREAK_AFTER`` failures in a row a piece is tried again after a random part of a growing delay. A failure is logged
    once, and so is the recovery. ``runs`` and ``overruns`` are totals by owner, of pieces removed since too.
    """

    def __init__(self, clock: Clock, *, seed: int | None = None) -> None:
        self._clock = clock
        self._random = random.Random(seed)
        self._heap: list[tuple[float, int, Repeated]] = []
        self._order = itertools.count()
        self._all: set[Repeated] = set()
        self.runs: Counter[str] = Counter()
        self.overruns: Counter[str] = Counter()
        self._sleeper: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def all(self) -> tuple[Repeated, ...]:
        """Everything that is repeated, with its figures."""
        return tuple(self._all)

    def start(self) -> None:
        """Begin to run what is due."""
        self._task = asyncio.create_task(self._run(), name="poller")

    async def stop(self) -> None:
        """End everything that runs."""
        running = (item.running for item in self._all)
        await end_tasks(task for task in (*running, self._task) if task is not None)

    def add(self, item: Repeated, *, at_once: bool = False) -> Repeated:
        """Repeat a piece of work from now on; ``at_once`` runs it first and spreads only its repeats.

        Raises PluginError where the interval is no length of time.
        """
        if not 0 < item.interval < math.inf:
            raise PluginError(f"{item.name} has an interval of {item.interval} s; give seconds above 0")
        self._all.add(item)
        phase = zlib.crc32(item.name.encode()) / 2**32 * item.interval
        item.due = self._clock.monotonic() + phase
        self._push(item, item.due)
        if at_once:
            self.soon(item)
        return item

    def remove(self, item: Repeated) -> None:
        """Stop repeating; a run under way is cancelled."""
        item.removed = True
        self._all.discard(item)
        if len(self._heap) > 2 * len(self._all) + 8:  # mostly turns of what was removed, or has been moved
            self._heap = [turn for turn in self._heap if not turn[2].removed and turn[0] == turn[2].due]
            heapq.heapify(self._heap)
        if item.running is not None:
            item.running.cancel()

    def soon(self, item: Repeated) -> None:
        """Run now, unless it runs already; the regular turns stay where they are."""
        if item.running is None and not item.removed:
            item.started = self._clock.monotonic()
            with owned_by(None):  # whoever asks: the run is the kernel's
                item.running = asyncio.create_task(self._work(item), name=f"poll:{item.name}")

    def _push(self, item: Repeated, due: float) -> None:
        item.due = due
        heapq.heappush(self._heap, (due, next(self._order), item))
        if self._sleeper is not None and self._heap[0][2] is item:
            self._sleeper.cancel()

    async def _run(self) -> None:
        while True:
            now = self._clock.monotonic()
            while self._heap and self._heap[0][0] <= now:
                due, _order, item = heapq.heappop(self._heap)
                if not item.removed and due == item.due:
                    self._turn(item, now)
            wait = self._heap[0][0] - now if self._heap else LONGEST_WAIT_S
            self._sleeper = asyncio.ensure_future(self._clock.sleep(wait))
            try:
                await asyncio.wait({self._sleeper})
            finally:
                self._sleeper.cancel()

    def _turn(self, item: Repeated, now: float) -> None:
        """Start a run, or skip it where the last one still runs; the next turn keeps the rhythm."""
        missed = int((now - item.due) / item.interval)
        item.overruns += missed
        self.overruns[item.owner] += missed
        if item.running is None:
            self.soon(item)
        elif now - item.started > item.interval / 2:  # one that was asked for a moment ago is this turn's
            item.overruns += 1
            self.overruns[item.owner] += 1
            item.skipped += 1
            self._note_lateness(item, late=True)
        self._push(item, item.due + (missed + 1) * item.interval)

    async def _work(self, item: Repeated) -> None:
        try:
            await item.work()
        except Exception as error:  # a plugin's code: its failure stays with it
            item.failures += 1
            item.last_error = str(error) or type(error).__name__
            if not item.logged and not isinstance(error, item.quiet):
                item.logged = True
                expected = isinstance(error, PlantroomError | OSError | TimeoutError)  # its sentence says enough
                _log(item).warning("poll_failed", error=item.last_error, exc_info=None if expected else error)
            self._back_off(item)
        else:
            if item.logged:
                _log(item).info("poll_recovered", failures=item.failures)
            item.failures, item.last_error, item.logged = 0, None, False
        finally:
            item.runs += 1
            self.runs[item.owner] += 1
            if not item.skipped:
                self._note_lateness(item, late=False)
            item.skipped = 0
            item.running = None

    @staticmethod
    def _note_lateness(item: Repeated, *, late: bool) -> None:
        """Log once when runs begin to take longer than the interval, and once when they no longer do."""
        if late is not item.late:
            item.late = late
            log = _log(item).bind(interval=item.interval)
            log.warning("poll_overrun") if late else log.info("poll_on_time")

    def _back_off(self, item: Repeated) -> None:
        """Move the next turn: later after repeated failures, sooner where the interval is beyond the longest delay."""
        if item.failures < BREAK_AFTER and item.interval <= item.longest_delay:
            return
        grown = item.interval * 2.0 ** min(max(item.failures - BREAK_AFTER + 1, 0), 10)
        longest = min(grown, item.longest_delay)
        self._push(item, self._clock.monotonic() + self._random.uniform(longest / 4, longest))


def _log(item: Repeated) -> Any:
    """Return a logger that says whose work it is; one is made only where there is something to say."""
    return structlog.get_logger().bind(plugin=item.owner, poller=item.name)
