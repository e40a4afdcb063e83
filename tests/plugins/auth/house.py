"""What the tests of the plugin share: its parts over a real database, and a whole Plantroom to sign in to."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import attrs
from yarl import URL

from core.plugin import Call, Context, Role, call_of
from core.testing import Answer, Running
from plugins.auth import users
from plugins.auth.config import AuthConfig, PasswordOptions
from plugins.auth.plugin import AuthPlugin
from plugins.auth.sessions import COOKIE
from plugins.auth.sign_in import SignedIn, SignIn
from plugins.auth.users import User

PASSWORD = "grey-Otter_lends 7 ladders"
ANOTHER = "forty Quiet tubas/under ice"
CHEAP = PasswordOptions(memory=7168, iterations=1, parallelism=1)
OPTIONS = "password: {memory: 7168, iterations: 1, parallelism: 1}"
YAML = f"plugins: {{auth: {{{OPTIONS}}}}}"


class Parts:
    """The plugin's parts, as they are while it runs, with ways to use them in a line."""

    def __init__(self, ctx: Context, config: AuthConfig) -> None:
        self.ctx = ctx
        self.plugin = AuthPlugin(config, ctx)
        self.accounts = self.plugin.accounts
        self.lockout = self.plugin.lockout
        self.sign_in = SignIn(ctx, self.accounts, self.plugin.passwords, self.lockout, failures=self.plugin.failures)

    async def user(self, name: str = "ada", role: Role = Role.VIEWER, *, password: str = PASSWORD) -> User:
        hashed = self.plugin.passwords.hash_now(password)
        user = users.fresh(name, role, password_hash=hashed, now=self.ctx.clock.utc(), created_by="test")
        return await self.accounts.users.make(self.accounts.ledger, user)

    async def signed_in(
        self, name: str = "ada", password: str = PASSWORD, code: str | None = None, *, call: Call | None = None
    ) -> SignedIn:
        return await self.sign_in(call or call_of("POST", peer="10.0.0.1"), name, password, code)


@attrs.frozen
class Browser:
    """A cookie and the token that belongs to it."""

    cookie: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={self.cookie}", "X-CSRF-Token": self.token}


class House:
    """A Plantroom that asks who comes, with its first admin's key."""

    def __init__(self, running: Running, folder: Path) -> None:
        self.running = running
        self.folder = folder
        self.url = running.kernel.url
        self.key = (folder / "admin-key").read_text(encoding="utf-8").strip()

    @property
    def plugin(self) -> AuthPlugin:
        plugin = self.running.plugin("auth").instance
        assert isinstance(plugin, AuthPlugin)
        return plugin

    async def ask(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask with these headers alone, on a connection of its own."""
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
            client.request(method, URL(self.url + path, encoded=True), json=body, headers=headers) as answer,
        ):
            text = await answer.text()
            is_json = answer.content_type.endswith("json") and text
            return Answer(answer.status, answer.headers, text, json.loads(text) if is_json else None)

    async def admin(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask with the admin's key, below the plugin's own address."""
        return await self.ask(method, f"/api/v1/auth{path}", body, headers={"X-API-Key": self.key})

    async def with_key(self, key: str, path: str = "/api/v1/devices", *, method: str = "GET") -> int:
        """Return the status of a request with a key."""
        return (await self.ask(method, path, headers={"X-API-Key": key})).status

    async def make_user(self, name: str = "ada", role: str = "viewer", **more: Any) -> Any:
        answer = await self.admin("POST", "/users", {"name": name, "password": PASSWORD, "role": role, **more})
        assert answer.status == 201, answer.text
        return answer.json

    async def make_key(self, role: str = "viewer", **more: Any) -> Any:
        answer = await self.admin("POST", "/api-keys", {"name": "test", "role": role, **more})
        assert answer.status == 201, answer.text
        return answer.json

    async def login(
        self, name: str = "ada", password: str = PASSWORD, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> Answer:
        body = {"name": name, "password": password, **more}
        return await self.ask("POST", "/api/v1/auth/login", body, headers=headers)

    async def browser(self, name: str = "ada", password: str = PASSWORD, **more: Any) -> Browser:
        answer = await self.login(name, password, **more)
        assert answer.status == 200, answer.text
        return browser_of(answer)

    async def by(self, browser: Browser, method: str, path: str, body: Any = None) -> Answer:
        """Ask as a browser's own page does, below the plugin's address."""
        return await self.ask(method, f"/api/v1/auth{path}", body, headers=browser.headers)


OpenHouse = Callable[..., Awaitable[House]]


def browser_of(answer: Answer) -> Browser:
    """Return the session that an answer began."""
    cookie = answer.headers["Set-Cookie"]
    return Browser(cookie.partition(";")[0].removeprefix(f"{COOKIE}="), answer.json["csrf_token"])
