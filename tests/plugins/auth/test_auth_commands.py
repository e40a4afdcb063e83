"""`plantroom users` and `plantroom keys`, beside a Plantroom that runs, and before the first start."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from core.cli import main
from core.storage import FILE_NAME, open_storage
from core.testing import running
from plugins.auth import arguments, commands
from plugins.auth.keys import id_in
from plugins.auth.tables import MIGRATIONS

from .house import ANOTHER, OPTIONS, PASSWORD, YAML, House

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `plantroom` over the data in ``data``, with a password on standard input where one is given."""
    (tmp_path / "cli.yaml").write_text(f"plugins: {{auth: {{{OPTIONS}}}}}\n", encoding="utf-8")

    def call(*arguments: str, password: str | None = None) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO("" if password is None else f"{password}\n"))
        more = [] if password is None else ["--password-stdin"]
        return main(["--config", str(tmp_path / "cli.yaml"), "--data-dir", str(tmp_path / "data"), *arguments, *more])

    return call


async def test_a_user_and_a_key_made_before_the_first_start_let_one_in(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("users", "add", "Ada", "--role", "admin", password=PASSWORD) == 0
    assert run("keys", "add", "energy report", "--role", "operator") == 0
    said = capsys.readouterr()
    key = said.out.splitlines()[-1]
    assert id_in(key) is not None
    assert key not in said.err
    assert stat.S_IMODE((tmp_path / "data" / FILE_NAME).stat().st_mode) == 0o600
    async with running(YAML, tmp_path) as started:
        assert not (tmp_path / "data" / "admin-key").exists()  # there is an admin already
        (tmp_path / "data" / "admin-key").write_text(key, encoding="utf-8")
        house = House(started, tmp_path / "data")
        assert (await house.admin("GET", "/me")).json["role"] == "operator"
        assert (await house.login("ada")).status == 200


async def test_what_the_command_line_changes_counts_within_a_second_where_plantroom_runs(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(YAML, tmp_path) as started:
        house = House(started, tmp_path / "data")

        async def status_becomes(status: int, ask: Callable[[], object]) -> None:
            async def so() -> bool:
                answer = await ask()  # type: ignore[misc]
                return bool(getattr(answer, "status", answer) == status)

            await house.running.until(so, seconds=2)

        assert await asyncio.to_thread(run, "keys", "add", "x") == 0
        key = capsys.readouterr().out.splitlines()[-1]
        key_id = str(id_in(key))
        await status_becomes(200, lambda: house.with_key(key))
        assert await asyncio.to_thread(run, "keys", "rotate", key_id, "--overlap", "600") == 0
        new = capsys.readouterr().out.splitlines()[-1]
        await status_becomes(200, lambda: house.with_key(new))
        assert await house.with_key(key) == 200
        assert await asyncio.to_thread(run, "keys", "revoke", key_id) == 0
        await status_becomes(401, lambda: house.with_key(new))
        assert await house.with_key(key) == 401

        assert await asyncio.to_thread(run, "users", "add", "ada", password=PASSWORD) == 0
        await status_becomes(200, lambda: house.login("ada"))
        browser = await house.browser("ada")
        for _ in range(6):
            locked = await house.login("ada", "wrong")
        assert locked.status == 429
        assert await asyncio.to_thread(run, "users", "password", "ADA", password=ANOTHER) == 0
        await status_becomes(401, lambda: house.by(browser, "GET", "/me"))
        assert (await house.login("ada", ANOTHER)).status == 200
        browser = await house.browser("ada", ANOTHER)
        assert await asyncio.to_thread(run, "users", "revoke", "ada") == 0
        await status_becomes(401, lambda: house.by(browser, "GET", "/me"))
        assert (await house.login("ada", ANOTHER)).status == 401


async def test_a_locked_out_admin_with_a_shell_gets_in_again(run: Run, tmp_path: Path) -> None:
    async with running(YAML, tmp_path) as started:
        house = House(started, tmp_path / "data")
        await house.make_user("ada", "admin")
        accounts = house.plugin.accounts
        await accounts.users.change(accounts.ledger, "ada", {"disabled": True, "totp_secret": "JBSWY3DPEHPK3PXP"})
    assert run("users", "password", "ada", password=ANOTHER) == 0
    assert run("users", "reset-totp", "ada") == 0
    async with running(YAML, tmp_path) as started:
        assert (await House(started, tmp_path / "data").login("ada", ANOTHER)).status == 200


def test_lists_show_what_there_is_and_no_secret(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run("keys", "add", "evil \x1b[2J name", "--network", "10.0.0.0/8", "--days", "1", "--device", "bacnet.20*") == 0
    )
    key = capsys.readouterr().out.strip()
    assert run("users", "add", "ada", "--plugin", "bacnet", password=PASSWORD) == 0
    capsys.readouterr()
    assert run("keys", "list") == 0
    table = capsys.readouterr().out
    assert "\x1b" not in table
    assert key not in table
    assert "10.0.0.0/8" in table
    assert "devices bacnet.20*" in table
    assert run("keys", "list", "--json") == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["state"], shown["name"]) == (id_in(key), "enabled", "evil \x1b[2J name")
    assert shown["expires_at"] is not None
    assert run("users", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "name": "ada", "role": "viewer", "scope": "plugins bacnet", "state": "enabled", "second_factor": "off",
            "signed_in_at": None,
        }
    ]  # fmt: skip
    assert run("users", "revoke", "ada") == 0
    assert run("users", "list") == 0
    assert "There are none." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("users", "revoke", "eve"), "no user is called 'eve'"),
        (("users", "reset-totp", "eve"), "no user is called 'eve'"),
        (("keys", "revoke", "k7f3"), "no key has the id 'k7f3'"),
        (("keys", "rotate", "k7f3"), "no key has the id 'k7f3'"),
    ],
)
def test_what_is_not_there_is_said(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert run("keys", "add", "x") == 0
    assert run(*arguments) == 1
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("password", ["short", "passwordpassword"])
def test_a_weak_password_makes_no_user(run: Run, capsys: pytest.CaptureFixture[str], password: str) -> None:
    assert run("users", "add", "ada", password=password) == 1
    said = capsys.readouterr().err
    assert "password: " in said
    assert run("users", "list") == 0
    assert "There are none." in capsys.readouterr().out


def test_a_user_is_made_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("users", "add", "ada", password=PASSWORD) == 0
    assert run("users", "add", "ADA", password=PASSWORD) == 1
    assert "there is a user called 'ada' already" in capsys.readouterr().err


def test_a_password_is_asked_for_twice(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter([PASSWORD, ANOTHER, PASSWORD, PASSWORD])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(typed))
    assert run("users", "add", "ada") == 1
    assert "two different passwords" in capsys.readouterr().err
    assert run("users", "add", "ada") == 0


def test_where_there_is_no_installation_none_is_made_by_a_look(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("users", "list") == 1
    assert "holds no installation" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_file_that_is_no_database_is_said(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / FILE_NAME).write_bytes(b"no database at all, but long enough to be looked at" * 100)
    assert run("keys", "list") == 1
    assert "cannot be used: file is not a database" in capsys.readouterr().err


async def test_the_tables_are_those_that_plantroom_makes_itself(run: Run, tmp_path: Path) -> None:
    assert run("keys", "add", "x") == 0
    async with open_storage(tmp_path / "own") as storage:
        await storage.migrate("auth", MIGRATIONS)
    made = []
    for folder in ("data", "own"):
        with sqlite3.connect(tmp_path / folder / FILE_NAME) as connection:
            rows = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
            made.append([(name, (sql or "").split()) for name, sql in rows])
        connection.close()
    assert made[0] == made[1]
    async with open_storage(tmp_path / "data") as storage:
        await storage.migrate("auth", MIGRATIONS)
        assert await storage.read("SELECT owner, version FROM migrations") == [("auth", 1)]


@pytest.mark.parametrize(
    "arguments",
    [
        ("users", "add", "a b"),
        ("users", "add", "ada", "--role", "king"),
        ("keys", "add", ""),
        ("keys", "add", "x", "--network", "10.0.0.1/8"),
        ("keys", "add", "x", "--days", "-1"),
        ("keys", "rotate", "x", "--overlap", "604801"),
        ("keys", "rotate", "x", "--overlap", "nan"),
        ("users",),
    ],
)
def test_what_makes_no_sense_is_bad_usage(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments) == 2


def test_passwords_are_never_arguments() -> None:
    assert "--password" not in Path(arguments.__file__).read_text(encoding="utf-8").replace("--password-stdin", "")
    assert commands.DONE == 0
