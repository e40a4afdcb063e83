"""The commands of docs/security.md, run as they stand there."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from docs.blocks import blocks
from e2e.program import StartProgram, key_in

PAGE = "docs/security.md"


async def test_the_commands_of_the_page_make_a_key(start: StartProgram, tmp_path: Path) -> None:
    (tmp_path / "plantroom.yaml").write_text("plugins: {auth: }\n", encoding="utf-8")
    program = await start("run", "--port", "0", cwd=tmp_path)
    url = await program.ready()
    assert key_in(tmp_path)
    commands = "\n".join(blocks(PAGE, "sh")).replace("http://127.0.0.1:8080", url)
    process = await asyncio.create_subprocess_shell(commands, cwd=tmp_path, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    made = json.loads(out)
    assert (made["name"], made["role"], made["key"][:4]) == ("night report", "viewer", "plr_")
    assert await program.stop() == 0
