"""docs/writing-a-plugin.md is followed to the letter: every block, in order, in an empty folder."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import sysconfig
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from docs.blocks import ROOT, blocks
from e2e.program import Program, free_port

from core.hookspecs import HOOKS

PAGE = "docs/writing-a-plugin.md"
TOOLS = {"plantroom": "core", "pytest": "pytest", "pip": "pip"}
SERVERS = {"python ": " on ", "plantroom run": "ready on"}
PORTS = ("8080", "8099", "4001")
NOT_SHOWN = {
    "register_log_processors",
    "register_log_sinks",
    "provide_rate_limit_store",
    "provide_history",
    "provide_leadership",
}
LONGEST_S = 60.0


@attrs.frozen
class Step:
    """A block of the page with the paragraph before it."""

    language: str
    text: str
    before: str

    @property
    def file(self) -> str:
        """The file that the paragraph says to put it into."""
        return re.findall(r"`([\w/-]+\.\w+)`", self.before)[-1]


def steps() -> Iterator[Step]:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    end = 0
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield Step(found[1], found[2], text[end : found.start()].strip().rpartition("\n\n")[2])
        end = found.end()


class Reader:
    """Somebody who follows the page, with a terminal for each program that goes on running."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = env
        self.ports = {port: str(free_port()) for port in PORTS}
        self.terminals: dict[str, Program] = {}
        self.output = ""

    async def follow(self, step: Step) -> None:
        text = self._here(step.text)
        match step.language:
            case "python" | "yaml":
                (self.folder / step.file).write_text(text, encoding="utf-8")
            case "sh" if server := next((each for each in SERVERS if text.startswith(each)), None):
                await self._start(server, text.strip())
            case "sh":
                await self._run(text)
            case "json":
                assert shown_in(json.loads(text), json.loads(self.output)), self.output
            case "toml":
                project = (self.folder / "heat-pump/pyproject.toml").read_text(encoding="utf-8")
                assert shown_in(tomllib.loads(text), tomllib.loads(project))
            case _:
                pytest.fail(f"nobody knows how to follow a block of {step.language}")

    def _here(self, text: str) -> str:
        for port, instead in self.ports.items():
            text = text.replace(port, instead)
        return text

    async def _run(self, command: str) -> None:
        process = await asyncio.create_subprocess_shell(
            f"set -e\n{command}", cwd=self.folder, env=self.env,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(LONGEST_S):
            out, err = await process.communicate()
        self.output = out.decode()
        assert process.returncode == 0, f"{command}\n{self.output}\n{err.decode()}"

    async def _start(self, server: str, command: str) -> None:
        if server == "plantroom run":
            command += f" --port {self.ports['8080']}"
            for file in re.findall(r"--config (\S+)", command):
                written = (self.folder / file).read_text(encoding="utf-8")
                (self.folder / file).write_text(self._here(written), encoding="utf-8")
            if server in self.terminals:  # the page says to stop it
                assert await self.terminals.pop(server).stop() == 0
        process = await asyncio.create_subprocess_shell(
            f"exec {command}", cwd=self.folder, env=self.env, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        key = server if server == "plantroom run" else command
        self.terminals[key] = Program(process)
        await self.terminals[key].wait_for(SERVERS[server])

    async def close(self) -> None:
        for program in self.terminals.values():
            await program.stop(number=signal.SIGKILL)


def shown_in(part: Any, whole: Any) -> bool:
    """Tell whether what a page shows is there, with the same values."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and shown_in(part[key], whole[key]) for key in part)
    return bool(part == whole)


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    """Somebody with an empty folder, on a machine where Plantroom is installed and packages can be."""
    machine, folder = tmp_path / "machine", tmp_path / "empty"
    folder.mkdir()
    creating = await asyncio.create_subprocess_exec(sys.executable, "-m", "venv", "--without-pip", machine)
    assert await creating.wait() == 0
    packages = machine / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    ours = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (packages / "plantroom_is_installed.pth").write_text(ours, encoding="utf-8")
    for name, module in TOOLS.items():
        script = machine / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {machine}/bin/python -P -m {module} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{machine}/bin{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # which is how pip spells that there is to be none
        "PYTHONUNBUFFERED": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }
    reader = Reader(folder, env)
    yield reader
    await reader.close()


async def test_the_page_can_be_followed_to_the_letter(reader: Reader) -> None:
    outputs = []
    for step in steps():
        await reader.follow(step)
        outputs.append(reader.output)

    assert outputs[-1] == "ATTIC\nCELLAR\n"
    assert any("8 passed" in output for output in outputs)
    assert not any(re.search(r"\d (failed|skipped|error)", output) for output in outputs)
    assert ["heat-pump", "installed"] in [line.split()[:2] for output in outputs for line in output.splitlines()]


def test_the_first_plugin_is_about_forty_lines() -> None:
    [first, *_] = blocks(PAGE, "python")

    assert first.startswith('"""Reads a weather station')
    assert len([line for line in first.splitlines() if line.strip()]) <= 42


def test_every_common_hook_is_shown_in_a_block_that_runs() -> None:
    code = "\n".join(blocks(PAGE, "python"))

    assert {name for name in HOOKS if f"def {name}(" not in code} == NOT_SHOWN


def test_the_entry_point_is_in_the_group_that_the_catalogue_reads() -> None:
    [project] = blocks(PAGE, "toml")

    assert list(tomllib.loads(project)["project"]["entry-points"]) == ["plantroom.plugins"]
