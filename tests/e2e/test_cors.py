"""Pages of two other origins in a real browser: one that is listed uses the API, one that is not gets nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from e2e.program import StartProgram, key_in
from e2e.test_docs_page import browser  # noqa: F401  # the fixture
from playwright.async_api import Browser

ASK = """
async ([url, method, key, body]) => {
  const headers = key ? {"X-API-Key": key} : {};
  if (body) headers["Content-Type"] = "application/json";
  try {
    const answer = await fetch(url, {method, headers, body});
    return {status: answer.status, id: answer.headers.get("X-Request-ID"), etag: answer.headers.get("ETag"),
            said: await answer.json()};
  } catch (error) {
    return {refused: String(error)};
  }
}
"""


@pytest.fixture
async def pages() -> AsyncIterator[list[str]]:
    """Two origins on loopback that serve an empty page."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>a panel</title>", content_type="text/html")

    servers = []
    for _ in range(2):
        app = web.Application()
        app.router.add_get("/", page)
        servers.append(TestServer(app))
        await servers[-1].start_server()
    yield [str(server.make_url("")).rstrip("/") for server in servers]
    for server in servers:
        await server.close()


async def test_a_listed_origin_s_page_uses_the_api_and_no_other_one_reads_a_word(
    browser: Browser,  # noqa: F811
    pages: list[str],
    start: StartProgram,
    tmp_path: Path,
) -> None:
    listed, other = pages
    text = f"plugins: {{auth: , security: , cors: {{origins: ['{listed}']}}}}\n"
    (tmp_path / "plantroom.yaml").write_text(text, encoding="utf-8")
    program = await start("run", "--port", "0", cwd=tmp_path)
    url = await program.ready()
    key = key_in(tmp_path)
    page = await browser.new_page()

    async def ask(path: str, method: str = "GET", key: str | None = key, body: str | None = None) -> Any:
        return await page.evaluate(ASK, [url + path, method, key, body])

    await page.goto(listed)
    devices = await ask("/api/v1/devices")
    assert devices["status"] == 200 and devices["said"]["items"] == []
    assert devices["id"] and devices["etag"], "the page may read what is exposed"
    refused = await ask("/api/v1/devices", key="wrong")
    assert (refused["status"], refused["said"]["code"]) == (401, "auth.required")
    assert (await ask("/api/v1/nowhere"))["said"]["code"] == "route.not_found"
    made = await ask("/api/v1/auth/api-keys", "POST", body='{"name": "panel", "role": "viewer"}')
    assert made["status"] == 201
    assert (await ask(f"/api/v1/auth/api-keys/{made['said']['id']}", "DELETE", body="{}"))["status"] == 422

    await page.goto(other)
    for path, method, who in (
        ("/api/v1/devices", "GET", key),
        ("/api/v1", "GET", None),
        ("/healthz", "GET", None),
        ("/api/v1/auth/api-keys", "POST", key),
    ):
        assert (await ask(path, method, who)).keys() == {"refused"}, path
    listing = [line for line in program.logged("request") if line["method"] == "POST"]
    assert len(listing) == 1, "the preflight kept the other page's from being sent at all"
    assert await program.stop() == 0
