"""Cross-origin requests on the wire: preflights, answers, errors, and origins that are nearly the right one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest
from aiohttp import web

from core.catalog import Catalog
from core.config import load
from core.errors import ConfigError
from core.plugin import Authenticator, Header, Plugin, Principal, PrincipalKind, Role, Route, hookimpl
from core.settings import read
from core.structure import FieldInfo
from core.testing import Answer, Running, StartPlantroom
from plugins.cors import CorsPlugin
from plugins.ratelimit import RatelimitPlugin

PANEL = "https://panel.example"
KEY = {"X-API-Key": "key"}
FROM_PANEL = {"Origin": PANEL, **KEY}


class House(Plugin[dict]):
    """Knows one key, and has routes of many kinds."""

    schema: ClassVar = {}
    api_version = 2

    @hookimpl
    def register_authenticators(self):
        return [Authenticator("key", self.known)]

    @hookimpl
    def register_routes(self):
        lamp = FieldInfo(description="Of the lamp.")
        return [
            Route("GET", "/lamp", self.lamp, "Show", takes=(Header("X-Lamp-Asked", lamp),)),
            Route("PUT", "/lamp", self.lamp, "Set", sends=(Header("X-Lamp-Told", lamp), Header("Set-Cookie", lamp))),
            Route("GET", "/broken", self.broken, "Raise"),
            Route("GET", "/own", self.own, "Answer in aiohttp's way"),
        ]

    def known(self, call):
        known = call.headers.get("X-API-Key") == "key"
        return Principal("key:1", "key", Role.ADMIN, PrincipalKind.KEY) if known else None

    async def lamp(self, _request):
        return "on"

    async def broken(self, _request):
        raise RuntimeError("out of order")

    async def own(self, _request):
        return web.json_response({}, headers={"Vary": "Accept"})


PLUGINS: dict[str, type[Plugin[Any]]] = {"cors": CorsPlugin, "house": House, "ratelimit": RatelimitPlugin}


async def opened(plantroom: StartPlantroom, options: str = f"origins: [{PANEL}]", more: str = "") -> Running:
    return await plantroom(f"plugins: {{house: , cors: {{{options}}}{more}}}", plugins=PLUGINS)


async def preflight(house: Running, path: str, origin: str = PANEL, **more: str) -> Answer:
    headers = {"Origin": origin, "Access-Control-Request-Method": "PUT", **more}
    return await house.api._ask("OPTIONS", path, headers=headers)


def cors_of(answer: Answer | aiohttp.ClientResponse) -> Mapping[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("Access-Control-")}


async def test_a_preflight_is_answered_before_anybody_is_asked_who_it_is(plantroom: StartPlantroom) -> None:
    house = await opened(plantroom)
    answer = await preflight(house, "/api/v1/house/lamp")
    assert (answer.status, answer.text) == (204, "")
    assert answer.headers["Access-Control-Allow-Origin"] == PANEL
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, PUT"
    assert answer.headers["Access-Control-Max-Age"] == "600"
    taken = answer.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"X-API-Key", "Authorization", "Content-Type", "If-None-Match", "Idempotency-Key", "X-Lamp-Asked"} <= {
        *taken
    }
    assert "X-CSRF-Token" not in taken
    assert answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Access-Control-Allow-Private-Network" not in answer.headers
    assert (await preflight(house, "/api/v1/points/a.b.c/value")).headers["Access-Control-Allow-Methods"] == (
        "DELETE, GET, HEAD, PUT"
    )


async def test_what_is_no_preflight_or_of_no_listed_origin_is_answered_as_ever(plantroom: StartPlantroom) -> None:
    house = await opened(plantroom)
    plain = await house.api._ask("OPTIONS", "/api/v1/house/lamp", headers=FROM_PANEL)
    assert (plain.status, plain.json["code"]) == (405, "request.method_not_allowed")
    assert plain.headers["Access-Control-Allow-Origin"] == PANEL
    nowhere = await preflight(house, "/api/v1/nowhere")
    assert nowhere.status == 204
    assert {"GET", "PUT", "DELETE"} <= {*nowhere.headers["Access-Control-Allow-Methods"].split(", ")}
    stranger = await preflight(house, "/api/v1/house/lamp", "https://evil.example")
    assert (stranger.status, cors_of(stranger)) == (401, {})


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "*", "", "panel.example", "https://panel.example.evil", "https://evil-panel.example"),
        *("http://panel.example", f"{PANEL}:443", f"{PANEL}:8443", f"{PANEL}/", "https://PANEL.example"),
        *("https://panel.exampl", "https://a.panel.example", f"{PANEL},{PANEL}", f"{PANEL} {PANEL}", f"{PANEL}."),
    ],
)
async def test_an_origin_that_is_nearly_right_is_another_one(plantroom: StartPlantroom, origin: str) -> None:
    house = await opened(plantroom)
    answers = [
        await house.api.get("/api/v1/house/lamp", headers=KEY | {"Origin": origin}),
        await preflight(house, "/api/v1/house/lamp", origin),
    ]
    for answer in answers:
        assert cors_of(answer) == {}
        assert answer.headers["Vary"] == "Origin"


async def test_errors_can_be_read_by_the_page_too(plantroom: StartPlantroom) -> None:
    limits = ", ratelimit: {anonymous: {rate: 1/day, burst: 2}}"
    house = await opened(plantroom, more=limits)
    found = {}
    for path, headers in (
        ("/api/v1/house/lamp", FROM_PANEL),
        ("/api/v1/house/nowhere", FROM_PANEL),
        ("/api/v1/house/broken", FROM_PANEL),
        ("/api/v1/points?limit=0", FROM_PANEL),
        ("/api/v1/house/own", FROM_PANEL),
        ("/api/v1/house/lamp", {"Origin": PANEL}),
        *[("/api/v1/openapi.json", {"Origin": PANEL})] * 3,
    ):
        answer = await house.api.get(path, headers=headers)
        found[answer.status] = answer
        assert answer.headers["Access-Control-Allow-Origin"] == PANEL, path
        shown = {*answer.headers["Access-Control-Expose-Headers"].split(", ")}
        assert {"X-Request-ID", "ETag", "RateLimit", "Retry-After", "Age", "Link", "X-Lamp-Told"} <= shown
        assert "Set-Cookie" not in shown
    assert found.keys() == {200, 401, 404, 422, 429, 500}


async def test_what_a_route_says_of_other_caches_stands_beside_it(plantroom: StartPlantroom) -> None:
    house = await opened(plantroom)
    async with house.client.get("/api/v1/house/own", headers=KEY) as answer:
        assert answer.headers.getall("Vary") == ["Accept", "Origin"]
    async with house.client.get("/api/v1/house/lamp", headers=KEY) as answer:
        assert answer.headers.getall("Vary") == ["Origin"]
        assert cors_of(answer) == {}


async def test_a_page_with_sessions_gets_what_these_take(plantroom: StartPlantroom) -> None:
    house = await opened(
        plantroom, "origins: ['HTTPS://Panel.example:443'], credentials: true, headers: [X-Panel], max_age: 5"
    )
    answer = await preflight(house, "/api/v1/house/lamp")
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert {"X-CSRF-Token", "X-Panel"} <= {*answer.headers["Access-Control-Allow-Headers"].split(", ")}
    assert answer.headers["Access-Control-Max-Age"] == "5"
    got = await house.api.get("/api/v1/house/lamp", headers=FROM_PANEL)
    assert got.headers["Access-Control-Allow-Credentials"] == "true"


async def test_a_private_network_is_opened_only_where_that_is_said_and_asked(plantroom: StartPlantroom) -> None:
    asked = {"Access-Control-Request-Private-Network": "true"}
    house = await opened(plantroom)
    assert "Access-Control-Allow-Private-Network" not in (await preflight(house, "/readyz", **asked)).headers
    house = await opened(plantroom, f"origins: [{PANEL}], private_network: true")
    assert (await preflight(house, "/readyz", **asked)).headers["Access-Control-Allow-Private-Network"] == "true"
    assert "Access-Control-Allow-Private-Network" not in (await preflight(house, "/readyz")).headers


async def test_every_page_may_ask_where_that_is_said(plantroom: StartPlantroom) -> None:
    house = await opened(plantroom, "origins: ['*']")
    for origin in ("https://any.example", "null"):
        answer = await house.api.get("/api/v1/house/lamp", headers=KEY | {"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Vary" not in answer.headers
        assert (await preflight(house, "/api/v1/house/lamp", origin)).status == 204


async def test_a_reload_changes_who_may_ask_and_without_origins_nobody_may(plantroom: StartPlantroom) -> None:
    house = await opened(plantroom)
    await house.reload("plugins: {house: , cors: {origins: ['https://other.example']}}")
    assert cors_of(await house.api.get("/readyz", headers=FROM_PANEL)) == {}
    other = await house.api.get("/readyz", headers={"Origin": "https://other.example"})
    assert other.headers["Access-Control-Allow-Origin"] == "https://other.example"
    await house.reload("plugins: {house: , cors: }")
    answer = await house.api.get("/readyz", headers=FROM_PANEL)
    assert cors_of(answer) == {} and "Vary" not in answer.headers


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("origins: ['null']", "origins[0]: null is what any file"),
        ("origins: ['https://*.example']", "origins: origins are compared as a whole"),
        ("origins: ['*', 'https://a.example']", "origins are compared as a whole"),
        ("origins: https://a.example", "expected a list of origins"),
        ("origins: ['https://a.example/']", "expected an origin such as"),
        ("origins: ['https://a.example:x']", "expected an origin such as"),
        ("origins: ['https://me@a.example']", "expected an origin such as"),
        ("origins: ['ftp://a.example']", "expected an origin such as"),
        ("origins: ['*'], credentials: true", "name the origins: with `credentials`"),
        ("headers: ['X Panel']", "expected the name of a header"),
        ("headers: ['*']", "expected the name of a header"),
        ("max_age: 86401", "max_age: must be a whole number from 0 to 86400"),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, options: str, said: str) -> None:
    file = tmp_path / "plantroom.yaml"
    file.write_text(f"plugins:\n  cors: {{{options}}}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read(load([file]), Catalog(tmp_path))
    [problem] = caught.value.problems
    assert said.removeprefix("origins[0]: ").removeprefix("origins: ") in problem and ":2: plugins.cors" in problem
