"""The limiter in a house that is served: real requests, and what each kind of answer says."""

from __future__ import annotations

import asyncio
import collections
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest

from core.plugin import (
    Allowance,
    Authenticator,
    Chunk,
    CredentialsRequired,
    Flag,
    Inventory,
    Phase,
    Plugin,
    Policy,
    Principal,
    PrincipalKind,
    Role,
    Route,
    Row,
    Source,
    Steps,
    TooManyRequests,
    Work,
    WriteResult,
    batch_of,
    hookimpl,
    spend,
)
from core.testing import ManualClock, Running, StartPlantroom
from plugins.ratelimit import RatelimitPlugin

from .shared_store import SharedLimits

KEYS = {"viewer-key": Role.VIEWER, "admin-key": Role.ADMIN}
VIEWER = {"X-API-Key": "viewer-key"}
ADMIN = {"X-API-Key": "admin-key"}
HEADERS = ("RateLimit-Policy", "RateLimit")


class Keys(Plugin[dict]):
    """Knows two keys, a sign-in that nobody gets through, and a device with a hundred points."""

    schema: ClassVar = {}
    api_version = 2
    scan_interval_s = None

    def __init__(self, config, ctx):
        super().__init__(config, ctx)
        self.device = ctx.device("1")
        self.worked = 0

    @hookimpl
    def register_authenticators(self):
        return [Authenticator("key", self.known)]

    @hookimpl
    def register_points(self):
        return [
            Inventory(
                self.device, [self.device.point(f"level-{n}", writable=True, interval=3600.0) for n in range(100)]
            )
        ]

    @hookimpl
    def register_driver(self):
        return self

    @hookimpl
    def register_routes(self):
        return [
            Route("POST", "/login", self.login, "Sign in", role=None, errors=(CredentialsRequired,)),
            Route("GET", "/work", self.work, "Make the bus work"),
            Route("GET", "/broken", self.broken, "Raise"),
            Route("GET", "/page", self.page, "Show a page", role=None),
        ]

    def known(self, call):
        role = KEYS.get(call.headers.get("X-API-Key", ""))
        return None if role is None else Principal(f"key:{role}", role, role, PrincipalKind.KEY)

    async def login(self, _request):
        raise CredentialsRequired(CredentialsRequired.remedy)

    async def work(self, request):
        await spend(request, Work.READ, 500)
        self.worked += 1
        return {}

    async def broken(self, _request):
        raise RuntimeError("out of order")

    async def page(self, _request):
        return {}

    async def scan(self, request, report):
        """Nothing to find."""

    async def read(self, group):
        rows = [Row(40.0) for _point in group.points]
        return [batch_of(Chunk(group.slots), rows, time=self.ctx.clock.utc(), source=Source.READ)]

    async def write(self, command):
        return WriteResult(command.value, Flag(0), effective=True, active_priority=None)

    async def priorities(self, point):
        raise NotImplementedError


PLUGINS: dict[str, type[Plugin[Any]]] = {"ratelimit": RatelimitPlugin, "keys": Keys, "shared": SharedLimits}
BOTH = "plugins: {keys: , ratelimit: }"


async def statuses(house: Running, path: str, *, of: int, headers: Any = None) -> collections.Counter[int]:
    answers = await asyncio.gather(*(house.api.get(path, headers=headers) for _ in range(of)))
    return collections.Counter(answer.status for answer in answers)


async def test_every_kind_of_answer_says_what_is_left(plantroom: StartPlantroom):
    house = await plantroom(BOTH, plugins=PLUGINS, clock=ManualClock())
    value = await house.api.get("/api/v1/devices", headers=VIEWER)
    again = await house.api.get("/api/v1/devices", headers={**VIEWER, "If-None-Match": value.headers["ETag"]})
    answers = {
        200: value,
        304: again,
        401: await house.api.get("/api/v1/devices"),
        403: await house.api.post("/api/v1/scans", {}, headers=VIEWER),
        404: await house.api.get("/api/v1/nowhere", headers=VIEWER),
        405: await house.api.delete("/api/v1", headers=VIEWER),
        415: await house.api.post("/api/v1/readings/query", headers=VIEWER),
        422: await house.api.get("/api/v1/devices", headers=VIEWER, limit="x"),
        500: await house.api.get("/api/v1/keys/broken", headers=VIEWER),
    }
    assert {status: answer.status for status, answer in answers.items()} == {status: status for status in answers}
    left = {status: answer.headers["RateLimit"] for status, answer in answers.items()}
    expected = [f'"default";r={199 - taken};t=1' for taken in range(8)]
    assert [text for status, text in left.items() if status != 401] == expected
    assert left[401] == '"failed";r=19;t=3'
    assert {status: answer.headers["RateLimit-Policy"] for status, answer in answers.items()} == {
        status: '"failed";q=20;w=60' if status == 401 else '"default";q=200;w=2' for status in answers
    }
    for path in ("/healthz", "/readyz", "/api/v1/keys/page", "/api/docs", "/api/v1/openapi.json"):
        answer = await house.api.get(path)
        assert (answer.status, answer.headers["RateLimit-Policy"]) == (200, '"anonymous";q=40;w=2')
    head = await house.client.head("/api/v1/devices", headers=VIEWER)
    assert head.headers["RateLimit"] == '"default";r=191;t=1'


async def test_what_is_no_request_for_us_says_what_is_left_and_is_counted(plantroom: StartPlantroom):
    house = await plantroom(BOTH, plugins=PLUGINS, clock=ManualClock())
    left = []
    for lines in (
        b"GET /api/v1 HTTP/1.1\r\nHost: plantroom.example\r\nConnection: close\r\n\r\n",
        b"GET /api/v1 HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET /api/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n",
    ):
        answer = await raw(house, lines)
        assert b" 4" in answer.split(b"\r\n")[0]
        left += [line for line in answer.split(b"\r\n") if line.startswith(b"RateLimit:")]
    assert left == [f'RateLimit: "anonymous";r={39 - taken};t=1'.encode() for taken in range(4)]


async def raw(house: Running, lines: bytes) -> bytes:
    url = house.client._base_url
    assert url is not None
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(lines)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("store", ["memory", "shared"])
async def test_of_64_connections_at_once_exactly_the_burst_gets_through(
    plantroom: StartPlantroom, tmp_path: Path, store: str
):
    shared = f"shared: {{path: {tmp_path / 'limits.sqlite'}}}, " if store == "shared" else ""
    yaml = f"plugins: {{{shared}keys: , ratelimit: {{default: {{rate: 1/day, burst: 100}}}}}}"
    house = await plantroom(yaml, plugins=PLUGINS)
    connector = aiohttp.TCPConnector(limit=64, force_close=False)
    async with aiohttp.ClientSession(base_url=house.kernel.url, connector=connector) as client:

        async def ask() -> list[int]:
            found = []
            for _ in range(4):
                async with client.get("/api/v1/devices", headers=VIEWER) as answer:
                    found.append(answer.status)
                    assert ("Retry-After" in answer.headers) == (answer.status == 429)
            return found

        answered = await asyncio.gather(*(ask() for _ in range(64)))
    counts = collections.Counter(status for each in answered for status in each)
    assert counts == {200: 100, 429: 156}
    assert (await house.api.get("/api/v1/devices", headers=ADMIN)).status == 200, "another key has its own"


async def test_the_refusal_is_a_problem_with_the_time_to_wait_and_an_entry_in_the_metrics(plantroom: StartPlantroom):
    yaml = "plugins: {keys: , ratelimit: {default: {rate: 1/min, burst: 2}}}"
    house = await plantroom(yaml, plugins=PLUGINS, clock=ManualClock())
    assert await statuses(house, "/api/v1/devices", of=5, headers=VIEWER) == {200: 2, 429: 3}
    refused = await house.api.get("/api/v1/devices", headers=VIEWER)
    assert refused.json["code"] == "request.too_many"
    assert refused.headers["Retry-After"] == "60"
    assert refused.headers["RateLimit"] == '"default";r=0;t=60'
    await house.clock.advance(60.0)
    assert (await house.api.get("/api/v1/devices", headers=VIEWER)).status == 200
    metrics = (await house.api.get("/metrics", headers=ADMIN)).text
    assert 'plantroom_rate_limited_total{plugin="ratelimit",limit="default"} 4.0' in metrics
    await house.until(lambda: house.logged("request", path="/metrics"))
    lines = house.logged("request", path="/api/v1/devices")
    assert [(line["status"], line.get("limit")) for line in lines] == [(200, None)] * 2 + [(429, "refused")] * 4 + [
        (200, None)
    ]


async def test_failing_to_sign_in_is_limited_by_address_and_nobody_else_is_locked_out(plantroom: StartPlantroom):
    house = await plantroom(BOTH, plugins=PLUGINS, clock=ManualClock())
    wrong = {"X-API-Key": "a guess"}
    assert await statuses(house, "/api/v1/devices", of=30, headers=wrong) == {401: 20, 429: 10}
    refused = await house.api.post("/api/v1/keys/login")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "3")
    assert await statuses(house, "/api/v1/devices", of=50, headers=VIEWER) == {200: 50}
    assert await statuses(house, "/healthz", of=100) == {200: 100}
    await house.clock.advance(3.0)
    assert (await house.api.post("/api/v1/keys/login")).status == 401
    assert (await house.api.post("/api/v1/keys/login")).status == 429


async def test_work_of_the_bus_is_paid_for(plantroom: StartPlantroom):
    house = await plantroom(BOTH, plugins=PLUGINS, clock=ManualClock())
    device: Any = house.plugin("keys").instance
    points = [f"keys.1.level-{n}" for n in range(100)]

    async def left(answer: Any) -> int:
        assert answer.status < 300, answer.text
        return int(answer.headers["RateLimit"].split(";")[1].removeprefix("r="))

    assert await left(await house.api.get("/api/v1/keys/work", headers=ADMIN)) == 149
    assert await left(await house.api.put(f"/api/v1/points/{points[0]}/value", {"value": 1}, headers=ADMIN)) == 147
    writes = {"writes": [{"point_id": point, "value": 1} for point in points[:20]]}
    assert await left(await house.api.post("/api/v1/writes", writes, headers=ADMIN)) == 126
    assert await left(await house.api.post("/api/v1/scans", {}, headers=ADMIN)) == 75
    assert await left(await house.api.post("/api/v1/scans", {}, headers=ADMIN)) == 24

    refused = await house.api.post("/api/v1/scans", {}, headers=ADMIN)
    assert (refused.status, refused.headers["RateLimit"]) == (429, '"default";r=23;t=1')
    assert len((await house.api.get("/api/v1/jobs", headers=ADMIN)).json["items"]) == 2
    refused = await house.api.get("/api/v1/keys/work", headers=ADMIN)
    assert (refused.status, device.worked) == (429, 1), "what is refused does not reach the device"


@pytest.mark.parametrize(("trusted", "passed"), [("[127.0.0.1/32]", 10), ("[]", 2)])
async def test_a_forwarded_address_counts_from_a_trusted_proxy_only(
    plantroom: StartPlantroom, trusted: str, passed: int
):
    yaml = f"""
        http: {{trusted_proxies: {trusted}}}
        plugins: {{keys: , ratelimit: {{anonymous: {{rate: 1/day, burst: 2}}}}}}
    """
    house = await plantroom(yaml, plugins=PLUGINS)
    answers = [
        await house.api.get("/api/v1/keys/page", headers={"X-Forwarded-For": f"6.6.6.6, 10.0.0.{index}"})
        for index in range(10)
    ]
    assert [answer.status for answer in answers].count(200) == passed


async def test_without_the_limiter_nothing_is_refused_and_nothing_said(plantroom: StartPlantroom):
    house = await plantroom("plugins: {keys: , ratelimit: {enabled: false}}", plugins=PLUGINS)
    assert await statuses(house, "/api/v1/devices", of=250, headers=VIEWER) == {200: 250}
    answer = await house.api.get("/api/v1/devices", headers=VIEWER)
    assert not [name for name in HEADERS if name in answer.headers]


async def test_without_sign_in_everybody_is_anonymous(plantroom: StartPlantroom):
    house = await plantroom("plugins: {ratelimit: }", plugins=PLUGINS, clock=ManualClock())
    assert await statuses(house, "/api/v1/devices", of=50) == {200: 40, 429: 10}
    await house.clock.advance(1.0)
    assert await statuses(house, "/api/v1/devices", of=50) == {200: 20, 429: 30}


async def test_a_reload_changes_the_limits_and_forgives_nothing_else(plantroom: StartPlantroom):
    yaml = "plugins: {{keys: , ratelimit: {{default: {{rate: 1/day, burst: {burst}}}, limits: [{limits}]}}}}"
    house = await plantroom(yaml.format(burst=5, limits=""), plugins=PLUGINS, clock=ManualClock())
    assert await statuses(house, "/api/v1/devices", of=8, headers=VIEWER) == {200: 5, 429: 3}
    await house.reload(yaml.format(burst=9, limits=""))
    assert await statuses(house, "/api/v1/devices", of=8, headers=VIEWER) == {200: 4, 429: 4}
    await house.reload(yaml.format(burst=200, limits="{name: few, rate: 3/day, match: {path: /api/v1/devices}}"))
    assert await statuses(house, "/api/v1/devices", of=8, headers=VIEWER) == {200: 3, 429: 5}
    assert await statuses(house, "/api/v1/points", of=8, headers=VIEWER) == {200: 8}
    await house.reload("plugins: {keys: }")
    assert await statuses(house, "/api/v1/devices", of=20, headers=VIEWER) == {200: 20}


class Generous(Plugin[dict]):
    """A third party's store, which lets everything pass."""

    schema: ClassVar = {}

    @hookimpl
    def provide_rate_limit_store(self):
        return self

    def take(self, _key: str, *, rate: float, burst: float, cost: float = 1.0) -> Allowance:
        return Allowance(True, int(burst), 0.0, cost / rate * 0)


async def test_a_plugin_may_be_the_store_and_may_come_and_go(plantroom: StartPlantroom):
    limits = "ratelimit: {default: {rate: 1/day, burst: 5}}"
    plugins = {**PLUGINS, "generous": Generous}
    house = await plantroom(f"plugins: {{keys: , generous: , {limits}}}", plugins=plugins, clock=ManualClock())
    assert await statuses(house, "/api/v1/devices", of=20, headers=VIEWER) == {200: 20}
    await house.reload(f"plugins: {{keys: , {limits}}}")
    assert await statuses(house, "/api/v1/devices", of=20, headers=VIEWER) == {200: 5, 429: 15}


class Strict(Plugin[dict]):
    """A third party's limiter in the place of ours."""

    schema: ClassVar = {}
    api_version = 2

    @hookimpl
    def register_middlewares(self):
        def refuse(_call):
            raise TooManyRequests("Come tomorrow.", headers={"Retry-After": "86400"})

        return [Policy(Phase.RATE_LIMIT, lambda route: Steps(before=refuse) if route and route.role else None)]


async def test_a_third_party_may_bring_a_limiter_of_its_own(plantroom: StartPlantroom):
    house = await plantroom("plugins: {keys: , strict: }", plugins={**PLUGINS, "strict": Strict})
    refused = await house.api.get("/api/v1/devices", headers=VIEWER)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "86400")
    assert (await house.api.get("/healthz")).status == 200


async def test_the_document_says_that_a_request_may_be_too_many(plantroom: StartPlantroom):
    house = await plantroom(BOTH, plugins=PLUGINS)
    document = (await house.api.get("/api/v1/openapi.json")).json
    assert "429" in document["paths"]["/api/v1/devices"]["get"]["responses"]
