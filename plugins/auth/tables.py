"""The plugin's tables, and how what is in them is written: scopes and networks as JSON, digests as octets."""

from __future__ import annotations

from typing import Any, TypeAlias

import orjson

from core.plugin import Migration, Scope

Row: TypeAlias = tuple[Any, ...]
Statement: TypeAlias = tuple[str, list[Row]]

MIGRATIONS = (
    Migration(
        1,
        """
        CREATE TABLE IF NOT EXISTS auth_facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
        INSERT INTO auth_facts VALUES ('revision', 0) ON CONFLICT (name) DO NOTHING;
        CREATE TABLE IF NOT EXISTS auth_keys (
            id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, scope TEXT, networks TEXT NOT NULL,
            enabled INTEGER NOT NULL, created_at REAL NOT NULL, created_by TEXT NOT NULL, expires_at REAL,
            used_at REAL, used_from TEXT
        ) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS auth_secrets (
            digest BLOB PRIMARY KEY, key_id TEXT NOT NULL REFERENCES auth_keys (id) ON DELETE CASCADE, valid_until REAL
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS auth_secrets_of_key ON auth_secrets (key_id);
        CREATE TABLE IF NOT EXISTS auth_users (
            name TEXT PRIMARY KEY, role TEXT NOT NULL, scope TEXT, password_hash TEXT NOT NULL,
            disabled INTEGER NOT NULL, created_at REAL NOT NULL, created_by TEXT NOT NULL,
            password_changed_at REAL NOT NULL, signed_in_at REAL,
            totp_secret TEXT, totp_begun TEXT, totp_step INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS auth_recovery_codes (
            user TEXT NOT NULL REFERENCES auth_users (name) ON DELETE CASCADE, digest BLOB NOT NULL,
            PRIMARY KEY (user, digest)
        ) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS auth_addresses (
            user TEXT NOT NULL REFERENCES auth_users (name) ON DELETE CASCADE, address TEXT NOT NULL,
            seen_at REAL NOT NULL, PRIMARY KEY (user, address)
        ) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS auth_sessions (
            digest BLOB PRIMARY KEY, id TEXT NOT NULL UNIQUE,
            user TEXT NOT NULL REFERENCES auth_users (name) ON DELETE CASCADE,
            created_at REAL NOT NULL, used_at REAL NOT NULL, address TEXT NOT NULL, agent TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS auth_sessions_of_user ON auth_sessions (user)
        """,
    ),
)

REVISION = "SELECT value FROM auth_facts WHERE name = 'revision'"
REVISED: Statement = ("UPDATE auth_facts SET value = value + 1 WHERE name = 'revision'", [()])
"""What a process does with each change that others are to notice."""


def scope_text(scope: Scope | None) -> str | None:
    """Write a scope; None is the whole house."""
    if scope is None:
        return None
    return orjson.dumps({"plugins": scope.plugins, "devices": scope.devices, "tags": scope.tags}).decode()


def scope_in(text: str | None) -> Scope | None:
    """Read a scope back."""
    if text is None:
        return None
    return Scope(**{name: tuple(values) for name, values in orjson.loads(text).items()})


def list_text(values: tuple[str, ...]) -> str:
    """Write some texts."""
    return orjson.dumps(values).decode()


def list_in(text: str) -> tuple[str, ...]:
    """Read texts back."""
    return tuple(orjson.loads(text))
