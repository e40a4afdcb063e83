"""How many requests may be on their way at once: per device, per network, and in all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar

from core.plugin import Clock
from plugins.bacnet.addresses import Station

T = TypeVar("T")

_PER_ROUTED_NETWORK = 16
_PER_LINK = 64
_IN_ALL = 128
_MISSES_OF_A_SILENT_NETWORK = 4


class Window:
    """Lets a number of holders in, and the rest wait in line; while it is ``wide`` nobody waits."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._inside = 0
        self._wide = False
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def wide(self) -> bool:
        return self._wide

    @wide.setter
    def wide(self, wide: bool) -> None:
        self._wide = wide
        while wide and self._line:
            self._wake()

    async def __aenter__(self) -> None:
        while self._inside >= self._size and not self._wide:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._line.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._line:
                    self._line.remove(turn)
                else:
                    self._wake()
                raise
        self._inside += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside -= 1
        self._wake()

    def _wake(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return


class Network:
    """A network that devices share: those behind one router, or all that one link reaches directly.

    When several devices in a row fall silent and nothing else on the network answers meanwhile, the network is taken
    for silent, and its window stands wide: there is nothing to protect, and all its devices are found silent at once.
    """

    def __init__(self, size: int, clock: Clock) -> None:
        self.window = Window(size)
        self._clock = clock
        self._last_answer = clock.monotonic()
        self._misses = 0

    @property
    def silent(self) -> bool:
        """Whether nothing on the network answers."""
        return self.window.wide

    def answered(self) -> bool:
        """Note an answer, of whatever kind; tell whether it ended a silence."""
        was_silent = self.silent
        self._last_answer = self._clock.monotonic()
        self._misses = 0
        self.window.wide = False
        return was_silent

    def missed(self, asked_at: float) -> None:
        """Note that a device which used to answer has not, to a request of this (monotonic) time."""
        if self._last_answer < asked_at:
            self._misses += 1
            self.window.wide = self.window.wide or self._misses >= _MISSES_OF_A_SILENT_NETWORK


class Windows:
    """The windows of all networks.

    A device that was silent the last time passes beside the shared ones, so that dead devices never keep the others
    waiting; its own window still holds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._everything = Window(_IN_ALL)
        self._networks: dict[tuple[str, Station | None, int | None], Network] = {}

    def network(self, station: Station) -> Network:
        """Return the network that a device is on."""
        key = (station.interface, station.router, station.network)
        network = self._networks.get(key)
        if network is None:
            size = _PER_LINK if station.network is None else _PER_ROUTED_NETWORK
            network = self._networks[key] = Network(size, self._clock)
        return network

    @asynccontextmanager
    async def turn(self, station: Station, own: Window, *, silent: bool) -> AsyncIterator[Network]:
        """Wait until a request may leave; hold the place while it is under way."""
        network = self.network(station)
        async with AsyncExitStack() as held:
            await held.enter_async_context(own)
            if not silent:
                await held.enter_async_context(network.window)
                if not network.silent:
                    await held.enter_async_context(self._everything)
            yield network


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once and return what each returns; the first failure stops the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
