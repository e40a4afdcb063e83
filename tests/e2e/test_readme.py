"""The README's first session, run as it stands there against the real demo."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from docs.blocks import blocks
from e2e.program import ROOT, StartProgram, free_port, get, signed_in, until

SIGN_IN, *SESSION = [block for block in blocks("README.md", "sh") if block.startswith("curl")]
HIDDEN = {"setup", "run", "test", "check"}


async def shell(command: str, folder: Path) -> Any:
    """Run a command as a person would paste it, with curl sending the key, and return the JSON that it prints."""
    process = await asyncio.create_subprocess_shell(f"{SIGN_IN}\n{command}", cwd=folder, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0, command
    return [json.loads(line) for line in out.decode().replace("}{", "}\n{").splitlines()]


async def test_the_first_session_of_the_readme_goes_as_it_says(start: StartProgram, tmp_path: Path) -> None:
    ports = {"PLANTROOM_BACNET_PORT": str(free_port()), "PLANTROOM_SIMULATOR_PORT": str(free_port())}
    program = await start("run", "--config", str(ROOT / "config/demo.yaml"), "--port", "0", cwd=tmp_path, env=ports)
    url = await program.ready()
    async with signed_in(url, tmp_path) as client:
        await until(
            lambda: get(client, "/api/v1/points/bacnet.2004.analog-input.1"), lambda point: point.get("reading")
        )
    devices, values, written, fresh, past, back, made = [
        await shell(block.replace("http://127.0.0.1:8080", url), tmp_path) for block in SESSION
    ]

    assert len(devices[0]["items"]) == 3
    assert all("VAV" in device["name"] for device in devices[0]["items"])
    assert [value["quality"] for value in values] == ["good", "good"]
    assert written[0]["effective"]
    assert written[0]["reading"]["value"] == pytest.approx(25)
    assert fresh[0]["quality"] == "good"
    assert [sample["value"] for sample in past[0]["items"]][-1] == pytest.approx(25)
    assert back[0]["reading"]["value"] == pytest.approx(values[1]["value"])
    assert back[1]["code"] == "value.not_suitable"
    assert made[0]["key"].startswith("plr_")
    assert await program.stop() == 0


def test_every_script_that_the_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")

    for name in HIDDEN:
        assert (ROOT / "script" / name).stat().st_mode & 0o111
    assert "script/run" in text
    assert "script/test" in text


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *[f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")]]
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    import re

    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?://)([^)#]+)", text):
        assert ((ROOT / page).parent / link).exists(), link
