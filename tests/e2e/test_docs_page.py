"""The page at /api/docs in a real browser: everything on it comes from us, and an operation can be tried out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from e2e.program import ROOT, StartProgram, free_port, get, key_in, signed_in, until
from playwright.async_api import Browser, Page, async_playwright, expect

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
WATCH = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`refused by the policy: ${event.violatedDirective} ${event.blockedURI}`);
});
"""


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium."""
    if not os.access(CHROMIUM, os.X_OK):
        reason = f"{CHROMIUM} is missing; apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        await browser.close()


class Watched:
    """A page, what it asked for, and what it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        page.context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


async def test_the_page_shows_every_operation_and_lets_one_be_tried(
    browser: Browser, start: StartProgram, tmp_path: Path
) -> None:
    ports = {"PLANTROOM_BACNET_PORT": str(free_port()), "PLANTROOM_SIMULATOR_PORT": str(free_port())}
    program = await start("run", "--config", str(ROOT / "config/demo.yaml"), "--port", "0", cwd=tmp_path, env=ports)
    url = await program.ready()
    async with signed_in(url, tmp_path) as client:
        document = await get(client, "/api/v1/openapi.json")
        await until(
            lambda: get(client, "/api/v1/points/bacnet.2001.analog-value.1"), lambda point: point.get("reading")
        )
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    page = await browser.new_page(viewport={"width": 1280, "height": 1600})
    watched = Watched(page)
    await page.add_init_script(WATCH)

    await page.goto(f"{url}/api/docs")

    await expect(page.locator(".opblock")).to_have_count(len(operations))
    await expect(page.locator(".opblock-tag")).to_have_count(len(document["tags"]))
    for operation in operations:
        await expect(page.locator(f"#operations-{operation['tags'][0]}-{operation['operationId']}")).to_be_visible()

    await page.locator("button.authorize").first.click()
    by_key = page.locator(".auth-container", has_text="X-API-Key")
    await by_key.locator("input").fill(key_in(tmp_path))
    await by_key.locator("button.authorize").click()
    await page.locator("button.btn-done").first.click()

    reading = page.locator("#operations-points-get_points_by_point_id_value")
    await reading.locator(".opblock-summary-control").click()
    await reading.locator("button.execute").click()
    answer = reading.locator(".live-responses-table .response").first
    await expect(answer.locator(".response-col_status").first).to_contain_text("200")
    await expect(answer).to_contain_text('"quality": "good"')

    write = page.locator("#operations-points-put_points_by_point_id_value")
    await write.locator(".opblock-summary-control").click()
    await write.locator("button.execute").click()
    answer = write.locator(".live-responses-table .response").first
    await expect(answer).to_contain_text('"effective": true')

    schemas = page.locator("section.models")
    await expect(schemas).to_contain_text("DeviceList")
    assert watched.hosts == {urlsplit(url).netloc}
    assert watched.complaints == []
    assert await program.stop() == 0
