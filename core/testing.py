"""What plugin authors test with: a kernel from a piece of YAML, a client for its API, a clock to turn.

A pytest plugin (entry point ``pytest11``): the fixture ``plantroom`` is there wherever Plantroom is installed.
"""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    import aiohttp

    from core.clock import Clock
    from core.kernel import Kernel

LONGEST_S = 10.0


class Running:
    """A kernel that runs, with a client for its REST API."""

    def __init__(self, kernel: Kernel, client: aiohttp.ClientSession) -> None:
        self.kernel = kernel
        self.client = client

    async def get(self, path: str, **params: str) -> Any:
        """GET a path and return its JSON, whatever the status."""
        async with self.client.get(path, params=params) as answer:
            return await answer.json(content_type=None)

    async def until(self, condition: Callable[[], object], *, seconds: float = LONGEST_S) -> None:
        """Wait until a condition holds; raises TimeoutError when it does not in time."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    async def value_of(self, point_id: str, *, seconds: float = LONGEST_S) -> Any:
        """Wait for a point's first reading and return its value."""
        registry = self.kernel.registry

        def read() -> bool:
            return point_id in registry.point_ids() and registry.reading(registry.point(point_id)) is not None

        await self.until(read, seconds=seconds)
        reading = registry.reading(registry.point(point_id))
        assert reading is not None
        return reading.value


@asynccontextmanager
async def running(yaml: str, folder: Path, *, clock: Clock | None = None) -> AsyncIterator[Running]:
    """Run a kernel configured by a piece of YAML; its data and ``custom_plugins/`` are in ``folder``.

    It serves a free port of 127.0.0.1. Raises ConfigError for a configuration that cannot be used.
    """
    import aiohttp

    from core.catalog import Catalog
    from core.config import load
    from core.kernel import Kernel
    from core.settings import read

    path = folder / "plantroom.yaml"
    path.write_text(textwrap.dedent(yaml), encoding="utf-8")
    catalog = Catalog(folder / "custom_plugins")
    settings = read(load([path]), catalog, host="127.0.0.1", port=0, data_dir=folder / "data")
    kernel = Kernel(settings, clock=clock)
    await kernel.start()
    try:
        async with aiohttp.ClientSession(base_url=kernel.url) as client:
            yield Running(kernel, client)
    finally:
        await kernel.stop()


class StartPlantroom(Protocol):
    """Start a kernel that the fixture stops when the test ends."""

    def __call__(self, yaml: str, *, clock: Clock | None = None) -> Awaitable[Running]: ...


@pytest.fixture
async def plantroom(tmp_path: Path) -> AsyncIterator[StartPlantroom]:
    """Let a test start kernels, each from a piece of YAML and in a folder of its own."""
    async with AsyncExitStack() as stack:
        count = 0

        async def start(yaml: str, *, clock: Clock | None = None) -> Running:
            nonlocal count
            folder = tmp_path if count == 0 else tmp_path / str(count)
            folder.mkdir(exist_ok=True)
            count += 1
            return await stack.enter_async_context(running(yaml, folder, clock=clock))

        yield start
