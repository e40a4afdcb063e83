"""Commits what was recorded, each second, and pauses loudly while that cannot be done.

Rows that cannot be written wait in memory, within bounds; what comes after that is refused and counted, and is a gap in
the history when it goes on.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import attrs
from structlog.typing import FilteringBoundLogger

from core.clock import Clock
from core.readings import ReadingBatch
from core.samples import Gap, Position, milliseconds
from plugins.history import blobs
from plugins.history.columns import Columns, joined
from plugins.history.errors import DamagedHistory, HistoryError
from plugins.history.head import Head
from plugins.history.journal import FILE_NAME, Commit, Journal
from plugins.history.recovery import begun_anew, recovered

COMMIT_EVERY_S = 1.0
ALIVE_EVERY_MS = 60_000
SPACE_EVERY_S = 5.0
SHORTEST_GAP_MS = 1000
ROOM = 0.9
"""How full of unsealed rows the memory is at most when rows are taken again that were refused for that."""
MIB = 1024 * 1024

ResultT = TypeVar("ResultT")


@attrs.frozen
class Bounds:
    """How many rows may wait for the disk, and to be sealed; how many bytes are left free, and cursors may hold."""

    waiting_rows: int = 2_000_000
    unsealed_rows: int = 4_000_000
    free_bytes: int = 64 * MIB
    outbox_bytes: int = 256 * MIB


@attrs.define
class CommitFigures:
    """What has been counted since the start."""

    rows: int = 0
    commits: int = 0
    bytes: int = 0
    refused: int = 0
    lost_batches: int = 0


class Committer:
    """Owns the journal, and brings the head's rows there."""

    def __init__(self, folder: Path, head: Head, *, clock: Clock, log: FilteringBoundLogger, bounds: Bounds) -> None:
        self.path = folder / FILE_NAME
        self.figures = CommitFigures()
        self.paused: str | None = None
        self.gaps: list[Gap] = []
        self.newest = Position(0, 0)
        self.on_commit: list[Callable[[Columns], None]] = []
        self._head = head
        self._clock = clock
        self._log = log
        self._bounds = bounds
        self._journal: Journal | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history-commit")
        self._waiting: list[asyncio.Future[None]] = []
        self._asked = asyncio.Event()
        self._cursors: dict[str, Position | None] = {}
        self._new_gaps: dict[int, Gap] = {}
        self._refusing_since: int | None = None
        self._opened_ms = 0
        self._alive_ms = 0
        self._space_seen = float("-inf")
        self._no_space: str | None = None
        self._damage: str | None = None
        self._ending = False
        self._closed = False

    @property
    def now_ms(self) -> int:
        return milliseconds(self._clock.utc())

    @property
    def is_open(self) -> bool:
        """Whether the journal could be opened."""
        return self._journal is not None

    @property
    def cursors(self) -> dict[str, Position]:
        """Where the named cursors are."""
        there = {} if self._journal is None else self._journal.cursors
        return {name: at for name, at in (there | self._cursors).items() if at is not None}

    # rows come in

    def record(self, batch: ReadingBatch, rows: Sequence[int]) -> None:
        """Take rows in, or refuse them where too many wait."""
        head, bounds = self._head, self._bounds
        unsafe, unsealed = head.unsafe_rows + len(rows), head.rows + len(rows)
        if unsafe > bounds.waiting_rows or unsealed > bounds.unsealed_rows:
            self.figures.refused += len(rows)
            if self._refusing_since is None:
                self._refusing_since = milliseconds(batch.time)
                reason = self.paused or "the disk takes too long"
                self._log.error("history_refuses", waiting=head.unsafe_rows, unsealed=head.rows, reason=reason)
            return
        head.put(batch, rows)

    async def flush(self) -> None:
        """Return when all that was recorded is on the disk; raises HistoryError where it cannot be written."""
        if self._closed:
            raise HistoryError("The history has been closed.")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._asked.set()
        await done

    async def move(self, name: str, position: Position | None) -> None:
        """Note where a cursor is, None where there is none any more, and return when that is on the disk."""
        self._cursors[name] = position
        await self.flush()

    # its life

    async def open(self) -> None:
        """Open the journal and take in what is not sealed, of a damaged one what can be read.

        Where that cannot be done it is tried again with each commit, and recording is paused until then.
        """
        self._opened_ms = self.now_ms
        await self.commit()

    async def _take_over(self) -> None:
        found = await self._in_thread(lambda: recovered(self.path, epoch=int(self._clock.utc()), log=self._log))
        self._journal = found.journal
        self._head.begin_with([(rows, None if found.is_new else seq) for seq, rows in found.rows])
        self.newest = Position(found.journal.epoch, found.journal.newest)
        noted, self.gaps = self._new_gaps, list(found.gaps)
        if found.is_new:
            self._cursors = {**found.cursors, **self._cursors}
            noted = {gap.start_ms: gap for gap in found.gaps} | noted
        for gap in noted.values():
            self._note_gap(gap)
        if found.alive_ms is not None and self._opened_ms - found.alive_ms >= SHORTEST_GAP_MS:
            self._note_gap(Gap(found.alive_ms, self._opened_ms, "not_running"))

    async def run(self) -> None:
        """Commit each second, and at once when asked to, until `end`."""
        while not self._ending:
            sleep = asyncio.ensure_future(self._clock.sleep(COMMIT_EVERY_S))
            asked = asyncio.ensure_future(self._asked.wait())
            try:
                await asyncio.wait([sleep, asked], return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleep.cancel()
                asked.cancel()
            self._asked.clear()
            await self.commit()

    def end(self) -> None:
        """Have `run` commit once more and return."""
        self._ending = True
        self._asked.set()

    async def close(self) -> None:
        """Let go of the journal."""
        self._closed = True
        if self._journal is not None:
            await self._in_thread(self._journal.close)
        self._thread.shutdown(wait=False)
        self._answer(HistoryError("The history has been closed."))

    # to the disk

    async def commit(self) -> None:
        """Write what is new; where that cannot be done say so, once, and keep it for the next time."""
        waiting, self._waiting = self._waiting, []
        try:
            try:
                await self._commit()
            except DamagedHistory as error:
                self._damage = str(error)
                await self._commit()
        except BaseException as error:
            self._waiting = [*waiting, *self._waiting]
            if not isinstance(error, Exception):
                raise
            self._pause(error)
            return
        self._resume()
        for each in waiting:
            if not each.done():
                each.set_result(None)

    async def _commit(self) -> None:
        if self._damage is not None:
            await self._begin_anew(self._damage)
        elif self._journal is None:
            await self._take_over()
        if self._refusing_since is not None:
            self._note_gap(Gap(self._refusing_since, self.now_ms, "not_written"))
        cursors, self._cursors = self._cursors, {}
        gaps, self._new_gaps = self._new_gaps, {}
        runs = self._head.unsafe()
        if not (runs or cursors or gaps or self._ending or self.now_ms - self._alive_ms >= ALIVE_EVERY_MS):
            return
        try:
            self._check_space()
            rows = joined([run.columns for run in runs])
            await self._write(rows, cursors, gaps)
        except BaseException:
            self._cursors = cursors | self._cursors
            self._new_gaps = gaps | self._new_gaps
            raise
        if runs:
            self._head.safe(runs, rows, self.newest.seq)
        for listener in self.on_commit:
            listener(rows)

    async def _write(self, rows: Columns, cursors: dict[str, Position | None], gaps: Mapping[int, Gap]) -> None:
        if self._journal is None:
            raise HistoryError("The journal is not open.")
        journal, now = self._journal, self.now_ms

        def work() -> int:
            blob = blobs.encode(rows) if len(rows) else None
            journal.commit(Commit(now, blob, cursors, [*gaps.values()]))
            return len(blob or b"")

        size = await asyncio.shield(self._in_thread(work))
        self._alive_ms = now
        self.newest = Position(journal.epoch, journal.newest)
        self.figures.rows += len(rows)
        self.figures.commits += 1
        self.figures.bytes += size

    def _check_space(self) -> None:
        """Raise HistoryError where hardly anything is left of the disk; looked at now and then."""
        if self._clock.monotonic() - self._space_seen >= SPACE_EVERY_S:
            self._space_seen = self._clock.monotonic()
            free = shutil.disk_usage(self.path.parent).free
            least = self._bounds.free_bytes
            short = f"the disk has {free // MIB} MiB left, less than the {least // MIB} MiB that are kept free"
            self._no_space = short if free < least else None
        if self._no_space is not None:
            raise HistoryError(f"{self.path.parent}: {self._no_space}.")

    def _pause(self, error: Exception) -> None:
        """Say what stands in the way, the first time; also where it is a mistake of ours, which a retry may get by."""
        if not isinstance(error, HistoryError):
            if self.paused is None:
                self._log.error("history_commit_failed", exc_info=error)
            error = HistoryError(f"{self.path}: {error!r}.")
        if self.paused is None:
            self._log.error("history_paused", error=str(error), remedy=error.remedy)
        self.paused = str(error)
        self._answer(error)

    def _resume(self) -> None:
        """Go on after a commit, and note since when rows were refused, unless there is no room for more of them yet."""
        paused, self.paused = self.paused, None
        refused = self._refusing_since
        if refused is not None and self._head.rows <= self._bounds.unsealed_rows * ROOM:
            self._refusing_since = None
            self._note_gap(Gap(refused, self.now_ms, "not_written"))
        elif paused is None:
            return
        self._log.warning("history_resumed", refused=self.figures.refused)

    def _note_gap(self, gap: Gap) -> None:
        """Note a gap, or how long one has become, to be written with the next commit."""
        self._new_gaps[gap.start_ms] = gap
        others = [each for each in self.gaps if each.start_ms != gap.start_ms]
        self.gaps = sorted([*others, gap], key=lambda each: each.start_ms)

    def _answer(self, error: HistoryError) -> None:
        """Tell those who wait for a commit that it cannot be made now."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_exception(error)

    async def _begin_anew(self, wrong: str) -> None:
        """Set a journal aside that has gone bad, and have all that is in memory written to a new one."""
        journal, self._journal = self._journal, None
        cursors = {} if journal is None else journal.cursors
        self._cursors = {**cursors, **self._cursors}
        self._new_gaps = {gap.start_ms: gap for gap in self.gaps}

        def work() -> Journal:
            if journal is not None:
                journal.close()
            epoch = max(int(self._clock.utc()), self.newest.epoch + 1)
            return begun_anew(self.path, wrong, epoch=epoch, log=self._log).journal

        self._journal = await self._in_thread(work)
        self._damage = None
        self.newest = Position(self._journal.epoch, 0)
        self._head.unsettle()

    # what others need

    def doubt(self, error: DamagedHistory, epoch: int) -> None:
        """Begin a new journal with the next commit, since that of an epoch does not read as it was written."""
        if epoch == self.newest.epoch:
            self._damage = str(error)
            self._asked.set()

    async def sealed(self, through: Position) -> None:
        """Delete from the journal what is in the partitions and no cursor needs."""
        journal = self._journal
        if journal is None or journal.epoch != through.epoch:
            return
        try:
            self.figures.lost_batches += await self._in_thread(
                lambda: journal.seal(through.seq, outbox_bytes=self._bounds.outbox_bytes)
            )
        except DamagedHistory as error:
            self.doubt(error, through.epoch)

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
