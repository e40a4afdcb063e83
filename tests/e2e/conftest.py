"""Starts the real program as a person would, on ports of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from e2e.attacked import GUARDED, House, attacked
from e2e.program import ROOT, Program, StartProgram

from core.process import API_KEY_VARIABLE


@pytest.fixture
async def start() -> AsyncIterator[StartProgram]:
    """Start `plantroom` with arguments and environment; whatever still runs at the end is killed."""
    programs: list[Program] = []

    async def start_program(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> Program:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "core", *arguments,
            cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT), API_KEY_VARIABLE: "", **(env or {})},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        programs.append(Program(process))
        return programs[-1]

    yield start_program
    for program in programs:
        if program.process.returncode is None:
            program.process.kill()
        await program.ended()


@pytest.fixture(scope="module")
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Run one Plantroom for a module of attacks, with the module's CONFIGURATION and AUTHORITY where it has them."""
    configuration = getattr(request.module, "CONFIGURATION", GUARDED)
    authority = getattr(request.module, "AUTHORITY", None)
    with attacked(tmp_path_factory.mktemp("attacked"), configuration, authority) as guarded:
        yield guarded


@pytest.fixture
def unharmed(house: House) -> Iterator[None]:
    """See that the attack of a test harms nobody."""
    with house.unharmed():
        yield
