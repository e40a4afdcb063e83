"""Which class of retention each point is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from plugins.history.columns import Slots
from plugins.history.spans import SpanKind

DAY_S = 86_400.0
SHORT_S = 28 * DAY_S
"""What is kept for less is kept in files of a day each, what is kept for longer in files of a week."""
UNKNOWN = 255


@attrs.frozen
class Kept:
    """A class: its name, which is that of its folder, and for how many seconds its samples are kept; None: for ever."""

    name: str
    seconds: float | None

    @property
    def span(self) -> SpanKind:
        """How much time one of its files holds."""
        return SpanKind.DAY if self.seconds is not None and self.seconds < SHORT_S else SpanKind.WEEK


class Classes:
    """The class of each slot, by its number in ``kept``; found once for each, until points change."""

    def __init__(self, kept: Sequence[Kept], find: Callable[[int], int], version: Callable[[], int]) -> None:
        self.kept = tuple(kept)
        self._find = find
        self._version = version
        self._seen = -1
        self._numbers: npt.NDArray[np.uint8] = np.full(0, UNKNOWN, np.uint8)

    def others(self, name: str) -> frozenset[str]:
        """Return the names of all classes but one; what is of a class that there is no more may be anybody's."""
        return frozenset(kept.name for kept in self.kept) - {name}

    def numbers(self, slots: Slots) -> npt.NDArray[np.uint8]:
        """Return the number of each slot's class."""
        version = self._version()
        if version != self._seen:
            self._seen = version
            self._numbers = np.full(len(self._numbers), UNKNOWN, np.uint8)
        if not len(slots):
            return np.empty(0, np.uint8)
        missing = int(slots.max()) + 1 - len(self._numbers)
        if missing > 0:
            self._numbers = np.concatenate([self._numbers, np.full(max(missing, 1024), UNKNOWN, np.uint8)])
        for slot in np.unique(slots[self._numbers[slots] == UNKNOWN]).tolist():
            self._numbers[slot] = self._find(slot)
        return self._numbers[slots]
