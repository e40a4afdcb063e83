"""docs/api.md, run as it stands there against the real demo, and compared with the document."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from docs.blocks import blocks
from e2e.program import ROOT, StartProgram, free_port, get, signed_in, until

PAGE = "docs/api.md"
SIGN_IN, *COMMANDS = blocks(PAGE, "sh")


async def shell(command: str, folder: Path) -> Any:
    """Run a block as a person would paste it behind the page's first, and return the JSON that it prints."""
    process = await asyncio.create_subprocess_shell(f"{SIGN_IN}\n{command}", cwd=folder, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(20):
        out, _ = await process.communicate()
    assert process.returncode == 0, command
    return json.loads(out)


async def test_every_command_on_the_page_answers_as_the_page_says(start: StartProgram, tmp_path: Path) -> None:
    ports = {"PLANTROOM_BACNET_PORT": str(free_port()), "PLANTROOM_SIMULATOR_PORT": str(free_port())}
    program = await start("run", "--config", str(ROOT / "config/demo.yaml"), "--port", "0", cwd=tmp_path, env=ports)
    url = await program.ready()
    async with signed_in(url, tmp_path) as client:
        await until(
            lambda: get(client, "/api/v1/points/bacnet.2001.analog-value.1"), lambda point: point.get("reading")
        )
        await until(lambda: get(client, "/api/v1/devices?limit=4"), lambda page: len(page["items"]) == 4)
    said = [await shell(block.replace("http://127.0.0.1:8080", url), tmp_path) for block in COMMANDS]
    document, points, second, wrong, explained, readings, status, written, back, job, sinks = said

    assert document["openapi"] == "3.1.0"
    assert len(points["items"]) == 2 < points["total"] and points["next_cursor"]
    assert [device["id"] for device in second["items"]] == ["bacnet.2003", "bacnet.2004"]
    assert (wrong["code"], wrong["errors"][0]["field"]) == ("request.invalid", "limit")
    assert explained["code"] == wrong["code"] and wrong["type"] == "/api/v1/errors/request.invalid"
    assert [item.keys() for item in readings["items"]] == [{"point_id", "reading"}, {"point_id", "error"}]
    assert status == 304
    assert written["effective"] and written["reading"]["value"] == 18
    assert back["active_priority"] != 8
    assert job["state"] in ("queued", "running", "succeeded")
    assert [sink["name"] for sink in sinks["items"]] == ["file_sink.files"]
    assert await program.stop() == 0


def test_every_resource_that_the_page_names_is_in_the_document() -> None:
    from core.api import described_routes

    paths = {route.path for route in described_routes()}
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for path in ("/api/docs", "/api/v1/openapi.json", "/api/v1/readings/query", "/api/v1/scans", "/api/v1/devices"):
        assert path in text and path in paths
