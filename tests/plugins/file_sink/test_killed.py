"""A process that is killed while it delivers to files, again and again: each sample is there once, in order."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path

from structlog.testing import CapturingLogger

from plugins.file_sink.files import SampleFiles

ROOT = Path(__file__).resolve().parents[3]
CHILD = Path(__file__).with_name("endless.py")
KILLS = 5
LONGEST_S = 60.0


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("samples/samples-*.ndjson"))


def written(folder: Path) -> int:
    return sum(file.stat().st_size for file in files_in(folder))


async def grown(folder: Path, process: asyncio.subprocess.Process, size: int) -> None:
    """Wait until the files have grown by so many bytes."""
    until = written(folder) + size
    async with asyncio.timeout(LONGEST_S):
        while written(folder) < until:
            assert process.returncode is None, await process.stderr.read() if process.stderr else ""
            await asyncio.sleep(0.001)


async def test_a_process_that_is_killed_again_and_again_leaves_each_sample_once_and_in_order(tmp_path: Path) -> None:
    dice = random.Random(7)
    for _ in range(KILLS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, CHILD, tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await grown(tmp_path, process, dice.randrange(50_000, 400_000))
        process.kill()
        async with asyncio.timeout(LONGEST_S):
            await process.communicate()
    mended = SampleFiles(tmp_path / "samples", rotate=1e9, keep=100_000, log=CapturingLogger())
    mended.open()
    last = mended.position("")
    mended.close()

    files = files_in(tmp_path)
    lines = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    values = [line["value"] for line in lines if "value" in line]
    commits = [line["commit"]["seq"] for line in lines if "commit" in line]
    assert values == [float(number) for number in range(len(values))]
    assert commits == sorted(commits)
    assert last is not None
    assert last.seq == commits[-1]
    assert len(values) == 5 * last.seq
    assert len(files) > KILLS
