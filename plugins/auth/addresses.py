"""The addresses from which each user has signed in before, and which a flood of wrong passwords must not lock out."""

from __future__ import annotations

from core.plugin import Clock, Store
from plugins.auth.ledger import Ledger
from plugins.auth.lockout import place

MOST_OF_USER = 32
SEEN_ANEW_AFTER_S = 86_400.0


class KnownAddresses:
    """The last addresses of each user, with when they were last seen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, dict[str, float]] = {}

    def has(self, user: str, address: str) -> bool:
        """Tell whether a user has signed in from there before."""
        return place(address) in self._seen.get(user, ())

    async def add(self, ledger: Ledger, user: str, address: str) -> None:
        """Remember that a user has signed in from there; of too many the one unseen for longest is forgotten."""
        seen, at, now = dict(self._seen.get(user, {})), place(address), self._clock.utc()
        if now - seen.get(at, float("-inf")) < SEEN_ANEW_AFTER_S:
            return
        async with ledger.changing() as write:
            seen = {**self._seen.get(user, {}), at: now}
            gone = sorted(seen, key=lambda each: seen[each])[: max(0, len(seen) - MOST_OF_USER)]
            await write(
                ("DELETE FROM auth_addresses WHERE user = ? AND address = ?", [(user, each) for each in gone]),
                (_UPSERT, [(at, now, user)]),
            )
            self._seen[user] = {each: seen[each] for each in seen if each not in gone}

    async def load(self, store: Store) -> None:
        """Read all addresses anew."""
        self._seen = {}
        for user, address, seen_at in await store.read("SELECT user, address, seen_at FROM auth_addresses"):
            self._seen.setdefault(user, {})[address] = seen_at


_UPSERT = """INSERT INTO auth_addresses (user, address, seen_at) SELECT name, ?, ? FROM auth_users WHERE name = ?
    ON CONFLICT (user, address) DO UPDATE SET seen_at = excluded.seen_at"""
