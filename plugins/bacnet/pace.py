"""How fast a device or network answers, and so how long to wait for it and how much to ask of it at once."""

from __future__ import annotations

import math

import attrs

FAST_S = 0.02
"""Answers within so many seconds are fast whatever else goes on: more may be asked at once."""

SHORTEST_WAIT_S = 0.2
_SLOWER = 1.7  # times the best: the time an answer spends in somebody's queue
_SLOW_ENOUGH = 3  # slow answers more than others
_FIRST_PAUSE_S = 30.0
_LONGEST_PAUSE_S = 600.0
_AGING = 1.002  # of the best time with each answer, so that a network that has become slower is believed in the end


@attrs.define
class Latency:
    """A moving average of answer times and their deviation in seconds, and how long to wait by them (RFC 6298, 2).

    ``best_s`` is of answers to requests that were alone on their way, infinite before the first.
    """

    average_s: float = 0.0
    deviation_s: float = 0.0
    best_s: float = math.inf

    def note(self, rtt_s: float, *, alone: bool) -> None:
        """Take in how long an answer took, and whether nothing else was under way that could have held it up."""
        self.best_s = min(self.best_s * _AGING, rtt_s if alone else math.inf)
        if not self.average_s:
            self.average_s, self.deviation_s = rtt_s, rtt_s / 2
            return
        difference = rtt_s - self.average_s
        self.deviation_s += (abs(difference) - self.deviation_s) / 4
        self.average_s += difference / 8

    def is_slow(self, rtt_s: float) -> bool | None:
        """Tell whether an answer took so much longer than one that was alone that another must have held it up.

        None: that cannot be told before one was alone.
        """
        if rtt_s <= FAST_S:
            return False
        return None if math.isinf(self.best_s) else rtt_s > _SLOWER * self.best_s

    def wait_s(self, longest_s: float) -> float:
        """Return how long to wait for an answer before asking again, at most so many seconds."""
        if not self.average_s:
            return longest_s
        return min(longest_s, max(SHORTEST_WAIT_S, self.average_s + 4 * self.deviation_s))


@attrs.define
class Adaptive:
    """How many requests may be under way at once, from 1 to ``most``: learned from whether they slow each other down.

    A serial bus behind a router answers twice as late when it is asked two things at once; a device on a fast network
    does not. After it had to take a step back, it tries one forward again after a pause that grows (seconds).
    """

    limit: int
    most: int
    _good: int = 0
    _slow: int = 0
    _slow_at: float = 0.0
    _pause_s: float = _FIRST_PAUSE_S
    _grows_again_at: float = 0.0

    @property
    def is_serial(self) -> bool:
        """Whether it has been found to answer one after the other."""
        return self.limit == 1 and self._grows_again_at > 0.0

    def note(self, asked_at: float, now: float, *, slow: bool | None, full: bool) -> None:
        """Take in an answer to a request of this time.

        ``full`` says that as many as may be were under way, and more waited; ``slow`` is what `Latency.is_slow` says.
        Of slow answers that were on their way at once only one counts: it may be we who were slow to take them.
        """
        if slow is None:
            return
        if slow:
            self._good = 0
            if asked_at >= self._slow_at:
                self._slow_at = now
                self._slow += 1
                if self._slow >= _SLOW_ENOUGH:
                    self._back(self.limit - 1, now)
            return
        self._slow = max(self._slow - 1, 0)
        if full and self.limit < self.most and now >= self._grows_again_at:
            self._good += 1
            if self._good >= 2 * self.limit:
                self._good = 0
                self.limit += 1

    def missed(self, now: float) -> None:
        """Take in that an answer did not come."""
        self._back(self.limit // 2, now)

    def _back(self, limit: int, now: float) -> None:
        self._good = self._slow = 0
        if self.limit > 1:
            self.limit = max(limit, 1)
            self._grows_again_at = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
