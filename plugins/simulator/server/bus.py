"""A trunk on which one message travels at a time, as on MS/TP (ASHRAE 135, clause 9)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from plugins.simulator.server.timer import Handle, Timer

MOST_WAITING = 512
REPLY_TIMEOUT_S = 0.255
"""How long the bus is kept for an answer that does not come (9.5.6.3, Treply_timeout)."""

_FRAME_OCTETS = 10  # of an MS/TP frame beside its data: preamble, header, both checks
_OCTET_BITS = 10  # with start and stop bit


class _Turn(NamedTuple):
    """What waits for the bus: a request to hand over, or a message of so many octets to carry."""

    run: Callable[[], None]
    owner: object
    octets: int | None


class Bus:
    """Gives each message its turn: a request keeps the bus until it is answered, or nobody does in time.

    An answer takes ``latency`` seconds and then its octets at ``baud``. What waits in vain for a place is lost.
    """

    def __init__(self, network: int, *, latency: float, baud: int, timer: Timer) -> None:
        self.network = network
        self._latency = latency
        self._baud = baud
        self._timer = timer
        self._log = logging.getLogger(__name__)
        self._waiting: deque[_Turn] = deque()
        self._asked: object = None
        self._busy = False
        self._patience: Handle | None = None
        self._lost = 0

    def seconds(self, octets: int) -> float:
        """Say how long a message of so many octets is on its way."""
        return (octets + _FRAME_OCTETS) * _OCTET_BITS / self._baud

    def ask(self, owner: object, run: Callable[[], None]) -> None:
        """Let ``run`` hand a request over when the bus is free; ``owner`` is who will `answer` it."""
        self._line_up(_Turn(run, owner, None))

    def answer(self, owner: object, octets: int, run: Callable[[], None]) -> None:
        """Carry a message: at once, if it answers what the bus is kept for, and call ``run`` when it has arrived."""
        if self._asked is owner and owner is not None:
            self._asked = None
            self._give_up_waiting()
            self._carry(_Turn(run, owner, octets))
        else:
            self.carry(octets, run)

    def carry(self, octets: int, run: Callable[[], None]) -> None:
        """Carry a message that answers nothing when the bus is free, and call ``run`` when it has arrived."""
        self._line_up(_Turn(run, None, octets))

    def _line_up(self, turn: _Turn) -> None:
        if len(self._waiting) >= MOST_WAITING:
            if not self._lost:
                self._log.warning("trunk %s is overrun: messages are being dropped", self.network)
            self._lost += 1
            return
        self._waiting.append(turn)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        self._busy = bool(self._waiting)
        if not self._waiting:
            return
        turn = self._waiting.popleft()
        if turn.octets is not None:
            self._carry(turn)
            return
        self._asked = turn.owner
        self._patience = self._timer.call_later(REPLY_TIMEOUT_S, self._unanswered)
        turn.run()

    def _carry(self, turn: _Turn) -> None:
        self._timer.call_later(self._latency + self.seconds(turn.octets or 0), self._arrived, turn)

    def _arrived(self, turn: _Turn) -> None:
        try:
            turn.run()
        finally:
            self._next()

    def _unanswered(self) -> None:
        self._asked = self._patience = None
        self._next()

    def _give_up_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
