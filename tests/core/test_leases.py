"""What this process owns."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.defaults import SoleLeadership
from core.leases import Leases
from core.services import Lease


class SharedLeadership:
    """A leadership service, as a plugin writes one: it grants what it is told to, and tells of changes."""

    def __init__(self, *granted: Lease) -> None:
        self.granted = granted
        self.asked: list[str] = []
        self.given_back: list[str] = []
        self.told: asyncio.Queue[Lease | Exception] = asyncio.Queue()

    async def hold(self, names: Iterable[str]) -> Sequence[Lease]:
        self.asked.extend(names)
        return self.granted

    async def release(self, names: Iterable[str]) -> None:
        self.given_back.extend(names)

    async def changes(self) -> AsyncIterator[Lease]:
        while True:
            change = await self.told.get()
            if isinstance(change, Exception):
                raise change
            yield change


async def tell(leadership: SharedLeadership, change: Lease | Exception) -> None:
    """Tell of a change, and see it taken."""
    leadership.told.put_nowait(change)
    for _ in range(5):
        await asyncio.sleep(0)


async def test_names_are_valid_while_they_are_held_and_given_back_afterwards(clock: ManualClock):
    leadership = SharedLeadership(Lease("a", 1, math.inf))
    leases = Leases(leadership, clock)
    assert not leases.valid("a")
    async with leases.holding(["a", "b"]):
        assert leases.valid("a")
        assert not leases.valid("b"), "another process has it"
    assert not leases.valid("a")
    assert leadership.asked == leadership.given_back == ["a", "b"]


async def test_a_lease_ends_by_itself_when_its_time_is_over(clock: ManualClock):
    leases = Leases(SharedLeadership(Lease("a", 1, valid_until=10.0)), clock)
    async with leases.holding(["a"]):
        await clock.advance(9.9)
        assert leases.valid("a")
        await clock.advance(0.1)
        assert not leases.valid("a")


async def test_leases_that_are_won_renewed_and_lost_are_followed(clock: ManualClock):
    leadership = SharedLeadership(Lease("a", 1, valid_until=10.0))
    leases = Leases(leadership, clock)
    async with leases.holding(["a", "b"]):
        await tell(leadership, Lease("b", 7, valid_until=30.0))
        await tell(leadership, Lease("a", 1, valid_until=20.0))
        await clock.advance(15)
        assert leases.valid("a")
        assert leases.valid("b")
        await tell(leadership, Lease("a", 2, valid_until=-1.0))
        assert not leases.valid("a")
        assert leases.valid("b")


async def test_a_plugins_leadership_takes_the_place_of_the_default(clock: ManualClock):
    leases = Leases(SoleLeadership(), clock)
    leases.use(SharedLeadership())
    async with leases.holding(["a"]):
        assert not leases.valid("a")


async def test_names_are_given_back_when_what_held_them_fails(clock: ManualClock):
    leadership = SharedLeadership(Lease("a", 1, math.inf))
    leases = Leases(leadership, clock)
    with pytest.raises(RuntimeError):
        async with leases.holding(["a"]):
            raise RuntimeError("the house fell down")
    assert leadership.given_back == ["a"]
    assert not leases.valid("a")


async def test_a_leadership_that_fails_to_tell_is_named_in_the_log_and_leases_run_out(clock: ManualClock):
    leadership = SharedLeadership(Lease("a", 1, valid_until=10.0))
    leases = Leases(leadership, clock)
    with capture_logs() as logs:
        async with leases.holding(["a"]):
            await tell(leadership, ConnectionError("lost the store"))
            assert leases.valid("a")
            await clock.advance(10)
            assert not leases.valid("a")
    assert [line["event"] for line in logs] == ["leadership_failed"]
