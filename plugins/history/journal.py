"""The journal: every commit as one blob, in one file that is on the disk before anything is called safe.

Its batches are numbered in an epoch without a hole. They are deleted when their rows have been sealed into the
partitions and every cursor has passed them; what a cursor has not passed is kept within bounds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from core.samples import Committed, Gap, Lost, Position
from plugins.history import blobs
from plugins.history.databases import opened, opened_to_read, transaction, translated
from plugins.history.errors import DamagedHistory, HistoryError

FILE_NAME = "journal.sqlite3"
SCHEMA = """
PRAGMA page_size = 1024;  -- a commit of a few samples changes three pages
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch (seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gap (start_ms INTEGER PRIMARY KEY, end_ms INTEGER NOT NULL, reason TEXT NOT NULL);
"""
_SET_FACT = "INSERT INTO fact VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


@attrs.frozen
class Commit:
    """What goes to the disk together, with the time in UTC milliseconds at which all is as it says."""

    alive_ms: int
    blob: bytes | None = None
    cursors: Mapping[str, Position | None] = attrs.field(factory=dict)
    gaps: Sequence[Gap] = ()


class Journal:
    """The journal's file, for one thread that writes; raises HistoryError where it cannot."""

    def __init__(self, path: Path, *, epoch: int) -> None:
        """Open the file, or make it with this epoch."""
        self.path = path
        self._connection = opened(path, schema=SCHEMA, log=True)
        self._inode = path.stat().st_ino
        try:
            with translated(path), transaction(self._connection):
                for name, value in (("epoch", epoch), ("newest", 0), ("sealed", 0)):
                    self._connection.execute("INSERT OR IGNORE INTO fact VALUES (?, ?)", (name, value))
            with translated(path):
                facts = dict(self._connection.execute("SELECT name, value FROM fact"))
                (newest,) = self._connection.execute("SELECT max(seq) FROM batch").fetchone()
                self.cursors = {
                    name: Position(epoch, seq)
                    for name, epoch, seq in self._connection.execute("SELECT name, epoch, seq FROM cursor")
                }
        except BaseException:
            self._connection.close()
            raise
        self.epoch: int = facts["epoch"]
        self.sealed: int = facts["sealed"]
        self.alive_ms: int | None = facts.get("alive_ms")
        self.newest: int = max(newest or 0, facts["newest"])

    def close(self) -> None:
        self._connection.close()

    def commit(self, commit: Commit) -> None:
        """Write, and return when it is on the disk."""
        self._check_that_it_is_there()
        with translated(self.path), transaction(self._connection):
            if commit.blob is not None:
                row = self.newest + 1, commit.alive_ms, commit.blob
                self._connection.execute("INSERT INTO batch VALUES (?, ?, ?)", row)
            for name, position in commit.cursors.items():
                if position is None:
                    self._connection.execute("DELETE FROM cursor WHERE name = ?", (name,))
                else:
                    row_ = name, position.epoch, position.seq
                    self._connection.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)", row_)
            rows = [(gap.start_ms, gap.end_ms, gap.reason) for gap in commit.gaps]
            self._connection.executemany("INSERT OR REPLACE INTO gap VALUES (?, ?, ?)", rows)
            self._connection.execute(_SET_FACT, ("alive_ms", commit.alive_ms))
        self.newest += commit.blob is not None
        self.cursors |= {name: at for name, at in commit.cursors.items() if at is not None}
        for name in [name for name, at in commit.cursors.items() if at is None]:
            self.cursors.pop(name, None)

    def _check_that_it_is_there(self) -> None:
        """Raise DamagedHistory where the file was deleted or replaced: what is written to it would be gone."""
        try:
            there = self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            there = False
        except OSError as error:
            raise HistoryError(f"{self.path}: {error.strerror}.") from error
        if not there:
            raise DamagedHistory(f"{self.path} has been deleted or replaced.")

    def unsealed(self) -> Iterator[tuple[int, bytes]]:
        """Give the blobs of what is in no partition yet, by number, oldest first."""
        with translated(self.path):
            sql = "SELECT seq, body FROM batch WHERE seq > ? ORDER BY seq"
            yield from self._connection.execute(sql, (self.sealed,))

    def seal(self, through: int, *, outbox_bytes: int) -> int:
        """Note that all up to a number is in the partitions, delete what nobody needs, and return how many were lost.

        What cursors have not passed is kept up to so many bytes, the newest first.
        """
        passed = [at.seq if at.epoch == self.epoch else 0 for at in self.cursors.values()]
        needless = min(through, *passed) if passed else through
        lost = 0
        with translated(self.path), transaction(self._connection):
            self._connection.execute(_SET_FACT, ("sealed", through))
            self._connection.execute(_SET_FACT, ("newest", self.newest))
            self._connection.execute("DELETE FROM batch WHERE seq <= ?", (needless,))
            (kept,) = self._connection.execute("SELECT total(length(body)) FROM batch").fetchone()
            if kept > outbox_bytes:
                lost = self._cut(through, int(kept) - outbox_bytes)
        self.sealed = through
        return lost

    def _cut(self, through: int, excess: int) -> int:
        """Delete the oldest batches that are sealed, so many bytes of them, and return how many these were."""
        found = self._connection.execute(
            "SELECT seq, length(body) FROM batch WHERE seq <= ? ORDER BY seq", (through,)
        ).fetchall()
        removed = 0
        for _seq, size in found:
            if excess <= 0:
                break
            excess -= size
            removed += 1
        if removed:
            self._connection.execute("DELETE FROM batch WHERE seq <= ?", (found[removed - 1][0],))
        return removed

    def gaps(self) -> list[Gap]:
        """Return all gaps, oldest first."""
        with translated(self.path):
            return [Gap(*row) for row in self._connection.execute("SELECT * FROM gap ORDER BY start_ms")]


class JournalReader:
    """Reads the journal's batches, beside whoever writes them; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def read_after(self, position: Position, newest: Position, limit: int) -> list[Committed | Lost]:
        """Return the batches after a position up to ``newest``, the first ``limit`` of them."""
        if position >= newest:
            return []
        start = position.seq if position.epoch == newest.epoch else 0
        try:
            with translated(self._path):
                rows = (
                    self._of(newest.epoch)
                    .execute(
                        "SELECT seq, body FROM batch WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
                        (start, newest.seq, limit),
                    )
                    .fetchall()
                )
        except BaseException:
            self.close()
            raise
        return [*_with_losses(rows, position, newest)][:limit]

    def _of(self, epoch: int) -> sqlite3.Connection:
        """Return the journal of an epoch, opened anew where the one that is open has been set aside."""
        for _ in range(2):
            if self._connection is None:
                self._connection = opened_to_read(self._path)
            (found,) = self._connection.execute("SELECT value FROM fact WHERE name = 'epoch'").fetchone()
            if found == epoch:
                return self._connection
            self.close()
        raise HistoryError(f"{self._path} is being replaced; try again.")

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _with_losses(rows: Iterable[tuple[int, bytes]], position: Position, newest: Position) -> Iterator[Committed | Lost]:
    """Give the batches of rows, and say which are missing between a position and the newest."""
    epoch = newest.epoch
    due = Position(position.epoch, position.seq + 1)
    for seq, body in rows:
        at = Position(epoch, seq)
        if due < at and (seq > 1 or due.epoch < epoch):
            yield Lost(due, Position(epoch, seq - 1))
        try:
            yield Committed(at, blobs.decode(body).point_samples())
        except DamagedHistory:
            yield Lost(at, at)
        due = Position(epoch, seq + 1)
    if not rows:
        yield Lost(due, newest)
