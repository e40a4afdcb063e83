"""What a browser is answered as it is signed in, and out: its session's cookie, and what belongs to that."""

from __future__ import annotations

import attrs
from aiohttp import web

from core.model import rfc3339
from core.plugin import FieldInfo, Header, field
from plugins.auth.accounts import Accounts
from plugins.auth.routes.fields import confidential
from plugins.auth.routes.users import UserAnswer, user_answer
from plugins.auth.sessions import COOKIE, Session, csrf_token

SET_COOKIE = Header(
    "Set-Cookie", FieldInfo(description="The session, for browsers.", example=f"{COOKIE}=...; HttpOnly")
)


@attrs.frozen(kw_only=True)
class LoginAnswer:
    """Who is signed in, and for how long."""

    user: UserAnswer = field(description="The user.")
    csrf_token: str = field(
        description="Send it as X-CSRF-Token with each request that changes something.", example="9f2c..."
    )
    expires_at: str = field(
        description="When the session ends.", format="date-time", example="2026-01-31T12:00:00.000Z"
    )
    idle_expires_at: str = field(
        description="When it ends if it is not used.", format="date-time", example="2026-01-31T00:30:00.000Z"
    )


def signed_in_response(accounts: Accounts, session: Session, value: str, *, secure: bool) -> web.Response:
    """Answer with a session's cookie, which is sent back to us alone, by no script, and by no other site's page."""
    sessions = accounts.sessions
    response = confidential(
        LoginAnswer(
            user=user_answer(accounts.users.get(session.user)),
            csrf_token=csrf_token(value),
            expires_at=str(rfc3339(sessions.ends_at(session))),
            idle_expires_at=str(rfc3339(sessions.idle_at(session))),
        )
    )
    lasts_s = int(sessions.ends_at(session) - session.created_at)
    response.set_cookie(COOKIE, value, path="/", max_age=lasts_s, httponly=True, samesite="Strict", secure=secure)
    return response


def signed_out_response(*, secure: bool) -> web.Response:
    """Answer with the cookie taken back."""
    response = web.Response(status=204)
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict", secure=secure)
    return response
