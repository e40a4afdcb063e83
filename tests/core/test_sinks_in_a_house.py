"""Sinks in a whole kernel: their plugin comes, goes and is reloaded, and so does the history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar

import pytest

from core.clock import ManualClock
from core.memory_history import MemoryHistory
from core.plugin import Inventory, Plugin, hookimpl
from core.sinks import Delivery, Sink
from core.testing import Running, StartPlantroom


class Tank(Plugin[Any]):
    """A point that is published, and a sink that keeps what it is handed."""

    schema: ClassVar = {"fails": bool}

    def __init__(self, config: Any, ctx: Any) -> None:
        super().__init__(config, ctx)
        self.level = ctx.device("tank").point("level")
        self.kept: list[Any] = []
        self.deliveries: list[Delivery] = []

    @hookimpl
    def register_points(self) -> list[Inventory]:
        return [Inventory(self.ctx.device("tank"), [self.level])]

    @hookimpl
    def register_sinks(self) -> list[Sink]:
        return [Sink("shelf", self.connect)]

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Any]:
        yield self

    async def deliver(self, delivery: Delivery) -> None:
        if self.config.get("fails"):
            raise OSError("the shelf is full")
        self.deliveries.append(delivery)
        self.kept += [sample.value for _slot, _point, sample in delivery.rows()]


class Archive(Plugin[Any]):
    """A history that must not be asked while it does not run."""

    schema: ClassVar = {"epoch": int}

    def __init__(self, config: Any, ctx: Any) -> None:
        super().__init__(config, ctx)
        self.history = Opened(config.get("epoch", 5))

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        self.history.open = True
        yield
        self.history.open = False

    @hookimpl
    def provide_history(self) -> MemoryHistory:
        return self.history


class Opened(MemoryHistory):
    def __init__(self, epoch: int) -> None:
        super().__init__(epoch=epoch)
        self.open = False

    async def register(self, name: str) -> Any:
        assert self.open
        return await super().register(name)

    async def read_after(self, position: Any, limit: int) -> Any:
        assert self.open
        return await super().read_after(position, limit)


PLUGINS = {"tank": Tank, "archive": Archive}


async def publish(running: Running, value: float) -> None:
    """Have a value read and recorded."""
    tank = running.plugin("tank").instance
    before = running.kernel.services.history.newest
    tank.ctx.publish({tank.level: value})
    await running.until(lambda: running.kernel.services.history.newest != before)


async def shown(running: Running) -> dict[str, Any]:
    (sink,) = (await running.get("/api/v1/sinks"))["items"]
    return sink


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_what_is_read_is_delivered_with_who_we_are(plantroom: StartPlantroom, clock: ManualClock):
    running = await plantroom("{site: north, plugins: {tank: }}", plugins=PLUGINS, clock=clock)
    tank = running.plugin("tank").instance
    await publish(running, 1.0)
    await running.clock.advance(2)
    assert await running.until(lambda: tank.kept) == [1.0]
    (delivery,) = tank.deliveries
    assert delivery.installation_id == tank.ctx.installation_id == (await running.get("/api/v1"))["installation_id"]
    assert delivery.site == "north"
    assert [point.id for point in delivery.points.values()] == ["tank.tank.level"]
    health = (await running.get("/api/v1/plugins/tank"))["health"]
    assert [(each["check"], each["status"]) for each in health] == [("sink tank.shelf", "ok")]
    metrics = (await running.api.get("/metrics")).text
    assert 'plantroom_sink_delivered_samples_total{plugin="tank",sink="tank.shelf"} 1' in metrics


async def test_a_sink_that_fails_makes_its_plugin_degraded_and_harms_nobody(
    plantroom: StartPlantroom, clock: ManualClock
):
    running = await plantroom("plugins: {tank: {fails: true}}", plugins=PLUGINS, clock=clock)
    await publish(running, 1.0)
    await running.clock.advance(2)
    sink = await shown(running)
    assert (sink["state"], sink["error"], sink["behind_batches"]) == ("failing", "the shelf is full", 1)
    assert (await running.get("/readyz"))["plugins"]["tank"] == {"state": "running", "health": "degraded"}
    assert len(running.logged("sink_failed", sink="tank.shelf", plugin="tank")) == 1


async def test_a_reload_of_the_sinks_plugin_loses_nothing(plantroom: StartPlantroom, clock: ManualClock):
    running = await plantroom("plugins: {tank: {fails: true}}", plugins=PLUGINS, clock=clock)
    await running.clock.advance(1)
    await publish(running, 1.0)
    await running.clock.advance(2)
    await running.reload("plugins: {tank: {fails: false}}")
    await publish(running, 2.0)
    await running.clock.advance(2)
    tank = running.plugin("tank").instance
    await running.until(lambda: len(tank.kept) == 2)
    assert tank.kept == [1.0, 2.0]


async def test_a_reload_that_exchanges_the_history_asks_none_that_does_not_run(
    plantroom: StartPlantroom, clock: ManualClock
):
    running = await plantroom("plugins: {tank: , archive: }", plugins=PLUGINS, clock=clock)
    tank = running.plugin("tank").instance
    for config, value in (
        ("plugins: {tank: , archive: {epoch: 9}}", 1.0),
        ("plugins: {tank: }", 2.0),
        ("plugins: {tank: , archive: }", 3.0),
    ):
        await running.reload(config)
        await running.clock.advance(1)
        await publish(running, value)
        await running.clock.advance(2)
        await running.until(lambda value=value: tank.kept[-1:] == [value])
    assert tank.kept == [1.0, 2.0, 3.0]
    assert tank is running.plugin("tank").instance
    assert running.logged("sink_failed") == []
    assert [delivery.position.epoch for delivery in tank.deliveries] == [
        9,
        running.kernel.defaults.history.newest.epoch,
        5,
    ]


async def test_a_sink_waits_while_its_history_has_died(plantroom: StartPlantroom, clock: ManualClock):
    running = await plantroom("plugins: {tank: , archive: }", plugins=PLUGINS, clock=clock)
    archive = running.plugin("archive")
    archive.keeper.note_death(archive, running.kernel, RuntimeError("gone"))
    await running.until(lambda: archive.state == "failed")
    await running.clock.advance(2)
    assert (await shown(running))["state"] == "waiting"
    assert running.logged("sink_failed") == []
    await running.reload("plugins: {tank: }")
    await running.clock.advance(1)
    assert (await shown(running))["state"] == "connected"


async def test_a_plugin_that_is_removed_has_no_cursor_any_more_and_one_that_is_disabled_has(
    plantroom: StartPlantroom, clock: ManualClock
):
    running = await plantroom("plugins: {tank: }", plugins=PLUGINS, clock=clock)
    await running.clock.advance(1)
    begin = running.kernel.services.history.newest
    await publish(running, 1.0)
    await running.reload("plugins: {tank: {enabled: false}}")
    assert (await running.get("/api/v1/sinks"))["items"] == []
    assert await running.kernel.services.history.register("tank.shelf") == begin
    await running.reload("plugins: {}")
    assert [line["sink"] for line in running.logged("sink_forgotten")] == ["tank.shelf"]
    assert await running.kernel.services.history.register("tank.shelf") == running.kernel.services.history.newest


async def test_two_sinks_of_one_name_are_their_plugins_mistake(plantroom: StartPlantroom):
    class Twice(Tank):
        @hookimpl
        def register_sinks(self) -> list[Sink]:
            return [Sink("shelf", self.connect), Sink("shelf", self.connect)]

    running = await plantroom("plugins: {twice: }", plugins={"twice": Twice})
    assert running.plugin("twice").error == "two sinks are named 'shelf': give each a name of its own"
    assert (await running.get("/api/v1/sinks"))["items"] == []
