"""`plantroom users` and `plantroom keys`: for whoever has a shell on the machine, signed in or not."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from core.errors import PlantroomError
from core.model import rfc3339
from core.plugin import CliCommand, Context, Role, Scope
from plugins.auth import key_table, users
from plugins.auth.arguments import key_arguments, user_arguments
from plugins.auth.database import Database, opened
from plugins.auth.key_table import KeySecret
from plugins.auth.keys import digest, new_key
from plugins.auth.passwords import Passwords
from plugins.auth.sessions import deleting_all_of
from plugins.auth.users import NO_TOTP, User, folded

DONE, FAILED = 0, 1
WHO = "the command line"
DAY_S = 86_400.0


class Commands:
    """The commands, with what they need of the plugin; they work with the tables themselves."""

    def __init__(self, ctx: Context, passwords: Passwords) -> None:
        self._ctx = ctx
        self._passwords = passwords

    @property
    def commands(self) -> Iterable[CliCommand]:
        """Users and keys."""
        return [
            CliCommand("users", "make, list and remove users, and set their passwords", self._run, user_arguments),
            CliCommand("keys", "make, list, rotate and revoke API keys", self._run, key_arguments),
        ]

    def _run(self, options: argparse.Namespace) -> int:
        """Do it; what is wrong is said in a line."""
        do = _DEEDS[options.command, options.what]
        try:
            with opened(self._ctx.data_dir, self._ctx.name, make=options.what == "add") as database:
                do(self, database, options)
        except PlantroomError as error:
            sys.stderr.write(f"plantroom {options.command} {options.what}: {error.detail}\n")
            sys.stderr.writelines(f"  {fault.field}: {fault.message}\n" for fault in error.errors)
            return FAILED
        return DONE

    # users

    def _add_user(self, database: Database, options: argparse.Namespace) -> None:
        name = folded(options.name)
        if _user(database, name) is not None:
            raise PlantroomError(f"there is a user called {name!r} already")
        user = users.fresh(
            name, Role(options.role), password_hash=self._asked_password(name, options), now=self._ctx.clock.utc(),
            created_by=WHO, scope=_scope(options),
        )  # fmt: skip
        database.write(users.inserting(user))
        sys.stdout.write(f"{name} may sign in as {user.role}.\n")

    def _list_users(self, database: Database, options: argparse.Namespace) -> None:
        found = [users.user_in(row) for row in database.read(users.ALL_USERS)]
        rows = [
            {
                "name": user.name,
                "role": user.role.value,
                "scope": str(user.scope or "everything"),
                "state": "disabled" if user.disabled else "enabled",
                "second_factor": "on" if user.totp_secret else "off",
                "signed_in_at": rfc3339(user.signed_in_at),
            }
            for user in found
        ]
        _show(rows, as_json=options.json)

    def _revoke_user(self, database: Database, options: argparse.Namespace) -> None:
        name = _insist(database, options.name).name
        database.write(users.deleting(name))
        sys.stdout.write(f"{name} is removed, and signed out everywhere.\n")

    def _set_password(self, database: Database, options: argparse.Namespace) -> None:
        user = _insist(database, options.name)
        hashed = self._asked_password(user.name, options)
        changes = "UPDATE auth_users SET password_hash = ?, password_changed_at = ?, disabled = 0 WHERE name = ?"
        database.write((changes, [(hashed, self._ctx.clock.utc(), user.name)]), deleting_all_of(user.name))
        sys.stdout.write(f"{user.name} has the new password, is enabled, and signed out everywhere.\n")

    def _reset_totp(self, database: Database, options: argparse.Namespace) -> None:
        name = _insist(database, options.name).name
        cleared = ", ".join(f"{column} = NULL" for column in NO_TOTP if column != "recovery_codes")
        database.write(
            (f"UPDATE auth_users SET {cleared} WHERE name = ?", [(name,)]),  # noqa: S608  # our own names
            ("DELETE FROM auth_recovery_codes WHERE user = ?", [(name,)]),
        )
        sys.stdout.write(f"{name} signs in without a second factor.\n")

    def _asked_password(self, name: str, options: argparse.Namespace) -> str:
        """Ask for a password, judge it, and return its hash."""
        if options.password_stdin:
            password = sys.stdin.readline().rstrip("\r\n")
        else:
            password = getpass.getpass(f"Password of {name}: ")
            if getpass.getpass("Once more: ") != password:
                raise PlantroomError("these are two different passwords; nothing was changed")
        self._passwords.judge_now(password, name)
        return self._passwords.hash_now(password)

    # keys

    def _add_key(self, database: Database, options: argparse.Namespace) -> None:
        now = self._ctx.clock.utc()
        expires_at = None if options.days is None else now + options.days * DAY_S
        key = key_table.fresh(
            options.name, Role(options.role), now=now, created_by=WHO, scope=_scope(options),
            networks=tuple(options.network), expires_at=expires_at,
        )  # fmt: skip
        text = new_key(key.id)
        database.write(*key_table.inserting(key, KeySecret(digest(text))))
        sys.stderr.write(f"key {key.id} of role {key.role}; this is the only time that it is shown:\n")
        sys.stdout.write(f"{text}\n")

    def _list_keys(self, database: Database, options: argparse.Namespace) -> None:
        rows = []
        for *columns, used_at, used_from in database.read(key_table.ALL_KEYS):
            key = key_table.key_in(columns)
            rows.append(
                {
                    "id": key.id,
                    "name": key.name,
                    "role": key.role.value,
                    "scope": str(key.scope or "everything"),
                    "networks": ", ".join(key.networks) or "any",
                    "state": "enabled" if key.works(self._ctx.clock.utc()) else "disabled or expired",
                    "expires_at": rfc3339(key.expires_at),
                    "last_used_at": rfc3339(used_at),
                    "last_used_from": used_from,
                }
            )
        _show(rows, as_json=options.json)

    def _rotate_key(self, database: Database, options: argparse.Namespace) -> None:
        rows = database.read("SELECT digest, valid_until FROM auth_secrets WHERE key_id = ?", (options.id,))
        secrets = tuple(KeySecret(*row) for row in rows)
        _new, text, statements = key_table.rotated(options.id, secrets, self._ctx.clock.utc(), options.overlap)
        if not secrets:
            raise PlantroomError(f"no key has the id {options.id!r}; `plantroom keys list` lists them")
        database.write(*statements)
        sys.stderr.write(f"key {options.id}; this is the only time that its new value is shown:\n")
        sys.stdout.write(f"{text}\n")

    def _revoke_key(self, database: Database, options: argparse.Namespace) -> None:
        if not database.read("SELECT 1 FROM auth_keys WHERE id = ?", (options.id,)):
            raise PlantroomError(f"no key has the id {options.id!r}; `plantroom keys list` lists them")
        database.write(key_table.deleting(options.id))
        sys.stdout.write(f"key {options.id} is revoked.\n")


_DEEDS: Mapping[tuple[str, str], Callable[[Commands, Database, argparse.Namespace], None]] = {
    ("users", "add"): Commands._add_user,  # noqa: SLF001  # a table of its own methods
    ("users", "list"): Commands._list_users,  # noqa: SLF001
    ("users", "revoke"): Commands._revoke_user,  # noqa: SLF001
    ("users", "password"): Commands._set_password,  # noqa: SLF001
    ("users", "reset-totp"): Commands._reset_totp,  # noqa: SLF001
    ("keys", "add"): Commands._add_key,  # noqa: SLF001
    ("keys", "list"): Commands._list_keys,  # noqa: SLF001
    ("keys", "rotate"): Commands._rotate_key,  # noqa: SLF001
    ("keys", "revoke"): Commands._revoke_key,  # noqa: SLF001
}


def _user(database: Database, name: str) -> User | None:
    rows = [row for row in database.read(users.ALL_USERS) if row[0] == name]
    return users.user_in(rows[0]) if rows else None


def _insist(database: Database, name: str) -> User:
    user = _user(database, folded(name))
    if user is None:
        raise PlantroomError(f"no user is called {name!r}; `plantroom users list` lists them")
    return user


def _scope(options: argparse.Namespace) -> Scope | None:
    given = tuple(map(tuple, (options.plugin, options.device, options.tag)))
    return Scope(*given) if any(given) else None


def _show(rows: Sequence[Mapping[str, str | None]], *, as_json: bool) -> None:
    """Write a list, as JSON or as a table in which no name can do anything to a terminal."""
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    if not rows:
        sys.stdout.write("There are none.\n")
        return
    cells = [
        [name.upper().replace("_", " ") for name in rows[0]],
        *([_cell(value) for value in row.values()] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _cell(value: str | None) -> str:
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in value or "-")
