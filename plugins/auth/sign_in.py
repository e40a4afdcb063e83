"""Signs users in, by name, password and perhaps a code, such that nothing tells which of them was wrong."""

from __future__ import annotations

from collections import Counter

import attrs

from core.plugin import Call, Context, PlantroomError
from plugins.auth import totp
from plugins.auth.accounts import Accounts
from plugins.auth.errors import Locked, SignInFailed
from plugins.auth.lockout import Attempt, Lockout
from plugins.auth.passwords import Passwords
from plugins.auth.sessions import Session, agent_of, brought_value
from plugins.auth.users import User, folded


@attrs.frozen
class SignedIn:
    """A user with the session that begins, and its secret id."""

    user: User
    session: Session
    value: str = attrs.field(repr=False)


class SignIn:
    """The way in for users."""

    def __init__(
        self, ctx: Context, accounts: Accounts, passwords: Passwords, lockout: Lockout, *, failures: Counter[str]
    ) -> None:
        self._ctx = ctx
        self._accounts = accounts
        self._passwords = passwords
        self._lockout = lockout
        self._failures = failures

    async def __call__(self, call: Call, name: str, password: str, code: str | None) -> SignedIn:
        """Sign a user in; the session that the browser brought along ends, whoever's it was.

        Raises SignInFailed, Locked, SignInBusy and ExtraMissing.
        """
        attempt = self._begin(call, folded(name))
        try:
            user = await self._checked(attempt, password, code)
            signed_in = await self._session(call, user)
        except SignInFailed:
            self._failed(attempt, call)
            raise
        except PlantroomError:
            self._lockout.take_back(attempt)
            raise
        self._lockout.succeeded(attempt)
        await self._accounts.note_sign_in(user.name, call.client)
        if self._passwords.is_outgrown(user.password_hash):
            await self._rehash(user, password)
        self._ctx.log.info("sign_in", user=user.name, address=call.client, session=signed_in.session.id)
        return signed_in

    def _begin(self, call: Call, name: str) -> Attempt:
        try:
            return self._lockout.begin(name, call.client, known=self._accounts.addresses.has(name, call.client))
        except Locked:
            self._failures["locked"] += 1
            self._ctx.log.warning("sign_in_locked", user=self._known_name(name), address=call.client)
            raise

    async def _checked(self, attempt: Attempt, password: str, code: str | None) -> User:
        """See whether all is right; every way out takes one comparison of a password."""
        user = self._accounts.users.find(attempt.name)
        right = await self._passwords.is_right(password, None if user is None else user.password_hash)
        if user is None or not right or user.disabled:
            raise SignInFailed
        if user.totp_secret is not None:
            await self._use_code(attempt, user.name, code or "")
        return user

    async def _use_code(self, attempt: Attempt, name: str, code: str) -> None:
        """Take a code, or a recovery code, which is good for nothing from then on."""
        user = self._accounts.users.find(name)
        if user is None or user.totp_secret is None or not self._lockout.takes_code(attempt):
            raise SignInFailed
        step = totp.step_of(user.totp_secret, code, self._ctx.clock.utc(), after=user.totp_step)
        spent = totp.recovery_digest(code)
        if step is None and spent not in user.recovery_codes:
            self._lockout.code_failed(attempt)
            raise SignInFailed
        await self._accounts.spend_code(name, step=step, recovery=spent if step is None else None)

    async def _session(self, call: Call, user: User) -> SignedIn:
        accounts = self._accounts

        brought = brought_value(call.headers)
        if brought is not None and (old := accounts.sessions.find(brought)) is not None:
            await accounts.sessions.end(accounts.ledger, lambda session: session is old)
        session, value = await accounts.sessions.begin(
            accounts.ledger, user.name, address=call.client, agent=agent_of(call), still=lambda: accounts.insist(user)
        )
        return SignedIn(user, session, value)

    async def _rehash(self, user: User, password: str) -> None:
        hashed = await self._passwords.hash(password)
        await self._accounts.replace_hash(user.name, before=user.password_hash, after=hashed)

    def _failed(self, attempt: Attempt, call: Call) -> None:
        self._failures["sign_in"] += 1
        self._ctx.log.warning("sign_in_failed", user=self._known_name(attempt.name), address=call.client)

    def _known_name(self, name: str) -> str | None:
        """Return a name for the log; what is no user's may be a password that was typed into the wrong field."""
        return name if self._accounts.users.find(name) is not None else None
