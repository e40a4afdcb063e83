"""REST: who asks, and what people change about themselves: the password, the second factor."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from aiohttp import web

from core.model import rfc3339
from core.plugin import (
    Context,
    FieldFault,
    Invalid,
    PermissionDenied,
    PrincipalKind,
    Role,
    Route,
    call_of_request,
    field,
    principal_of,
)
from plugins.auth import totp
from plugins.auth.accounts import Accounts
from plugins.auth.authentication import SessionAuthenticator
from plugins.auth.config import LONGEST_PASSWORD
from plugins.auth.errors import (
    CsrfRefused,
    ExtraMissing,
    Locked,
    PasswordUnfit,
    SignInBusy,
    TotpConflict,
    WrongPassword,
)
from plugins.auth.lockout import Attempt, Lockout
from plugins.auth.passwords import Passwords
from plugins.auth.routes.fields import NO_STORE, ScopeFields, confidential, shown_scope
from plugins.auth.routes.welcome import SET_COOKIE, LoginAnswer, signed_in_response
from plugins.auth.sessions import agent_of, csrf_token
from plugins.auth.users import NO_TOTP, User

_PASSWORD = {"max_length": LONGEST_PASSWORD, "example": "four-Words-nobody-expects-here"}


@attrs.frozen(kw_only=True)
class MeAnswer:
    """Who asks."""

    id: str = field(example="user:ada")
    kind: PrincipalKind = field(description="What is known of who asks.", example="user")
    name: str = field(example="ada")
    role: Role = field(example="viewer")
    scope: ScopeFields | None = field(description="What it is limited to; null: the whole house.")
    totp: bool | None = field(description="Whether a second factor is on; null for who is no user.", example=False)
    csrf_token: str | None = field(
        description="Send it as X-CSRF-Token with each request that changes something; null without a session.",
        example="9f2c...",
    )
    expires_at: str | None = field(description="When the session ends.", format="date-time")
    idle_expires_at: str | None = field(description="When it ends if it is not used.", format="date-time")


@attrs.frozen(kw_only=True)
class PasswordBody:
    """Another password, and the present one."""

    old_password: str = field(description="The present one.", **_PASSWORD)
    new_password: str = field(description="The one from now on.", **_PASSWORD)


@attrs.frozen(kw_only=True)
class TotpAnswer:
    """What an authenticator takes in, which is shown this once."""

    secret: str = field(description="In base32.", example="JBSWY3DPEHPK3PXP")
    uri: str = field(
        description="The same for a QR code.", example="otpauth://totp/Plantroom:ada?secret=JBSWY3DPEHPK3PXP"
    )


@attrs.frozen(kw_only=True)
class TotpBody:
    """The code that the authenticator shows."""

    code: str = field(max_length=64, example="492039")


@attrs.frozen(kw_only=True)
class RecoveryAnswer:
    """Codes for when the authenticator is lost, which are shown this once."""

    recovery_codes: Sequence[str] = field(description="Each is good once.", example=["k7f3-9xw2-mbqa-c4dz"])


@attrs.frozen(kw_only=True)
class ConfirmBody:
    """The present password."""

    password: str = field(**_PASSWORD)


class MeRoutes:
    """What is everybody's own."""

    def __init__(
        self,
        ctx: Context,
        accounts: Accounts,
        *,
        passwords: Passwords,
        lockout: Lockout,
        authenticator: SessionAuthenticator,
    ) -> None:
        self._ctx = ctx
        self._accounts = accounts
        self._passwords = passwords
        self._lockout = lockout
        self._authenticator = authenticator

    @property
    def routes(self) -> list[Route]:
        """Show who asks; change the password and the second factor."""
        guarded = (PermissionDenied, CsrfRefused)
        checked = (*guarded, WrongPassword, Locked, SignInBusy, ExtraMissing)
        return [
            Route(
                "GET", "/me", self.show, "Show who asks", answer=MeAnswer, role=Role.VIEWER, minds_scope=True,
                description="By which credentials, with what rights; for a browser with its CSRF token.",
            ),
            Route(
                "POST", "/me/password", self.password, "Change one's own password", body=PasswordBody,
                answer=LoginAnswer, role=Role.VIEWER, minds_scope=True, errors=(*checked, PasswordUnfit),
                sends=(SET_COOKIE,),
                description="All sessions of the user end; another one begins for who asks, with another CSRF token.",
            ),
            Route(
                "POST", "/me/totp", self.begin, "Begin a second factor", answer=TotpAnswer, role=Role.VIEWER,
                minds_scope=True, errors=(*guarded, TotpConflict, ExtraMissing),
                description="It is on once a code of it was confirmed.",
            ),
            Route(
                "POST", "/me/totp/confirm", self.confirm, "Put the second factor on", body=TotpBody,
                answer=RecoveryAnswer, role=Role.VIEWER, minds_scope=True,
                errors=(*guarded, TotpConflict, Locked, ExtraMissing),
                description="From then on signing in takes a code. Answers the recovery codes.",
            ),
            Route(
                "DELETE", "/me/totp", self.take_off, "Take the second factor off", body=ConfirmBody, status=204,
                role=Role.VIEWER, minds_scope=True, errors=(*checked, TotpConflict),
                description="The recovery codes are good for nothing then.",
            ),
        ]  # fmt: skip

    async def show(self, request: web.Request) -> MeAnswer:
        """Answer who asks."""
        call_of_request(request).answer_headers.extend(NO_STORE.items())
        principal, current = principal_of(request), self._authenticator.session_of(request.headers)
        sessions = self._accounts.sessions
        user = self._accounts.users.find(principal.name) if principal.kind is PrincipalKind.USER else None
        return MeAnswer(
            id=principal.id,
            kind=principal.kind,
            name=principal.name,
            role=principal.role,
            scope=shown_scope(principal.scope),
            totp=None if user is None else user.totp_secret is not None,
            csrf_token=None if current is None else csrf_token(current[1]),
            expires_at=None if current is None else rfc3339(sessions.ends_at(current[0])),
            idle_expires_at=None if current is None else rfc3339(sessions.idle_at(current[0])),
        )

    async def password(self, request: web.Request, *, body: PasswordBody) -> web.Response:
        """Change the password of who asks."""
        user, call = self._user(request), call_of_request(request)
        await self._confirmed(request, user, body.old_password)
        await self._passwords.judge(body.new_password, user.name, field="new_password")
        hashed = await self._passwords.hash(body.new_password)
        session, value = await self._accounts.set_own_password(user, hashed, address=call.client, agent=agent_of(call))
        self._ctx.log.info("password_changed", user=user.name)
        return signed_in_response(self._accounts, session, value, secure=call.secure)

    async def begin(self, request: web.Request) -> web.Response:
        """Begin a second factor."""
        user = self._user(request)
        if user.totp_secret is not None:
            raise TotpConflict("A second factor is on already; take it off first.")
        secret = totp.new_secret()
        await self._accounts.users.change(self._accounts.ledger, user.name, {"totp_begun": secret})
        return confidential(TotpAnswer(secret=secret, uri=totp.uri_of(secret, user.name)))

    async def confirm(self, request: web.Request, *, body: TotpBody) -> web.Response:
        """Put a second factor on."""
        user = self._user(request)
        if user.totp_begun is None:
            raise TotpConflict("No second factor was begun; POST /api/v1/auth/me/totp begins one.")
        attempt = self._attempt(request, user)
        step = totp.step_of(user.totp_begun, body.code, self._ctx.clock.utc(), after=user.totp_step)
        if step is None:
            fault = FieldFault("code", "invalid", "is not the one that the authenticator shows now")
            raise Invalid("This is not the code; check the clocks of both sides.", errors=[fault])
        self._lockout.succeeded(attempt)
        codes = totp.new_recovery_codes()
        digests = frozenset(map(totp.recovery_digest, codes))
        await self._accounts.switch_totp_on(user.name, secret=user.totp_begun, step=step, codes=digests)
        self._ctx.log.info("totp_on", user=user.name)
        return confidential(RecoveryAnswer(recovery_codes=codes))

    async def take_off(self, request: web.Request, *, body: ConfirmBody) -> None:
        """Take the second factor off."""
        user = self._user(request)
        if user.totp_secret is None:
            raise TotpConflict("No second factor is on.")
        await self._confirmed(request, user, body.password)
        await self._accounts.users.change(self._accounts.ledger, user.name, NO_TOTP)
        self._ctx.log.info("totp_off", user=user.name)

    def _user(self, request: web.Request) -> User:
        """Return the user who asks; raises PermissionDenied for a program."""
        principal = principal_of(request)
        if principal.kind is not PrincipalKind.USER:
            raise PermissionDenied("Only a user has a password and a second factor; sign in as one.")
        return self._accounts.users.get(principal.name)

    def _attempt(self, request: web.Request, user: User) -> Attempt:
        """Count a guess as one at signing in is; raises Locked."""
        address = call_of_request(request).client
        return self._lockout.begin(user.name, address, known=self._accounts.addresses.has(user.name, address))

    async def _confirmed(self, request: web.Request, user: User, password: str) -> None:
        """See that who asks knows the password; raises WrongPassword and Locked."""
        attempt = self._attempt(request, user)
        try:
            right = await self._passwords.is_right(password, user.password_hash)
        except (SignInBusy, ExtraMissing):
            self._lockout.take_back(attempt)
            raise
        if not right:
            raise WrongPassword("This is not your present password.")
        self._lockout.succeeded(attempt)
