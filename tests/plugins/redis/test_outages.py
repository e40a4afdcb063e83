"""A server that is gone, slow, full, closed to us or has forgotten everything: requests go on, and it heals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis_server import RedisServer

from core import log
from core.clock import ManualClock
from core.plugin import Allowance, Health
from core.settings import LogSettings
from core.testing import Running, StartPlantroom
from plugins.redis import RedisPlugin
from plugins.redis.link import LONGEST_DELAY_S, STEADY_AFTER_S

from .conftest import Process, StartProcess

PASSWORD = "open-sesame-42"
OPTIONS = "timeout_s: 0.2, connect_timeout_s: 0.3"


async def house(plantroom: StartPlantroom, server: RedisServer, clock: ManualClock, more: str = "") -> Running:
    log.configure(LogSettings(format="json"))  # as the command does it, before it reads what plugins there are
    section = f"{{port: {server.port}, {OPTIONS}{more}}}"
    return await plantroom(f"plugins: {{redis: {section}}}", clock=clock)


def plugin_of(running: Running) -> RedisPlugin:
    instance = running.plugin("redis").instance
    assert isinstance(instance, RedisPlugin)
    return instance


async def healed(clock: ManualClock, well: Callable[[], bool]) -> None:
    """Let time pass until the server is asked again, and answers."""
    async with asyncio.timeout(20):
        while not well():
            await clock.advance(LONGEST_DELAY_S)
            await asyncio.sleep(0.02)


async def take(running: Running, *, burst: float = 5) -> Allowance:
    answer = running.kernel.services.rate_limit_store.take("key", rate=1e-6, burst=burst)
    return answer if isinstance(answer, Allowance) else await answer


async def test_a_server_that_goes_and_comes_back_is_said_once_each_and_nobody_fails(
    plantroom: StartPlantroom, own_server: RedisServer, clock: ManualClock
):
    running = await house(plantroom, own_server, clock)
    link, cache = plugin_of(running).link, running.kernel.services.cache
    await cache.set("key", b"shared", ttl_s=60)
    assert link.health() == (Health.OK, f"127.0.0.1:{own_server.port}/0 answers")
    own_server.stop()

    assert await cache.get("key") is None
    await cache.set("key", b"alone", ttl_s=60)
    assert await cache.get("key") == b"alone"
    assert [(await take(running)).allowed for _ in range(6)] == [True] * 5 + [False]
    await clock.advance(100)
    state, why = link.health()
    assert state is Health.DEGRADED
    assert "it cannot be reached" in why
    [line] = running.logged("redis_unavailable")
    assert line["level"] == "warning"
    assert "it cannot be reached" in line["error"]

    own_server.start()
    await healed(clock, lambda: link.problem is None)
    assert len(running.logged("redis_recovered")) == len(running.logged("redis_unavailable")) == 1
    assert await cache.get("key") is None
    assert (await take(running)).remaining == 4, "the server counts, from the beginning"
    metrics = (await running.api.get("/metrics")).text
    assert 'plantroom_redis_up{plugin="redis"} 1' in metrics
    assert 'plantroom_redis_limits_total{plugin="redis",from="process"} 6' in metrics
    assert 'plantroom_redis_failures_total{plugin="redis",reason="connection"}' in metrics


async def test_a_server_that_is_not_there_at_first_holds_nobody_up_and_is_found_later(
    plantroom: StartPlantroom, own_server: RedisServer, clock: ManualClock
):
    own_server.stop()
    running = await house(plantroom, own_server, clock)
    assert running.plugin("redis").state == "running"
    assert plugin_of(running).link.health()[0] is Health.DEGRADED
    assert (await take(running)).allowed
    own_server.start()
    await healed(clock, lambda: plugin_of(running).link.problem is None)
    assert (await take(running)).allowed
    assert own_server.held() == ["plantroom:local:limit:key"]


async def test_a_server_that_does_not_answer_costs_its_time_once_and_mixes_nothing_up_afterwards(
    plantroom: StartPlantroom, own_server: RedisServer, clock: ManualClock
):
    running = await house(plantroom, own_server, clock)
    link, cache = plugin_of(running).link, running.kernel.services.cache
    for number in range(50):
        await cache.set(f"key-{number}", str(number).encode(), ttl_s=600)
    own_server.hold()
    began = time.monotonic()
    assert await asyncio.gather(*(cache.get(f"key-{number}") for number in range(50))) == [None] * 50
    assert time.monotonic() - began < 5, "all wait at the same time, 0.2 s"
    assert "did not answer within 0.2 s" in str(link.problem)
    answer = running.kernel.services.rate_limit_store.take("key", rate=1, burst=5)
    assert isinstance(answer, Allowance), "nobody waits for it any more"
    own_server.resume()
    await healed(clock, lambda: link.problem is None)
    found = await asyncio.gather(*(cache.get(f"key-{number}") for number in range(50)))
    assert found == [str(number).encode() for number in range(50)], "nothing was changed meanwhile: all is there"


async def test_whoever_waits_for_a_budget_when_the_server_stops_to_answer_is_counted_here(
    own_server: RedisServer, start: StartProcess
):
    process = await start(own_server, timeout_s=0.2)
    own_server.hold()
    try:
        taken = await asyncio.gather(*(process.take(burst=10) for _ in range(30)))
    finally:
        own_server.resume()
    assert sum(each.allowed for each in taken) == 10


async def test_a_server_that_has_forgotten_our_scripts_is_taught_again(server: RedisServer, start: StartProcess):
    process = await start(server)
    await process.cache.set("key", b"value", ttl_s=60)
    server.asked.script_flush()
    assert await process.cache.get("key") == b"value"
    assert (await process.take()).allowed
    assert not process.link.failures


async def back(process: Process) -> None:
    await process.link.connect()
    assert process.link.problem is None


async def test_what_was_forgotten_or_replaced_while_the_server_was_away_is_not_found_on_it_again(
    own_server: RedisServer, start: StartProcess
):
    process, other = await start(own_server, timeout_s=0.2), await start(own_server)
    for change in (
        lambda: process.cache.forget("tag"),
        lambda: process.cache.delete("key"),
        lambda: process.cache.set("key", b"new", ttl_s=60),
    ):
        await other.cache.set("key", b"old", ttl_s=60, tags=["tag"])
        own_server.hold()
        await change()
        own_server.resume()
        await back(process)
        assert await process.cache.get("key") is None
        assert await other.cache.get("key") is None


async def test_a_server_that_cannot_forget_what_it_must_is_not_used(own_server: RedisServer, start: StartProcess):
    rights = ("ACL", "SETUSER", "default", "resetkeys", "~plantroom:local:")
    process, other = await start(own_server, timeout_s=0.2), await start(own_server)
    await other.cache.set("key", b"old", ttl_s=60)
    own_server.hold()
    await process.cache.delete("key")
    own_server.resume()
    own_server.asked.execute_command(*rights[:-1], f"{rights[-1]}probe")
    for _ in range(2):
        await process.link.connect()
        assert "it does not let us in" in str(process.link.problem)
    own_server.asked.execute_command(*rights[:-1], f"{rights[-1]}*")
    await back(process)
    assert await other.cache.get("key") is None


async def test_where_nothing_changed_while_the_server_was_away_it_keeps_what_it_has(
    own_server: RedisServer, start: StartProcess
):
    process = await start(own_server, timeout_s=0.2)
    await process.cache.set("key", b"value", ttl_s=60)
    own_server.hold()
    assert await process.cache.get("key") is None
    own_server.resume()
    await back(process)
    assert await process.cache.get("key") == b"value"


async def test_alone_a_value_is_kept_for_half_a_minute_at_most(
    own_server: RedisServer, start: StartProcess, clock: ManualClock
):
    process = await start(own_server)
    own_server.stop()
    await process.cache.set("key", b"value", ttl_s=600)
    assert await process.cache.get("key") == b"value"
    await clock.advance(31)
    assert await process.cache.get("key") is None


async def test_a_full_server_is_not_asked_until_there_is_room(
    plantroom: StartPlantroom, own_server: RedisServer, clock: ManualClock
):
    running = await house(plantroom, own_server, clock)
    link, cache = plugin_of(running).link, running.kernel.services.cache
    own_server.asked.config_set("maxmemory", "100kb")
    await cache.set("key", b"value", ttl_s=600)
    assert "it is full" in str(link.problem)
    assert await cache.get("key") == b"value"
    assert (await take(running)).allowed
    await clock.advance(200)
    assert "it is full" in str(link.problem)
    own_server.asked.config_set("maxmemory", "0")
    await healed(clock, lambda: link.problem is None)
    assert len(running.logged("redis_recovered")) == len(running.logged("redis_unavailable")) == 1
    assert link.failures["full"] >= 2


async def test_a_wrong_password_is_told_without_telling_it_and_a_right_one_heals(
    plantroom: StartPlantroom, own_server: RedisServer, clock: ManualClock, tmp_path: Path
):
    own_server.asked.config_set("requirepass", "another")
    own_server.asked.execute_command("AUTH", "another")
    running = await house(plantroom, own_server, clock, f", password: {PASSWORD}")
    link = plugin_of(running).link
    assert "it does not let us in" in str(link.problem)
    assert (await take(running)).allowed
    own_server.asked.config_set("requirepass", PASSWORD)
    await healed(clock, lambda: link.problem is None)
    told = [*map(str, running.log), str(link.health()), str(await running.get("/api/v1/plugins"))]
    assert PASSWORD not in "".join(told)
    assert len(running.logged("redis_unavailable")) == 1


async def test_a_missing_password_is_told(own_server: RedisServer, start: StartProcess):
    own_server.asked.config_set("requirepass", PASSWORD)
    process = await start(own_server)
    assert "it does not let us in" in str(process.link.problem)


async def test_a_replica_does_not_do(own_server: RedisServer, start: StartProcess):
    own_server.asked.replicaof("127.0.0.1", "1")
    process = await start(own_server)
    assert "read only replica" in str(process.link.problem)
    own_server.asked.replicaof("NO", "ONE")
    await back(process)


async def test_keys_of_a_wrong_type_are_overwritten_and_no_failure(server: RedisServer, start: StartProcess):
    process = await start(server)
    for key in ("value:key", "tag:tag", "all", "limit:key"):
        server.asked.rpush(f"plantroom:local:{key}", "somebody else's")
    assert await process.cache.get("key") is None
    await process.cache.set("key", b"value", ttl_s=60, tags=["tag"])
    assert await process.cache.get("key") == b"value"
    assert await process.count(4, burst=3) == 3
    server.asked.set("plantroom:local:limit:key", "no number")
    assert (await process.take(burst=4)).remaining == 3
    assert not process.link.failures


async def tried(process: Process, clock: ManualClock, seconds: float) -> int:
    """Let time pass, and tell how often a server that is not there was asked in it."""
    before = process.link.failures.total()
    for _ in range(int(seconds / 0.5)):
        await clock.advance(0.5)
        await asyncio.sleep(0.01)
    return process.link.failures.total() - before


async def test_a_server_that_stays_away_is_asked_at_ever_longer_intervals(
    own_server: RedisServer, start: StartProcess, clock: ManualClock
):
    process = await start(own_server, connect_timeout_s=0.2, timeout_s=0.2)
    keeping = asyncio.create_task(process.link.keep())
    own_server.stop()
    await process.cache.get("key")

    assert await tried(process, clock, 10) >= 3
    assert await tried(process, clock, 100) <= 50
    keeping.cancel()


async def test_a_failure_after_a_good_while_is_a_new_one_and_is_tried_again_soon(
    own_server: RedisServer, start: StartProcess, clock: ManualClock
):
    process = await start(own_server, timeout_s=0.2)
    link = process.link
    keeping = asyncio.create_task(link.keep())
    own_server.stop()
    for _ in range(20):
        await process.cache.get("key")
        await clock.advance(LONGEST_DELAY_S)
    own_server.start()
    await healed(clock, lambda: link.problem is None)
    await clock.advance(STEADY_AFTER_S + 1)
    own_server.stop()
    await process.cache.get("key")
    assert await tried(process, clock, 8) >= 3
    keeping.cancel()


@pytest.mark.parametrize("extra", ["", ", cache: false", ", rate_limits: false"])
async def test_only_what_is_wanted_is_kept_on_the_server(
    plantroom: StartPlantroom, server: RedisServer, clock: ManualClock, extra: str
):
    running = await house(plantroom, server, clock, extra)
    await running.kernel.services.cache.set("key", b"value", ttl_s=60)
    await take(running)
    kept = {key.split(":")[2] for key in server.held()}
    assert ("value" in kept) == ("cache: false" not in extra)
    assert ("limit" in kept) == ("rate_limits: false" not in extra)
    assert await running.kernel.services.cache.get("key") == b"value"
    assert (await running.api.get("/metrics")).status == 200
