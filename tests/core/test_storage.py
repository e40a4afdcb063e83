"""The installation's SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from core.plugin import Migration
from core.storage import FILE_NAME, Storage, StorageError, open_storage

TABLE = Migration(1, "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
INSERT = "INSERT INTO things VALUES (?, ?)"


async def things(storage: Storage) -> list[tuple[int, str]]:
    return [(row[0], row[1]) for row in await storage.read("SELECT id, name FROM things ORDER BY id")]


async def test_a_data_directory_is_made_and_what_is_written_is_there_again_after_closing(tmp_path: Path):
    directory = tmp_path / "new" / "data"
    async with open_storage(directory) as storage:
        await storage.migrate("demo", [TABLE])
        await storage.write((INSERT, [(1, "one"), (2, "two")]))
    async with open_storage(directory) as storage:
        assert await things(storage) == [(1, "one"), (2, "two")]


async def test_the_file_is_in_wal_mode_and_nothing_is_left_open(tmp_path: Path):
    async with open_storage(tmp_path) as storage:
        assert await storage.read("PRAGMA journal_mode") == [("wal",)]
        assert (tmp_path / f"{FILE_NAME}-wal").exists()
    assert not (tmp_path / f"{FILE_NAME}-wal").exists(), "the last connection to close folds it in"


async def test_readers_cannot_write(storage: Storage):
    with pytest.raises(StorageError, match="readonly"):
        await storage.read("DELETE FROM facts")


async def test_readers_see_what_was_written_as_soon_as_the_write_returns(storage: Storage):
    await storage.migrate("demo", [TABLE])
    for number in range(10):
        await storage.write((INSERT, [(number, "x")]))
        assert (await storage.read("SELECT count(*) FROM things"))[0] == (number + 1,)


async def test_a_transaction_is_written_whole_or_not_at_all(storage: Storage):
    await storage.migrate("demo", [TABLE])
    with pytest.raises(StorageError, match="UNIQUE constraint"):
        await storage.write((INSERT, [(1, "one")]), (INSERT, [(2, "two"), (1, "again")]))
    assert await things(storage) == []
    await storage.write((INSERT, [(1, "one")]))
    assert await things(storage) == [(1, "one")]


async def test_a_row_that_sqlite_cannot_hold_leaves_nothing_behind(storage: Storage):
    await storage.migrate("demo", [TABLE])
    with pytest.raises(OverflowError):
        await storage.write((INSERT, [(1, "one"), (2**70, "too large")]))
    assert await things(storage) == []
    await storage.write((INSERT, [(1, "one")]))


async def test_many_writers_take_turns_and_many_readers_share(storage: Storage):
    await storage.migrate("demo", [TABLE])
    async with asyncio.TaskGroup() as group:
        for number in range(30):
            group.create_task(storage.write((INSERT, [(number, "x"), (number + 100, "y")])))
        reads = [group.create_task(storage.read("SELECT count(*) FROM things")) for _ in range(30)]
    assert all(read.result()[0][0] % 2 == 0 for read in reads), "never half a transaction"
    assert len(await things(storage)) == 60


@pytest.mark.parametrize("turns", range(12))
async def test_a_write_that_is_cancelled_at_any_moment_leaves_the_writer_usable(storage: Storage, turns: int):
    await storage.migrate("demo", [TABLE])
    write = asyncio.create_task(storage.write((INSERT, [(number, "x") for number in range(1000)])))
    for _ in range(turns):
        await asyncio.sleep(0)
    write.cancel()
    await asyncio.wait({write})  # on a busy machine it may have been done by then
    await storage.write(("DELETE FROM things", [()]), (INSERT, [(1, "one")]))
    assert await things(storage) == [(1, "one")]


async def test_a_read_that_is_cancelled_gives_its_reader_back(storage: Storage):
    for _ in range(5):
        read = asyncio.create_task(storage.read("SELECT 1"))
        await asyncio.sleep(0)
        read.cancel()
        with pytest.raises(asyncio.CancelledError):
            await read
    async with asyncio.timeout(2):
        assert await storage.read("SELECT 2") == [(2,)]


async def test_a_query_that_is_wrong_is_an_error_with_its_reason_and_costs_no_reader(storage: Storage):
    for _ in range(5):
        with pytest.raises(StorageError, match="no such table: nowhere"):
            await storage.read("SELECT * FROM nowhere")
    async with asyncio.timeout(2):
        assert await storage.read("SELECT ?, ?", (1, "x")) == [(1, "x")]


async def test_each_migration_runs_once_in_the_order_of_versions_for_each_owner(tmp_path: Path):
    column = Migration(2, "ALTER TABLE things ADD COLUMN colour TEXT; UPDATE things SET colour = 'red'")
    async with open_storage(tmp_path) as storage:
        await storage.migrate("demo", [TABLE])
        await storage.write((INSERT, [(1, "one")]))
    async with open_storage(tmp_path) as storage:
        await storage.migrate("demo", [column, TABLE])
        await storage.migrate("demo", [column, TABLE])
        await storage.migrate("other", [Migration(1, "CREATE TABLE others (id INTEGER)")])
        assert await storage.read("SELECT * FROM things") == [(1, "one", "red")]
        done = await storage.read("SELECT owner, version FROM migrations WHERE owner <> 'core' ORDER BY owner, version")
        assert done == [("demo", 1), ("demo", 2), ("other", 1)]


async def test_a_migration_that_fails_changes_nothing_and_is_named(storage: Storage):
    broken = Migration(2, "CREATE TABLE half (id INTEGER); INSERT INTO nowhere VALUES (1)")
    with pytest.raises(StorageError, match=r"Migration 2 of demo failed: no such table: nowhere\."):
        await storage.migrate("demo", [TABLE, broken])
    assert await storage.read("SELECT name FROM sqlite_master WHERE name = 'half'") == []
    await storage.migrate("demo", [TABLE, Migration(2, "CREATE TABLE whole (id INTEGER)")])
    assert await storage.read("SELECT * FROM whole") == []


async def test_a_migration_may_end_with_a_semicolon_or_a_comment(storage: Storage):
    await storage.migrate(
        "demo", [Migration(1, "CREATE TABLE a (id INTEGER);\n"), Migration(2, "CREATE TABLE b (id INTEGER) -- the end")]
    )
    assert await storage.read("SELECT * FROM a, b") == []


async def test_a_data_directory_that_is_a_file_is_an_error_that_says_what_to_do(tmp_path: Path):
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(StorageError, match=r"cannot be opened: .*--data-dir"):
        async with open_storage(tmp_path / "data"):
            pass


async def test_a_file_that_is_no_database_is_an_error_and_stays_as_it_is(tmp_path: Path):
    (tmp_path / FILE_NAME).write_text("my diary, " * 100)
    with pytest.raises(StorageError, match="not a database"):
        async with open_storage(tmp_path):
            pass
    assert (tmp_path / FILE_NAME).read_text().startswith("my diary")


async def test_a_file_that_another_process_writes_for_long_is_waited_for(storage: Storage, tmp_path: Path):
    await storage.migrate("demo", [TABLE])
    other = sqlite3.connect(tmp_path / "data" / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(storage.write((INSERT, [(1, "one")])))
    assert await storage.read("SELECT count(*) FROM things") == [(0,)], "readers go on"
    other.execute("COMMIT")
    other.close()
    async with asyncio.timeout(4):
        await write
    assert await things(storage) == [(1, "one")]


async def test_a_data_directory_has_one_plantroom_at_a_time(tmp_path: Path):
    async with open_storage(tmp_path):
        with pytest.raises(StorageError, match="in use by another Plantroom"):
            async with open_storage(tmp_path):
                pass
    async with open_storage(tmp_path):
        pass
