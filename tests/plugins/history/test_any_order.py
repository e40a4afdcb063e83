"""Whatever is done in whatever order, a store finds what a plain list does."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared_history import imported, record

from core.clock import ManualClock
from core.model import Kind, Value
from plugins.history.config import HistoryConfig, Rule
from plugins.history.store import Store

from .house import House
from .weeks import HOUR_MS, at

SLOTS = (1, 2, 64, 130)
"""Of one group and of others; the second one is of a class of its own."""
TIMES = st.one_of(
    st.sampled_from([at(0), at(7) - 1, at(7), at(8), at(14)]),
    st.integers(0, 20 * 24).map(lambda hour: at(0, hour)),
    st.integers(at(0), at(20)),
)
VALUES = st.one_of(st.integers(-5, 5).map(float), st.just("text"), st.just(2**60), st.none())
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.sampled_from(SLOTS), TIMES, VALUES),
        st.tuples(st.just("record"), st.sampled_from(SLOTS), TIMES, VALUES),
        st.tuples(st.just("import"), st.sampled_from(SLOTS), TIMES, st.integers(1, 5)),
        st.sampled_from([("flush",), ("seal",), ("clean",), ("restart",)]),
    ),
    min_size=5, max_size=40,
)  # fmt: skip
ASKED = st.lists(st.tuples(st.sampled_from(SLOTS), TIMES, TIMES, st.integers(1, 6)), min_size=1, max_size=6)


@attrs.define
class Plain:
    """What a store does, with a list."""

    rows: dict[tuple[int, int], Value] = attrs.field(factory=dict)

    def samples(self, slot: int, start_ms: int, end_ms: int) -> list[tuple[int, Value]]:
        return sorted(
            ((time_ms, value) for (at_slot, time_ms), value in self.rows.items()
             if at_slot == slot and start_ms <= time_ms < end_ms),
            key=lambda row: row[0],
        )  # fmt: skip

    def latest(self, before_ms: int) -> dict[int, tuple[int, Value]]:
        found = {slot: self.samples(slot, 0, before_ms) for slot in SLOTS}
        return {slot: rows[-1] for slot, rows in found.items() if rows}


def make(folder: Path) -> Store:
    house = House()
    for slot in range(1, max(SLOTS) + 1):
        house.add(f"x.1.{slot}", tags=("short",) if slot == SLOTS[1] else ())
    config = HistoryConfig(keep="forever", points=(Rule(tag="short", keep="27d"),))
    log = structlog.get_logger(plugin="history")
    return Store(folder, config, points=house, clock=ManualClock(at(21) / 1000), log=log)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations=OPERATIONS, asked=ASKED)
async def test_a_store_finds_what_a_plain_list_does_after_any_operations(operations, asked):
    plain = Plain()
    with TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            store = await begin(stack, Path(folder))
            for name, *what in operations:
                if name == "restart":
                    await store.flush()
                    await stack.aclose()
                    store = await begin(stack, Path(folder))
                else:
                    await operate(store, plain, name, *what)
            for slot, one, other, limit in asked:
                await compare(store, plain, slot, sorted((one, other)), limit)


async def begin(stack: AsyncExitStack, folder: Path) -> Store:
    store = make(folder)
    await stack.enter_async_context(store.running())
    return store


async def operate(store: Store, plain: Plain, name: str, *what) -> None:
    if name == "record":
        slot, time_ms, value = what
        record(store, slot, time_ms, value)
        plain.rows[slot, time_ms] = value
    elif name == "import":
        slot, start_ms, count = what
        given_ = [(start_ms + number * HOUR_MS, float(number)) for number in range(count)]
        new = [row for row in given_ if (slot, row[0]) not in plain.rows]
        assert await store.add(slot, imported(given_)) == len(new)
        plain.rows |= {(slot, time_ms): value for time_ms, value in new}
    elif name == "flush":
        await store.flush()
    elif name == "seal":
        await store.housekeeper.seal()
    else:
        await store.housekeeper.clean()


async def compare(store: Store, plain: Plain, slot: int, times: list[int], limit: int) -> None:
    start, end = times
    expected = plain.samples(slot, start, end)
    pages, begin_ = [], start
    while page := await rows(store, slot, begin_, end, limit):
        pages += page
        begin_ = page[-1][0] + 1
    assert pages == expected
    assert await rows(store, slot, start, end, 10_000) == expected
    for before in times:
        found = await store.latest(SLOTS, before)
        values = [found.samples.sample(row, Kind.NUMBER) for row in range(len(found.slots))]
        mine = {slot: (each.time_ms, each.value) for slot, each in zip(found.slots, values, strict=True)}
        assert mine == plain.latest(before)


async def rows(store: Store, slot: int, start_ms: int, end_ms: int, limit: int) -> list[tuple[int, Value]]:
    found = await store.samples(slot, start_ms, end_ms, limit=limit)
    assert len(found) <= limit
    return [(each.time_ms, each.value) for each in found.rows(Kind.NUMBER)]
