"""Which of the samples that come from elsewhere are new."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.samples import Gap
from plugins.history.columns import Columns


def in_gaps(given: Columns, gaps: Sequence[Gap]) -> Columns:
    """Return the rows whose times are in gaps."""
    inside = np.zeros(len(given), bool)
    for gap in gaps:
        inside |= (given.times >= gap.start_ms) & (given.times < gap.end_ms)
    return given.take(np.flatnonzero(inside))


def new_rows(given: Columns, known: Columns) -> Columns:
    """Return the rows of a point for whose time there is none yet."""
    return given.take(np.flatnonzero(~np.isin(given.times, known.times)))
