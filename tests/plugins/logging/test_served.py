"""The log of a house that is served: files, levels, what is slow, and disks that fail."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from core.plugin import Context, Inventory, Plugin, Route, hookimpl
from core.testing import ManualClock, Running, StartPlantroom
from plugins.logging import LoggingPlugin


class Slowly(Plugin[Any]):
    """A device that answers when it is let, and a route that logs."""

    def __init__(self, config: Any, ctx: Context) -> None:
        super().__init__(config, ctx)
        device = ctx.device("d")
        self.inventory = Inventory(device, [device.point("p", writable=True)])
        self.scan_interval_s = None
        self.gate = asyncio.Event()

    @hookimpl
    def register_points(self):
        return [self.inventory]

    @hookimpl
    def register_driver(self):
        return self

    @hookimpl
    def register_routes(self):
        return [Route("GET", "/say/{word}", self.say, "Say a word")]

    async def scan(self, _request, _report): ...

    async def read(self, _group):
        await self.gate.wait()
        return []

    async def write(self, _command): ...

    async def priorities(self, _point): ...

    async def say(self, _request, word):
        self.ctx.log.debug("said", word=word)
        return {}


PLUGINS: dict[str, type[Plugin[Any]]] = {"slowly": Slowly, "logging": LoggingPlugin}


def folder_of(house: Running) -> Path:
    return house.kernel.settings.data_dir / "logs"


def lines_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def outlet_of(house: Running) -> Any:
    plugin = house.plugin("logging").instance
    assert isinstance(plugin, LoggingPlugin)
    return plugin.outlets[0]


async def health(house: Running) -> str:
    return (await house.get("/readyz"))["status"]


async def test_all_that_is_logged_is_in_a_file_that_only_we_can_read_from_the_first_line_to_the_last(
    plantroom: StartPlantroom,
) -> None:
    house = await plantroom("plugins: {logging: }")
    answer = await house.api.get("/api/v1/logging")
    assert answer.json["targets"][0]["name"] == "plantroom.log"
    await house.kernel.stop()
    path = folder_of(house) / "plantroom.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    events = [line["event"] for line in lines_in(path)]
    assert events == [line["event"] for line in house.log]
    assert "ready" in events and "request" in events


async def test_levels_change_while_all_runs_and_back_when_their_time_is_over(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {slowly: , logging: }", plugins=PLUGINS, clock=ManualClock())

    async def said(word: str) -> list[Any]:
        await house.api.get(f"/api/v1/slowly/say/{word}")
        return house.logged("said", word=word)

    async def change(level: str | None, **more: int) -> Any:
        body = {"levels": [{"name": "slowly", "level": level}], **more}
        async with house.client.patch("/api/v1/logging/levels", json=body) as answer:
            return answer.status, {each["name"]: each for each in (await answer.json())["levels"]}

    assert not await said("a")
    status, levels = await change("debug", for_s=600)
    assert (status, levels["slowly"]["level"], levels["slowly"]["until"]) == (200, "debug", "2023-11-14T22:23:20.000Z")
    assert await said("b")
    await house.clock.advance(600.0)
    await house.until(lambda: house.logged("log_level_restored", logger="slowly"))
    assert not await said("c")
    await change("debug")
    await house.clock.advance(700.0)
    assert await said("d")
    assert "slowly" not in (await change(None))[1]
    assert not await said("e")
    assert [line["for_s"] for line in house.logged("log_levels_changed")] == [600, None, None]


@pytest.mark.parametrize(
    "body",
    [
        {"levels": []},
        {"levels": [{"name": "a\nb", "level": "debug"}]},
        {"levels": [{"name": "a", "level": "loud"}]},
        {"levels": [{"name": "a", "level": "debug"}], "for_s": 0},
    ],
)
async def test_what_is_no_level_is_refused(plantroom: StartPlantroom, body: Any) -> None:
    house = await plantroom("plugins: {logging: }")
    async with house.client.patch("/api/v1/logging/levels", json=body) as answer:
        assert answer.status == 422


async def test_no_more_loggers_get_levels_than_are_bounded(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {logging: }")
    statuses = []
    for start in range(0, 250, 50):
        body = {"levels": [{"name": f"some.{number}", "level": "info"} for number in range(start, start + 50)]}
        async with house.client.patch("/api/v1/logging/levels", json=body) as answer:
            statuses.append(answer.status)
    assert statuses == [200, 200, 200, 422, 422]


async def test_slow_requests_and_slow_devices_are_told_of_with_the_request_that_they_were_for(
    plantroom: StartPlantroom,
) -> None:
    yaml = "plugins: {slowly: , logging: {slow_request: 0.000001, slow_device: 2}}"
    house = await plantroom(yaml, plugins=PLUGINS, clock=ManualClock())
    plugin = house.plugin("slowly").instance
    assert isinstance(plugin, Slowly)
    plugin.gate.set()
    await house.until(lambda: not any(item.running for item in house.kernel.poller.all))
    plugin.gate.clear()
    path = "/api/v1/points/slowly.d.p/value"
    read = asyncio.create_task(house.api.get(path, headers={"X-Request-ID": "slow-1"}, max_age="0"))
    await house.until(lambda: house.kernel.exchange._reads)
    await house.kernel.clock.advance(3.0)  # type: ignore[attr-defined]
    plugin.gate.set()
    await read
    await house.until(lambda: house.logged("slow_device"))
    (line,) = house.logged("slow_device")
    assert (line["device"], line["what"], line["points"], line["request_id"], line["duration_ms"]) == (
        "slowly.d",
        "read",
        1,
        "slow-1",
        3000.0,
    )
    (line,) = house.logged("slow_request", request_id="slow-1")
    assert (line["route"], line["status"], line["level"]) == ("/api/v1/points/{point_id}/value", 200, "warning")


async def test_a_full_disk_stops_the_log_not_the_house_is_told_once_and_heals_by_itself(
    plantroom: StartPlantroom,
) -> None:
    house = await plantroom("plugins: {logging: {queue_mb: 0.02}}")
    outlet, path = outlet_of(house), folder_of(house) / "plantroom.log"
    await house.until(lambda: outlet.written and not outlet._waiting)
    written_before = len(lines_in(path))
    path.rename(path.with_suffix(".before"))
    path.symlink_to("/dev/full")
    for _ in range(200):
        assert (await house.api.get("/healthz")).status == 200
    await house.until(lambda: outlet.problem)
    await house.until(lambda: outlet.dropped)
    assert await health(house) == "degraded"
    assert "No space left on device" in outlet.problem
    path.unlink()
    await house.until(lambda: outlet.problem is None)
    await house.api.get("/healthz")
    await house.kernel.stop()
    assert len(house.logged("log_failed")) == len(house.logged("log_recovered")) == 1
    lines = lines_in(path)
    told = sum(line["lines"] for line in lines if line["event"] == "log_lines_dropped")
    assert told == outlet.dropped > 0
    assert written_before + len(lines) + told == len(house.log)


async def test_a_folder_that_is_removed_is_made_again(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {logging: }")
    outlet, path = outlet_of(house), folder_of(house) / "plantroom.log"
    await house.until(lambda: path.exists() and not outlet._waiting)
    path.unlink()
    path.parent.rmdir()
    await house.api.get("/healthz", headers={"X-Request-ID": "after"})
    await house.until(lambda: any(line.get("request_id") == "after" for line in lines_in(path)))


async def test_a_folder_that_cannot_be_written_to_is_told_once_and_heals(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {logging: }")
    outlet, path = outlet_of(house), folder_of(house) / "plantroom.log"
    await house.until(lambda: path.exists() and not outlet._waiting)
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("a file where the folder was", encoding="utf-8")
    await house.api.get("/healthz")
    await house.until(lambda: outlet.problem)
    assert await health(house) == "degraded"
    path.parent.unlink()
    await house.until(lambda: outlet.problem is None)
    assert len(house.logged("log_failed")) == 1


async def test_a_file_that_somebody_else_has_moved_is_begun_anew(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {logging: }")
    outlet, path = outlet_of(house), folder_of(house) / "plantroom.log"
    await house.until(lambda: path.exists() and not outlet._waiting)
    moved = path.with_suffix(".old")
    path.rename(moved)
    await house.api.get("/healthz", headers={"X-Request-ID": "after"})
    await house.until(lambda: any(line.get("request_id") == "after" for line in lines_in(path)))
    assert not any(line.get("request_id") == "after" for line in lines_in(moved))


async def test_figures_are_at_metrics(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {logging: }")
    metrics = (await house.api.get("/metrics")).text
    assert 'plantroom_log_lines_dropped_total{plugin="logging",target="plantroom.log"} 0' in metrics


async def test_a_restart_of_the_plugin_by_a_reload_loses_no_line(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {logging: {slow_device: 4}}")
    await house.reload("plugins: {logging: {slow_device: 3}}")
    await house.api.get("/healthz", headers={"X-Request-ID": "after"})
    await house.kernel.stop()
    events = [line["event"] for line in lines_in(folder_of(house) / "plantroom.log")]
    assert events == [line["event"] for line in house.log]


async def test_the_standard_output_can_be_the_only_place(
    plantroom: StartPlantroom, capfd: pytest.CaptureFixture[str]
) -> None:
    house = await plantroom("{log: {format: none}, plugins: {logging: {file: false, stdout: true}}}")
    await house.api.get("/healthz", headers={"X-Request-ID": "only-1"})
    await house.kernel.stop()
    out, err = capfd.readouterr()
    told = [json.loads(line) for line in out.splitlines()]
    assert [line.get("request_id") for line in told if line["event"] == "request"] == ["only-1"]
    assert err == ""
    assert not folder_of(house).exists()


async def test_no_request_writes_a_line_of_its_own_choosing(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {logging: }")
    hostile = "%0a%7b%22event%22%3a%22forged%22%7d%1b[2J%e2%80%ae"
    for path in (f"/{hostile}", f"/api/v1/points/{hostile}/value", f"/api/v1?x={hostile}"):
        await house.api.get(path, headers={"X-Request-ID": 'a"},{"event":"forged'})
    await house.kernel.stop()
    text = (folder_of(house) / "plantroom.log").read_text(encoding="utf-8")
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert {json.loads(line)["event"] for line in text.splitlines()} == {"ready", "request"}
