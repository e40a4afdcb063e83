"""Makes the first admin's key, where nobody could manage the house otherwise, and keeps it in a file."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from core.plugin import Context, Role
from plugins.auth import key_table
from plugins.auth.key_store import Keys
from plugins.auth.keys import id_in
from plugins.auth.ledger import Ledger
from plugins.auth.users import Users

FILE_NAME = "admin-key"
NAME = "admin"
MODE = 0o600


async def see_to_an_admin(ctx: Context, ledger: Ledger, keys: Keys, users: Users) -> None:
    """Make a key of an admin if there is none that works and no user who is one; its value is in the file alone.

    A file with a key that does not work any more is removed first, so that nobody tries it.
    """
    path = ctx.data_dir / FILE_NAME
    if _is_outdated(path, keys, ctx.clock.utc()):
        path.unlink(missing_ok=True)
    if keys.has_whole_admin or users.has_whole_admin:
        return
    key = key_table.fresh(NAME, Role.ADMIN, now=ctx.clock.utc(), created_by="plantroom")
    key, text = await keys.make(ledger, key)
    write_privately(path, f"{text}\n")
    ctx.log.info("key_made", key=key.id, name=key.name, role=key.role.value, file=str(path))


def _is_outdated(path: Path, keys: Keys, now: float) -> bool:
    """Tell whether a file holds a key of ours that does not work; of other files we know nothing."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return False
    if id_in(text) is None:
        return False
    found = keys.find(text)
    return found is None or found[0].works_until(found[1]) <= now


def write_privately(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


def keep_private(database: Path) -> None:
    """Let nobody but its owner read the database, which holds what second factors are made of; raises OSError."""
    for path in (database, *(database.with_name(database.name + suffix) for suffix in ("-wal", "-shm"))):
        with suppress(FileNotFoundError):
            path.chmod(MODE)
