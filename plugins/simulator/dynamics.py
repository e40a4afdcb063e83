"""How quantities change: lags, wandering noise, counting; seconds of the building's clock throughout."""

from __future__ import annotations

import math
from random import Random


def approach(value: float, target: float, *, dt: float, lag_s: float) -> float:
    """Move a value towards its target as a first-order lag does in ``dt`` seconds; stable for any step."""
    return target + (value - target) * math.exp(-dt / lag_s)


def clamp(value: float, low: float = 0.0, high: float = 100.0) -> float:
    """Keep a value between two bounds."""
    return min(max(value, low), high)


class Drift:
    """Noise that wanders about zero (an Ornstein-Uhlenbeck process), the same for the same random source."""

    def __init__(self, random: Random, size: float, *, lag_s: float = 600.0) -> None:
        self._random = random
        self._size = size
        self._lag_s = lag_s
        self.value = random.gauss(0.0, size)

    def step(self, dt: float) -> float:
        """Move on by ``dt`` seconds and return the present deviation, whose standard deviation is ``size``."""
        keep = math.exp(-dt / self._lag_s)
        self.value = self.value * keep + self._random.gauss(0.0, self._size) * math.sqrt(1.0 - keep * keep)
        return self.value


class Stopwatch:
    """Adds up running time, so that whole minutes can be shown."""

    def __init__(self, minutes: int) -> None:
        self._seconds = minutes * 60.0

    def step(self, dt: float, *, running: bool) -> int:
        """Count ``dt`` seconds if running; return whole minutes."""
        if running:
            self._seconds += dt
        return int(self._seconds // 60)


class Presence:
    """Whether somebody is there: comes and goes at random, about an expected share of the time."""

    def __init__(self, random: Random, *, lag_s: float = 1500.0) -> None:
        self._random = random
        self._lag_s = lag_s
        self.present = False

    def step(self, dt: float, *, share: float) -> bool:
        """Move on by ``dt`` seconds with the wanted ``share`` of presence, 0 to 1."""
        turnover = 1.0 - math.exp(-dt / self._lag_s)
        if self._random.random() < turnover:
            self.present = self._random.random() < share
        return self.present
