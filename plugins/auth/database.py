"""The installation's database as the command line uses it: beside a Plantroom that runs, or before the first start."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from core.errors import PlantroomError
from core.storage import FILE_NAME, StorageError
from plugins.auth.bootstrap import keep_private
from plugins.auth.tables import MIGRATIONS, REVISED, Row, Statement

BUSY_S = 5.0
_MIGRATIONS_TABLE = (
    "CREATE TABLE IF NOT EXISTS migrations"
    " (owner TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (owner, version)) WITHOUT ROWID"
)  # as core.storage makes it


class Database:
    """Queries, and changes that a running Plantroom is told of."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def read(self, sql: str, parameters: Row = ()) -> list[Row]:
        """Run one query."""
        return self._connection.execute(sql, parameters).fetchall()

    def write(self, *statements: Statement) -> int:
        """Run statements in one transaction; answers how many rows they concern."""
        with self._transaction():
            count = sum(self._connection.executemany(sql, rows).rowcount for sql, rows in statements)
            self._connection.executemany(*REVISED)
        return count

    def migrate(self, owner: str) -> None:
        """Make the plugin's tables where they are not, and say so where Plantroom looks it up."""
        self._connection.execute(_MIGRATIONS_TABLE)
        for migration in MIGRATIONS:
            with self._transaction():
                done = self.read("SELECT 1 FROM migrations WHERE owner = ? AND version = ?", (owner, migration.version))
                if not done:
                    for statement in migration.sql.split(";"):
                        self._connection.execute(statement)
                    self._connection.execute("INSERT INTO migrations VALUES (?, ?)", (owner, migration.version))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


@contextmanager
def opened(data_dir: Path, owner: str, *, make: bool) -> Iterator[Database]:
    """Open the database of a data directory, with the plugin's tables in it.

    Raises PlantroomError where there is none and none is to be made, and StorageError where it cannot be used.
    """
    path = data_dir / FILE_NAME
    if not make and not path.exists():
        raise PlantroomError(f"{data_dir} holds no installation; name another with --data-dir or --config")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")
            keep_private(path)
            database = Database(connection)
            database.migrate(owner)
            yield database
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"{path} cannot be used: {error}") from error
