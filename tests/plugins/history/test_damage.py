"""Files that are cut off or overwritten: what can be read is answered, the rest is set aside, and recording goes on."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import attrs
import pytest
import structlog
from shared_history import record
from shared_sums import agree
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.model import Value
from core.plugin import NoPoints
from core.samples import Committed, Lost
from plugins.history.config import HistoryConfig
from plugins.history.errors import DamagedHistory, HistoryError
from plugins.history.journal import FILE_NAME
from plugins.history.store import Store

from .weeks import at, hourly, keep_house, put, read

SLOTS = (1, 2, 70)
NOW_MS = at(17, 1)
OVER, LATEST, NEW = "forever/2026-09-14.week.1.sqlite3", "forever/2026-09-28.week.0.sqlite3", at(17, 0.9)
ROLLUPS = "rollup-5m/2026-09-01.month.0.sqlite3"
EDGES = array("q", [at(day) for day in range(18)])
FILES = (FILE_NAME, OVER, LATEST, ROLLUPS)


@asynccontextmanager
async def opened(folder: Path, now_ms: int = NOW_MS) -> AsyncIterator[Store]:
    log = structlog.get_logger(plugin="history")
    clock = ManualClock(now_ms / 1000)
    store = Store(folder, HistoryConfig(keep="forever"), points=NoPoints(), clock=clock, log=log)
    async with store.running():
        store.committer.gaps = []
        yield store


@attrs.frozen
class Recorded:
    """A folder of a history, and what was recorded in it: of a week that is over, another, the latest, and unsealed."""

    folder: Path
    rows: dict[tuple[int, int], Value]

    def path(self, name: str) -> Path:
        return self.folder / "history" / name

    def copy(self, folder: Path) -> Recorded:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Recorded(folder, dict(self.rows))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Record it once; the tests damage copies."""
    found = Recorded(tmp_path_factory.mktemp("recorded"), {})
    asyncio.run(record_into(found))
    return found


async def record_into(found: Recorded) -> None:
    async with opened(found.folder) as store:
        await store.register("sink")
        for part in range(4):
            for slot in SLOTS:
                for start, days in ((0, 7), (7, 7), (14, 2)):
                    every = [(time_ms, slot + time_ms % 977 / 8) for time_ms, _value in hourly(start, 0.0, days=days)]
                    await put_all(found, store, slot, every[part::4])
            await store.housekeeper.seal()
        await store.housekeeper.clean()
        for slot in SLOTS:
            await put_all(found, store, slot, hourly(16, slot * 2.0))


async def put_all(found: Recorded, store: Store, slot: int, samples: list[tuple[int, Value]]) -> None:
    await put(store, slot, samples)
    found.rows.update({(slot, time_ms): value for time_ms, value in samples})


@pytest.fixture
def damaged(recorded: Recorded, tmp_path: Path) -> Recorded:
    return recorded.copy(tmp_path)


# how a file is damaged


def cut_off(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.truncate(chance.randrange(path.stat().st_size))


def overwritten(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        for _ in range(chance.choice((1, 3, 20))):
            file.seek(chance.randrange(path.stat().st_size - 64))
            file.write(chance.randbytes(chance.randint(1, 64)))


def overwritten_at_the_beginning(path: Path, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(chance.randrange(100))
        file.write(chance.randbytes(chance.randint(1, 300)))


def pages_lost(path: Path, chance: random.Random) -> None:
    size = path.stat().st_size
    page = min(4096, size)
    with path.open("r+b") as file:
        for _ in range(chance.choice((1, 4))):
            file.seek(chance.randrange(size // page) * page)
            file.write(bytes(page))


def emptied(path: Path, _chance: random.Random) -> None:
    path.write_bytes(b"")


WAYS = (cut_off, overwritten, overwritten_at_the_beginning, pages_lost, emptied)
SEEDS = range(2)


async def everything(store: Store) -> dict[tuple[int, int], Value]:
    return {(slot, time_ms): value for slot in SLOTS for time_ms, value in await read(store, slot)}


def of_file(name: str, rows: dict[tuple[int, int], Value]) -> set[tuple[int, int]]:
    """Return what of rows is in a file: of weeks, or of what was not sealed."""
    begin, end = {OVER: (0, 7), LATEST: (14, 16), FILE_NAME: (16, 17)}.get(name, (0, 0))
    return {row for row in rows if at(begin) <= row[1] < at(end)}


async def check(store: Store, found: Recorded, name: str) -> dict[tuple[int, int], Value]:
    """See that all is there and right but, perhaps, some of what was in a file; return what is there."""
    there = await everything(store)
    assert all(found.rows[row] == value for row, value in there.items())
    assert found.rows.keys() - there.keys() <= of_file(name, found.rows)
    for slot in SLOTS:
        sums = await store.aggregate(slot, EDGES, now_ms=NOW_MS, states=False)
        assert sums.counts[7:14].tolist() == [24] * 7 or name == ROLLUPS
    assert len((await store.latest(SLOTS, NOW_MS)).slots) == len(SLOTS)
    return there


async def goes_on(store: Store, found: Recorded) -> None:
    """Record some more, and see that it is safe; a file that is found to be damaged by then may fail once or twice."""
    for slot in SLOTS:
        record(store, slot, NEW, 5.0)
        found.rows[slot, NEW] = 5.0
    for _ in range(3):
        try:
            await store.flush()
        except HistoryError:
            continue
        break
    await store.flush()
    assert store.committer.paused is None


async def look(store: Store) -> None:
    """Have the housekeeping do all it does now and then."""
    await store.housekeeper.look()
    await keep_house(store)
    await store.housekeeper.look()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_was_damaged_while_nothing_ran_costs_no_more_than_what_was_in_it(
    damaged: Recorded, name: str, way: Callable[[Path, random.Random], None], seed: int
):
    found = damaged
    way(found.path(name), random.Random(seed))
    with capture_logs() as logs:
        async with opened(found.folder) as store:
            await check(store, found, name)
            await goes_on(store, found)
            await check(store, found, name)
            await look(store)
            there = await check(store, found, name)
            aside = store.catalog.damaged()
            assert aside in ([], [f"{name}.damaged-1"])
            assert aside or there == found.rows
            assert not store.catalog.suspects
    told = [each for each in logs if each["log_level"] == "error"]
    assert [each["event"] for each in told if each["event"] != "history_batch_damaged"] == ["history_damaged"] * len(
        aside
    )
    with capture_logs() as logs:
        async with opened(found.folder) as store:
            await look(store)
            assert await everything(store) == there
    assert not [each for each in logs if each["log_level"] == "error"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", [*FILES, f"{FILE_NAME}-wal"])
async def test_a_file_that_is_damaged_in_use_costs_no_more_than_what_was_in_it(
    damaged: Recorded, name: str, way: Callable[[Path, random.Random], None], seed: int
):
    found = damaged
    async with opened(found.folder) as store:
        await check(store, found, "none")
        for slot in SLOTS:
            record(store, slot, at(17), 1.0)
            found.rows[slot, at(17)] = 1.0
        await store.flush()
        way(found.path(name), random.Random(seed))
        of = FILE_NAME if name.startswith(FILE_NAME) else name
        kept = "none" if of == FILE_NAME else name
        await check(store, found, kept)
        await goes_on(store, found)
        await look(store)
        await check(store, found, kept)
        assert store.catalog.damaged() in ([], [f"{of}.damaged-1"])
        assert not store.catalog.suspects
    async with opened(found.folder) as store:  # what was in the machine's memory may have been all right
        await look(store)
        await check(store, found, of)
        await goes_on(store, found)


# what is told of it, and what is saved


async def test_a_question_is_answered_with_what_can_be_read_and_the_damage_is_told_once(damaged: Recorded):
    spoil_blocks(damaged.path(OVER), "points = 0")
    with capture_logs() as logs:
        async with opened(damaged.folder) as store:
            for _ in range(3):
                assert len(await read(store, 1)) == 10 * 24
                assert len(await read(store, 70)) == 17 * 24
                assert (await store.latest([1], at(7))).slots.tolist() == []
            assert len(store.catalog.suspects) == 1
            await store.housekeeper.look()
            assert len(await read(store, 70)) == 17 * 24
            assert store.catalog.damaged() == [f"{OVER}.damaged-1"]
            await store.housekeeper.look()
    (told,) = [each for each in logs if each["log_level"] == "error"]
    assert told["event"] == "history_damaged"
    assert told["file"].endswith(OVER)
    assert told["set_aside"].endswith(".damaged-1")
    assert told["saved"] == 7 * 24
    assert "checksum" in told["error"]


def spoil_blocks(path: Path, where: str) -> None:
    """Change an octet in the middle of blocks, which SQLite does not notice."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"SELECT id, body FROM block WHERE {where}").fetchall()
        for number, body in rows:
            at_ = len(body) // 2
            spoilt = body[:at_] + bytes([body[at_] ^ 1]) + body[at_ + 1 :]
            connection.execute("UPDATE block SET body = ? WHERE id = ?", (spoilt, number))
        connection.commit()


async def test_the_roll_ups_of_what_is_damaged_are_left_as_they_were(damaged: Recorded):
    spoil_blocks(damaged.path(OVER), "points = 0")
    for _ in range(2):
        async with opened(damaged.folder) as store:
            assert len(await read(store, 1)) == 10 * 24
            await look(store)
            sums = await store.aggregate(1, EDGES[:8], now_ms=NOW_MS, states=False)
            assert sums.counts.tolist() == [24] * 7


@pytest.mark.parametrize("way", [spoil_blocks, None], ids=["spoilt", "deleted"])
async def test_roll_ups_that_are_damaged_or_gone_are_made_anew(damaged: Recorded, way):
    async with opened(damaged.folder) as store:
        if way is None:
            damaged.path(ROLLUPS).unlink()
        else:
            way(damaged.path(ROLLUPS), "1")
        quarters = [at(0, quarter / 4) for quarter in range(4 * 24)]
        for slot in SLOTS:
            await store.aggregate(slot, array("q", quarters), now_ms=NOW_MS, states=False)
        for _ in range(2):
            await store.housekeeper.look()
            for slot in SLOTS:
                await agree(store, slot, quarters, states=False)
            await store.housekeeper.clean()
        assert store.catalog.rolled == store.catalog.compact
        assert damaged.path(ROLLUPS).with_name("2026-09-01.month.1.sqlite3").exists() or way is None


async def test_one_damaged_file_keeps_no_other_from_being_sealed_or_written_anew(damaged: Recorded):
    spoil_blocks(damaged.path(LATEST), "points = 0")
    clock = ManualClock(at(22) / 1000)
    store = Store(
        damaged.folder, HistoryConfig(keep="forever"), points=NoPoints(), clock=clock, log=structlog.get_logger()
    )
    async with store.running():
        for number in range(20):
            await put(store, 1, [(at(15, 23) + number, 1.0), (at(21) + number, 1.0)])
            await store.housekeeper.seal()
        await store.housekeeper.clean()
        await store.housekeeper.look()
        await store.housekeeper.clean()
        assert store.catalog.damaged() == [f"{LATEST}.damaged-1"]
        assert store.housekeeper.figures.error is None
        assert {key.span.start_ms for key in store.catalog.compact} == {at(0), at(7), at(14)}
        assert len(await read(store, 70)) == 17 * 24
        assert len(await read(store, 1)) == (14 + 1) * 24 + 40


async def test_a_file_of_a_newer_sqlite_is_set_aside_though_it_could_be_read(damaged: Recorded):
    for name in (FILE_NAME, LATEST):
        with damaged.path(name).open("r+b") as file:
            file.seek(18)
            file.write(b"\x09")
    async with opened(damaged.folder) as store:
        assert store.catalog.damaged() == [f"{FILE_NAME}.damaged-1"]
        await goes_on(store, damaged)
        await look(store)
        assert await everything(store) == damaged.rows
        assert store.catalog.damaged() == [f"{LATEST}.damaged-1", f"{FILE_NAME}.damaged-1"]


async def test_a_file_that_is_gone_is_told_and_missed_by_nobody_else(damaged: Recorded):
    async with opened(damaged.folder) as store:
        damaged.path(OVER).unlink()
        with capture_logs() as logs:
            assert len(await read(store, 1)) == 10 * 24
            await store.housekeeper.look()
            assert len(await read(store, 1)) == 10 * 24
        assert [each["error"] for each in logs if each["event"] == "history_damaged"] == [
            f"{damaged.path(OVER)} is gone."
        ]
        assert at(0) not in [key.span.start_ms for key in store.catalog.samples()]


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
async def test_a_journal_that_is_deleted_in_use_costs_nothing_that_is_in_memory(damaged: Recorded, replaced: bool):
    async with opened(damaged.folder) as store:
        damaged.path(FILE_NAME).unlink()
        if replaced:
            damaged.path(FILE_NAME).write_bytes(b"not what is open")
        with capture_logs() as logs:
            await goes_on(store, damaged)
        assert [each["event"] for each in logs] == ["history_damaged"]
        assert await everything(store) == damaged.rows
    async with opened(damaged.folder) as store:
        assert await everything(store) == damaged.rows


async def test_one_batch_of_the_journal_that_is_damaged_costs_no_other(damaged: Recorded):
    with closing(sqlite3.connect(damaged.path(FILE_NAME))) as connection:
        connection.execute("UPDATE batch SET body = substr(body, 1, 20) WHERE seq = (SELECT max(seq) FROM batch)")
        connection.commit()
    with capture_logs() as logs:
        async with opened(damaged.folder) as store:
            assert [len(await read(store, slot)) for slot in SLOTS] == [17 * 24, 17 * 24, 16 * 24]
            assert store.catalog.damaged() == []
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["history_batch_damaged"]


async def test_of_a_damaged_journal_batches_cursors_and_gaps_are_saved(damaged: Recorded):
    with closing(sqlite3.connect(damaged.path(FILE_NAME))) as connection:
        connection.execute("INSERT INTO gap VALUES (1, 2, 'not_running')")
        connection.commit()
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'batch'").fetchone()
        assert root
    with damaged.path(FILE_NAME).open("ab") as file:
        file.truncate(damaged.path(FILE_NAME).stat().st_size - 1000)
    async with opened(damaged.folder) as store:
        begin = await store.register("sink")
        assert begin.epoch < store.newest.epoch
        assert store.committer.gaps == []  # cleared by `opened`
        there = await check(store, damaged, FILE_NAME)
        found = await store.read_after(begin, 1000)
        assert isinstance(found[0], Lost)
        rows = sum(len(each.rows.slots) for each in found if isinstance(each, Committed))
        assert rows == len(of_file(FILE_NAME, there))
    async with opened(damaged.folder) as store:
        assert await everything(store) == there


async def test_a_journal_that_only_a_receiver_finds_damaged_is_begun_anew_for_its_sake(damaged: Recorded):
    async with opened(damaged.folder) as store:
        begin, before = await store.register("sink"), store.newest
        with damaged.path(FILE_NAME).open("r+b") as file:
            size = damaged.path(FILE_NAME).stat().st_size
            file.seek(4096)
            file.write(random.Random(1).randbytes(size - 4096))
        with pytest.raises(HistoryError):
            await store.read_after(begin, 1000)
        await store.flush()
        found = await store.read_after(begin, 1000)
        assert (found[0].first.epoch, store.newest.epoch > before.epoch) == (begin.epoch, True)
        assert sum(len(each.rows.slots) for each in found[1:]) == 3 * 24
        assert await everything(store) == damaged.rows


async def test_a_receiver_that_had_the_old_journal_open_reads_the_new_one(damaged: Recorded):
    async with opened(damaged.folder) as store:
        begin = await store.register("sink")
        assert len(await store.read_after(begin, 1000)) > 1
        store.committer.doubt(DamagedHistory("It does not read as it was written."), store.newest.epoch)
        await goes_on(store, damaged)
        for _reader in range(4):
            lost, *found = await store.read_after(begin, 1000)
            assert isinstance(lost, Lost)
            assert [each.position.epoch for each in found] == [store.newest.epoch] * len(found)
            assert sum(len(each.rows.slots) for each in found) == 3 * 24 + 3
