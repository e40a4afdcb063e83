"""Several houses on one server, as several processes are: one cache, one budget for each client."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path

import pytest
from redis_server import RedisServer

import plugins
from core.testing import StartPlantroom

from .conftest import StartProcess

ROOT = Path(plugins.__file__).parents[1]

TAKES = """
import asyncio, sys
from core.clock import SystemClock
from core.defaults import in_memory_services
from core.events import EventBus
from core.plugin import Allowance, Context, logger
from plugins.redis.config import RedisConfig
from plugins.redis.link import Link
from plugins.redis.rate_limits import RedisRateLimitStore

async def main(port, times):
    clock = SystemClock()
    services, unused = in_memory_services(clock), [None] * 5
    context = Context("redis", logger("redis"), clock, services, EventBus(), *unused)
    link = Link(RedisConfig(port=port, timeout_s=5.0), context)
    await link.connect()
    assert link.problem is None
    store, allowed = RedisRateLimitStore(link, clock, keys=10), 0
    for _ in range(times):
        answer = store.take("key", rate=1e-6, burst=400)
        if not isinstance(answer, Allowance):
            answer = await answer
        allowed += answer.allowed
    await store.give_back(everything=True)
    await link.close()
    print(allowed, store.asked)

asyncio.run(main(*map(int, sys.argv[1:])))
"""


async def test_two_processes_share_one_budget_and_ask_the_server_seldom(server: RedisServer):
    command = [sys.executable, "-c", TAKES, str(server.port), "300"]
    processes = [
        await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE) for _ in range(2)
    ]
    said = [(await process.communicate())[0].split() for process in processes]
    left = int(server.asked.exists("plantroom:local:limit:key"))
    assert left == 1
    allowed, asked = (sum(int(each[index]) for each in said) for index in (0, 1))
    assert 360 <= allowed <= 400, "what one gave back as it ended, the other may not have asked for any more"
    assert asked < 200


async def test_a_client_has_one_budget_in_all_houses_of_a_site(plantroom: StartPlantroom, server: RedisServer):
    yaml = f"plugins: {{redis: {{port: {server.port}}}, ratelimit: {{anonymous: {{rate: 1/day, burst: 30}}}}}}"
    houses = [await plantroom(yaml), await plantroom(yaml)]
    answers = [await house.api.get("/api/v1/devices") for _ in range(25) for house in houses]
    statuses = [answer.status for answer in answers]
    assert statuses.count(200) <= 30
    assert statuses.count(200) >= 27, "a tenth may be lent to the other house"
    assert set(statuses) == {200, 429}
    assert "RateLimit" in answers[0].headers


async def test_another_site_on_the_same_server_is_another_world(plantroom: StartPlantroom, server: RedisServer):
    section = f"plugins: {{redis: {{port: {server.port}}}}}"
    one, other = await plantroom(f"site: north\n{section}"), await plantroom(f"site: south\n{section}")
    await one.kernel.services.cache.set("key", b"north", ttl_s=60)
    assert await other.kernel.services.cache.get("key") is None
    assert any(key.startswith("plantroom:north:") for key in server.held())


async def test_what_one_process_forgets_the_others_do_not_find(server: RedisServer, start: StartProcess):
    one, other = await start(server), await start(server)
    await one.cache.set("a", b"1", ttl_s=60, tags=["red", "round"])
    await one.cache.set("b", b"2", ttl_s=60, tags=["red"])
    await one.cache.set("c", b"3", ttl_s=60)
    assert [await other.cache.get(key) for key in "abc"] == [b"1", b"2", b"3"]
    await other.cache.forget("red")
    assert [await one.cache.get(key) for key in "abc"] == [None, None, b"3"]
    held = server.held()
    assert not [key for key in held if key.endswith(("value:a", "value:b"))], "what was found to be forgotten is gone"


async def test_a_mark_that_the_server_dropped_for_want_of_room_takes_its_values_with_it(
    server: RedisServer, start: StartProcess
):
    process = await start(server)
    await process.cache.set("key", b"old", ttl_s=60, tags=["tag"])
    server.asked.delete("plantroom:local:tag:tag")
    await process.cache.set("other", b"value", ttl_s=60, tags=["tag"])
    assert await process.cache.get("key") is None
    assert await process.cache.get("other") == b"value"


async def test_a_mark_outlives_the_values_that_carry_it(server: RedisServer, start: StartProcess):
    process = await start(server)
    await process.cache.set("short", b"", ttl_s=10, tags=["tag"])
    await process.cache.set("long", b"", ttl_s=1000, tags=["tag"])
    await process.cache.set("short", b"", ttl_s=10, tags=["tag"])
    server.age(500)
    assert await process.cache.get("long") == b""


async def test_a_value_that_is_too_large_is_not_kept_and_nor_is_the_one_before(
    server: RedisServer, start: StartProcess
):
    process = await start(server)
    await process.cache.set("key", b"small", ttl_s=60)
    await process.cache.set("key", b"x" * (8 * 1024 * 1024 + 1), ttl_s=60)
    assert await process.cache.get("key") is None


async def test_a_value_without_end_is_kept_for_a_week(server: RedisServer, start: StartProcess):
    process = await start(server)
    await process.cache.set("key", b"value", ttl_s=float("inf"))
    assert 0 < server.asked.pttl("plantroom:local:value:key") <= 7 * 86_400_000


async def test_a_house_stops_although_its_server_does_not_answer(plantroom: StartPlantroom, own_server: RedisServer):
    running = await plantroom(f"plugins: {{redis: {{port: {own_server.port}, timeout_s: 5}}}}")
    store = running.kernel.services.rate_limit_store
    for _ in range(20):
        answer = store.take("key", rate=1, burst=1000)
        if asyncio.iscoroutine(answer):
            await answer
    own_server.hold()
    await running.kernel.stop()
    own_server.resume()
    assert not running.logged("plugin_stop_failed")


async def test_without_the_library_the_plugin_says_what_to_install(
    plantroom: StartPlantroom, monkeypatch: pytest.MonkeyPatch
):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "redis" else find(name, *more))
    running = await plantroom("plugins: {redis: , ratelimit: }")
    assert "pip install 'plantroom[redis]'" in str(running.plugin("redis").error)
    assert (await running.api.get("/api/v1/devices")).status == 200
