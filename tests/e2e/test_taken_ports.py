"""Ports that others hold: a clear word, and no silent sharing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from e2e.program import StartProgram, get, until


@pytest.fixture
def taken_udp_port() -> Iterator[int]:
    """A UDP port held as bacpypes3 holds it: willing to share."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


async def test_a_taken_udp_port_fails_that_plugin_alone_and_names_port_and_option(
    start: StartProgram, tmp_path: Path, taken_udp_port: int
) -> None:
    (tmp_path / "plantroom.yaml").write_text(
        f"plugins: {{bacnet: {{networks: [{{address: '127.0.0.1/8:{taken_udp_port}'}}]}}}}"
    )
    program = await start("run", "--port", "0", cwd=tmp_path)
    url = await program.ready()

    async with aiohttp.ClientSession(base_url=url) as client:
        plugin = await until(lambda: get(client, "/api/v1/plugins/bacnet"), lambda plugin: plugin["state"] == "failed")

    assert str(taken_udp_port) in plugin["error"]
    assert "plugins.bacnet.networks[0].address" in plugin["error"]
    assert str(taken_udp_port) in program.logged("plugin_failed")[0]["error"]
    assert await program.stop() == 0


async def test_a_taken_tcp_port_ends_the_start_with_one_clear_line(start: StartProgram, tmp_path: Path) -> None:
    (tmp_path / "plantroom.yaml").write_text("plugins: {}")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])

        program = await start("run", "--port", port, cwd=tmp_path)

        assert await program.ended() == 1
    [line] = [line for line in program.err if not line.startswith("{")]
    assert port in line
    assert "--port" in line
    assert "ready" not in " ".join(program.out)
