"""Starts the real program as a person would, on ports of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
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
