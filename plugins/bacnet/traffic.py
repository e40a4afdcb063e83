"""Who may send a request when: so many at once to a device, to a network, and in all; the rest waits, each in its turn.

Waiting costs a place in a line, no task and no future.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from core.plugin import Clock
from plugins.bacnet.addresses import Station
from plugins.bacnet.pace import Adaptive

IN_ALL = 128
PER_LINK = 64
PER_ROUTED_NETWORK = 16
PER_DEVICE = 8
FIRST_PER_DEVICE = 2
_MISSES_OF_A_SILENT_NETWORK = 4


class Turn(ABC):
    """One request's place in line, then on its way; ``begin`` is called when it may leave.

    ``shared`` says whether it counts in its network, too; ``alone`` whether nothing else was under way as it left that
    could hold it up. One that was ``given_up`` in line is passed over.
    """

    __slots__ = ("alone", "given_up", "lane", "shared")

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.shared = False
        self.alone = False
        self.given_up = False

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.given_up

    @abstractmethod
    def begin(self) -> None:
        """Send the request."""


class Lane:
    """The way to one device.

    One that was ``silent`` the last time passes beside what it shares with others, so that dead devices never keep
    the others waiting; its own limit still holds.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.pace = Adaptive(FIRST_PER_DEVICE, PER_DEVICE)
        self.silent = False
        self.busy = 0
        self.queued = False
        self.waiting: deque[Turn] = deque()

    @property
    def beside(self) -> bool:
        """Whether its requests mind no other device's."""
        return self.silent or self.network.silent

    @property
    def ready(self) -> bool:
        """Whether one waits that could leave as far as this device goes."""
        while self.waiting and self.waiting[0].is_gone:
            self.waiting.popleft()
        return bool(self.waiting) and self.busy < self.pace.limit


class Network:
    """A network that devices share: those behind one router, or all that one link reaches directly.

    When several devices in a row fall silent and nothing else on the network answers meanwhile, the network is taken
    for silent: there is nothing to protect, and all of its devices are found silent at once.
    """

    def __init__(self, pace: Adaptive, now: float) -> None:
        self.pace = pace
        self.learns = pace.limit < pace.most
        self.silent = False
        self.busy = 0
        self.queued = False
        self.line: deque[Lane] = deque()
        self._last_answer = now
        self._misses = 0

    @property
    def full(self) -> bool:
        """Whether as many as may be are under way."""
        return self.busy >= self.pace.limit

    def answered(self, now: float) -> bool:
        """Note an answer, of whatever kind; tell whether it ended a silence."""
        was_silent = self.silent
        self._last_answer = now
        self._misses = 0
        self.silent = False
        return was_silent

    def missed(self, asked_at: float) -> bool:
        """Note that a device which used to answer has not, to a request of this (monotonic) time.

        Tell whether the network is taken for silent from now on.
        """
        if self._last_answer >= asked_at or self.silent:
            return False
        self._misses += 1
        self.silent = self._misses >= _MISSES_OF_A_SILENT_NETWORK
        return self.silent


class Traffic:
    """All lanes of one plugin, by the networks that they lead to; lanes and networks take turns."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._busy = 0
        self._line: deque[Network] = deque()
        self._networks: WeakValueDictionary[tuple[str, Station | None, int | None], Network] = WeakValueDictionary()

    def lane(self, station: Station) -> Lane:
        """Open the way to a device."""
        return Lane(self.network(station))

    def network(self, station: Station) -> Network:
        """Return the network that a device is on; one behind a router begins with one request at a time.

        It is known for as long as there is a lane to it: what strangers claim to be behind leaves nothing.
        """
        key = station.interface, station.router, station.network
        network = self._networks.get(key)
        if network is None:
            pace = Adaptive(PER_LINK, PER_LINK) if station.network is None else Adaptive(1, PER_ROUTED_NETWORK)
            network = self._networks[key] = Network(pace, self._clock.monotonic())
        return network

    def enter(self, turn: Turn) -> None:
        """Call the turn's ``begin`` as soon as it may leave, which may be now."""
        lane = turn.lane
        network = lane.network
        if lane.waiting or lane.busy >= lane.pace.limit:
            self._wait(turn)
        elif lane.beside:
            self._start(turn, shared=False)
        elif network.line or network.full or self._line or self._busy >= IN_ALL:
            self._wait(turn)
        else:
            self._start(turn, shared=True)

    def leave(self, turn: Turn) -> None:
        """Make room for the next."""
        lane = turn.lane
        lane.busy -= 1
        if turn.shared:
            self._give_back(turn)
        if lane.waiting:
            self._queue(lane)
        self._let_in()

    def step_aside(self, turn: Turn) -> None:
        """Keep the lane only, so that one that gets no answer holds up nobody else."""
        if turn.shared:
            self._give_back(turn)
            self._let_in()

    def let_all_pass(self, network: Network) -> None:
        """Let those who wait at a silent network go on without it."""
        while network.line:
            lane = network.line.popleft()
            lane.queued = False
            self._queue(lane)

    @staticmethod
    def answered(turn: Turn, asked_at: float, now: float, *, slow: bool | None) -> None:
        """Learn from an answer, and whether something held it up, how much may be asked at once."""
        lane, network = turn.lane, turn.lane.network
        lane.pace.note(asked_at, now, slow=slow, full=bool(lane.waiting))
        if network.learns:
            network.pace.note(asked_at, now, slow=slow, full=bool(network.line))

    @asynccontextmanager
    async def turn(self, lane: Lane) -> AsyncIterator[Turn]:
        """Wait until a request may leave; hold the place while it is under way."""
        turn = _Awaited(lane)
        self.enter(turn)
        try:
            await turn.begun
            yield turn
        finally:
            if turn.inside:
                self.leave(turn)

    def _wait(self, turn: Turn) -> None:
        turn.lane.waiting.append(turn)
        self._queue(turn.lane)
        self._let_in()

    def _queue(self, lane: Lane) -> None:
        """Have a lane in which one is ready wait for its network, and the network for its turn among all."""
        while lane.beside and lane.ready:
            self._start(lane.waiting.popleft(), shared=False)
        if not lane.queued and lane.ready:
            lane.queued = True
            lane.network.line.append(lane)
        self._queue_network(lane.network)

    def _queue_network(self, network: Network) -> None:
        if not network.queued and network.line and not network.full:
            network.queued = True
            self._line.append(network)

    def _let_in(self) -> None:
        """Let those in who are next, as long as there is room."""
        while self._line and self._busy < IN_ALL:
            network = self._line.popleft()
            network.queued = False
            turn = self._next(network)
            if turn is not None:
                self._start(turn, shared=True)
                self._queue(turn.lane)

    def _next(self, network: Network) -> Turn | None:
        """Take the turn out of line that is the network's next, None where it is full or nobody waits any more."""
        while network.line and not network.full:
            lane = network.line.popleft()
            lane.queued = False
            if lane.ready:
                return lane.waiting.popleft()
        return None

    def _start(self, turn: Turn, *, shared: bool) -> None:
        lane, network = turn.lane, turn.lane.network
        lane.busy += 1
        turn.shared = shared
        if shared:
            network.busy += 1
            self._busy += 1
            turn.alone = lane.busy == 1 and (network.busy == 1 or not network.learns)
        turn.begin()

    def _give_back(self, turn: Turn) -> None:
        turn.shared = False
        network = turn.lane.network
        network.busy -= 1
        self._busy -= 1
        self._queue_network(network)


class _Awaited(Turn):
    """A turn that a coroutine waits for."""

    __slots__ = ("begun", "inside")

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane)
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.inside = False

    @property
    def is_gone(self) -> bool:
        return self.begun.cancelled()

    def begin(self) -> None:
        self.inside = True
        self.begun.set_result(None)
