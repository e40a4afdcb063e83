"""What is outdated is deleted, a file at a time, and the oldest where the history grows too large."""

from __future__ import annotations

import asyncio
import random
from array import array
from contextlib import suppress
from pathlib import Path

import pytest
from shared_sums import agree
from structlog.testing import capture_logs

from core.model import Source
from core.readings import Chunk, Row, batch_of
from core.samples import Committed, Lost
from plugins.history.config import HistoryConfig, RollupsConfig, Rule, SealConfig
from plugins.history.errors import HistoryError
from plugins.history.journal import FILE_NAME
from plugins.history.partitions import Moved, PartitionReader
from plugins.history.retention import GIB
from plugins.history.spans import DAY_MS
from plugins.history.store import Store

from .house import House
from .weeks import HOUR_MS, MakeStore, at, files, hourly, keep_house, opened, put, read


@pytest.fixture
def house() -> House:
    found = House()
    for name in ("default", "short", "long"):
        found.add(f"x.1.{name}", tags=(name,))
    return found


RULES = Rule(tag="short", keep="2d"), Rule(tag="long", keep="forever")


async def test_the_samples_of_each_point_are_kept_as_long_as_its_class_says(make_store: MakeStore, house: House):
    options = {"house": house, "points": RULES}
    async with opened(make_store, at(0, 23), **options) as store:
        for slot in (1, 2, 3):
            await put(store, slot, hourly(0, 1.0))
        await keep_house(store)
        assert files(store, "[!r]*/*.sqlite3") == [
            "2d/2026-09-14.day.0.sqlite3", "60d/2026-09-14.week.0.sqlite3", "forever/2026-09-14.week.0.sqlite3",
        ]  # fmt: skip
    for days, kept in ((2.9, [24, 24, 24]), (3.1, [24, 0, 24]), (66.9, [24, 0, 24]), (67.1, [0, 0, 24])):
        async with opened(make_store, at(days), **options) as store:
            await store.housekeeper.clean()
            assert [len(await read(store, slot)) for slot in (1, 2, 3)] == kept, days
    async with opened(make_store, at(100_000), **options) as store:
        await store.housekeeper.clean()
        assert [len(await read(store, slot)) for slot in (1, 2, 3)] == [0, 0, 24]


async def test_what_is_outdated_is_deleted_though_nothing_can_be_sealed(make_store: MakeStore, house: House):
    options = {"house": house, "points": RULES, "seal": SealConfig(samples=5)}
    async with opened(make_store, at(0, 23), **options) as store:
        await put(store, 2, hourly(0, 1.0)[:4])
        await store.housekeeper.seal()
    async with opened(make_store, at(5), **options) as store:
        (store.folder / "60d").write_text("a file where a folder should be")
        await put(store, 1, hourly(4, 1.0)[:6])
        with pytest.raises(HistoryError, match="60d"):
            await store.housekeeper.look()
        assert await read(store, 2) == []
        assert store.housekeeper.figures.deleted == 1
        assert len(await read(store, 1)) == 6


async def test_roll_ups_are_kept_as_long_as_their_level_says(make_store: MakeStore):
    options = {"keep": "2d", "rollups": RollupsConfig("10d", "800d", "forever")}
    async with opened(make_store, at(2), **options) as store:
        await put(store, 1, hourly(0, 1.0))
        await keep_house(store)
        assert len(files(store, "rollup-*/*.sqlite3")) == 3
    for days, levels in (
        (26.9, ["rollup-1d", "rollup-1h", "rollup-5m"]), (27.1, ["rollup-1d", "rollup-1h"]), (1000, ["rollup-1d"])
    ):  # fmt: skip
        async with opened(make_store, at(days), **options) as store:
            await store.housekeeper.clean()
            assert [name.split("/")[0] for name in files(store, "*/*.sqlite3")] == levels
            days_sums = await store.aggregate(1, array("q", [at(0), at(1)]), now_ms=at(days), states=False)
            assert days_sums.counts.tolist() == [24]


async def test_a_day_is_deleted_with_its_file_and_nothing_else_is_touched(make_store: MakeStore):
    async with opened(make_store, at(3, 2), keep="5d") as store:
        for day in range(3):
            await put(store, 1, hourly(day, float(day)))
        await keep_house(store)
    async with opened(make_store, at(6, 1), keep="5d") as store:
        before = {name: (store.folder / name).stat() for name in files(store, "*/*")}
        assert [name for name in before if name.startswith("5d/2026-09-14")] == ["5d/2026-09-14.day.1.sqlite3"]
        with capture_logs() as logs:
            await store.housekeeper.clean()
        assert store.housekeeper.figures.deleted == 1
        after = {name: (store.folder / name).stat() for name in files(store, "*/*")}
        assert before.pop("5d/2026-09-14.day.1.sqlite3")
        assert {name: (it.st_ino, it.st_mtime_ns) for name, it in before.items()} == {
            name: (it.st_ino, it.st_mtime_ns) for name, it in after.items()
        }
        assert [(each["partition"], each["why"]) for each in logs if each["event"] == "history_deleted"] == [
            ("5d/2026-09-14.day", "outdated")
        ]


async def test_questions_go_on_while_what_they_read_is_deleted(make_store: MakeStore):
    every = [sample for day in range(6) for sample in hourly(day, float(day))]
    async with opened(make_store, at(5, 23), keep="5d") as store:
        await put(store, 1, every)
        await keep_house(store)
    async with opened(make_store, at(9, 0.5), keep="5d") as store:
        asking = [asyncio.create_task(read(store, 1)) for _ in range(40)]
        deleting = asyncio.create_task(store.housekeeper.clean())
        answers = await asyncio.gather(*asking)
        await deleting
        assert store.housekeeper.figures.deleted == 4
        assert all(every[-len(found) :] == found for found in answers)
        assert await read(store, 1) == every[4 * 24 :]


async def test_a_file_that_is_deleted_is_let_go_of_by_those_who_had_it_open(make_store: MakeStore):
    async with opened(make_store, at(1, 2), keep="1d") as store:
        await put(store, 1, hourly(0, 1.0))
        await keep_house(store)
        (key,) = store.catalog.samples()
    async with opened(make_store, at(3), keep="1d") as store:
        reader = PartitionReader(store.catalog)
        assert len(reader.blocks(key, 0, 0, at(1))) == 1
        assert len(await read(store, 1)) == 24
        await store.housekeeper.clean()
        assert not await read(store, 1)
        with pytest.raises(Moved):
            reader.blocks(key, 0, 0, at(1))
        assert not [name for name in open_files() if str(store.folder) in name and name.endswith("(deleted)")]


def open_files() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists
            found.append(str(descriptor.readlink()))
    return found


async def test_classes_that_are_not_there_any_more_are_kept_as_their_name_says_or_longer(make_store: MakeStore):
    async with opened(make_store, at(1), keep="90d") as store:
        await put(store, 1, hourly(0, 1.0))
        await store.housekeeper.seal()
    for keep, days, left in (("2d", 90, 24), ("200d", 150, 24), ("2d", 98, 0)):
        async with opened(make_store, at(days), keep=keep) as store:
            await store.housekeeper.clean()
            assert len(await read(store, 1)) == left, (keep, days)


async def put_noise(store: Store, day: int) -> None:
    """Record a day of samples that nothing makes smaller: some 250 KiB."""
    chance, chunk = random.Random(day), Chunk(array("I", range(1, 9)))
    for number in range(4320):
        rows = [Row(chance.random()) for _slot in chunk.slots]
        batch = batch_of(chunk, rows, time=at(day, number / 180) / 1000, source=Source.POLL)
        store.record(batch, range(len(rows)))
    await store.flush()
    await store.housekeeper.seal()


async def test_where_it_grows_too_large_the_oldest_goes_and_the_newest_stays(make_store: MakeStore):
    cap = 1_700_000
    async with opened(make_store, at(5, 2), keep="20d") as store:
        for day in range(5):
            await put_noise(store, day)
        await store.housekeeper.clean()
        assert not store.retention.figures.warned
    async with opened(make_store, at(5, 2), keep="20d", size_cap_gib=cap / GIB) as store:
        assert store.catalog.size() > cap
        with capture_logs() as logs:
            await store.housekeeper.clean()
        left = [key.span.start_ms for key in store.catalog.samples()]
        assert 1 < len(left) < 5
        assert left == [at(day) for day in range(5 - len(left), 5)]
        assert store.catalog.size() <= cap
        assert store.retention.figures.warned
        assert [each["event"] for each in logs if each["log_level"] == "warning"] == ["history_near_its_size_cap"]
        with capture_logs() as logs:
            await store.housekeeper.clean()
        assert not logs
    async with opened(make_store, at(5, 2), keep="20d", size_cap_gib=1 / GIB) as store:
        await store.housekeeper.clean()
        assert [key.span.start_ms for key in store.catalog.keys] == [at(4)]
    async with opened(make_store, at(5, 2), keep="20d", size_cap_gib=1.0) as store:
        await store.housekeeper.clean()
        assert not store.retention.figures.warned


async def test_what_was_set_aside_goes_before_anything_that_can_be_read(make_store: MakeStore):
    cap = 3_000_000
    async with opened(make_store, at(1, 2), keep="20d", size_cap_gib=cap / GIB) as store:
        await put_noise(store, 0)
        aside = store.folder / "20d/2026-09-01.day.1.sqlite3.damaged-1"
        aside.write_bytes(bytes(cap))
        await store.housekeeper.clean()
        assert not aside.exists()
        assert len(await read(store, 1)) == 4320


async def test_receivers_that_lag_hold_no_more_than_a_quarter_of_the_cap(make_store: MakeStore):
    cap = 4_000_000
    async with opened(make_store, at(5, 2), keep="20d", size_cap_gib=cap / GIB) as store:
        slow = await store.register("slow")
        for day in range(5):
            await put_noise(store, day)
        lost, *kept = await store.read_after(slow, 100)
        assert isinstance(lost, Lost)
        batches = [each for each in kept if isinstance(each, Committed)]
        assert len(batches) == len(kept)
        assert batches[-1].position == store.newest
        assert 1 <= len(batches) <= 4
        assert (store.folder / FILE_NAME).stat().st_size < cap / 2


DAYS = [at(day) for day in range(8)]


async def test_points_of_a_short_class_have_roll_ups_beside_those_of_a_longer_one(make_store: MakeStore, house: House):
    options = {"house": house, "points": (Rule(tag="short", keep="3d"),)}
    for day in range(8):
        async with opened(make_store, at(day + 1, 1.5), **options) as store:
            for slot in (1, 2):
                if day < 7:
                    await put(store, slot, [(at(day, hour), float(day)) for hour in range(3, 24, 6)])
            await keep_house(store)
            for slot in (1, 2):
                sums = await store.aggregate(slot, array("q", DAYS), now_ms=at(day + 1), states=False)
                there = min(day + 1, 7)
                assert sums.counts.tolist()[:there] == [4] * there
                assert sums.covered.tolist()[:there] == [21 * HOUR_MS, *[DAY_MS] * (there - 1)]
            await agree(store, 1, DAYS, states=False)
    assert len(store.catalog.samples()) == 3


async def test_a_sample_that_comes_after_its_day_was_deleted_leaves_the_roll_ups_of_that_day_alone(
    make_store: MakeStore,
):
    edges = array("q", [at(0), at(1), at(2)])
    async with opened(make_store, at(2, 2), keep="20d") as store:
        await put(store, 1, hourly(0, 5.0, days=2))
        await keep_house(store)
        store.catalog.drop(store.catalog.samples()[0])
        await put(store, 1, [(at(0, 12), 7.0)])
        await keep_house(store)
        assert await read(store, 1) == [(at(0, 12), 7.0), *hourly(1, 5.0)]
        sums = await store.aggregate(1, edges, now_ms=at(2, 2), states=False)
        assert sums.counts.tolist() == [24, 24]
    async with opened(make_store, at(2, 2), keep="20d") as store:
        await store.housekeeper.clean()
        sums = await store.aggregate(1, edges, now_ms=at(2, 2), states=False)
        assert sums.counts.tolist() == [24, 24]


async def test_what_was_never_rolled_up_is_before_it_is_deleted(make_store: MakeStore):
    async with opened(make_store, at(0, 23), keep="2d") as store:
        await put(store, 1, hourly(0, 5.0))
    async with opened(make_store, at(40), keep="2d") as store:
        await keep_house(store)
        assert not store.catalog.samples()
        sums = await store.aggregate(1, array("q", [at(0), at(1)]), now_ms=at(40), states=False)
        assert sums.counts.tolist() == [24]


def test_the_defaults_keep_roll_ups_longer_than_samples():
    config = HistoryConfig()
    assert (config.keep, config.rollups) == ("60d", RollupsConfig("1y", "5y", "forever"))
