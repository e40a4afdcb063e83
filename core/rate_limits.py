"""Counts what each key may still do, in the memory of this process, by the generic cell rate algorithm."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from core.clock import Clock
from core.services import Allowance

LIMITER_KEYS = 100_000
LOOKS = 4
"""How many keys are looked at, for those that can be forgotten, whenever a new one comes."""
GRAIN = 1e-3
"""What passes beyond a burst, in requests: floating point numbers cannot tell much less, and it never adds up."""


class MemoryRateLimitStore:
    """The generic cell rate algorithm (ITU-T I.371): one number for each key, its theoretical arrival time.

    A key whose arrival time has passed has its whole burst, as one that was never seen: it is forgotten by and by.
    While ``keys`` of them have used some of theirs, those that come new share one burst for each rate and burst.
    """

    def __init__(self, clock: Clock, *, keys: int = LIMITER_KEYS) -> None:
        self._now = clock.monotonic
        self._limit = keys
        self._arrivals: dict[Hashable, float] = {}
        self._round: deque[Hashable] = deque()
        self._shared: dict[Hashable, float] = {}

    def __len__(self) -> int:
        """Tell how many keys are remembered."""
        return len(self._arrivals)

    def take(self, key: str, *, rate: float, burst: float, cost: float = 1.0) -> Allowance:
        now, tolerance = self._now(), burst / rate
        book: dict[Hashable, float] = self._arrivals
        entry: Hashable = key
        arrival = book.get(key)
        if arrival is None:
            book, entry, arrival = self._unknown(key, now, (rate, burst), counted=cost > 0.0)
        debt = arrival - now
        if debt < 0.0:
            debt = 0.0
        elif debt > tolerance:  # the limit was another one, or the clock was set back
            debt = tolerance
            if entry in book:
                book[entry] = now + tolerance
        after = debt + (cost if cost < burst else burst) / rate  # noqa: FURB136  # min() takes a fifth of all the time
        excess = after - tolerance
        if excess * rate > GRAIN:
            return Allowance(False, int((tolerance - debt) * rate + GRAIN), excess, debt)
        if cost:
            book[entry] = now + after
        return Allowance(True, int(GRAIN - excess * rate), 0.0, after)

    def _unknown(
        self, key: str, now: float, limit: tuple[float, float], *, counted: bool
    ) -> tuple[dict[Hashable, float], Hashable, float]:
        """Find where to count a key that has no entry, and its arrival time: what newcomers owe together, if anything.

        Only with that does nobody gain a burst who was counted among them before there was room.
        """
        arrival = self._shared.get(limit, now)
        if not counted:
            return self._arrivals, key, arrival
        if not self._has_room(now):
            return self._shared, limit, arrival
        self._arrivals[key] = arrival
        self._round.append(key)
        if arrival <= now:
            self._shared.pop(limit, None)
        return self._arrivals, key, arrival

    def _has_room(self, now: float) -> bool:
        """Go on with the round of all keys, forgetting those whose arrival time has passed."""
        for _ in range(min(LOOKS, len(self._round))):
            key = self._round.popleft()
            if self._arrivals[key] <= now:
                del self._arrivals[key]
            else:
                self._round.append(key)
        return len(self._arrivals) < self._limit
