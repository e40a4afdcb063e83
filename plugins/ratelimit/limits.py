"""A limit as requests meet it: what it lets pass, and how it is told in headers and in words."""

from __future__ import annotations

import math
from typing import TypeAlias

from core.plugin import Allowance
from plugins.ratelimit.config import UNITS_S, Budget

HeaderPair: TypeAlias = "tuple[str, str]"

POLICY = "RateLimit-Policy"
REMAINING = "RateLimit"
RENDERED_MOST = 1000
"""How many values of a limit's header are kept."""


class Limit:
    """A budget under a name; ``counts_cost`` where requests take from it what they cost, and not 1 each.

    ``policy`` is its item of RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers): ``q`` at once, and again after
    ``w`` seconds. Where a whole number of seconds says less than is true, ``plantroom-rate`` says it, in requests a
    second.
    """

    __slots__ = ("_rendered", "burst", "counts_cost", "name", "policy", "rate")

    def __init__(self, name: str, budget: Budget, *, counts_cost: bool = True) -> None:
        self.name = name
        self.rate = budget.rate
        self.burst = budget.burst
        self.counts_cost = counts_cost
        window = self.burst / self.rate
        whole = _seconds(window)
        exact = "" if abs(whole - window) < 0.01 * window else f";plantroom-rate={self.rate:.3f}"
        self.policy = f'"{name}";q={self.burst};w={whole}{exact}'
        self._rendered: dict[int, HeaderPair] = {}

    def __str__(self) -> str:
        return f'"{self.name}" ({_rate(self.rate)}, {self.burst} at once)'

    def shown(self, answer: Allowance) -> HeaderPair:
        """Return the header that tells what is left, and in how many seconds there is more."""
        return self._rendered.get(answer.remaining) or self._render(answer)

    def wait_s(self, answer: Allowance, cost: float) -> float:
        """Return the seconds until so much can be taken; 0 or less where it can be now."""
        return answer.reset_after_s - (self.burst - min(cost, self.burst)) / self.rate

    def lacks(self, answer: Allowance, cost: float) -> bool:
        """Tell whether there is less than so much, to a thousandth."""
        return self.wait_s(answer, cost) * self.rate > 1e-3

    def more_after_s(self, answer: Allowance) -> int:
        """Return the whole seconds until there is more than now; 0 where the whole burst is there."""
        return 0 if answer.remaining >= self.burst else _seconds(self.wait_s(answer, answer.remaining + 1))

    def _render(self, answer: Allowance) -> HeaderPair:
        remaining = answer.remaining
        pair = REMAINING, f'"{self.name}";r={remaining};t={self.more_after_s(answer)}'
        if self.rate >= 1.0 and remaining < RENDERED_MOST:  # the next one comes within a second, whatever the time
            self._rendered[remaining] = pair
        return pair


def retry_after_s(seconds: float, *, at_least: int = 1) -> int:
    """Return what Retry-After says of a time to wait: whole seconds, and some."""
    return max(_seconds(seconds), at_least)


def _seconds(seconds: float) -> int:
    """Round up to whole seconds, one at least; what floating point numbers add to a whole number does not count."""
    return max(1, math.ceil(seconds - 1e-6))


def _rate(rate: float) -> str:
    """Write a rate in the unit in which it is a number that people can read."""
    for unit, seconds in UNITS_S.items():
        if rate * seconds >= 1.0:
            return f"{rate * seconds:g}/{unit}"
    return f"{rate * UNITS_S['day']:g}/day"
