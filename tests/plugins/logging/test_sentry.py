"""Errors are reported to a server that takes what Sentry's library sends, redacted, and nobody waits for it."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from core.plugin import Context, Plugin, Route, hookimpl
from core.testing import StartPlantroom
from plugins.logging import LoggingPlugin
from plugins.logging.sentry import event_of, exception_of

pytest.importorskip("sentry_sdk", reason="the extra `sentry` is not installed")


class Failing(Plugin[Any]):
    """A route that fails, with a secret at hand."""

    def __init__(self, config: Any, ctx: Context) -> None:
        super().__init__(config, ctx)

    @hookimpl
    def register_routes(self):
        return [Route("GET", "/fail", self.fail, "Fail")]

    async def fail(self, _request):
        secret = "hunter2"
        self.ctx.log.error("mishap", password=secret, url=f"mqtt://me:{secret}@host")
        raise RuntimeError("it broke")


class Server:
    """Takes envelopes."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.raw = b""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        data = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        self.raw += data
        lines = data.split(b"\n")
        for head, payload in zip(lines[1::2], lines[2::2], strict=False):
            if json.loads(head)["type"] == "event":
                self.events.append(json.loads(payload))
        return web.json_response({})


@pytest.fixture
async def sentry() -> AsyncIterator[tuple[Server, str]]:
    server = Server()
    app = web.Application()
    app.router.add_post("/api/42/envelope/", server.take)
    async with TestServer(app) as served:
        yield server, f"http://public@{served.host}:{served.port}/42"


PLUGINS: dict[str, type[Plugin[Any]]] = {"failing": Failing, "logging": LoggingPlugin}


async def test_errors_are_reported_with_their_request_and_without_secrets(
    plantroom: StartPlantroom, sentry: tuple[Server, str]
) -> None:
    server, dsn = sentry
    house = await plantroom(
        f"plugins: {{failing: , logging: {{file: false, sentry: {{dsn: '{dsn}', environment: bench}}}}}}",
        plugins=PLUGINS,
    )
    answer = await house.api.get("/api/v1/failing/fail", headers={"X-Request-ID": "failed-1"})
    assert answer.status == 500
    await house.until(lambda: len(server.events) == 2)
    mishap, failure = sorted(server.events, key=lambda event: event["logger"], reverse=True)
    assert mishap["logger"] == "failing"
    assert "me:" not in mishap["extra"]["url"]
    assert mishap["logentry"]["formatted"] == "mishap"
    assert mishap["extra"]["password"] == "[Filtered]"  # the library has filters of its own
    assert failure["logentry"]["formatted"] == "request_failed"
    (raised,) = failure["exception"]["values"]
    assert (raised["type"], raised["value"]) == ("RuntimeError", "it broke")
    assert raised["stacktrace"]["frames"][-1]["function"] == "fail"
    for event in server.events:
        assert event["tags"]["request_id"] == "failed-1"
        assert event["environment"] == "bench"
        assert event["server_name"] == "plantroom"
    assert b"hunter2" not in server.raw


async def test_a_server_that_is_not_there_disturbs_nobody(plantroom: StartPlantroom) -> None:
    yaml = "plugins: {failing: , logging: {file: false, sentry: {dsn: 'http://public@127.0.0.1:9/42'}}}"
    house = await plantroom(yaml, plugins=PLUGINS)
    for _ in range(20):
        assert (await house.api.get("/api/v1/failing/fail")).status == 500
    assert (await house.get("/readyz"))["status"] == "ok"
    await house.kernel.stop()
    assert not [line for line in house.log if str(line.get("logger", "")).startswith("sentry")]


async def test_what_is_no_address_is_said_without_showing_it(plantroom: StartPlantroom) -> None:
    yaml = "plugins: {logging: {sentry: {dsn: 'hunter2'}}}"
    house = await plantroom(yaml)
    assert house.plugin("logging").error == "`sentry.dsn` is not the address of a project: https://KEY@HOST/PROJECT"
    assert "hunter2" not in json.dumps(house.log)


async def test_a_library_that_is_missing_is_named(plantroom: StartPlantroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    house = await plantroom("plugins: {logging: {sentry: {dsn: 'http://public@127.0.0.1:9/42'}}}")
    assert "pip install 'plantroom[sentry]'" in str(house.plugin("logging").error)


def test_what_reports_is_not_reported() -> None:
    assert event_of({"event": "a", "level": "error", "logger": "sentry_sdk.errors"}) is None
    assert event_of({"event": "a", "level": "info"}) is None


@pytest.mark.parametrize("text", ["", "no traceback", "Traceback (most recent call last):\n", "a: b\nc"])
def test_any_text_is_read_as_a_traceback(text: str) -> None:
    assert exception_of(text)["type"]


def test_of_chained_tracebacks_the_last_is_reported() -> None:
    try:
        try:
            int("x")
        except ValueError as error:
            raise KeyError("a\nb") from error
    except KeyError:
        import traceback

        found = exception_of(traceback.format_exc())
    assert found["type"] == "KeyError"
    assert [frame["function"] for frame in found["stacktrace"]["frames"]] == [
        "test_of_chained_tracebacks_the_last_is_reported"
    ]
