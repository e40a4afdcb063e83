"""A server for all tests that leave it as it is, one for each of those that do not, and links to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis_server import RedisServer

from core.clock import ManualClock
from core.defaults import in_memory_services
from core.events import EventBus
from core.plugin import Allowance, Context, logger
from plugins.redis.cache import RedisCache
from plugins.redis.config import FallbackOptions, RedisConfig
from plugins.redis.link import Link
from plugins.redis.rate_limits import LEASES, RedisRateLimitStore

Connect = Callable[..., Awaitable[Link]]
StartProcess = Callable[..., Awaitable["Process"]]


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    """A server that holds nothing, for tests that do not stop it."""
    shared_server.asked.flushall()
    return shared_server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may stop and hold up."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def context(clock: ManualClock, folder: Path) -> Context:
    return Context(
        name="redis",
        log=logger("redis"),
        clock=clock,
        services=in_memory_services(clock),
        events=EventBus(),
        store=None,  # type: ignore[arg-type]
        commands=None,  # type: ignore[arg-type]
        data_dir=folder,
        publish=lambda _polled: None,
        seen=lambda _device: None,
    )


@pytest.fixture
async def connect(clock: ManualClock, tmp_path: Path) -> AsyncIterator[Connect]:
    """Let a test make links, each as a process of its own has one, and cut them at its end."""
    async with AsyncExitStack() as stack:

        async def linked(server: RedisServer | int, **options: Any) -> Link:
            port = server if isinstance(server, int) else server.port
            config = RedisConfig(**{"port": port, **options})
            link = Link(config, context(clock, tmp_path))
            stack.push_async_callback(link.close)
            await link.connect()
            return link

        yield linked


class Process:
    """What a process of its own has: a link, the services behind it, and what keeps them going."""

    def __init__(self, link: Link, clock: ManualClock, *, leases: int = LEASES) -> None:
        self.link = link
        self.cache = RedisCache(link, clock, FallbackOptions())
        self.limits = RedisRateLimitStore(link, clock, keys=1000, leases=leases)

    async def take(self, key: str = "key", *, rate: float = 1e-6, burst: float = 10, cost: float = 1.0) -> Allowance:
        answer = self.limits.take(key, rate=rate, burst=burst, cost=cost)
        return answer if isinstance(answer, Allowance) else await answer

    async def count(self, times: int, **options: Any) -> int:
        """Tell how many of so many takes are allowed."""
        return sum([(await self.take(**options)).allowed for _ in range(times)])


@pytest.fixture
def start(connect: Connect, clock: ManualClock) -> StartProcess:
    async def started(server: RedisServer | int, *, leases: int = LEASES, **options: Any) -> Process:
        return Process(await connect(server, **options), clock, leases=leases)

    return started
