"""Errors as they are answered, against what the reference says of them."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from yarl import URL

from core.errors import DeviceError, DeviceTimeout, FieldFault, PriorityNotAllowed
from core.jobs import QUEUED_MOST
from core.plugin import JobContext, JobKind, Route
from core.problem import Misdirected
from core.reference import entries, import_all
from core.server import Server
from core.settings import Http
from core.testing import Running, StartPlantroom
from core.web import build_application
from plugins.auth.errors import (
    CsrfRefused,
    ExtraMissing,
    IssuerAway,
    KeyNotFound,
    KeyOfEnvironment,
    LastAdmin,
    Locked,
    NameTaken,
    PasswordUnfit,
    SessionNotFound,
    SignInBusy,
    SignInFailed,
    TotpConflict,
    UserNotFound,
    WrongPassword,
)
from plugins.bacnet.errors import NetworkBusy, Refusal, UnusableValue, property_error, read_error
from plugins.history.errors import DamagedHistory, HistoryError
from plugins.simulator.errors import BuildingAway, FaultNotFound

VALUE = "/api/v1/points/demo.1.level/value"

NEVER_ANSWERED = {
    "bacnet.link_failed": "the plugin does not start",
    "config.invalid": "nothing starts",
    "file_sink.directory_in_use": "shown at /api/v1/sinks",
    "file_sink.failed": "shown at /api/v1/sinks",
    "server.listen_failed": "nothing starts",
    "simulator.address_taken": "the plugin does not start",
    "simulator.failed": "the plugin does not start",
    "tls.certificate_unusable": "nothing starts",
}


class Answered:
    """An answer with what it says."""

    def __init__(self, status: int, said: Any) -> None:
        self.status = status
        self.json = said


async def reply_to(answer: aiohttp.ClientResponse) -> Answered:
    if answer.status >= 400:
        assert answer.content_type == "application/problem+json"
    return Answered(answer.status, await answer.json(content_type=None))


PLUGIN = '''
"""A lamp, as a third party writes it, that can be told to fail."""
from core.plugin import Chunk, Inventory, Plugin, Row, Source, WriteResult, batch_of, hookimpl


class Lamp(Plugin):
    scan_interval_s = None
    failure = None

    def __init__(self, config, ctx):
        super().__init__(config, ctx)
        self.lamp = ctx.device("1", name="Lamp")

    @hookimpl
    def register_points(self):
        level = self.lamp.point("level", writable=True, commandable=True, max=100.0, interval=3600.0)
        return [Inventory(self.lamp, [level, self.lamp.point("power", interval=3600.0)])]

    @hookimpl
    def register_driver(self):
        return self

    def _obey(self):
        if self.failure is not None:
            raise self.failure

    async def scan(self, request, report):
        """Nothing to find."""

    async def read(self, group):
        self._obey()
        rows = [Row(40.0) for _point in group.points]
        return [batch_of(Chunk(group.slots), rows, time=self.ctx.clock.utc(), source=Source.READ)]

    async def write(self, command):
        self._obey()
        return WriteResult(command.value, 0, effective=True, active_priority=8)

    async def priorities(self, point):
        raise AssertionError("no point of this driver has a priority array")
'''


DARK = '''
"""A plugin that does not start."""
from contextlib import asynccontextmanager

from core.plugin import Plugin, hookimpl


class Dark(Plugin):
    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        raise OSError("no power")
        yield
'''


class House:
    """A kernel that runs with the lamp, and a client that may ask in the wrong way."""

    def __init__(self, running: Running) -> None:
        self.reconfigure = running.write
        self.kernel = running.kernel
        self.client = running.client

    @property
    def lamp(self) -> Any:
        return self.kernel.polls.driver("demo")

    async def ask(self, method: str, path: str, **how: Any) -> Answered:
        async with self.client.request(method, path, **how) as answer:
            return await reply_to(answer)

    async def get(self, path: str, **headers: str) -> Answered:
        return await self.ask("GET", path, headers=headers)

    async def put(self, value: Any, *, point: str = "level", failure: Exception | None = None) -> Answered:
        self.lamp.failure = failure
        return await self.ask("PUT", f"/api/v1/points/demo.1.{point}/value", json={"value": value})

    async def read(self, failure: Exception | None) -> Answered:
        self.lamp.failure = failure
        return await self.get(f"{VALUE}?max_age=0")

    async def post(self, path: str, body: bytes, media_type: str = "application/json") -> Answered:
        return await self.ask("POST", path, data=io.BytesIO(body), headers={"Content-Type": media_type})


@pytest.fixture
async def house(plantroom: StartPlantroom, tmp_path: Path) -> House:
    folder = tmp_path / "custom_plugins"
    folder.mkdir()
    (folder / "demo.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "dark.py").write_text(DARK, encoding="utf-8")
    running = await plantroom("plugins: {demo: {}}")
    await running.value_of("demo.1.level")
    return House(running)


async def bad_request(house: House) -> Answered:
    """Send a request without a Host header."""
    return await raw(house.kernel.url, "GET /api/v1/devices HTTP/1.1\r\nConnection: close\r\n\r\n")


async def too_many_jobs(house: House) -> Answered:
    forever = asyncio.Event()

    async def wait(_context: JobContext, _params: Mapping[str, Any]) -> None:
        await forever.wait()

    jobs = house.kernel.jobs
    jobs.register(JobKind("wait", wait), owner="demo")
    while len(jobs._queue) < QUEUED_MOST:
        jobs.submit("wait")
    return await house.post("/api/v1/scans", b"{}")


async def offline(house: House) -> Answered:
    await house.read(DeviceTimeout("It did not answer within 3 s."))
    return await house.get(f"{VALUE}?max_age=0")


async def not_running(house: House) -> Answered:
    house.kernel.polls.remove_plugin("demo")
    return await house.get(f"{VALUE}?max_age=0")


async def refused_reload(house: House) -> Answered:
    house.reconfigure("plugins: {demo: {}, lamps: {}}")
    return await house.post("/api/v1/system/reload", b"")


async def undone_reload(house: House) -> Answered:
    house.reconfigure("plugins: {demo: {}, dark: {}}")
    return await house.post("/api/v1/system/reload", b"")


async def without_table(house: House) -> Answered:
    await house.kernel.storage.write(("DROP TABLE commands", [()]))
    return await house.put(20)


Provocation = Callable[[House], Awaitable[Answered]]

PROVOCATIONS: Mapping[str, Provocation] = {
    "auth.busy": lambda house: house.read(SignInBusy("Too many passwords are being checked.")),
    "auth.csrf": lambda house: house.read(CsrfRefused("The X-CSRF-Token is missing.")),
    "auth.extra_missing": lambda house: house.read(ExtraMissing()),
    "auth.issuer_away": lambda house: house.read(IssuerAway()),
    "auth.key_not_found": lambda house: house.read(KeyNotFound("No key has the id 'k7f3'.")),
    "auth.key_of_environment": lambda house: house.read(KeyOfEnvironment()),
    "auth.last_admin": lambda house: house.read(LastAdmin("'ada' is the last admin.")),
    "auth.locked": lambda house: house.read(Locked(7.5)),
    "auth.name_taken": lambda house: house.read(NameTaken("There is a user called 'ada' already.")),
    "auth.password_unfit": lambda house: house.read(
        PasswordUnfit("Take another.", errors=[FieldFault("password", "length", "must have 12 characters")])
    ),
    "auth.session_not_found": lambda house: house.read(SessionNotFound("No session has the id 'q0zt'.")),
    "auth.sign_in_failed": lambda house: house.read(SignInFailed()),
    "auth.totp_conflict": lambda house: house.read(TotpConflict("No second factor was begun.")),
    "auth.user_not_found": lambda house: house.read(UserNotFound("No user is called 'eve'.")),
    "auth.wrong_password": lambda house: house.read(WrongPassword("This is not your present password.")),
    "bacnet.network_busy": lambda house: house.read(NetworkBusy("demo.1 was not asked.")),
    "bacnet.property_not_found": lambda house: house.read(
        property_error(Refusal("error", "unknown-property", "property"), "demo.1", "level")
    ),
    "bacnet.unusable_value": lambda house: house.read(UnusableValue("demo.1.level answered with str.")),
    "cursor.invalid": lambda house: house.get("/api/v1/points?cursor=abc"),
    "device.error": lambda house: house.read(DeviceError("The lamp answered with a fault.")),
    "device.not_found": lambda house: house.get("/api/v1/devices/demo.9"),
    "device.offline": offline,
    "device.refused": lambda house: house.read(read_error(Refusal("error", "other", "device"), "demo.1.level")),
    "device.timeout": lambda house: house.read(DeviceTimeout("It did not answer within 3 s.")),
    "error.not_found": lambda house: house.get("/api/v1/errors/point.gone"),
    "history.damaged": lambda house: house.read(
        DamagedHistory("data/history/60d/2026-01-26.week.1.sqlite3 is damaged.")
    ),
    "history.not_kept": lambda house: house.read(HistoryError("data/history: the disk has 12 MiB left.")),
    "internal": lambda house: house.put(20, failure=RuntimeError("no")),
    "job.not_found": lambda house: house.get("/api/v1/jobs/0b7c3f0e"),
    "plugin.failed": lambda house: house.read(RuntimeError("no")),
    "plugin.not_found": lambda house: house.get("/api/v1/plugins/bacnet2"),
    "plugin.not_running": not_running,
    "point.not_found": lambda house: house.get("/api/v1/points/demo.1.gone"),
    "point.not_writable": lambda house: house.put(1, point="power"),
    "reload.refused": refused_reload,
    "reload.undone": undone_reload,
    "request.bad": bad_request,
    "request.conflict": lambda house: house.ask("DELETE", "/api/v1/devices/demo.1"),
    "request.invalid": lambda house: house.get("/api/v1/points?limit=0"),
    "request.malformed": lambda house: house.post("/api/v1/scans", b'{"plugin": '),
    "request.media_type": lambda house: house.post("/api/v1/scans", b"{}", "text/plain"),
    "request.not_acceptable": lambda house: house.get("/api/v1/points/demo.1.level/history", Accept="image/png"),
    "request.method_not_allowed": lambda house: house.ask("PUT", "/api/v1/devices"),
    "request.misdirected": lambda house: house.get("/api/v1", Host="building.example"),
    "request.too_large": lambda house: house.post("/api/v1/writes", b" " * 1_100_000),
    "request.too_many": too_many_jobs,
    "route.not_found": lambda house: house.get("/api/v1/device"),
    "simulator.fault_not_found": lambda house: house.read(FaultNotFound("There is no fault 7.")),
    "simulator.not_running": lambda house: house.read(BuildingAway("The building ended by itself.")),
    "storage.failed": without_table,
    "value.not_suitable": lambda house: house.put(101),
    "write.priority_not_allowed": lambda house: house.put(20, failure=PriorityNotAllowed("Write at 8 or 9.")),
}


async def raw(url: str, sent: str) -> Answered:
    """Send what no client would."""
    place = URL(url)
    reader, writer = await asyncio.open_connection(place.host, place.port)
    writer.write(sent.encode())
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
    writer.close()
    await writer.wait_closed()
    return Answered(int(head.split()[1]), json.loads(body))


SLOW_BODY = "POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"


async def ask(url: str) -> Answered:
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        return await reply_to(answer)


BY_THE_SERVER: Mapping[str, Callable[[str], Awaitable[Answered]]] = {
    "auth.required": lambda url: ask(f"{url}/locked"),
    "auth.forbidden": lambda url: ask(f"{url}/forbidden"),
    "request.overdue": lambda url: ask(f"{url}/late"),
    "request.timeout": lambda url: raw(url, SLOW_BODY),
    "system.unavailable": lambda url: ask(f"{url}/unavailable"),
}


@attrs.frozen
class Body:
    """What the slow route takes."""

    value: float


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """A server of routes that refuse as a plugin's may, by aiohttp's own exceptions."""

    async def locked(_request: web.Request) -> None:
        raise web.HTTPUnauthorized

    async def forbidden(_request: web.Request) -> None:
        raise web.HTTPForbidden

    async def unavailable(_request: web.Request) -> None:
        raise web.HTTPServiceUnavailable

    async def late(_request: web.Request) -> None:
        await asyncio.Event().wait()

    async def slow(_request: web.Request, *, body: Any) -> None:
        raise AssertionError(body)

    routes = [
        Route("GET", "/locked", locked, "Refuse"),
        Route("GET", "/forbidden", forbidden, "Refuse"),
        Route("GET", "/unavailable", unavailable, "Refuse"),
        Route("GET", "/late", late, "Wait", timeout_s=0.02),
        Route("POST", "/slow", slow, "Wait", body=Body),
    ]
    served = Server(Http(port=0))
    await served.start()
    await served.swap(build_application([("demo", route) for route in routes], [], body_timeout_s=0.05))
    yield served.url
    await served.stop()


def check(code: str, reply: Answered) -> None:
    """See that an answer has the shape that the reference shows."""
    documented = entries()[code].example
    assert documented is not None
    said = reply.json
    assert (said["code"], reply.status) == (code, documented["status"])
    fixed = ("type", "title", "status", "code")
    assert {name: said[name] for name in fixed} == {name: documented[name] for name in fixed}
    assert shape(said) == shape(documented)
    assert said["detail"].endswith(".")


def shape(value: Any) -> Any:
    """What a JSON value is made of; a list is as its first item."""
    if isinstance(value, dict):
        return {name: shape(value[name]) for name in sorted(value)}
    return [shape(item) for item in value[:1]] if isinstance(value, list) else type(value)


@pytest.mark.parametrize("code", PROVOCATIONS)
async def test_the_answer_is_what_the_reference_says(house: House, code: str) -> None:
    reply = await PROVOCATIONS[code](house)

    check(code, reply)
    assert (await house.get(reply.json["type"])).json["code"] == code


@pytest.mark.parametrize("code", BY_THE_SERVER)
async def test_what_the_server_and_plugins_refuse_is_what_the_reference_says(server: str, code: str) -> None:
    check(code, await BY_THE_SERVER[code](server))


def test_every_error_that_can_be_answered_is_provoked() -> None:
    import_all()
    ours = {code for code, entry in entries().items() if entry.causes}
    assert ours == {*PROVOCATIONS, *BY_THE_SERVER, *NEVER_ANSWERED}


async def test_the_reference_is_listed_in_pages_and_searched(house: House) -> None:
    first = (await house.get("/api/v1/errors?limit=5&count=true")).json
    assert [item["code"] for item in first["items"]] == sorted(entries())[:5]
    assert first["total"] == len(entries())
    rest = (await house.get(f"/api/v1/errors?limit=1000&cursor={first['next_cursor']}")).json
    assert [item["code"] for item in rest["items"]] == sorted(entries())[5:]
    downwards = (await house.get("/api/v1/errors?sort=-code&limit=1")).json
    assert downwards["items"][0]["code"] == max(entries())
    found = (await house.get("/api/v1/errors?q=WRITE-ACCESS-DENIED")).json["items"]
    assert [item["code"] for item in found] == ["point.not_writable"]


async def test_an_entry_says_everything(house: House) -> None:
    entry = (await house.get("/api/v1/errors/request.misdirected")).json
    assert entry == {
        "code": "request.misdirected",
        "status": Misdirected.status,
        "title": Misdirected.title,
        "meaning": "The request names a host that this server is not.",
        "causes": list(Misdirected.causes),
        "remedy": Misdirected.remedy,
        "example": entries()["request.misdirected"].example,
    }
