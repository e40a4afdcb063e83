"""Each line that is logged for a request has its id, whatever task it is logged in."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import web

from core.events import DeviceAsked
from core.plugin import (
    Call,
    Chunk,
    Context,
    Flag,
    Inventory,
    JobContext,
    JobKind,
    LogSink,
    Phase,
    Plugin,
    Policy,
    ReadingBatch,
    Route,
    Row,
    ScanReport,
    Source,
    Steps,
    WriteResult,
    batch_of,
    hookimpl,
)
from core.request_ids import working_for
from core.testing import Running, StartPlantroom

YAML = "plugins: {lamps: }"
LAMP = "/api/v1/points/lamps.hall.level/value"


class Lamps(Plugin[Any]):
    """One lamp, which tells the log whenever it is asked, and a job."""

    def __init__(self, config: Any, ctx: Context) -> None:
        super().__init__(config, ctx)
        device = ctx.device("hall")
        self.level = device.point("level", writable=True)
        self.inventory = Inventory(device, [self.level])
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.taken: list[str] = []
        self.scan_interval_s = None

    @hookimpl
    def lifespan(self):
        @asynccontextmanager
        async def alive():
            self.ctx.log.info("begun")
            yield

        return alive()

    @hookimpl
    def register_points(self):
        return [self.inventory]

    @hookimpl
    def register_driver(self):
        return self

    @hookimpl
    def register_jobs(self):
        return [JobKind(f"{self.ctx.name}.dim", self.dim)]

    @hookimpl
    def register_routes(self):
        return [Route("POST", "/dim/{name}", self.begin, "Begin to dim", status=202)]

    @hookimpl
    def register_log_sinks(self):
        return [LogSink("kept", self.taken.append)]

    @hookimpl
    def register_middlewares(self):
        return [Policy(Phase.LOG, lambda _route: Steps(before=self.remark))]

    def remark(self, call: Call) -> None:
        if call.query:
            call.remarks.append(("cache", "hit"))

    async def scan(self, _request: Any, _report: ScanReport) -> None: ...

    async def read(self, group: Any) -> list[ReadingBatch]:
        self.asked.set()
        await self.gate.wait()
        self.ctx.log.info("lamp_read")
        return [batch_of(Chunk(group.slots), [Row(1.0)], time=self.ctx.clock.utc(), source=Source.POLL)]

    async def write(self, _command: Any) -> WriteResult:
        self.ctx.log.info("lamp_written")
        return WriteResult(1.0, Flag(0), effective=True, active_priority=None)

    async def priorities(self, _point: Any) -> Any: ...

    async def dim(self, _context: JobContext, _parameters: Any) -> None:
        await self.gate.wait()
        await asyncio.to_thread(structlog.get_logger().info, "dimmed")

    async def begin(self, _request: web.Request, name: str) -> Any:
        return {}


async def start(plantroom: StartPlantroom) -> tuple[Running, Lamps]:
    house = await plantroom(YAML, plugins={"lamps": Lamps})
    await house.value_of("lamps.hall.level")
    house.log.clear()
    plugin = house.plugin("lamps").instance
    assert isinstance(plugin, Lamps)
    return house, plugin


def by(request_id: str) -> dict[str, str]:
    return {"X-Request-ID": request_id}


def told(house: Running, request_id: str) -> set[str]:
    return {line["event"] for line in house.log if line.get("request_id") == request_id}


async def test_what_a_device_is_asked_for_a_request_is_logged_with_its_id(plantroom: StartPlantroom) -> None:
    house, _lamps = await start(plantroom)
    await house.api.get(LAMP, headers=by("reader-1"), max_age="0")
    await house.api.put(LAMP, {"value": 1.0}, headers=by("writer-1"))
    await house.until(lambda: "request" in told(house, "writer-1"))
    assert told(house, "reader-1") == {"lamp_read", "request"}
    assert told(house, "writer-1") == {"lamp_written", "point_written", "request"}


async def test_who_wants_to_know_is_told_what_devices_are_asked_for_which_request(plantroom: StartPlantroom) -> None:
    house, _lamps = await start(plantroom)
    heard = house.hear(DeviceAsked)
    await house.api.get(LAMP, headers=by("reader-1"), max_age="0")
    await house.api.put(LAMP, {"value": 1.0}, headers=by("writer-1"))
    await house.until(lambda: len(heard) == 2)
    assert [(each.device_id, each.what, each.points, each.request_ids, each.error) for each in heard] == [
        ("lamps.hall", "read", 1, ("reader-1",), None),
        ("lamps.hall", "write", 1, ("writer-1",), None),
    ]
    assert all(0 <= each.seconds < 5 for each in heard)


async def test_a_read_that_requests_share_is_logged_with_the_ids_of_all(plantroom: StartPlantroom) -> None:
    house, lamps = await start(plantroom)
    lamps.gate.clear()
    lamps.asked.clear()
    reads = [asyncio.create_task(house.api.get(LAMP, headers=by("a"), max_age="0"))]
    await lamps.asked.wait()
    reads.append(asyncio.create_task(house.api.get(LAMP, headers=by("b"), max_age="0")))
    await house.until(lambda: house.kernel.server.connections == 2)
    await house.api.get("/healthz")
    lamps.gate.set()
    await asyncio.gather(*reads)
    (line,) = house.logged("lamp_read")
    assert (line["request_id"], line["request_ids"]) == ("a", ["a", "b"])


async def test_a_job_has_the_id_of_the_request_that_made_it_whoever_made_room_for_it(plantroom: StartPlantroom) -> None:
    house, lamps = await start(plantroom)
    lamps.gate.clear()
    jobs = house.kernel.jobs

    def submit(request_id: str | None) -> Any:
        with working_for(request_id):
            return jobs.submit("lamps.dim")

    made = [submit(f"r{number}") for number in range(6)]
    made.append(submit(None))
    lamps.gate.set()
    await house.until(lambda: all(job.state.ended for job in made))
    assert [line.get("request_id") for line in house.logged("dimmed")] == [*(f"r{number}" for number in range(6)), None]


async def test_what_a_reload_has_started_does_not_speak_for_its_request_for_ever(plantroom: StartPlantroom) -> None:
    house, _lamps = await start(plantroom)
    house.write("plugins: {lamps: {}, more: {use: lamps}}")
    answer = await house.api.post("/api/v1/system/reload", headers=by("reload-1"))
    assert answer.status == 200
    assert house.logged("reloaded", request_id="reload-1")
    assert [line.get("request_id") for line in house.logged("begun")] == [None]


async def test_the_line_of_a_request_has_its_route_its_bytes_and_what_policies_remark(
    plantroom: StartPlantroom,
) -> None:
    house, _lamps = await start(plantroom)
    answers = {
        "plain": await house.api.get(LAMP, headers=by("plain")),
        "remarked": await house.api.get(LAMP, headers=by("remarked"), max_age="60"),
        "nothing": await house.api.get("/nothing", headers=by("nothing")),
        "posted": await house.api.post("/api/v1/lamps/dim/x", {}, headers=by("posted")),
    }
    await house.until(lambda: house.logged("request", request_id="posted"))
    lines = {line["request_id"]: line for line in house.logged("request")}
    assert {name: line.get("route") for name, line in lines.items()} == {
        "plain": "/api/v1/points/{point_id}/value",
        "remarked": "/api/v1/points/{point_id}/value",
        "nothing": None,
        "posted": "/api/v1/lamps/dim/{name}",
    }
    assert {name: line["bytes"] for name, line in lines.items()} == {
        name: len(answer.text.encode()) for name, answer in answers.items()
    }
    assert [name for name, line in lines.items() if line.get("cache") == "hit"] == ["remarked"]


async def test_a_sink_gets_each_line_of_stderr_those_too_that_are_written_as_the_house_stops(
    plantroom: StartPlantroom,
) -> None:
    house, lamps = await start(plantroom)
    lamps.taken.clear()
    await house.api.get(LAMP, headers=by("last"))
    await house.kernel.stop()
    assert '"request_id":"last"' in "".join(lamps.taken)
