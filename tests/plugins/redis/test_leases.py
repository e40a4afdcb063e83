"""What is lent to a process: it makes a busy key cheap, and lets nothing pass that should not."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from redis_server import RedisServer

from core.clock import ManualClock
from core.plugin import Allowance
from plugins.redis.rate_limits import LARGEST_LEASE, LEASE_S

from .conftest import Process, StartProcess


async def test_a_busy_key_is_answered_at_once_from_what_is_lent(server: RedisServer, start: StartProcess):
    process = await start(server)
    taken = [await process.take(burst=5000) for _ in range(1000)]
    assert [each.remaining for each in taken] == list(range(4999, 3999, -1))
    assert process.limits.asked < 1000 / LARGEST_LEASE + 10
    assert process.limits.asked + process.limits.leased == 1000
    assert isinstance(process.limits.take("key", rate=1e-6, burst=5000), Allowance)


async def test_a_key_that_is_asked_for_now_and_then_is_lent_nothing(
    server: RedisServer, start: StartProcess, clock: ManualClock
):
    process, other = await start(server), await start(server)
    for used in range(1, 6):
        await process.take(burst=1000)
        assert (await other.take(burst=1000, cost=0)).remaining == 1000 - used
        await clock.advance(LEASE_S)


async def test_what_is_lent_and_not_used_in_its_time_goes_back(
    server: RedisServer, start: StartProcess, clock: ManualClock
):
    process, other = await start(server), await start(server)
    keeping = asyncio.create_task(process.limits.keep())
    for _ in range(40):
        await process.take(burst=1000)
    lent = 960 - (await other.take(burst=1000, cost=0)).remaining
    assert lent > 0
    await clock.advance(LEASE_S)
    async with asyncio.timeout(10):
        while (await other.take(burst=1000, cost=0)).remaining != 960:
            await asyncio.sleep(0.01)
    assert len(process.limits) == 0
    keeping.cancel()


async def test_a_process_that_ends_leaves_nothing_behind_that_it_did_not_use(server: RedisServer, start: StartProcess):
    process, other = await start(server), await start(server)
    for _ in range(40):
        await process.take(burst=1000)
    await process.limits.give_back(everything=True)
    assert (await other.take(burst=1000, cost=0)).remaining == 960


async def test_a_lease_cannot_be_used_after_its_time(server: RedisServer, start: StartProcess, clock: ManualClock):
    process = await start(server)
    for _ in range(40):
        await process.take(burst=1000)
    asked = process.limits.asked
    await clock.advance(LEASE_S)
    assert (await process.take(burst=1000)).remaining == 959, "what was not used of it went back with that"
    assert process.limits.asked == asked + 1


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_takes_and_whenever_no_more_than_the_budget_passes_and_nothing_of_it_is_lost(
    server: RedisServer, start: StartProcess, clock: ManualClock, seed: int
):
    chance = random.Random(seed)
    burst = chance.choice([1, 5, 40, 300])
    processes = [await start(server) for _ in range(3)]
    allowed = 0.0

    async def one(process: Process, cost: float) -> None:
        nonlocal allowed
        if (await process.take(burst=burst, cost=cost)).allowed:
            allowed += min(cost, burst)

    while allowed < burst * 0.8:
        process = chance.choice(processes)
        await asyncio.gather(*(one(process, chance.choice([0.25, 1, 1, 3])) for _ in range(chance.choice([1, 1, 8]))))
        if chance.random() < 0.1:
            await clock.advance(LEASE_S * chance.random())
        if chance.random() < 0.1:
            await chance.choice(processes).limits.give_back()
    for each in processes:
        await each.limits.give_back(everything=True)
    while (await processes[0].take(burst=burst, cost=0.25)).allowed:
        allowed += 0.25
    assert allowed == pytest.approx(burst, abs=0.01 + burst * 1e-6)


async def test_many_processes_at_once_share_a_budget_to_the_last_request(server: RedisServer, start: StartProcess):
    processes = [await start(server) for _ in range(4)]
    allowed = await asyncio.gather(*(process.count(60, burst=80) for process in processes))
    for each in processes:
        await each.limits.give_back(everything=True)
    assert sum(allowed) + await processes[0].count(80, burst=80) == 80


async def test_a_refusal_stands_for_a_moment_without_asking_again(
    server: RedisServer, start: StartProcess, clock: ManualClock
):
    process = await start(server)
    await process.count(3, burst=3, rate=0.5)
    refused = await process.take(burst=3, rate=0.5)
    asked = process.limits.asked
    again = [await process.take(burst=3, rate=0.5) for _ in range(100)]
    assert not any(each.allowed for each in again)
    assert process.limits.asked == asked
    assert again[-1].retry_after_s == pytest.approx(refused.retry_after_s)
    server.age(2)
    await clock.advance(2)
    assert (await process.take(burst=3, rate=0.5)).allowed


async def test_another_limit_for_a_key_begins_with_what_was_used_of_the_last(server: RedisServer, start: StartProcess):
    process = await start(server)
    await process.count(100, burst=100, rate=0.1)
    assert not (await process.take(burst=50, rate=0.1)).allowed
    looked = await process.take(burst=100, rate=0.2, cost=0)
    assert looked.remaining == 0, "a thousand seconds are owed, which is more than a budget has"


async def test_keys_beyond_those_that_may_have_a_lease_are_counted_all_the_same(
    server: RedisServer, start: StartProcess
):
    process = await start(server, leases=5)
    counts = [await process.count(15, key=f"key-{number}", burst=12) for number in range(20)]
    assert counts == [12] * 20
    assert len(process.limits) == 5


async def test_the_server_keeps_a_key_no_longer_than_its_budget_is_used(server: RedisServer, start: StartProcess):
    process = await start(server)
    await process.take("a", rate=2.0, burst=10, cost=4)
    [key] = server.held()
    assert key == "plantroom:local:limit:a"
    assert 1000 <= server.asked.pttl(key) <= 3000
    await process.take("b", rate=2.0, burst=10, cost=0)
    assert server.held() == [key]


async def test_who_gives_up_waiting_leaves_the_key_to_others(server: RedisServer, start: StartProcess):
    process = await start(server)
    waiting = [asyncio.create_task(process.take(burst=100)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    taken = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(each, Allowance) for each in taken) >= 10
    assert (await process.take(burst=100)).allowed
    await process.limits.give_back(everything=True)
    assert (await process.take(burst=100, cost=0)).remaining >= 100 - 22


@pytest.mark.parametrize("seed", range(10))
async def test_in_any_time_no_more_passes_than_the_budget_lets_pass_in_that_time_and_a_second(
    server: RedisServer, start: StartProcess, clock: ManualClock, seed: int
):
    chance = random.Random(seed)
    rate, burst = chance.choice([(0.5, 5), (5.0, 40), (50.0, 300)])
    processes = [await start(server) for _ in range(3)]
    passed: list[tuple[float, int]] = []
    began = time.monotonic()
    for _ in range(40):
        process = chance.choice(processes)
        count = await process.count(chance.choice([1, 5, int(burst)]), rate=rate, burst=burst)
        passed.append((clock.monotonic(), count))
        if chance.random() < 0.5:
            step = chance.choice([0.05, 0.3, 0.99, 3.0])
            server.age(step)
            await clock.advance(step)
        if chance.random() < 0.3:
            await chance.choice(processes).limits.give_back()
    real_s = time.monotonic() - began
    for first, (start_s, _count) in enumerate(passed):
        total = 0
        for at, count in passed[first:]:
            total += count
            assert total <= burst + rate * (at - start_s + LEASE_S + real_s) + 1e-2


async def test_what_was_given_back_cannot_be_used_by_who_was_next(server: RedisServer, start: StartProcess):
    process = await start(server)
    allowed = 0

    async def one() -> None:
        nonlocal allowed
        taken = await process.take(burst=200)
        allowed += taken.allowed

    for _ in range(40):
        taking = [asyncio.create_task(one()) for _ in range(8)]
        giving = [asyncio.create_task(process.limits.give_back(everything=True)) for _ in range(3)]
        await asyncio.gather(*taking, *giving)
    await process.limits.give_back(everything=True)
    allowed += await process.count(300, burst=200)
    assert allowed == 200
