"""All API keys, in memory by their digests, and how they are made, changed, rotated and revoked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from core.plugin import Clock, Role, Store
from core.security import Secret
from plugins.auth.config import VARIABLE
from plugins.auth.errors import KeyNotFound, KeyOfEnvironment
from plugins.auth.key_table import ALL_KEYS, ApiKey, KeySecret, deleting, inserting, key_in, rotated, updating
from plugins.auth.keys import digest, new_key
from plugins.auth.ledger import Ledger
from plugins.auth.tables import Row, Statement

BOOTSTRAP = "bootstrap"


@attrs.frozen
class Use:
    """When a key was last used, and from which address."""

    at: float
    address: str


class Keys:
    """The keys of the tables, and the environment's, which is in no table.

    ``version`` grows with each change, so that who remembers keys knows when to forget them.
    """

    def __init__(self, clock: Clock, environment: Secret | None = None) -> None:
        self._clock = clock
        self._keys: dict[str, ApiKey] = {}
        self._by_digest: dict[bytes, tuple[ApiKey, KeySecret]] = {}
        self._uses: dict[str, Use] = {}
        self._unsaved: set[str] = set()
        self._environment = _of_environment(environment, clock.utc())
        self.version = 0
        self._index()

    def __iter__(self) -> Iterator[ApiKey]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key_id: str) -> ApiKey:
        """Return a key; raises KeyNotFound."""
        key = self._keys.get(key_id)
        if key is None:
            raise KeyNotFound(f"No key has the id {key_id!r}; GET /api/v1/auth/api-keys lists them.")
        return key

    def find(self, text: str) -> tuple[ApiKey, KeySecret] | None:
        """Return the key that a text is the value of, whether it works or not."""
        return self._by_digest.get(digest(text))

    def use_of(self, key_id: str) -> Use | None:
        """Return when a key was last used; None: never."""
        return self._uses.get(key_id)

    def used(self, key_id: str, use: Use) -> None:
        """Note that a key was used; `saving` writes it down."""
        self._uses[key_id] = use
        self._unsaved.add(key_id)

    @property
    def has_free_form(self) -> bool:
        """Whether there is a key whose form anything may have."""
        return self._environment is not None

    @property
    def has_whole_admin(self) -> bool:
        """Whether somebody can manage the house by a key."""
        now = self._clock.utc()
        return any(key.is_whole_admin(now) for key in self)

    # changes

    async def make(self, ledger: Ledger, key: ApiKey) -> tuple[ApiKey, str]:
        """Keep a new key, and return it with its value, which is known this once."""
        text = new_key(key.id)
        secret = KeySecret(digest(text))
        key = attrs.evolve(key, secrets=(secret,))
        async with ledger.changing() as write:
            await write(*inserting(key, secret))
            self._put(key)
        return key, text

    async def change(self, ledger: Ledger, key_id: str, changes: Mapping[str, Any]) -> ApiKey:
        """Change fields of a key, effective at once; raises KeyNotFound, KeyOfEnvironment."""
        async with ledger.changing() as write:
            key = attrs.evolve(self._changeable(key_id), **changes)
            await write(updating(key))
            self._put(key)
        return key

    async def rotate(self, ledger: Ledger, key_id: str, *, overlap_s: float) -> tuple[ApiKey, str]:
        """Give a key a new value, the present one working on for so many seconds; raises as `change` does."""
        async with ledger.changing() as write:
            key = self._changeable(key_id)
            secrets, text, statements = rotated(key_id, key.secrets, self._clock.utc(), overlap_s)
            await write(*statements)
            key = attrs.evolve(key, secrets=secrets)
            self._put(key)
        return key, text

    async def revoke(self, ledger: Ledger, key_id: str) -> ApiKey:
        """Remove a key, effective at once; raises as `change` does."""
        async with ledger.changing() as write:
            key = self._changeable(key_id)
            await write(deleting(key_id))
            del self._keys[key_id]
            self._uses.pop(key_id, None)
            self._index()
        return key

    def _changeable(self, key_id: str) -> ApiKey:
        if self._environment is not None and key_id == self._environment.id:
            raise KeyOfEnvironment
        return self.get(key_id)

    # memory and tables

    async def load(self, store: Store) -> None:
        """Read all keys anew."""
        secrets: dict[str, list[KeySecret]] = {}
        for key_id, value, valid_until in await store.read("SELECT key_id, digest, valid_until FROM auth_secrets"):
            secrets.setdefault(key_id, []).append(KeySecret(value, valid_until))
        rows = await store.read(ALL_KEYS)
        self._keys = {row[0]: key_in(row[:-2], tuple(secrets.get(row[0], ()))) for row in rows}
        for *key, used_at, used_from in rows:
            if used_at is not None and key[0] not in self._unsaved:
                self._uses[key[0]] = Use(used_at, used_from)
        self._index()

    def saving(self) -> list[Statement]:
        """Return how to write down which keys were used since the last time."""
        unsaved, self._unsaved = self._unsaved, set()
        rows: list[Row] = [(use.at, use.address, key_id) for key_id in unsaved if (use := self._uses.get(key_id))]
        return [("UPDATE auth_keys SET used_at = ?, used_from = ? WHERE id = ?", rows)] if rows else []

    def _put(self, key: ApiKey) -> None:
        self._keys[key.id] = key
        self._index()

    def _index(self) -> None:
        if self._environment is not None:
            self._keys[self._environment.id] = self._environment
        self._by_digest = {secret.digest: (key, secret) for key in self._keys.values() for secret in key.secrets}
        if self._environment is not None:  # it wins, also where its value was made here once
            (secret,) = self._environment.secrets
            self._by_digest[secret.digest] = (self._environment, secret)
        self.version += 1


def _of_environment(value: Secret | None, now: float) -> ApiKey | None:
    if value is None:
        return None
    secret = KeySecret(digest(value.reveal()))
    return ApiKey(id=BOOTSTRAP, name=BOOTSTRAP, role=Role.ADMIN, created_at=now, created_by=VARIABLE, secrets=(secret,))
