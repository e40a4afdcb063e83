"""Everything that is known of keys, users and their sessions, and what concerns several of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import PlantroomError
from core.plugin import Context, Store
from plugins.auth import sessions as session_tables
from plugins.auth.addresses import KnownAddresses
from plugins.auth.config import AuthConfig
from plugins.auth.errors import SignInFailed, TotpConflict
from plugins.auth.key_store import Keys
from plugins.auth.ledger import Ledger
from plugins.auth.lockout import Lockout
from plugins.auth.sessions import Session, Sessions
from plugins.auth.users import User, Users

LOOK_EVERY_S = 0.5
"""How soon is noticed what the command line changed."""
SAVE_EVERY_S = 60.0


class Accounts:
    """Keys, users, sessions and known addresses, with the ledger by which they are changed."""

    def __init__(self, config: AuthConfig, ctx: Context, lockout: Lockout) -> None:
        self._ctx = ctx
        self._lockout = lockout
        self.keys = Keys(ctx.clock, config.bootstrap)
        self.users = Users()
        self.sessions = Sessions(ctx.clock, config.session)
        self.addresses = KnownAddresses(ctx.clock)
        parts = (self.keys.load, self._load_users, self.sessions.load, self.addresses.load)
        self.ledger = Ledger(ctx.store, parts)

    # what concerns users and their sessions

    def insist(self, user: User) -> None:
        """See that a user who gave the right password still may sign in by it: checking one takes a while.

        Raises SignInFailed.
        """
        now = self.users.find(user.name)
        if now is None or now.disabled or now.password_set != user.password_set:
            raise SignInFailed

    async def set_own_password(self, user: User, hashed: str, *, address: str, agent: str) -> tuple[Session, str]:
        """Change a password as the user does, and begin another session in the place of all; raises UserNotFound."""
        changed = await self.set_password(user.name, hashed)
        return await self.sessions.begin(
            self.ledger, user.name, address=address, agent=agent, still=lambda: self.insist(changed)
        )

    async def set_password(self, name: str, hashed: str) -> User:
        """Give a user another password: all sessions end, failures are forgiven. Raises UserNotFound."""
        now = self._ctx.clock.utc()
        changes = {"password_hash": hashed, "password_changed_at": now}
        user = await self.users.change(self.ledger, name, changes, also=session_tables.deleting_all_of(name))
        self.sessions.forget(lambda session: session.user == name)
        self._lockout.forgive(name)
        return user

    async def change_user(self, name: str, changes: Mapping[str, Any]) -> User:
        """Change a user as an admin does, who may not take the last admin's rights; raises UserNotFound, LastAdmin."""
        user = await self.users.change(
            self.ledger, name, changes, unless_last=not self.keys.has_whole_admin,
            also=session_tables.deleting_all_of(name) if changes.get("disabled") else None,
        )  # fmt: skip
        if user.disabled:
            self.sessions.forget(lambda session: session.user == name)
        return user

    async def remove_user(self, name: str) -> None:
        """Remove a user with all sessions; raises as `change_user` does."""
        await self.users.remove(self.ledger, name, unless_last=not self.keys.has_whole_admin)
        self.sessions.forget(lambda session: session.user == name)
        self._lockout.forgive(name)

    async def note_sign_in(self, name: str, address: str) -> None:
        """Remember when and from where a user signed in."""
        async with self.ledger.changing() as write:
            user = self.users.find(name)
            if user is not None:
                await self.users.update(write, user, signed_in_at=self._ctx.clock.utc())
        await self.addresses.add(self.ledger, name, address)

    async def replace_hash(self, name: str, *, before: str, after: str) -> None:
        """Keep a password under other parameters, unless it was changed meanwhile."""
        async with self.ledger.changing() as write:
            user = self.users.find(name)
            if user is not None and user.password_hash == before:
                await self.users.update(write, user, password_hash=after)

    async def spend_code(self, name: str, *, step: int | None, recovery: bytes | None) -> None:
        """Let a code be good for nothing any more; raises SignInFailed where another request has used it meanwhile."""
        async with self.ledger.changing() as write:
            user = self.users.find(name)
            if user is None:
                raise SignInFailed
            if step is not None and step > user.totp_step:
                await self.users.update(write, user, totp_step=step)
            elif recovery is not None and recovery in user.recovery_codes:
                await self.users.update(write, user, recovery_codes=user.recovery_codes - {recovery})
            else:
                raise SignInFailed

    async def switch_totp_on(self, name: str, *, secret: str, step: int, codes: frozenset[bytes]) -> User:
        """Put a second factor on that was begun with this secret; raises UserNotFound, TotpConflict."""
        async with self.ledger.changing() as write:
            user = self.users.get(name)
            if user.totp_begun != secret:
                raise TotpConflict("Another second factor was begun meanwhile; confirm that one.")
            return await self.users.update(
                write, user, totp_secret=secret, totp_begun=None, totp_step=step, recovery_codes=codes
            )

    # over time

    async def keep(self) -> None:
        """Notice what others changed, and write down now and then what was used; never returns."""
        failing, saved_at = False, self._ctx.clock.monotonic()
        while True:
            await self._ctx.clock.sleep(LOOK_EVERY_S)
            due = False
            try:
                await self.ledger.catch_up()
                due = self._ctx.clock.monotonic() - saved_at >= SAVE_EVERY_S
                if due:
                    saved_at = self._ctx.clock.monotonic()
                    await self.save()
            except PlantroomError as error:
                if not failing:
                    self._ctx.log.warning("accounts_not_kept", error=str(error))
                failing = True
            else:
                if failing and due:
                    self._ctx.log.info("accounts_kept")
                failing = failing and not due

    async def save(self) -> None:
        """Write down when keys and sessions were used, and remove sessions that have run out."""
        await self.sessions.end(self.ledger, self.sessions.is_over)
        statements = [*self.keys.saving(), *self.sessions.saving()]
        if statements:
            await self.ledger.note(*statements)

    async def _load_users(self, store: Store) -> None:
        """Read all users anew; whoever's password was set by the command line is forgiven what failed before."""
        before = {user.name: user.password_set for user in self.users}
        await self.users.load(store)
        for user in self.users:
            if before.get(user.name, user.password_set) != user.password_set:
                self._lockout.forgive(user.name)
