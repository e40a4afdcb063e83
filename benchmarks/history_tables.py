"""Tables of samples in SQLite, and rows inserted by the C API, or by executemany where there is no compiler."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from benchmarks.history_rows import POINTS_A_READ, House, Row

TRANSACTION_ROWS = 2000
COLUMNS = "point INTEGER NOT NULL, time INTEGER NOT NULL, value, reason INTEGER NOT NULL, flags INTEGER NOT NULL, source INTEGER NOT NULL"  # fmt: skip # noqa: E501
APPENDED = f"CREATE TABLE samples ({COLUMNS})"
CLUSTERED = f"CREATE TABLE samples ({COLUMNS}, PRIMARY KEY (point, time)) WITHOUT ROWID"
INSERT = "INSERT OR REPLACE INTO samples (point, time, value, reason, flags, source) VALUES (?, ?, ?, ?, ?, ?)"
OPENED = "PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536"
LOADING = "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-262144"
INSERTED_WITHIN_S = 900.0
SOURCE = Path(__file__).with_name("history_insert.c")


class Inserter:
    """Inserts the samples of a house into the table ``samples``; ``by`` says by what."""

    def __init__(self, folder: Path) -> None:
        self._program: Path | None = folder / "history_insert"
        compiler = shutil.which("cc")
        command = [compiler or "", "-O2", "-o", str(self._program), str(SOURCE), "-lsqlite3", "-lm"]
        if compiler is None or subprocess.run(command, check=False, capture_output=True).returncode:
            self._program = None
        self.by = "executemany, for want of a C compiler or sqlite3.h" if self._program is None else "the C API"

    def load(self, database: Path, table: str, house: House, end_minute: int) -> None:
        """Make a table of the samples up to a minute, in its order."""
        with sqlite3.connect(database) as connection:
            connection.execute(table)
        connection.close()
        if self._program is not None:
            self._run(database, LOADING, house, 0, end_minute, "by-point" if table == CLUSTERED else "by-time", 0)
        else:
            _load(database, house, end_minute)
        connection = sqlite3.connect(database)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()

    def arrive(self, database: Path, house: House, first_minute: int, end_minute: int) -> float:
        """Insert some minutes as they come, in transactions; answer the seconds it took."""
        if self._program is not None:
            return self._run(database, OPENED, house, first_minute, end_minute, "by-time", TRANSACTION_ROWS)
        rows = [*rows_of(house, first_minute, end_minute)]
        connection = sqlite3.connect(database, isolation_level=None)
        connection.executescript(OPENED)
        began = time.perf_counter()
        for at in range(0, len(rows), TRANSACTION_ROWS):
            connection.execute("BEGIN")
            connection.executemany(INSERT, rows[at : at + TRANSACTION_ROWS])
            connection.execute("COMMIT")
        took = time.perf_counter() - began
        connection.close()
        return took

    def _run(self, database: Path, pragmas: str, house: House, first: int, end: int, order: str, rows: int) -> float:
        words = [self._program, database, pragmas, INSERT, house.folder, house.points, POINTS_A_READ, first, end, order]
        command = [str(word) for word in (*words, rows)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=INSERTED_WITHIN_S)
        return float(done.stdout)


def rows_of(house: House, first_minute: int, end_minute: int) -> Iterator[Row]:
    """Give all samples of some minutes, as they came."""
    return chain.from_iterable(read.rows() for read in house.reads(first_minute, end_minute))


def _load(database: Path, house: House, end_minute: int) -> None:
    """Fill a table without the C API: by way of one in the order of time."""
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        connection = sqlite3.connect(database)
        connection.executescript(LOADING)
        connection.execute("ATTACH ? AS aside", (str(Path(folder) / "aside.db"),))
        connection.execute(APPENDED.replace("samples", "aside.samples"))
        connection.executemany(INSERT.replace("samples", "aside.samples"), rows_of(house, 0, end_minute))
        connection.execute("INSERT INTO main.samples SELECT * FROM aside.samples ORDER BY point, time")
        connection.commit()
        connection.close()
