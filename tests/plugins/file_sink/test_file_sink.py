"""The plugin in a whole kernel: what is read is in the files, over restarts, reloads and a directory that is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.catalog import Catalog
from core.config import load
from core.errors import ConfigError
from core.plugin import Inventory, Plugin, hookimpl
from core.settings import read
from core.testing import Running, StartPlantroom, running

LONGEST_S = 30.0


class Tank(Plugin[Any]):
    """A point that is published."""

    def __init__(self, config: Any, ctx: Any) -> None:
        super().__init__(config, ctx)
        self.level = ctx.device("tank").point("level", unit="percent")

    @hookimpl
    def register_points(self) -> list[Inventory]:
        return [Inventory(self.ctx.device("tank"), [self.level])]


PLUGINS = {"tank": Tank}
HOUSE = "plugins: {tank: , file_sink: }"


async def connected(house: Running) -> None:
    """Wait until delivery has begun: from then on nothing is missed."""

    async def is_connected() -> bool:
        return all(each["state"] == "connected" for each in (await house.get("/api/v1/sinks"))["items"])

    await house.until(is_connected, seconds=LONGEST_S)


async def publish(house: Running, value: float) -> None:
    tank = house.plugin("tank").instance
    tank.ctx.publish({tank.level: value})
    await house.until(
        lambda: house.kernel.deliveries.all["file_sink.files"].behind == 0 and _has(house, value), seconds=LONGEST_S
    )


def _has(house: Running, value: float) -> bool:
    return value in values(house.kernel.settings.data_dir / "samples")


def values(folder: Path) -> list[float]:
    lines = [line for file in sorted(folder.glob("samples-*.ndjson")) for line in file.read_bytes().splitlines()]
    return [line["value"] for line in map(json.loads, lines) if "value" in line]


async def test_what_is_read_is_in_the_files_once_over_restarts_and_reloads(tmp_path: Path):
    for begin in (1.0, 3.0):
        async with running(HOUSE, tmp_path, plugins=PLUGINS) as house:
            await connected(house)
            await publish(house, begin)
            await house.reload("plugins: {tank: , file_sink: {keep_files: 5}}")
            await connected(house)
            await publish(house, begin + 1)
    assert values(tmp_path / "data/samples") == [1.0, 2.0, 3.0, 4.0]


async def test_a_directory_that_cannot_be_written_is_told_and_nothing_is_lost_meanwhile(
    plantroom: StartPlantroom, tmp_path: Path
):
    house = await plantroom("plugins: {tank: , file_sink: {directory: disk/samples}}", plugins=PLUGINS)

    async def failing() -> bool:
        (sink,) = (await house.get("/api/v1/sinks"))["items"]
        return bool(sink["state"] == "failing" and "No such file" in sink["error"])

    await house.until(failing, seconds=LONGEST_S)
    tank = house.plugin("tank").instance
    tank.ctx.publish({tank.level: 1.0})
    assert (await house.get("/readyz"))["plugins"]["file_sink"]["health"] == "degraded"
    (tmp_path / "data/disk").mkdir()
    await house.until(lambda: values(tmp_path / "data/disk/samples") == [1.0], seconds=LONGEST_S)
    assert len(house.logged("sink_failed")) == 1
    await house.until(lambda: house.logged("sink_recovered"), seconds=LONGEST_S)


async def test_of_two_that_have_one_directory_the_second_says_so(plantroom: StartPlantroom):
    house = await plantroom("plugins: {file_sink: , twin: {use: file_sink}}")
    said = await house.until(lambda: house.logged("sink_failed"), seconds=LONGEST_S)
    assert "name another `directory`" in said[0]["error"]


@pytest.mark.parametrize(
    "options",
    ["format: csv", "rotate_mib: 0", "keep_files: 0", "directory: ''", "directry: a"],
    ids=["format", "rotate_mib", "keep_files", "directory", "unknown"],
)
def test_a_wrong_option_is_named(tmp_path: Path, options: str):
    path = tmp_path / "plantroom.yaml"
    path.write_text(f"plugins: {{file_sink: {{{options}}}}}", encoding="utf-8")
    with pytest.raises(ConfigError, match=options.partition(":")[0]):
        read(load([path]), Catalog(None))
