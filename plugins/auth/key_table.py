"""An API key as it is kept: a row, and the digests of its present value and of those that are being rotated away."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from typing import Any

import attrs

from core.plugin import Principal, PrincipalKind, Role, Scope
from plugins.auth.config import Network
from plugins.auth.keys import digest, new_id, new_key
from plugins.auth.tables import Statement, list_in, list_text, scope_in, scope_text

LONGEST_OVERLAP_S = 604_800
MOST_OLD_VALUES = 4


@attrs.frozen
class KeySecret:
    """One of a key's values, by its digest; ``valid_until`` is set once another has taken its place."""

    digest: bytes = attrs.field(repr=False)
    valid_until: float | None = None


@attrs.frozen(kw_only=True)
class ApiKey:
    """A program's key, without its value; times are seconds since the epoch."""

    id: str
    name: str
    role: Role
    scope: Scope | None = None
    networks: tuple[str, ...] = ()
    enabled: bool = True
    created_at: float
    created_by: str
    expires_at: float | None = None
    secrets: tuple[KeySecret, ...] = ()

    @property
    def principal(self) -> Principal:
        """Who a request with this key is from."""
        return Principal(f"key:{self.id}", self.name, self.role, PrincipalKind.KEY, self.scope)

    @property
    def parsed_networks(self) -> tuple[Network, ...]:
        return tuple(map(ipaddress.ip_network, self.networks))

    def works(self, now: float) -> bool:
        """Tell whether anybody gets in with it."""
        return self.enabled and (self.expires_at is None or now < self.expires_at)

    def is_whole_admin(self, now: float) -> bool:
        """Tell whether it may manage everything."""
        return self.works(now) and self.role is Role.ADMIN and self.scope is None

    def works_until(self, secret: KeySecret) -> float:
        """Return when one of its values ends to work, if nothing is changed before."""
        if not self.enabled:
            return -math.inf
        return min(math.inf if end is None else end for end in (self.expires_at, secret.valid_until))


def fresh(name: str, role: Role, *, now: float, created_by: str, **fields: Any) -> ApiKey:
    """Describe a key that is to be made; ``fields`` are others of `ApiKey`."""
    return ApiKey(id=new_id(), name=name, role=role, created_at=now, created_by=created_by, **fields)


# statements

_COLUMNS = "id, name, role, scope, networks, enabled, created_at, created_by, expires_at"
ALL_KEYS = f"SELECT {_COLUMNS}, used_at, used_from FROM auth_keys ORDER BY created_at, id"  # noqa: S608  # our own names


def key_in(row: Sequence[Any], secrets: tuple[KeySecret, ...] = ()) -> ApiKey:
    """Read a key from a row, but for its secrets and its last use."""
    key_id, name, role, scope, networks, enabled, created_at, created_by, expires_at = row
    return ApiKey(
        id=key_id,
        name=name,
        role=Role(role),
        scope=scope_in(scope),
        networks=list_in(networks),
        enabled=bool(enabled),
        created_at=created_at,
        created_by=created_by,
        expires_at=expires_at,
        secrets=secrets,
    )


def inserting(key: ApiKey, secret: KeySecret) -> tuple[Statement, ...]:
    """Write a new key with its secret."""
    row = (
        *(key.id, key.name, key.role.value, scope_text(key.scope), list_text(key.networks), key.enabled),
        *(key.created_at, key.created_by, key.expires_at),
    )
    return (
        (f"INSERT INTO auth_keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [row]),  # noqa: S608  # our own names
        _inserting_secrets(key.id, secret),
    )


def updating(key: ApiKey) -> Statement:
    """Write what may change of a key."""
    scope, networks = scope_text(key.scope), list_text(key.networks)
    return (
        "UPDATE auth_keys SET name = ?, role = ?, scope = ?, networks = ?, enabled = ?, expires_at = ? WHERE id = ?",
        [(key.name, key.role.value, scope, networks, key.enabled, key.expires_at, key.id)],
    )


def rotated(
    key_id: str, present: tuple[KeySecret, ...], now: float, overlap_s: float
) -> tuple[tuple[KeySecret, ...], str, tuple[Statement, ...]]:
    """Return a key's secrets with a new one before its present ones, its new value, and how to write that down.

    What had been rotated away before keeps its own end, if that comes first.
    """
    text, end = new_key(key_id), now + overlap_s
    ending = [attrs.evolve(each, valid_until=min(each.valid_until or math.inf, end)) for each in present]
    kept = [each for each in ending if each.valid_until is not None and each.valid_until > now][:MOST_OLD_VALUES]
    secrets = (KeySecret(digest(text)), *kept)
    return (
        secrets,
        text,
        (("DELETE FROM auth_secrets WHERE key_id = ?", [(key_id,)]), _inserting_secrets(key_id, *secrets)),
    )


def _inserting_secrets(key_id: str, *secrets: KeySecret) -> Statement:
    return (
        "INSERT INTO auth_secrets (digest, key_id, valid_until) VALUES (?, ?, ?)",
        [(secret.digest, key_id, secret.valid_until) for secret in secrets],
    )


def deleting(key_id: str) -> Statement:
    """Remove a key with its secrets."""
    return "DELETE FROM auth_keys WHERE id = ?", [(key_id,)]
