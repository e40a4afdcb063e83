"""Where samples go when they are sealed, and what becomes of them there: late, twice, corrected."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from shared_sums import agree

from core.readings import Row
from plugins.history.catalog import Key
from plugins.history.config import Rule
from plugins.history.databases import UNFINISHED
from plugins.history.sealing import LARGE, SMALL, SMALL_BLOCKS
from plugins.history.spans import SpanKind, span_of
from plugins.history.store import Store

from .house import House
from .weeks import HOUR_MS, MakeStore, at, files, hourly, keep_house, opened, put, read

STAGES = ("head", "sealed", "compact", "restarted")


async def reach(store: Store, stage: str) -> None:
    """Bring what is recorded to where a stage has it."""
    if stage != "head":
        await store.housekeeper.seal()
    if stage == "compact":
        await store.housekeeper.clean()
        assert store.catalog.compact == set(store.catalog.samples())


@pytest.mark.parametrize("second", STAGES)
@pytest.mark.parametrize("first", STAGES)
async def test_of_what_comes_late_twice_or_corrected_the_last_counts(make_store: MakeStore, first: str, second: str):
    now = at(8)
    async with opened(make_store, now, keep="forever") as store:
        await put(store, 1, [(at(0, hour), float(hour)) for hour in (3, 1, 2)])
        await put(store, 2, [(at(0, 2), 200.0)])
        await reach(store, first)
        if first != "restarted":
            await correct_and_check(store, second)
    if first == "restarted":
        async with opened(make_store, now, keep="forever") as store:
            await correct_and_check(store, second)
    async with opened(make_store, now, keep="forever") as store:
        await check(store)


async def correct_and_check(store: Store, stage: str) -> None:
    await put(store, 1, [(at(0, 2), Row("corrected")), (at(0, 1), 1.0), (at(0, 0.5), 0.5), (at(6), 6.0)])
    await put(store, 1, [(at(0, 3), 30.0), (at(0, 3), 31.0)])
    await check(store)
    await reach(store, stage)
    await check(store)


async def check(store: Store) -> None:
    assert await read(store, 1) == [
        (at(0, 0.5), 0.5), (at(0, 1), 1.0), (at(0, 2), "corrected"), (at(0, 3), 31.0), (at(6), 6.0)
    ]  # fmt: skip
    assert await read(store, 2) == [(at(0, 2), 200.0)]
    found = await store.latest([1, 2], at(0, 3))
    assert (found.slots.tolist(), found.samples.texts) == ([1, 2], {0: "corrected"})


async def test_samples_go_into_a_file_for_each_week_and_short_classes_into_one_for_each_day(make_store: MakeStore):
    house = House()
    house.add("x.1.a")
    house.add("x.1.b", tags=("short",))
    async with opened(make_store, at(8), house=house, points=(Rule(tag="short", keep="3d"),)) as store:
        for slot in (1, 2):
            await put(store, slot, [(at(day), 1.0) for day in (0, 1, 6.9999, 7)])
        await store.housekeeper.seal()
        assert files(store, "*/*.sqlite3") == [
            "3d/2026-09-14.day.0.sqlite3", "3d/2026-09-15.day.0.sqlite3", "3d/2026-09-20.day.0.sqlite3",
            "3d/2026-09-21.day.0.sqlite3", "60d/2026-09-14.week.0.sqlite3", "60d/2026-09-21.week.0.sqlite3",
        ]  # fmt: skip
        assert not store.head.rows


async def test_many_small_blocks_of_a_group_become_a_large_one(make_store: MakeStore):
    async with opened(make_store, at(1)) as store:
        for number in range(SMALL_BLOCKS + 1):
            await put(store, 1, [(at(0, number), float(number))])
            await put(store, 700, [(at(0, number), float(number))] if number == 3 else [])
            await store.housekeeper.seal()
        with closing(sqlite3.connect(store.catalog.path(store.catalog.samples()[0]))) as connection:
            sql = "SELECT level, count(*), total(rows) FROM block WHERE points = 0 GROUP BY level ORDER BY level"
            assert connection.execute(sql).fetchall() == [(SMALL, 1, 1), (LARGE, 1, SMALL_BLOCKS)]
        assert len(await read(store, 1)) == SMALL_BLOCKS + 1
        assert len(await read(store, 700)) == 1


async def test_a_week_that_is_over_is_written_anew_once_and_left_alone_from_then_on(make_store: MakeStore):
    async with opened(make_store, at(7, 2)) as store:
        await put(store, 1, hourly(0, 1.0, days=7))
        await keep_house(store)
        (key,) = store.catalog.samples()
        assert key.generation == 1
        path = store.catalog.path(key)
        before = path.stat()
        await keep_house(store)
        assert store.housekeeper.figures.rewritten == 1
    async with opened(make_store, at(9)) as store:
        await keep_house(store)
        assert await agree(store, 1, [at(day) for day in range(8)], states=False)
        assert len(await read(store, 1)) == 7 * 24
        assert store.catalog.samples() == [key]
        assert store.housekeeper.figures.rewritten == 0
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]


async def test_a_week_is_waited_with_for_an_hour(make_store: MakeStore):
    async with opened(make_store, at(7, 0.9)) as store:
        await put(store, 1, hourly(0, 1.0))
        await keep_house(store)
        assert store.housekeeper.figures.rewritten == 0


async def test_what_comes_late_for_a_week_has_it_written_anew_and_rolled_up_anew(make_store: MakeStore):
    edges = [at(day) for day in range(15)]
    async with opened(make_store, at(15)) as store:
        await put(store, 1, [*hourly(0, 1.0, days=6), *hourly(7, 2.0, days=7)])
        await keep_house(store)
        await agree(store, 1, edges, states=False)
        await put(store, 1, [(at(6, 23), 9.0), (at(0, 0.25), 3.0)])
        for _ in range(2):
            await agree(store, 1, edges, states=False)
            await keep_house(store)
        assert [key.generation for key in store.catalog.samples()] == [2, 1]
        assert store.catalog.rolled == set(store.catalog.samples())
        sums = await agree(store, 1, edges, states=False)
        assert sums.maxs[6] == 9.0
        assert sums.integrals[7] == 9.0 * HOUR_MS / 2 + 2.0 * HOUR_MS * 23.5


async def test_what_comes_for_a_week_before_the_first_one_is_what_holds_at_its_beginning(make_store: MakeStore):
    edges = [at(day) for day in range(7, 15)]
    async with opened(make_store, at(15)) as store:
        await put(store, 1, [(at(10), 1.0)])
        await keep_house(store)
        await put(store, 1, [(at(3), 2.0)])
        await keep_house(store)
        assert store.catalog.rolled == set(store.catalog.samples())
        sums = await agree(store, 1, edges, states=False)
        assert sums.firsts.tolist()[3] == 1.0
        assert sums.covered.tolist() == [24 * HOUR_MS] * 7


async def test_what_a_cut_of_power_left_behind_is_cleared_away_at_the_start(make_store: MakeStore):
    async with opened(make_store, at(7, 2)) as store:
        await put(store, 1, hourly(0, 1.0))
        await keep_house(store)
        folder = store.folder / "60d"
        whole = folder / "2026-09-14.week.1.sqlite3"
        (folder / "2026-09-14.week.0.sqlite3").write_bytes(b"older")
        (folder / "2026-09-14.week.0.sqlite3-wal").write_bytes(b"older")
        (folder / f"2026-09-14.week.2.sqlite3{UNFINISHED}").write_bytes(b"half")
        (folder / "notes.sqlite3").write_bytes(b"not ours")
    async with opened(make_store, at(7, 2)) as store:
        assert sorted(path.name for path in folder.iterdir()) == [whole.name, "notes.sqlite3"]
        assert len(await read(store, 1)) == 24


async def test_a_log_that_was_left_without_its_file_is_not_taken_for_that_of_a_new_one(
    make_store: MakeStore, tmp_path: Path
):
    async with opened(make_store, at(7, 2)) as store:
        await put(store, 1, hourly(0, 1.0))
        await store.housekeeper.seal()
        (key,) = store.catalog.samples()
        copy = shutil.copy(store.catalog.path(key), tmp_path / "copy")
        with closing(sqlite3.connect(copy)) as other:
            other.execute("PRAGMA journal_mode = WAL")
            other.execute("DELETE FROM block")
            other.commit()
            log = (tmp_path / "copy-wal").read_bytes()
            assert log
        fresh = Key(span_of(at(0), SpanKind.WEEK), "60d", 1)
        store.catalog.path(fresh).with_name(fresh.file_name + "-wal").write_bytes(log)
        await store.housekeeper.clean()
        assert store.catalog.samples() == [fresh]
        assert len(await read(store, 1)) == 24


async def test_a_point_that_moves_to_another_class_is_found_in_both(make_store: MakeStore):
    house = House()
    slot = house.add("x.1.a")
    rules = (Rule(tag="short", keep="20d"),)
    async with opened(make_store, at(4), house=house, points=rules) as store:
        await put(store, slot, hourly(0, 1.0, days=2))
        await store.housekeeper.seal()
        house.tag(slot, "short")
        await put(store, slot, hourly(2, 2.0, days=2))
        await store.housekeeper.seal()
        edges = [at(day) for day in range(5)]
        await agree(store, slot, edges, states=False)
        await store.housekeeper.clean()
        await agree(store, slot, edges, states=False)
    async with opened(make_store, at(8), house=house, points=rules) as store:
        await store.housekeeper.clean()
        await agree(store, slot, edges, states=False)
        assert await read(store, slot) == [*hourly(0, 1.0, days=2), *hourly(2, 2.0, days=2)]
        assert {key.class_name for key in store.catalog.samples()} == {"20d", "60d"}


async def test_a_text_that_is_no_unicode_is_kept_and_stops_nothing(make_store: MakeStore):
    async with opened(make_store, at(7, 2)) as store:
        await put(store, 1, [(at(0), "half \ud83d"), (at(1), 1.0)])
        await keep_house(store)
        assert await read(store, 1) == [(at(0), "half \ud83d"), (at(1), 1.0)]
        assert store.committer.paused is None
