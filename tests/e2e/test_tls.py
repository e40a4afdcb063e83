"""The real process over TLS: what it says of itself, and how it follows new files."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
from authority import Authority
from e2e.program import StartProgram, free_port, until

AUTHORITY = Authority()
PASSWORD = "the-password-of-this-key"


def configured(folder: Path, redirect_port: int) -> str:
    return (
        f"http:\n  port: 0\n  redirect_port: {redirect_port}\n  tls:\n    certificate: {folder}/certificate.pem\n"
        f"    key: {folder}/key.pem\n    key_password: {PASSWORD}\nplugins: {{security: }}\n"
    )


async def test_it_says_https_and_serves_it_and_takes_a_new_certificate_at_sighup(
    start: StartProgram, tmp_path: Path
) -> None:
    AUTHORITY.pair(password=PASSWORD).into(tmp_path)
    port = free_port()
    (tmp_path / "plantroom.yaml").write_text(configured(tmp_path, port), encoding="utf-8")
    program = await start("run", cwd=tmp_path)
    url = await program.ready()
    assert url.startswith("https://127.0.0.1:")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=AUTHORITY.client())) as client:
        async with client.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert str(answer.url) == f"{url}/readyz" and answer.status == 200
            assert "Strict-Transport-Security" in answer.headers
        async with client.get(f"http://127.0.0.1:{port}/", allow_redirects=False) as answer:
            assert answer.status == 308 and "Strict-Transport-Security" not in answer.headers
        AUTHORITY.pair(password=PASSWORD).into(tmp_path)
        program.process.send_signal(signal.SIGHUP)
        async with client.get(f"{url}/readyz") as answer:
            assert answer.status == 200
    await until(lambda: asyncio.sleep(0, program.logged("reloaded")), bool, every=0.02)
    assert await program.stop() == 0
    assert program.logged("certificate_replaced")
    assert PASSWORD not in "\n".join([*program.out, *program.err])


async def test_what_cannot_be_used_is_told_by_check_and_nothing_starts(start: StartProgram, tmp_path: Path) -> None:
    AUTHORITY.pair(password="another").into(tmp_path)
    (tmp_path / "plantroom.yaml").write_text(configured(tmp_path, free_port()), encoding="utf-8")
    for command in ("check", "run"):
        program = await start(command, cwd=tmp_path)
        assert await program.ended() == 1
        said = "\n".join(program.err)
        assert "the key takes another password; see http.tls.key_password" in said
        assert PASSWORD not in said and "Traceback" not in said
