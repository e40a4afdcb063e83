"""A guarded Plantroom as a process, and those who come to its door: with keys, in browsers, from other addresses."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
from e2e.program import ROOT, Program, StartProgram
from yarl import URL

from core.testing import Answer

COOKIE = "plantroom_session"
PASSWORD = "grey-Otter_lends 7 ladders"
ANOTHER = "forty Quiet tubas/under ice"
CHEAP = "{password: {memory: 7168, iterations: 1, parallelism: 1}}"
LONGEST_S = 30.0

GUARDED = f"plugins: {{auth: {CHEAP}, security: , ratelimit: {{failed: {{rate: 100000/s}}}}}}\n"
"""All that stands at the door; wrong credentials are not counted, so that what else refuses them shows."""
BEHIND_A_PROXY = f"http: {{trusted_proxies: [127.0.0.1]}}\n{GUARDED}"


@attrs.frozen
class Browser:
    """A session's cookie, and the token that its own page knows."""

    cookie: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {**self.without_token, "X-CSRF-Token": self.token}

    @property
    def without_token(self) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={self.cookie}"}


class Door:
    """A Plantroom that asks who comes, with its first admin's key."""

    def __init__(self, program: Program, url: str, folder: Path, clients: Mapping[str, aiohttp.ClientSession]) -> None:
        self.program = program
        self.url = url
        self.folder = folder
        self.data_dir = folder / "data"
        self.key = (self.data_dir / "admin-key").read_text(encoding="utf-8").strip()
        self._clients = clients

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
        data: bytes | None = None,
        peer: str = "127.0.0.1",
    ) -> Answer:
        """Ask with these headers alone, over a connection from ``peer``; ``data`` is a body as it is."""
        async with (
            asyncio.timeout(LONGEST_S),
            self._clients[peer].request(
                method, URL(self.url + path, encoded=True), json=body, data=data, headers=headers
            ) as answer,
        ):
            text = await answer.text()
            is_json = answer.content_type.endswith("json") and text
            return Answer(answer.status, answer.headers, text, json.loads(text) if is_json else None)

    async def admin(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask with the first admin's key."""
        return await self.ask(method, path, body, headers={"X-API-Key": self.key})

    async def made(self, path: str, body: Any) -> Any:
        """Have the admin make something, and return it."""
        answer = await self.admin("POST", f"/api/v1/auth{path}", body)
        assert answer.status == 201, answer.text
        return answer.json

    async def make_key(self, role: str = "viewer", **more: Any) -> Any:
        return await self.made("/api-keys", {"name": "test", "role": role, **more})

    async def make_user(self, name: str = "ada", role: str = "viewer", **more: Any) -> Any:
        return await self.made("/users", {"name": name, "password": PASSWORD, "role": role, **more})

    async def status_of(self, key: str, **options: Any) -> int:
        """Return what a request with a key is answered."""
        return (await self.ask("GET", "/api/v1", headers={"X-API-Key": key}, **options)).status

    async def login(
        self,
        name: str = "ada",
        password: str = PASSWORD,
        *,
        headers: Mapping[str, str] | None = None,
        peer: str = "127.0.0.1",
        **more: Any,
    ) -> Answer:
        body = {"name": name, "password": password, **more}
        return await self.ask("POST", "/api/v1/auth/login", body, headers=headers, peer=peer)

    async def browser(self, name: str = "ada", password: str = PASSWORD, **more: Any) -> Browser:
        """Sign in, and return the session that began."""
        answer = await self.login(name, password, **more)
        assert answer.status == 200, answer.text
        return browser_of(answer)

    async def is_open_to(self, browser: Browser) -> bool:
        """Tell whether a session still counts."""
        answer = await self.ask("GET", "/api/v1/auth/me", headers=browser.without_token)
        assert answer.status in (200, 401), answer.text
        return answer.status == 200


def browser_of(answer: Answer) -> Browser:
    """Return the session that an answer began."""
    cookie = answer.headers["Set-Cookie"].partition(";")[0].removeprefix(f"{COOKIE}=")
    return Browser(cookie, answer.json["csrf_token"])


def from_(address: str) -> dict[str, str]:
    """Say, as a proxy does, for whom a request is."""
    return {"X-Forwarded-For": address}


@asynccontextmanager
async def opened(
    start: StartProgram, folder: Path, *configs: Path | str, env: Mapping[str, str] | None = None
) -> AsyncIterator[Door]:
    """Start a Plantroom with these configuration files, or pieces of YAML, and stop it in good order.

    It can be asked from two addresses of this machine, of which a configuration may trust the first.
    """
    arguments = ["run", "--port", "0"]
    for number, config in enumerate(configs):
        path = config if isinstance(config, Path) else folder / f"plantroom{number}.yaml"
        if isinstance(config, str):
            path.write_text(config, encoding="utf-8")
        arguments += ["--config", str(path)]
    program = await start(*arguments, cwd=folder, env={"PLANTROOM_API_KEY": "", **(env or {})})
    url = await program.ready()
    clients = {peer: client_from(peer) for peer in ("127.0.0.1", "127.0.0.9")}
    try:
        yield Door(program, url, folder, clients)
    finally:
        for client in clients.values():
            await client.close()
    assert program.logged("request_failed") == []
    assert await program.stop() == 0


def client_from(address: str, *, connections: int = 64) -> aiohttp.ClientSession:
    """Make a client that keeps no cookies, and whose connections come from an address of this machine."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0), limit=connections)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def shell(door: Door, *arguments: str, typed: str = "") -> tuple[int, str, str]:
    """Run another `plantroom` over the same data directory, and return exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "core", *arguments, "--data-dir", str(door.data_dir),
        cwd=door.folder, env={**os.environ, "PYTHONPATH": str(ROOT), "PLANTROOM_API_KEY": ""},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(LONGEST_S):
        out, err = await process.communicate(typed.encode())
    return process.returncode or 0, out.decode(), err.decode()
