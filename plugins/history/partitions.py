"""The partitions: one SQLite file of sealed blocks for each class of points and span of time.

What is kept for a class ends with its files: retention deletes them whole. A file is written by one thread and read by
others; when its time is over it is `rewritten` once, compact and in order, and from then on only read, unless something
comes late.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs

from plugins.history.catalog import REWRITTEN, Catalog, Key
from plugins.history.containers import Body, excerpt
from plugins.history.databases import FOLDER_MODE, opened, opened_to_read, transaction, translated, whole
from plugins.history.errors import DamagedHistory, HistoryError

SCHEMA = """
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS block (
    id INTEGER PRIMARY KEY, points INTEGER NOT NULL, level INTEGER NOT NULL,
    start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL, rows INTEGER NOT NULL, origin INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS block_by_points ON block (points, start_ms);
"""
_INSERT = (
    "INSERT INTO block (points, level, start_ms, end_ms, rows, origin, body)"
    " VALUES (:points, :level, :start_ms, :end_ms, :rows, :origin, :body)"
)
COLUMNS = "points, level, start_ms, end_ms, rows, body, origin"
_SELECT = f"SELECT {COLUMNS}, id FROM block WHERE {{where}} ORDER BY {{order}}"  # noqa: S608  # names of ours
_SELECT_WITHOUT_BODY = _SELECT.replace("body", "CASE typeof(body) WHEN 'blob' THEN x'' END")
_SET_FACT = "INSERT INTO fact VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


ResultT = TypeVar("ResultT")


class Moved(Exception):
    """A file is not there any more under the name that it had when the catalog was looked at."""


@attrs.frozen
class BlockRow:
    """A block as its row has it.

    ``points`` is the number of the group, ``end_ms`` the time of the last row; ``origin`` tells what a roll-up was made
    of, 0 for samples.
    """

    points: int
    level: int
    start_ms: int
    end_ms: int
    rows: int
    body: Body
    origin: int = 0
    id: int | None = None


class PartitionWriter:
    """A partition's file, open for the thread that writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = opened(path, schema=SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def add(self, blocks: Iterable[BlockRow]) -> None:
        """Add blocks; it is no longer as it was `rewritten`."""
        rows = [_row(block) for block in blocks]
        with translated(self.path), transaction(self._connection):
            self._connection.executemany(_INSERT, rows)
            self._connection.execute(_SET_FACT, (REWRITTEN, 0))

    def note(self, name: str, value: int) -> None:
        """Note a number in the file."""
        with translated(self.path), transaction(self._connection):
            self._connection.execute(_SET_FACT, (name, value))

    def replace(self, old: Iterable[BlockRow], new: Iterable[BlockRow]) -> None:
        """Put blocks in the place of others."""
        with translated(self.path), transaction(self._connection):
            self._connection.executemany("DELETE FROM block WHERE id = ?", [(block.id,) for block in old])
            self._connection.executemany(_INSERT, map(_row, new))

    def replace_origin(self, origin: int, new: Iterable[BlockRow]) -> None:
        """Put blocks in the place of all that were made of the same."""
        with translated(self.path), transaction(self._connection):
            self._connection.execute("DELETE FROM block WHERE origin = ?", (origin,))
            self._connection.executemany(_INSERT, map(_row, new))

    def groups(self) -> list[tuple[int, int, int]]:
        """Return of each group its number, and how many blocks and rows it has of the lowest level."""
        sql = "SELECT points, sum(level = 0), total((level = 0) * rows) FROM block GROUP BY points"
        with translated(self.path):
            return [(points, blocks, int(rows)) for points, blocks, rows in self._connection.execute(sql)]

    def blocks(self, points: int, *, level: int | None = None) -> list[BlockRow]:
        """Return a group's blocks, or those of one level, in the order in which they came."""
        with translated(self.path):
            sql = _SELECT.format(where="points = ? AND (? IS NULL OR level = ?)", order="id")
            return [block_row(row) for row in self._connection.execute(sql, (points, level, level))]

    def has_origin(self, origin: int) -> bool:
        """Tell whether there are blocks that were made of something."""
        with translated(self.path):
            return self._connection.execute("SELECT 1 FROM block WHERE origin = ?", (origin,)).fetchone() is not None


@contextmanager
def writing(catalog: Catalog, key: Key) -> Iterator[PartitionWriter]:
    """Open a partition's file for writing, made if there is none; what is damaged in it makes it a suspect."""
    try:
        with closing(PartitionWriter(catalog.path(key))) as writer:
            catalog.note(key)
            yield writer
    except DamagedHistory as error:
        catalog.note(key)
        catalog.suspect(key, error)
        raise


def rewritten(path: Path, blocks: Iterable[BlockRow], facts: Mapping[str, int]) -> None:
    """Write a partition's file with these blocks; it has its name when it is whole and on the disk."""
    with translated(path):
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    with whole(path, schema=SCHEMA) as connection:
        connection.executemany(_INSERT, map(_row, blocks))
        connection.executemany(_SET_FACT, facts.items())


class PartitionReader:
    """The partitions' files, open for one thread that reads; it lets go of those that are no more."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._seen = -1
        self._open: dict[Key, sqlite3.Connection] = {}

    def blocks(
        self, key: Key, points: int, start_ms: int, end_ms: int, *, slots: Sequence[int] | None = None,
        newest_first: bool = False,
    ) -> list[BlockRow]:  # fmt: skip
        """Return a group's blocks that have something between two times, in the order in which they came.

        With ``slots`` only that of their bodies is read which is needed for these points. What cannot be read for
        damage is left out, and makes the partition a suspect. Raises Moved where the partition is none of the catalog's
        any more.
        """
        order = "end_ms DESC, id DESC" if newest_first else "id"
        where = "points = ? AND start_ms < ? AND end_ms >= ?"
        sql = (_SELECT if slots is None else _SELECT_WITHOUT_BODY).format(where=where, order=order)

        def read(connection: sqlite3.Connection) -> list[BlockRow]:
            found = []
            for row in connection.execute(sql, (points, end_ms, start_ms)).fetchall():
                try:
                    block = block_row(row)
                    found.append(block if slots is None else _excerpt(connection, block, slots))
                except DamagedHistory as error:
                    self.suspect(key, error)
            return found

        return self._tried(key, read)

    def groups(self, key: Key) -> list[int]:
        """Return the numbers of the groups of points that have blocks; raises as `blocks` does."""
        return [number for (number,) in self._rows(key, "SELECT DISTINCT points FROM block", ())]

    def suspect(self, key: Key, error: DamagedHistory) -> None:
        """Note that something of a partition does not read as it was written."""
        self._catalog.suspect(key, error)

    def rows(self, key: Key, points: int) -> int:
        """Return how many rows a group has; raises as `blocks` does."""
        sql = "SELECT total(rows) FROM block WHERE points = ?"
        return sum(int(count) for (count,) in self._rows(key, sql, (points,)))

    def release(self) -> None:
        """Let go of files that are no more, so that their room on the disk is free."""
        if self._seen != self._catalog.version:
            self._seen = self._catalog.version
            present = set(self._catalog.keys)
            for key in [key for key in self._open if key not in present]:
                self._close(key)

    def close(self) -> None:
        """Let go of everything."""
        for key in list(self._open):
            self._close(key)

    def _rows(self, key: Key, sql: str, parameters: tuple[int, ...]) -> list[tuple[Any, ...]]:
        return self._tried(key, lambda connection: connection.execute(sql, parameters).fetchall())

    def _tried(self, key: Key, read: Callable[[sqlite3.Connection], list[ResultT]]) -> list[ResultT]:
        """Have something read of a partition at one moment; nothing where that fails for damage."""
        try:
            with translated(self._catalog.path(key)), transaction(self._connection(key), "DEFERRED") as connection:
                return read(connection)
        except HistoryError as error:
            self._close(key)
            if key not in self._catalog.keys:
                raise Moved from error
            if not self._catalog.path(key).exists():
                error = DamagedHistory(f"{self._catalog.path(key)} is gone.")
            if not isinstance(error, DamagedHistory):
                raise
            self.suspect(key, error)
            return []

    def _connection(self, key: Key) -> sqlite3.Connection:
        self.release()
        if key not in self._open:
            self._open[key] = opened_to_read(self._catalog.path(key))
        return self._open[key]

    def _close(self, key: Key) -> None:
        connection = self._open.pop(key, None)
        if connection is not None:
            connection.close()


def block_row(row: tuple[Any, ...]) -> BlockRow:
    """Take a row as it was read; raises DamagedHistory where it cannot be one that was written."""
    found = BlockRow(*row)
    numbers = (found.points, found.level, found.start_ms, found.end_ms, found.rows, found.origin)
    if not isinstance(found.body, bytes) or not all(isinstance(number, int) for number in numbers):
        raise DamagedHistory("A block's row does not read as it was written.")
    return found


def _excerpt(connection: sqlite3.Connection, block: BlockRow, slots: Sequence[int]) -> BlockRow:
    """Read of a block, whose row is read, what is needed for some points; raises DamagedHistory."""
    with connection.blobopen("block", "body", block.id or 0, readonly=True) as blob:
        return attrs.evolve(block, body=excerpt(blob, slots))


def _row(block: BlockRow) -> dict[str, object]:
    return attrs.asdict(block)
