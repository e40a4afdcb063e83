"""What plugin authors test with: a real kernel from a piece of YAML, a client for its API, a clock to advance.

A pytest plugin (entry point ``pytest11``): the fixture ``plantroom`` is there wherever Plantroom is installed.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import sys
import textwrap
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeVar

import attrs
import pytest

from core.clock import Clock, ManualClock

if TYPE_CHECKING:
    import aiohttp

    from core.differences import Differences
    from core.kernel import Kernel
    from core.manager import LoadedPlugin
    from core.model import Reading
    from core.plugin import Plugin
    from core.registry import DeviceEntry, PointEntry

__all__ = ["Answer", "Api", "KernelClock", "ManualClock", "Running", "StartPlantroom", "plantroom", "running"]

LONGEST_S = 10.0
PATIENCE_S = 2.0

EventT = TypeVar("EventT")
HeldT = TypeVar("HeldT")


@attrs.frozen
class Answer:
    """What the API answered; ``json`` is None where the body is none."""

    status: int
    headers: Mapping[str, str]
    text: str
    json: Any


class Api:
    """A client for a kernel's REST API; it answers every status, and raises only where no answer comes."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None, **params: str) -> Answer:
        """GET a path; ``params`` are those of its query."""
        return await self._ask("GET", path, params=params, headers=headers)

    async def put(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """PUT a JSON body to a path."""
        return await self._ask("PUT", path, json=body, headers=headers)

    async def post(self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """POST a JSON body to a path."""
        return await self._ask("POST", path, json=body, headers=headers)

    async def delete(self, path: str, *, headers: Mapping[str, str] | None = None, **params: str) -> Answer:
        """DELETE what is at a path; ``params`` are those of its query."""
        return await self._ask("DELETE", path, params=params, headers=headers)

    async def _ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self._client.request(method, path, **options) as answer:
            text = await answer.text()
            data = json.loads(text) if answer.content_type.endswith("json") and text else None
            return Answer(answer.status, answer.headers, text, data)


class KernelClock:
    """The clock that a kernel goes by. A test advances it where the kernel was started with a `ManualClock`."""

    def __init__(self, kernel: Kernel) -> None:
        self._clock = kernel.clock
        self._poller = kernel.poller
        self._left_behind: weakref.WeakSet[asyncio.Task[None]] = weakref.WeakSet()

    def utc(self) -> float:
        """Return seconds since the Unix epoch."""
        return self._clock.utc()

    async def advance(self, seconds: float) -> None:
        """Move on; every poll that falls due on the way runs at its own time, and to its end, before time goes on.

        A poll that takes longer than ``PATIENCE_S`` real seconds is left to run on. Raises TypeError for a kernel that
        goes by the machine's clock.
        """
        if not isinstance(self._clock, ManualClock):
            raise TypeError("this kernel goes by the machine's clock: start it with clock=ManualClock()")
        end = self._clock.monotonic() + seconds
        await self._quiet()
        while (due := self._next_due()) is not None and due <= end:
            await self._clock.advance(due - self._clock.monotonic())
            await self._quiet()
        await self._clock.advance(end - self._clock.monotonic())
        await self._quiet()

    def _next_due(self) -> float | None:
        now = self._clock.monotonic()
        return min((item.due for item in self._poller.all if item.due > now), default=None)

    async def _quiet(self) -> None:
        """Wait for the polls under way."""
        while running := self._running():
            _done, late = await asyncio.wait(running, timeout=PATIENCE_S)
            self._left_behind.update(late)

    def _running(self) -> set[asyncio.Task[None]]:
        tasks = {item.running for item in self._poller.all if item.running is not None}
        return {task for task in tasks if task not in self._left_behind}


class Running:
    """A kernel that runs, with ways to ask it, to look into it, and to wait for what it does.

    ``api`` is a client for its REST API, ``client`` the aiohttp session behind that. ``log`` has the lines that were
    logged since its start, oldest first, as dictionaries with ``event``, ``level`` and the rest.
    """

    def __init__(self, kernel: Kernel, client: aiohttp.ClientSession, log: list[dict[str, Any]], path: Path) -> None:
        self._path = path
        self.kernel = kernel
        self.client = client
        self.api = Api(client)
        self.clock = KernelClock(kernel)
        self.log = log

    async def get(self, path: str, **params: str) -> Any:
        """GET a path and return its JSON, whatever the status."""
        return (await self.api.get(path, headers=None, **params)).json

    async def reload(self, yaml: str, *, dry_run: bool = False) -> Differences:
        """Take another piece of YAML over, as SIGHUP and ``POST /api/v1/system/reload`` do; answers what changes.

        Raises ReloadRefused or ReloadUndone where everything runs as before.
        """
        self.write(yaml)
        return await self.kernel.reload(dry_run=dry_run)

    def write(self, yaml: str) -> None:
        """Put another piece of YAML into the configuration's file, which the next reload reads."""
        self._path.write_text(textwrap.dedent(yaml), encoding="utf-8")

    # looking into it

    def plugin(self, name: str) -> LoadedPlugin:
        """Return a plugin's ``state``, ``error`` and ``instance``, by its key in the YAML; raises KeyError."""
        return self.kernel.manager.plugins[name]

    def device_ids(self, plugin: str | None = None) -> list[str]:
        """List the ids of all devices, or of one plugin's, sorted."""
        return sorted(entry.id for entry in self.kernel.registry.devices(plugin))

    def device(self, device_id: str) -> DeviceEntry:
        """Return a device with its ``status``, ``last_error`` and ``points``; raises DeviceNotFound."""
        return self.kernel.registry.device(device_id)

    def point_ids(self, plugin: str | None = None) -> list[str]:
        """List the ids of all points, or of one plugin's, sorted."""
        return sorted(point_id for entry in self.kernel.registry.devices(plugin) for point_id in entry.points)

    def point(self, point_id: str) -> PointEntry:
        """Return a point with its ``slot`` and description (``point``); raises PointNotFound."""
        return self.kernel.registry.point(point_id)

    def reading(self, point_id: str) -> Reading | None:
        """Return a point's reading as it is now, None before the first; raises PointNotFound."""
        return self.kernel.registry.reading(self.point(point_id))

    def logged(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """List the lines of one event that have these fields."""
        wanted = {"event": event, **fields}.items()
        return [line for line in self.log if wanted <= line.items()]

    def hear(self, event: type[EventT]) -> list[EventT]:
        """Listen to events of one class; the list that is answered grows as they come."""
        from core.events import EventHandler

        heard: list[EventT] = []

        async def note(item: EventT) -> None:
            heard.append(item)

        self.kernel.events.subscribe(EventHandler(event, note), owner="test")
        return heard

    # waiting for it

    async def until(self, condition: Callable[[], HeldT | Awaitable[HeldT]], *, seconds: float = LONGEST_S) -> HeldT:
        """Ask, again and again, until the answer is true, and return it; ``seconds`` are real ones.

        Raises TimeoutError where that takes longer.
        """
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                while True:
                    answer = condition()
                    held = await answer if inspect.isawaitable(answer) else answer
                    if held:
                        return held
                    await asyncio.sleep(0.01)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(f"it did not become true within {seconds:g} s") from None

    async def value_of(self, point_id: str, *, seconds: float = LONGEST_S) -> Any:
        """Wait for a point's first reading and return its value; raises TimeoutError."""
        registry = self.kernel.registry
        await self.until(lambda: point_id in registry.point_ids() and self.reading(point_id), seconds=seconds)
        reading = self.reading(point_id)
        return reading.value if reading else None


class _Log(io.TextIOBase):
    """Standard error, which keeps the log's lines as they pass."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lines: list[dict[str, Any]] = []

    def write(self, text: str) -> int:
        self.lines.extend(_logged_in(text))
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


def _logged_in(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                yield json.loads(line)
            except ValueError:  # somebody else's line
                continue


@asynccontextmanager
async def running(
    yaml: str,
    folder: Path,
    *,
    plugins: Mapping[str, type[Plugin[Any]]] | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Running]:
    """Run a kernel configured by a piece of YAML; its data and ``custom_plugins/`` are in ``folder``.

    ``plugins`` are the classes under test, by the names that the YAML uses. It serves a free port of 127.0.0.1. Raises
    ConfigError for a configuration that cannot be used.
    """
    import aiohttp

    from core.catalog import Catalog
    from core.config import load
    from core.kernel import Kernel
    from core.settings import Settings, read

    path = folder / "plantroom.yaml"
    path.write_text(textwrap.dedent(yaml), encoding="utf-8")
    catalog = Catalog(folder / "custom_plugins", given=plugins)

    def reread() -> Settings:
        nonlocal catalog
        catalog = Catalog(folder / "custom_plugins", given=plugins, before=catalog)
        return read(load([path]), catalog, host="127.0.0.1", port=0, data_dir=folder / "data")

    log = _Log(sys.stderr)
    with redirect_stderr(log):
        kernel = Kernel(reread(), clock=clock, reread=reread)
        await kernel.start()
        try:
            async with aiohttp.ClientSession(base_url=kernel.url) as client:
                yield Running(kernel, client, log.lines, path)
        finally:
            await kernel.stop()


class StartPlantroom(Protocol):
    """Start a kernel that the fixture stops when the test ends; see `running`."""

    def __call__(
        self, yaml: str, *, plugins: Mapping[str, type[Plugin[Any]]] | None = None, clock: Clock | None = None
    ) -> Awaitable[Running]: ...


@pytest.fixture
async def plantroom(tmp_path: Path) -> AsyncIterator[StartPlantroom]:
    """Let a test start kernels, each from a piece of YAML and in a folder of its own."""
    async with AsyncExitStack() as stack:
        count = 0

        async def start(
            yaml: str, *, plugins: Mapping[str, type[Plugin[Any]]] | None = None, clock: Clock | None = None
        ) -> Running:
            nonlocal count
            folder = tmp_path if count == 0 else tmp_path / str(count)
            folder.mkdir(exist_ok=True)
            count += 1
            return await stack.enter_async_context(running(yaml, folder, plugins=plugins, clock=clock))

        yield start
