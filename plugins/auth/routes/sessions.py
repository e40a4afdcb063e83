"""REST: signing in and out, and the sessions that there are."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from typing import Literal

import attrs
from aiohttp import web

from core.api.lists import SORT, ListAnswer, ListQuery, envelope, found, page
from core.cursors import Cursors
from core.errors import InvalidCursor
from core.model import rfc3339
from core.plugin import (
    Context,
    FieldInfo,
    Principal,
    PrincipalKind,
    Role,
    Route,
    call_of_request,
    field,
    principal_of,
)
from plugins.auth.accounts import Accounts
from plugins.auth.authentication import SessionAuthenticator
from plugins.auth.config import LONGEST_PASSWORD
from plugins.auth.csrf import insist_on_own_site
from plugins.auth.errors import CsrfRefused, ExtraMissing, Locked, SessionNotFound, SignInBusy, SignInFailed
from plugins.auth.routes.welcome import SET_COOKIE, LoginAnswer, signed_in_response, signed_out_response
from plugins.auth.sessions import Session
from plugins.auth.sign_in import SignIn

LIST = "sessions"
LONGEST_NAME, LONGEST_CODE = 256, 64
_PARAMETERS = {"session_id": FieldInfo(description="The session's id in the list.", example="q0zt81ccx5mn")}


@attrs.frozen(kw_only=True)
class LoginBody:
    """Who wants to sign in."""

    name: str = field(max_length=LONGEST_NAME, example="ada")
    password: str = field(max_length=LONGEST_PASSWORD, example="four-Words-nobody-expects-here")
    code: str | None = field(
        default=None, max_length=LONGEST_CODE, description="Of the second factor, where one is on; or a recovery code.",
        example="492039",
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class SessionsQuery(ListQuery):
    """Which sessions to list."""

    sort: Literal["id", "-id", "created_at", "-created_at"] = field(default="id", description=SORT)
    user: tuple[str, ...] = field(default=(), description="Names of users; only admins see others'.", example="ada")


@attrs.frozen(kw_only=True)
class SessionAnswer:
    """A browser in which somebody is signed in."""

    id: str = field(example="q0zt81ccx5mn")
    user: str = field(example="ada")
    current: bool = field(description="Whether it is the one that asks.", example=True)
    address: str = field(description="Where it began.", example="10.1.2.3")
    agent: str = field(description="What the browser calls itself.", example="Mozilla/5.0")
    created_at: str = field(format="date-time", example="2026-01-31T00:00:00.000Z")
    last_used_at: str = field(format="date-time", example="2026-01-31T00:00:00.000Z")
    expires_at: str = field(format="date-time", example="2026-01-31T12:00:00.000Z")
    idle_expires_at: str = field(format="date-time", example="2026-01-31T00:30:00.000Z")


class SessionRoutes:
    """Signing in and out, and the resource sessions."""

    def __init__(
        self,
        ctx: Context,
        accounts: Accounts,
        *,
        sign_in: SignIn,
        authenticator: SessionAuthenticator,
        origins: Collection[str],
    ) -> None:
        self._ctx = ctx
        self._accounts = accounts
        self._sign_in = sign_in
        self._authenticator = authenticator
        self._origins = origins
        self._cursors = Cursors(secrets.token_bytes(32))

    @property
    def routes(self) -> list[Route]:
        """Sign in, sign out, list and end sessions."""
        return [
            Route(
                "POST", "/login", self.login, "Sign in", body=LoginBody, answer=LoginAnswer, role=None,
                errors=(SignInFailed, CsrfRefused, Locked, SignInBusy, ExtraMissing), sends=(SET_COOKIE,),
                description="For browsers: begins a session, whose cookie no page can read. Programs use keys.",
            ),
            Route(
                "POST", "/logout", self.logout, "Sign out", status=204, role=Role.VIEWER, minds_scope=True,
                errors=(CsrfRefused,), sends=(SET_COOKIE,),
                description="Ends the session in which it is asked; with a key there is none to end.",
            ),
            Route(
                "POST", "/logout-everywhere", self.logout_everywhere, "Sign out everywhere", status=204,
                role=Role.VIEWER, minds_scope=True, errors=(CsrfRefused,), sends=(SET_COOKIE,),
                description="Ends all sessions of the user who asks, this one too.",
            ),
            Route(
                "GET", "/sessions", self.list, "List sessions", query=SessionsQuery,
                answer=ListAnswer[SessionAnswer], role=Role.VIEWER, minds_scope=True, errors=(InvalidCursor,),
                description="One's own; an admin of the whole house sees all.",
            ),
            Route(
                "DELETE", "/sessions/{session_id}", self.end, "End a session", status=204, role=Role.VIEWER,
                minds_scope=True, errors=(SessionNotFound, CsrfRefused), parameters=_PARAMETERS,
                description="One's own; an admin of the whole house can end any. Effective at once.",
            ),
        ]  # fmt: skip

    async def login(self, request: web.Request, *, body: LoginBody) -> web.Response:
        """Sign a user in."""
        call = call_of_request(request)
        insist_on_own_site(call, self._origins)
        signed_in = await self._sign_in(call, body.name, body.password, body.code)
        return signed_in_response(self._accounts, signed_in.session, signed_in.value, secure=call.secure)

    async def logout(self, request: web.Request) -> web.Response:
        """End the session that a request is made in."""
        found_session = self._authenticator.session_of(request.headers)
        if found_session is not None:
            await self._end(request, lambda session: session is found_session[0])
        return signed_out_response(secure=call_of_request(request).secure)

    async def logout_everywhere(self, request: web.Request) -> web.Response:
        """End all sessions of who asks."""
        user = _user_of(principal_of(request))
        if user is not None:
            await self._end(request, lambda session: session.user == user)
        return signed_out_response(secure=call_of_request(request).secure)

    async def list(self, request: web.Request, *, query: SessionsQuery) -> ListAnswer[SessionAnswer]:
        """Answer a page of sessions."""
        visible = _visible_to(principal_of(request))
        sessions = {each.id: each for each in self._accounts.sessions if visible(each)}
        current = self._authenticator.session_of(request.headers)

        def pick(position: tuple[str | float, ...]) -> Session | None:
            each = sessions[str(position[-1])]
            wanted = not query.user or each.user in query.user
            return each if wanted and found(query.q, each.id, each.user, each.agent) else None

        by_time = query.sort.endswith("created_at")
        positions = sorted((each.created_at, each.id) if by_time else (each.id,) for each in sessions.values())
        listed = page(self._cursors, LIST, query, keys=positions, pick=pick)
        return envelope(listed, [self._answer(each, current) for each in listed.rows])

    async def end(self, request: web.Request, *, session_id: str) -> None:
        """End a session."""
        visible = _visible_to(principal_of(request))
        ended = await self._end(request, lambda session: session.id == session_id and visible(session))
        if not ended:
            raise SessionNotFound(f"No session has the id {session_id!r}; GET {self._list_path} lists them.")

    @property
    def _list_path(self) -> str:
        return f"/api/v1/{self._ctx.name}/sessions"

    async def _end(self, request: web.Request, which: Callable[[Session], bool]) -> bool:
        ended = await self._accounts.sessions.end(self._accounts.ledger, which)
        for session in ended:
            by = principal_of(request).id
            self._ctx.log.info("session_ended", user=session.user, session=session.id, by=by)
        return bool(ended)

    def _answer(self, session: Session, current: tuple[Session, str] | None) -> SessionAnswer:
        sessions = self._accounts.sessions
        return SessionAnswer(
            id=session.id,
            user=session.user,
            current=current is not None and current[0] is session,
            address=session.address,
            agent=session.agent,
            created_at=str(rfc3339(session.created_at)),
            last_used_at=str(rfc3339(session.used_at)),
            expires_at=str(rfc3339(sessions.ends_at(session))),
            idle_expires_at=str(rfc3339(sessions.idle_at(session))),
        )


def _user_of(principal: Principal) -> str | None:
    return principal.name if principal.kind is PrincipalKind.USER else None


def _visible_to(principal: Principal) -> Callable[[Session], bool]:
    """Say which sessions somebody may see and end."""
    if principal.role is Role.ADMIN and principal.scope is None:
        return lambda _session: True
    user = _user_of(principal)
    return lambda session: session.user == user
