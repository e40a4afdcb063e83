"""The scripts, as a newcomer calls them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from e2e.program import ROOT, Program, free_port

SCRIPT = ROOT / "script" / "run"


@pytest.mark.skipif(not (ROOT / ".venv/bin/plantroom").exists(), reason="script/setup has not run in this checkout")
async def test_script_run_starts_the_demo_from_any_folder_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    env = {
        **os.environ,
        "PLANTROOM_BACNET_PORT": str(free_port()),
        "PLANTROOM_SIMULATOR_PORT": str(free_port()),
    }
    process = await asyncio.create_subprocess_exec(
        SCRIPT, "--port", "0", cwd=tmp_path, env=env, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    program = Program(process)
    try:
        assert (await program.wait_for("ready on")).startswith("Plantroom is ready on http://127.0.0.1:")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the children too
        assert await program.ended(seconds=2) == 0
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await program.ended()
    assert not any("Traceback" in line for line in program.err)
    assert (tmp_path / "data" / "plantroom.sqlite3").exists()


async def test_script_setup_refuses_an_option_that_it_does_not_know(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        ROOT / "script" / "setup", "--sideways", cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    _, error = await process.communicate()

    assert process.returncode == 2
    assert error.decode().startswith("usage: script/setup")
