"""The list of sinks: how far each is, and why it fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from shared_history import START_MS, record

from core.pump import LOOK_EVERY_S
from core.sinks import Delivery, Sink


class Shelf:
    def __init__(self, fails: Exception | None = None) -> None:
        self.fails = fails

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Shelf]:
        yield self

    async def deliver(self, delivery: Delivery) -> None:
        if self.fails is not None:
            raise self.fails


@pytest.fixture
async def sinks(api: Any) -> Any:
    """Two sinks with two samples to deliver, one of which takes none."""
    house = api.house
    house.deliveries.add("demo", [Sink("good", Shelf().connect), Sink("bad", Shelf(OSError("full")).connect)], None)
    await house.deliveries.resume(configured=["demo"], running=["demo"])
    await house.clock.advance(0)
    for number in range(2):
        record(house.services.history, 1, START_MS + number, float(number))
    await house.clock.advance(LOOK_EVERY_S)
    return api


async def test_a_sink_shows_how_far_it_is_and_why_it_fails(sinks: Any):
    bad, good = (await sinks.get("/api/v1/sinks")).json["items"]
    newest = sinks.house.services.history.newest
    assert bad["name"] == "demo.bad"
    assert (bad["state"], bad["error"], bad["behind_batches"]) == ("failing", "full", 2)
    assert bad["position"] == {"epoch": newest.epoch, "seq": 0}
    assert bad["failing_since"] is not None
    assert bad["failures"] >= 1
    assert good == {
        "name": "demo.good", "plugin": "demo", "state": "connected", "error": None, "failing_since": None,
        "position": {"epoch": newest.epoch, "seq": 2}, "behind_batches": 0, "delivered_samples": 2,
        "unnamed_samples": 2, "lost_batches": 0, "failures": 0, "delivered_at": good["delivered_at"],
    }  # fmt: skip
    assert good["delivered_at"].endswith("Z")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("sort=-name", ["demo.good", "demo.bad"]),
        ("state=failing", ["demo.bad"]),
        ("plugin=demo&q=GOO", ["demo.good"]),
        ("plugin=other", []),
    ],
    ids=["sorted", "state", "plugin", "another plugin"],
)
async def test_sinks_are_sorted_and_filtered(sinks: Any, query: str, names: list[str]):
    listed = (await sinks.get(f"/api/v1/sinks?{query}")).json
    assert [each["name"] for each in listed["items"]] == names


async def test_sinks_are_listed_in_pages(sinks: Any):
    first = (await sinks.get("/api/v1/sinks?limit=1&count=true")).json
    second = (await sinks.get(f"/api/v1/sinks?limit=1&cursor={first['next_cursor']}")).json
    assert [first["items"][0]["name"], second["items"][0]["name"]] == ["demo.bad", "demo.good"]
    assert (first["total"], second["next_cursor"]) == (2, None)
