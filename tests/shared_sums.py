"""Compares what samples come to, by one way and by another."""

from __future__ import annotations

import math
from array import array

import pytest

from core import aggregation
from core.aggregation import Buckets
from plugins.history.store import Store


def same(mine: Buckets, other: Buckets) -> None:
    """See that two are the same, but for what rounding does."""
    assert mine.counts == other.counts
    assert mine.covered == other.covered
    assert mine.worst == other.worst
    for name in ("mins", "maxs", "firsts", "lasts"):
        assert getattr(mine, name).tobytes() == getattr(other, name).tobytes() or all(
            a == b or (math.isnan(a) and math.isnan(b))
            for a, b in zip(getattr(mine, name), getattr(other, name), strict=True)
        ), name
    for name in ("sums", "integrals"):
        assert getattr(mine, name).tolist() == pytest.approx(getattr(other, name).tolist(), nan_ok=True), name
    assert {s: t for s, t in mine.states.items() if any(t)} == {s: t for s, t in other.states.items() if any(t)}


async def agree(store: Store, slot: int, edges: list[int], *, states: bool = True) -> Buckets:
    """See that the store sums up to what the plain way does, and return it."""
    now, ends = store.committer.now_ms, array("q", edges)
    mine = await store.aggregate(slot, ends, now_ms=now, states=states)
    same(mine, await aggregation.aggregate(store, slot, ends, now_ms=now, states=states))
    return mine
