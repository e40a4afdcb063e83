"""What tests of BACnet clients use: simulated devices on a free loopback port, which fail when they are told to.

A pytest plugin (entry point ``pytest11``): the fixture ``simulate`` is there wherever Plantroom is installed.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from plugins.simulator.device import SimulatedDevice
    from plugins.simulator.faults import Fault, FaultKind
    from plugins.simulator.server.service import Service
    from plugins.simulator.server.timer import Timer

__all__ = ["ManualTimer", "Simulate", "Simulation", "simulate", "simulation"]

NETWORK = 2001


class ManualTimer:
    """A timer whose seconds pass when a test says so: for delays, trunks and subscriptions without any waiting."""

    def __init__(self) -> None:
        self._now = 0.0
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, _Call]] = []

    def time(self) -> float:
        """Return the seconds that have passed."""
        return self._now

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> _Call:
        """Call back when so many seconds have passed."""
        call = _Call(callback, arguments)
        heapq.heappush(self._due, (self._now + delay, next(self._numbers), call))
        return call

    def advance(self, seconds: float) -> None:
        """Let time pass; what falls due on the way happens at its own time."""
        end = self._now + seconds
        while self._due and self._due[0][0] <= end:
            self._now, _, call = heapq.heappop(self._due)
            call.run()
        self._now = end


class _Call:
    """Something that is to happen, once."""

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._callback: Callable[..., object] | None = callback
        self._arguments = arguments

    def cancel(self) -> None:
        """Let it not happen."""
        self._callback = None

    def run(self) -> None:
        """Let it happen, unless it was cancelled."""
        if self._callback is not None:
            self._callback(*self._arguments)


class Simulation:
    """Simulated devices that are served; their faults may be changed at any time, and hold at once.

    ``address`` is where they are, ``127.0.0.1:PORT``; a Who-Is to it without a network finds all of them. ``devices``
    are the devices by their numbers: their objects have methods to change them (``set``, ``write``), and objects may
    be added and removed.
    """

    def __init__(self, service: Service, address: str) -> None:
        self._service = service
        self._faults: list[Fault] = []
        self.address = address
        self.devices: Mapping[int, SimulatedDevice] = {
            station.device.instance: station.device for station in service.stations
        }

    @property
    def requests(self) -> int:
        """How many datagrams have come: requests, Who-Is, answers to notifications."""
        return self._service.received

    @property
    def faults(self) -> Sequence[Fault]:
        """The faults that there are, oldest first."""
        return tuple(self._faults)

    def inject(self, kind: FaultKind | str, *, devices: Sequence[int | str] = (), **parameters: Any) -> Fault:
        """Let something go wrong with devices (numbers, or ranges such as "2004-2010"; none: all) from now on.

        Kinds and their parameters are those of the configuration. Raises core.errors.Invalid, whose ``errors`` say what
        is wrong with them.
        """
        return self._add({"kind": str(kind), "devices": list(devices), **parameters})

    def remove(self, fault: Fault) -> None:
        """Take a fault back; raises ValueError where there is none such."""
        self._faults.remove(fault)
        self._service.afflict(self._faults)

    def clear(self) -> None:
        """Take all faults back."""
        self._faults.clear()
        self._service.afflict(())

    def reboot(self, number: int, *, seconds: float, forget_commands: bool = False) -> None:
        """Let a device be away for so long; its subscriptions are lost, and it then announces itself by I-Am.

        Its priority arrays are emptied where that is wanted. Raises KeyError for a number that is none.
        """
        self._service.reboot(number, seconds=seconds, forget_commands=forget_commands)

    def tell(self) -> None:
        """Notify subscribers of what has changed; to be called after values were changed."""
        self._service.check_subscribers()

    def subscriptions(self, number: int) -> int:
        """Say how many change-of-value subscriptions a device has; raises KeyError for a number that is none."""
        return self._service.subscriptions(number)

    def _add(self, plain: Mapping[str, Any]) -> Fault:
        from plugins.simulator.faults import read_fault

        fault = read_fault({name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()})
        self._faults.append(fault)
        self._service.afflict(self._faults)
        return fault


@asynccontextmanager
async def simulation(
    *,
    controllers: int = 0,
    points: int = 10,
    trunks: Sequence[Mapping[str, Any]] = (),
    devices: Sequence[SimulatedDevice] = (),
    direct: SimulatedDevice | None = None,
    faults: Sequence[Mapping[str, Any]] = (),
    seed: int = 1,
    timer: Timer | None = None,
) -> AsyncIterator[Simulation]:
    """Serve devices in this process, on a free port of 127.0.0.1.

    ``controllers`` are so many plain controllers, numbered from 10001 on, with ``points`` each. ``trunks`` and
    ``faults`` are written as in the configuration. ``devices`` are your own, on network 2001 like the controllers,
    ``direct`` is one on the port itself. ``seed`` decides what happens by chance. By a `ManualTimer`, delays and
    lifetimes pass when you say so.
    """
    from plugins.simulator.controllers import make_controllers
    from plugins.simulator.server.link import open_socket
    from plugins.simulator.server.service import Service
    from plugins.simulator.trunks import TrunkOptions, make_trunks

    opened = open_socket("127.0.0.1", 0)
    port = opened.getsockname()[1]
    service = Service(
        [*devices, *make_controllers(controllers, points=points)],
        opened,
        network=NETWORK,
        direct=direct,
        trunks=make_trunks([TrunkOptions(**each) for each in trunks]),
        timer=timer,
        seed=seed,
    )
    try:
        served = Simulation(service, f"127.0.0.1:{port}")
        for fault in faults:
            served._add(fault)  # noqa: SLF001 - its own maker
        yield served
    finally:
        await service.close()


class Simulate(Protocol):
    """Serve devices until the test ends; see `simulation`."""

    def __call__(self, **options: Any) -> Awaitable[Simulation]: ...


@pytest.fixture
async def simulate() -> AsyncIterator[Simulate]:
    """Let a test serve simulated devices, as many times as it likes."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> Simulation:
            return await stack.enter_async_context(simulation(**options))

        yield start
