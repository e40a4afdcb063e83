"""Where secrets must not be: in the log, in answers, in files; and a door that does not work stays shut."""

from __future__ import annotations

import asyncio
import signal
import stat
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pyotp
import pytest
from e2e.door import ANOTHER, CHEAP, COOKIE, GUARDED, PASSWORD, Door, browser_of, opened, shell
from e2e.program import StartProgram, free_port, until

ENVIRONMENT = "an environment's key of forty characters"
WRONG = "whoever-typed-this-meant-another-field"
AUTH = "/api/v1/auth"


async def use_every_secret(door: Door) -> tuple[set[str], set[str], list[str]]:
    """Do all that secrets are used for; returns those that are kept nowhere, those in the database, and answers."""
    made = await door.make_key("operator")
    rotated = (await door.admin("POST", f"{AUTH}/api-keys/{made['id']}/rotate", {"overlap_s": 60})).json["key"]
    await door.make_user("ada", "admin")
    browser = await door.browser()
    begun = (await door.ask("POST", f"{AUTH}/me/totp", headers=browser.headers)).json["secret"]
    code = pyotp.TOTP(begun).now()
    recovery = (await door.ask("POST", f"{AUTH}/me/totp/confirm", {"code": code}, headers=browser.headers)).json
    changed = await door.ask(
        "POST", f"{AUTH}/me/password", {"old_password": PASSWORD, "new_password": ANOTHER}, headers=browser.headers
    )
    again = browser_of(changed)
    for headers in ({"X-API-Key": WRONG}, {"Authorization": f"Bearer {made['key'][:-1]}"}, again.headers):
        await door.ask("GET", f"/api/v1/devices?api_key={WRONG}", headers=headers)
    for name, password in ((WRONG, "x"), ("ada", WRONG), ("ada", ANOTHER)):
        await door.login(name, password, code=recovery["recovery_codes"][0][:-1])
    await door.ask("POST", f"{AUTH}/login", data=f'{{"name": "ada", "password": "{WRONG}'.encode())
    await door.admin("POST", f"{AUTH}/users", {"name": "eve", "password": "tiny-pass-1", "role": "viewer"})
    secrets = {
        *(door.key, made["key"], rotated, PASSWORD, ANOTHER, browser.cookie, browser.token, again.cookie, again.token),
        *(*recovery["recovery_codes"], WRONG, "tiny-pass-1"),
    }
    every_list = ("auth/users", "auth/api-keys", "auth/sessions", "auth/me", "plugins", "plugins/auth", "jobs")
    answers = [(await door.admin("GET", f"/api/v1/{name}")).text for name in every_list]
    answers.append((await door.admin("GET", "/metrics")).text)
    answers.append((await door.admin("POST", "/api/v1/system/reload?dry_run=true")).text)
    return secrets, {begun, "$argon2id$"}, answers


async def test_no_secret_is_in_the_log_in_an_answer_or_in_the_data(start: StartProgram, tmp_path: Path) -> None:
    debugging = f"log: {{level: debug}}\n{GUARDED}"
    async with opened(start, tmp_path, debugging) as door:
        secrets, kept, answers = await use_every_secret(door)
        checked = await shell(door, "check", "--config", str(tmp_path / "plantroom0.yaml"))
        listed = [await shell(door, what, "list", "--json") for what in ("keys", "users")]
        program, data, key = door.program, door.data_dir, door.key
        private(data)
    said = {
        "the log": "\n".join(program.err),
        "what it prints": "\n".join(program.out),
        "the answers": "\n".join(answers),
        "the command line": "\n".join("".join(map(str, each)) for each in (checked, *listed)),
    }
    assert len(program.logged("request")) > 20 and program.logged("sign_in_failed"), "there was something to look at"
    for place, text in said.items():
        assert [secret for secret in secrets | kept if secret in text] == [], place
    files = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert any(len(content) > 10_000 for content in files.values())
    for path, content in files.items():
        held = {secret for secret in secrets if secret.encode() in content}
        assert held == ({key} if path.name == "admin-key" else set()), path
    private(data)


def private(data: Path) -> None:
    """See that nobody but its owner can read the key and the database, and what belongs to it."""
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()}
    assert found["admin-key"] == found["plantroom.sqlite3"] == 0o600
    assert {mode for name, mode in found.items() if name.startswith("plantroom.sqlite3")} == {0o600}


async def test_the_environment_s_key_is_kept_nowhere(start: StartProgram, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin-key").write_text("not ours", encoding="utf-8")
    async with opened(start, tmp_path, GUARDED, env={"PLANTROOM_API_KEY": ENVIRONMENT}) as door:
        assert await door.status_of(ENVIRONMENT) == 200
        assert await door.status_of(ENVIRONMENT[:-1]) == await door.status_of(ENVIRONMENT + "x") == 401
        answers = [
            (await door.ask("GET", at, headers={"X-API-Key": ENVIRONMENT})).text
            for at in (f"{AUTH}/api-keys", f"{AUTH}/me", "/api/v1/plugins")
        ]
        assert any("bootstrap" in answer for answer in answers)
        everything = "\n".join([*answers, *door.program.out, *door.program.err])
        assert ENVIRONMENT not in everything
        for path in door.data_dir.iterdir():
            assert ENVIRONMENT.encode() not in path.read_bytes(), path


# a door that does not work

BROKEN = {
    "cannot be imported": "raise RuntimeError('broken')",
    "cannot be made": "def __init__(self, config, ctx): raise RuntimeError('broken')",
    "answers nothing that is asked": "@hookimpl\n    def register_authenticators(self): raise RuntimeError('broken')",
    "does not start": (
        "@hookimpl\n    @asynccontextmanager\n    async def lifespan(self):\n"
        "        raise RuntimeError('broken')\n        yield"
    ),
}


def broken(body: str) -> str:
    """Write a plugin that stands in for `auth`, and is broken."""
    head = "from contextlib import asynccontextmanager\nfrom core.plugin import *\n"
    if body.startswith("raise"):
        return f"{head}{body}\n"
    return f"{head}class Auth(Plugin[dict]):\n    {body}\n"


@pytest.mark.parametrize("how", BROKEN)
async def test_while_auth_does_not_run_nobody_is_let_in(start: StartProgram, tmp_path: Path, how: str) -> None:
    custom = tmp_path / "custom_plugins"
    custom.mkdir()
    (custom / "auth.py").write_text(broken(BROKEN[how]), encoding="utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "admin-key").write_text("a key that is none", encoding="utf-8")
    simulator = f"plugins: {{auth: , security: , ratelimit: , simulator: {{port: {free_port()}}}}}"
    async with opened(start, tmp_path, simulator) as door:
        document = (await door.ask("GET", "/api/v1/openapi.json")).json
        guarded = 0
        for path, methods in document["paths"].items():
            for method, said in methods.items():
                answer = await door.ask(method.upper(), path, headers={"X-API-Key": door.key})
                if said.get("security") == []:
                    assert answer.status not in (401, 403, 503) or path == "/readyz", (method, path)
                else:
                    assert (answer.status, answer.json["code"]) == (503, "plugin.not_running"), (method, path)
                    assert "Retry-After" in answer.headers
                    guarded += 1
        assert guarded > 25
        assert (await door.ask("GET", "/api/v1/nowhere")).status == 503


async def test_a_reload_to_an_auth_that_does_not_start_leaves_the_one_that_runs(
    start: StartProgram, tmp_path: Path
) -> None:
    async with opened(start, tmp_path, GUARDED.replace(CHEAP, "")) as door:
        (tmp_path / "custom_plugins").mkdir()
        (tmp_path / "custom_plugins" / "auth.py").write_text(broken(BROKEN["does not start"]), encoding="utf-8")
        statuses, answer = await during(door, door.admin("POST", "/api/v1/system/reload"))
        assert answer.json["code"] == "reload.undone", answer.text
        assert statuses <= {401, 429, 503}, "nobody is let in meanwhile"
        assert await door.status_of(door.key) == 200
        assert await door.status_of("wrong") == 401


async def test_nobody_is_let_in_while_auth_starts_anew(start: StartProgram, tmp_path: Path) -> None:
    async with opened(start, tmp_path, GUARDED) as door:
        made = await door.make_key()
        await door.make_user("ada")
        browser = await door.browser()
        file = tmp_path / "plantroom0.yaml"
        file.write_text(GUARDED.replace(CHEAP, f"{CHEAP[:-1]}, session: {{idle: 600}}}}"), encoding="utf-8")
        door.program.process.send_signal(signal.SIGHUP)
        statuses, _lines = await during(
            door,
            until(lambda: asyncio.sleep(0, door.program.logged("reloaded")), bool, every=0.02),
        )
        assert statuses <= {401, 429, 503}
        assert await door.status_of(made["key"]) == 200
        assert await door.is_open_to(browser), "sessions outlive it"


async def during(door: Door, work: Awaitable[Any]) -> tuple[set[int], Any]:
    """Ask without credentials, and with forged ones, while something goes on; returns statuses and result."""
    task, found = asyncio.ensure_future(work), set[int]()
    while not task.done():
        for headers in ({}, {"X-API-Key": "wrong"}, {"Cookie": f"{COOKIE}={'A' * 43}"}):
            found.add((await door.ask("GET", "/api/v1/devices", headers=headers)).status)
    return found, await task
