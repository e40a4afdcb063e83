"""A plugin whose poll swallows its cancellation: the house stops in time all the same, and loses nothing."""

from __future__ import annotations

import time
from pathlib import Path

import aiohttp
from e2e.program import StartProgram, get, until

PLUGIN = """
import asyncio
from core.plugin import Inventory, Plugin, Poller, hookimpl

class Stubborn(Plugin[dict]):
    def __init__(self, config, ctx):
        super().__init__(config, ctx)
        self.level = ctx.device("tank").point("level")

    @hookimpl
    def register_points(self):
        return [Inventory(self.ctx.device("tank"), [self.level])]

    @hookimpl
    def register_pollers(self):
        return [Poller("level", 1.0, self.poll), Poller("stubborn", 1.0, self.hold_on)]

    async def poll(self):
        return {self.level: 42.0}

    async def hold_on(self):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass
"""


async def test_a_poll_that_swallows_its_cancellation_does_not_hold_up_the_stop(
    start: StartProgram, tmp_path: Path
) -> None:
    (tmp_path / "custom_plugins").mkdir()
    (tmp_path / "custom_plugins" / "stubborn.py").write_text(PLUGIN)
    (tmp_path / "plantroom.yaml").write_text("plugins: {stubborn: }")
    program = await start("run", "--port", "0", cwd=tmp_path)
    url = await program.ready()
    async with aiohttp.ClientSession(base_url=url) as client:
        await until(
            lambda: get(client, "/api/v1/points/stubborn.tank.level"), lambda point: point["reading"] is not None
        )

    began = time.monotonic()
    code = await program.stop()

    assert time.monotonic() - began < 2.5
    assert code == 1  # what would not end was ended the hard way
    assert [line["task"] for line in program.logged("task_does_not_end")] == ["poll:stubborn.stubborn"]

    (tmp_path / "plantroom.yaml").write_text("plugins: {}")
    again = await start("run", "--port", "0", cwd=tmp_path)
    url = await again.ready()
    async with aiohttp.ClientSession(base_url=url) as client:
        point = await get(client, "/api/v1/points/stubborn.tank.level")
    assert point["reading"]["value"] == 42.0
    assert await again.stop() == 0
