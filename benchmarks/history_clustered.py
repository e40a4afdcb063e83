"""The contender that keeps samples in an SQLite table clustered by point and time, through aiosqlite.

`python benchmarks/history_clustered.py DATABASE`: the table is there; transactions of 2,000 rows, one connection that
writes and one that reads.
"""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from itertools import chain

import aiosqlite

from benchmarks.history_measures import Measures
from benchmarks.history_rows import Read, Row
from benchmarks.history_tables import INSERT, OPENED, TRANSACTION_ROWS

RANGE = """
    SELECT time, value, reason, flags, source FROM samples WHERE point = ? AND time >= ? AND time < ?
    ORDER BY time LIMIT ?
"""
SUMS = """
    SELECT (time - ?) / ? AS number, avg(value), min(value), max(value), count(value) FROM samples
    WHERE point = ? AND time >= ? AND time < ? GROUP BY number ORDER BY number
"""
LATEST = """
    WITH RECURSIVE wanted(point) AS (SELECT 0 UNION ALL SELECT point + 1 FROM wanted WHERE point + 1 < ?)
    SELECT samples.* FROM wanted JOIN samples ON samples.point = wanted.point
    AND samples.time = (SELECT max(time) FROM samples WHERE point = wanted.point AND time < ?)
"""


class ClusteredTable:
    """A store as `benchmarks.history_measures` measures it."""

    def __init__(self, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._waiting: list[Row] = []

    def prepare(self, reads: Iterable[Read], offset: int) -> list[Sequence[Row]]:
        return [[(point + offset, *rest) for point, *rest in read.rows()] for read in reads]

    async def record(self, prepared: Sequence[Sequence[Row]]) -> None:
        self._waiting += chain.from_iterable(prepared)
        if len(self._waiting) >= TRANSACTION_ROWS:
            await self.flush()

    async def flush(self) -> None:
        rows, self._waiting = self._waiting, []
        if rows:
            await self._writer.executemany(INSERT, rows)
            await self._writer.commit()

    async def settle(self) -> None:
        pass

    async def samples(self, point: int, start_ms: int, end_ms: int, limit: int) -> tuple[int, int]:
        rows = list(await self._reader.execute_fetchall(RANGE, (point, start_ms, end_ms, limit)))
        return len(rows), rows[-1][0] if rows else end_ms

    async def sums(self, point: int, start_ms: int, end_ms: int, interval_ms: int) -> int:
        given = (start_ms, interval_ms, point, start_ms, end_ms)
        found = await self._reader.execute_fetchall(SUMS, given)
        return sum(count for _number, _mean, _least, _greatest, count in found)

    async def latest(self, points: int, before_ms: int) -> int:
        return len(list(await self._reader.execute_fetchall(LATEST, (points, before_ms))))

    async def retain(self, points: int, from_ms: int) -> None:
        statement = "DELETE FROM samples WHERE point = ? AND time < ?"
        await self._writer.executemany(statement, [(point, from_ms) for point in range(points)])
        await self._writer.commit()


async def main(database: str) -> None:
    async with aiosqlite.connect(database) as writer, aiosqlite.connect(database) as reader:
        for connection in (writer, reader):
            await connection.executescript(OPENED)
        await reader.execute("PRAGMA query_only=ON")
        await Measures(ClusteredTable(writer, reader)).serve()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
