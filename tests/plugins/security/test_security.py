"""The security headers, on each kind of answer that a house gives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest

from core.catalog import Catalog
from core.config import load
from core.errors import ConfigError
from core.plugin import Authenticator, CredentialsRequired, Plugin, Principal, PrincipalKind, Role, Route, hookimpl
from core.settings import read
from core.testing import Running, StartPlantroom
from plugins.security import SecurityPlugin
from plugins.security.config import HEADERS, HSTS

KEY = {"X-API-Key": "key"}


class Keys(Plugin[dict]):
    """Knows one key."""

    schema: ClassVar = {}
    api_version = 2

    @hookimpl
    def register_authenticators(self):
        return [Authenticator("key", self.known)]

    @hookimpl
    def register_routes(self):
        return [
            Route("POST", "/login", self.login, "Sign in", role=None, errors=(CredentialsRequired,)),
            Route("GET", "/broken", self.broken, "Raise"),
        ]

    def known(self, call):
        known = call.headers.get("X-API-Key") == "key"
        return Principal("key:1", "key", Role.VIEWER, PrincipalKind.KEY) if known else None

    async def login(self, _request):
        return {}

    async def broken(self, _request):
        raise RuntimeError("out of order")


PLUGINS: dict[str, type[Plugin[Any]]] = {"security": SecurityPlugin, "keys": Keys}
BOTH = "plugins: {keys: , security: }"


def security_of(headers: Any) -> dict[str, str]:
    return {name: headers[name] for name in HEADERS if name in headers}


async def test_the_headers_are_on_every_answer(plantroom: StartPlantroom):
    house = await plantroom(BOTH, plugins=PLUGINS)
    value = await house.api.get("/api/v1/devices", headers=KEY)
    answers = {
        200: value,
        304: await house.api.get("/api/v1/devices", headers={**KEY, "If-None-Match": value.headers["ETag"]}),
        401: await house.api.get("/api/v1/devices"),
        403: await house.api.post("/api/v1/scans", {}, headers=KEY),
        404: await house.api.get("/nowhere", headers=KEY),
        405: await house.api.delete("/api/v1", headers=KEY),
        422: await house.api.get("/api/v1/devices", headers=KEY, limit="x"),
        500: await house.api.get("/api/v1/keys/broken", headers=KEY),
    }
    assert {status: answer.status for status, answer in answers.items()} == {status: status for status in answers}
    for answer in (*answers.values(), await house.api.get("/healthz"), await house.api.get("/metrics", headers=KEY)):
        assert security_of(answer.headers) == HEADERS
        assert "Strict-Transport-Security" not in answer.headers, "it is not said over a connection that anybody reads"


@pytest.mark.parametrize(
    "lines",
    [
        b"GET /api/v1 HTTP/1.1\r\nHost: plantroom.example\r\nConnection: close\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ],
)
async def test_what_is_no_request_for_us_is_answered_with_them_too(plantroom: StartPlantroom, lines: bytes):
    house = await plantroom(BOTH, plugins=PLUGINS)
    answer = (await raw(house, lines)).decode()
    for name, value in {**HEADERS, "Cache-Control": "no-store"}.items():
        assert f"\r\n{name}: {value}\r\n" in answer


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


async def test_a_page_that_says_something_else_itself_has_the_last_word(plantroom: StartPlantroom):
    house = await plantroom(BOTH, plugins=PLUGINS)
    page = await house.api.get("/api/docs")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers.getall("Content-Security-Policy") == [page.headers["Content-Security-Policy"]]
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Cache-Control"] == "no-cache"


async def test_what_only_some_may_see_is_kept_by_nobody_else(plantroom: StartPlantroom):
    house = await plantroom(BOTH, plugins=PLUGINS)
    said = {
        "page": await house.api.get("/api/v1/devices", headers=KEY),
        "refused": await house.api.get("/api/v1/devices"),
        "not found": await house.api.get("/nowhere", headers=KEY),
        "forbidden": await house.api.post("/api/v1/scans", {}, headers=KEY),
        "sign-in": await house.api.post("/api/v1/keys/login"),
        "public": await house.api.get("/api/v1/errors"),
    }
    assert {what: answer.headers.get("Cache-Control") for what, answer in said.items()} == {
        "page": "private, no-cache",
        "refused": "private, no-cache",
        "not found": "no-store",
        "forbidden": "no-store",
        "sign-in": "no-store",
        "public": None,
    }


@pytest.mark.parametrize(
    ("trusted", "proto", "hsts"),
    [("[127.0.0.1/32]", "https", HSTS), ("[127.0.0.1/32]", "http", None), ("[]", "https", None)],
)
async def test_browsers_are_told_to_use_tls_where_they_do(
    plantroom: StartPlantroom, trusted: str, proto: str, hsts: str | None
):
    house = await plantroom(f"http: {{trusted_proxies: {trusted}}}\n{BOTH}", plugins=PLUGINS)
    for path in ("/healthz", "/nowhere", "/api/v1"):
        answer = await house.api.get(path, headers={"X-Forwarded-Proto": proto})
        assert answer.headers.get("Strict-Transport-Security") == hsts


async def test_each_header_can_say_something_else_or_nothing_and_a_reload_changes_that(plantroom: StartPlantroom):
    yaml = """
        http: {trusted_proxies: ["127.0.0.1/32"]}
        plugins:
          keys:
          security:
            headers: {X-Frame-Options: SAMEORIGIN, Referrer-Policy: false}
            hsts: HSTS
            cache_control: false
    """
    proxied = {"X-Forwarded-Proto": "https"}
    house = await plantroom(yaml.replace("HSTS", '"max-age=60; includeSubDomains"'), plugins=PLUGINS)
    answer = await house.api.get("/nowhere", headers=proxied)
    changed = {**HEADERS, "X-Frame-Options": "SAMEORIGIN"}
    del changed["Referrer-Policy"]
    assert security_of(answer.headers) == changed
    assert answer.headers["Strict-Transport-Security"] == "max-age=60; includeSubDomains"
    assert "Cache-Control" not in answer.headers
    await house.reload(yaml.replace("HSTS", "false"))
    assert "Strict-Transport-Security" not in (await house.api.get("/nowhere", headers=proxied)).headers
    await house.reload(BOTH)
    assert security_of((await house.api.get("/nowhere")).headers) == HEADERS


async def test_without_the_plugin_there_are_none(plantroom: StartPlantroom):
    house = await plantroom("plugins: {security: {enabled: false}}", plugins=PLUGINS)
    assert security_of((await house.api.get("/api/v1")).headers) == {}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("headers: {X-Frame-Option: DENY}", "unknown option; did you mean 'X-Frame-Options'?"),
        ("headers: {X-Frame-Options: true}", "expected the header's value, or false to leave it out"),
        ('headers: {X-Frame-Options: "DENY\\r\\nX-Evil: 1"}', "one line of printable ASCII characters"),
        ("headers: {X-Frame-Options: }", "give it a text, it is empty"),
        ("hsts: forever", 'expected "max-age=SECONDS"'),
        ("hsts: 31536000", "expected text"),
        ("cache_control: never", "expected true or false"),
        ("security_txt: {contact: 'mailto:a@b.example'}", "security_txt.expires: this option is missing"),
        ("security_txt: {expires: 2027-06-30, contact: a@b.example}", "begins with mailto: or https:// or tel:"),
        ("security_txt: {expires: 2027-06-30, contact: []}", "give it a value"),
        ('security_txt: {expires: 2027-06-30, contact: "tel:1\\nExpires: x"}', "begins with mailto:"),
        ("security_txt: {expires: soon, contact: 'tel:+1'}", "expected a day such as 2027-06-30"),
        ("security_txt: {expires: 2027-06-30, contact: 'tel:+1', policy: 'http://a.example'}", "begins with https://"),
        (
            "security_txt: {expires: 2027-06-30, contact: 'tel:+1', preferred_languages: english!}",
            "languages such as en",
        ),
    ],
)
def test_a_mistake_is_told(tmp_path: Path, option: str, said: str):
    path = tmp_path / "plantroom.yaml"
    path.write_text(f"plugins:\n  security:\n    {option}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        read(load([path]), Catalog(None))
    assert said in "\n".join(raised.value.problems)


def test_the_policy_on_permissions_switches_each_off():
    assert all(part.endswith("=()") for part in HEADERS["Permissions-Policy"].split(", "))
    assert {"camera=()", "microphone=()", "geolocation=()"} <= set(HEADERS["Permissions-Policy"].split(", "))
