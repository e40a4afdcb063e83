"""docs/bacnet.md, run as it stands there against the real demo; what it says of options is what the schema takes."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pytest
from docs.blocks import blocks
from e2e.program import ROOT, StartProgram, free_port, get, signed_in, until

from core.cli import main

from .test_api_page import SIGN_IN, shell

PAGE = "docs/bacnet.md"
POINT = "/api/v1/points/bacnet.2004.analog-value.1"


async def test_every_command_on_the_page_answers_as_the_page_says(start: StartProgram, tmp_path: Path) -> None:
    ports = {"PLANTROOM_BACNET_PORT": str(free_port()), "PLANTROOM_SIMULATOR_PORT": str(free_port())}
    program = await start("run", "--config", str(ROOT / "config/demo.yaml"), "--port", "0", cwd=tmp_path, env=ports)
    url = await program.ready()
    async with signed_in(url, tmp_path) as client:
        await until(lambda: get(client, POINT), lambda point: point.get("reading"))
        await until(lambda: get(client, "/api/v1/devices?limit=29"), lambda page: len(page["items"]) == 29)
        commands = [block.replace("http://127.0.0.1:8080", url) for block in blocks(PAGE, "sh")]
        assert commands[0] == SIGN_IN
        networks, who_is, who_has, duplicates, shown, slot, written, held, back = [
            await shell(command, tmp_path) for command in commands[1:10]
        ]
        assert [item["state"] for item in networks["items"]] == ["up"]
        assert networks["items"][0]["routers"][0]["networks"][0]["number"] == 2001
        assert [item["instance"] for item in who_is["items"]] == [2001, 2002, 2003]
        assert [(item["instance"], item["object_id"]) for item in who_has["items"]] == [(2001, "analog-input.1")]
        assert duplicates["items"] == []
        assert {"present-value", "priority-array", "units"} <= {each["property"] for each in shown["properties"]}
        assert (slot["index"], slot["value"]) == (16, None)
        assert (written["verified"], written["effective"], written["priority"]) == (True, True, 9)
        assert [each["held_by"] for each in held["slots"] if each["priority"] == 9] == ["key:admin"]
        assert (back["active_priority"], back["verified"]) == (None, True)

        fault, reset = commands[10:]
        assert (await shell(fault, tmp_path))["kind"] == "silent"
        gone = await until(lambda: get(client, POINT), lambda point: point["reading"]["reason"] == "offline")
        assert gone["reading"]["quality"] == "bad"
        others = await get(client, "/api/v1/points?quality=bad&limit=1000")
        assert {point["device_id"] for point in others["items"]} == {"bacnet.2004"}
        assert await shell(f"{reset.strip()} -w '%{{http_code}}'", tmp_path) == HTTPStatus.NO_CONTENT
        await until(lambda: get(client, POINT), lambda point: point["reading"]["quality"] == "good")
    assert await program.stop() == 0


@pytest.mark.parametrize("yaml", blocks(PAGE, "yaml"))
def test_every_configuration_on_the_page_is_one(yaml: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plantroom.yaml"
    file.write_text(yaml, encoding="utf-8")
    assert main(["check", "--config", str(file)]) == 0, capsys.readouterr().err
