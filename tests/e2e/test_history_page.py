"""docs/history.md, run as it stands there against the real demo."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

from docs.blocks import blocks
from e2e.program import ROOT, StartProgram, free_port, get, signed_in, until

from core.api.history.questions import AGGREGATES, MOST_FILLED_ROWS
from core.api.history.streams import STREAMED

PAGE = "docs/history.md"
SIGN_IN, *COMMANDS = blocks(PAGE, "sh")
POINT = "bacnet.2004.analog-input.1"


async def shell(command: str, folder: Path) -> list[Any]:
    """Run a block as a person would paste it behind the page's first, and return the JSON documents that it prints."""
    process = await asyncio.create_subprocess_shell(f"{SIGN_IN}\n{command}", cwd=folder, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0, command
    documents, decoder, text = [], json.JSONDecoder(), out.decode()
    while text:
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:].lstrip()
    return documents


async def test_every_command_on_the_page_answers_as_the_page_says(start: StartProgram, tmp_path: Path) -> None:
    ports = {"PLANTROOM_BACNET_PORT": str(free_port()), "PLANTROOM_SIMULATOR_PORT": str(free_port())}
    program = await start("run", "--config", str(ROOT / "config/demo.yaml"), "--port", "0", cwd=tmp_path, env=ports)
    url = await program.ready()
    async with signed_in(url, tmp_path) as client:
        path = f"/api/v1/points/{POINT}/history"
        await until(lambda: get(client, path), lambda page: len(page.get("items", ())) >= 4)
        other = POINT.replace("input", "value")
        await until(lambda: get(client, f"/api/v1/points/{other}/history"), lambda page: page.get("items"))
    said = [await shell(block.replace("http://127.0.0.1:8080", url), tmp_path) for block in COMMANDS]
    [samples], latest, [hours], [several], nothing, imported = said

    assert len(samples["items"]) == 3 and samples["next_cursor"] and samples["gaps"] == []
    assert {item["source"] for item in samples["items"]} <= {"poll", "read"}
    assert latest[0]["time"] >= samples["items"][2]["time"]
    assert [item["point_id"] for item in latest[1]["items"]] == [POINT, other]
    assert sum(item["count"] for item in hours["items"]) >= 4
    assert all(item["min"] <= item["avg"] <= item["max"] for item in hours["items"])
    assert [item["point_id"] for item in several["items"][:2]] == [POINT, other]
    assert len(several["items"]) >= 48
    assert nothing == []
    with (tmp_path / "office.csv").open(encoding="utf-8", newline="") as file:
        assert len([*csv.DictReader(file)]) >= 3
    assert imported == [{"added": 1, "known": 1}, {"added": 1, "known": 0}]
    assert await program.stop() == 0


def test_the_page_names_every_aggregate_media_type_and_bound() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for each in (*AGGREGATES, *STREAMED):
        assert f"`{each}`" in text
    assert f"{MOST_FILLED_ROWS:,}" in text
