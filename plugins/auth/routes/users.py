"""REST: the users, for admins."""

from __future__ import annotations

import secrets
from typing import Any, Literal

import attrs
from aiohttp import web

from core.api.lists import SORT, ListAnswer, ListQuery, envelope, found, page
from core.cursors import Cursors
from core.errors import InvalidCursor
from core.model import rfc3339
from core.plugin import Context, FieldInfo, Header, Link, Role, Route, field, principal_of
from core.serialize import UNSET, Unset, dumps
from plugins.auth import users
from plugins.auth.accounts import Accounts
from plugins.auth.config import LONGEST_PASSWORD
from plugins.auth.errors import ExtraMissing, LastAdmin, NameTaken, PasswordUnfit, SignInBusy, UserNotFound
from plugins.auth.passwords import Passwords
from plugins.auth.routes.fields import ScopeFields, changes_in, scope_of, shown_scope
from plugins.auth.users import NAME_PATTERN, NO_TOTP, User, folded

LIST = "users"
_PARAMETERS = {"user_id": FieldInfo(description="The user's name.", example="ada")}
_PASSWORD: dict[str, Any] = {
    "min_length": 1, "max_length": LONGEST_PASSWORD, "example": "four-Words-nobody-expects-here",
    "description": "Long, and none of those that are guessed first.",
}  # fmt: skip
_LOCATION = Header("Location", FieldInfo(description="Where the user is.", example="/api/v1/auth/users/ada"))


@attrs.frozen(kw_only=True)
class UsersQuery(ListQuery):
    """Which users to list; a filter given several times takes any of its values."""

    sort: Literal["id", "-id", "created_at", "-created_at"] = field(default="id", description=SORT)
    role: tuple[Role, ...] = field(default=(), description="Only those of these roles.", example="viewer")
    disabled: bool | None = field(default=None, description="Whether they are disabled.", example=False)


@attrs.frozen(kw_only=True)
class NewUserBody:
    """A user to make."""

    name: str = field(
        pattern=NAME_PATTERN, min_length=1, max_length=64, example="ada",
        description="Unique; capital letters do not count. It never changes.",
    )  # fmt: skip
    password: str = field(**_PASSWORD)
    role: Role = field(description="What the user may do.", example="viewer")
    scope: ScopeFields | None = field(default=None, description="What it is limited to; null: the whole house.")


@attrs.frozen(kw_only=True)
class UserPatch:
    """What to change of a user; what is not mentioned stays."""

    role: Role | Unset = field(default=UNSET, example="viewer")
    scope: ScopeFields | None | Unset = field(default=UNSET)
    disabled: bool | Unset = field(
        default=UNSET, description="Whether the user is kept out; sessions end at once.", example=False
    )
    password: str | Unset = field(default=UNSET, **_PASSWORD)


@attrs.frozen(kw_only=True)
class UserAnswer:
    """A user."""

    id: str = field(description="The name.", example="ada")
    name: str = field(example="ada")
    role: Role = field(example="viewer")
    scope: ScopeFields | None = field(description="What it is limited to; null: the whole house.")
    disabled: bool = field(example=False)
    totp: bool = field(description="Whether a second factor is on.", example=False)
    created_at: str = field(format="date-time", example="2026-01-31T12:00:00.000Z")
    created_by: str = field(description="Who made the user.", example="key:k7f3q09xw2mb")
    password_changed_at: str = field(format="date-time", example="2026-01-31T12:00:00.000Z")
    signed_in_at: str | None = field(description="When last.", format="date-time")


class UserRoutes:
    """The resource users."""

    def __init__(self, ctx: Context, accounts: Accounts, passwords: Passwords) -> None:
        self._ctx = ctx
        self._accounts = accounts
        self._passwords = passwords
        self._at = f"/api/v1/{ctx.name}/users"
        self._cursors = Cursors(secrets.token_bytes(32))

    @property
    def routes(self) -> list[Route]:
        """List, make, show, change and remove users."""
        at, one = "/users", "/users/{user_id}"
        links = tuple(
            Link(method, f"{self._at}/{{user_id}}", {"user_id": "$response.body#/id"})
            for method in ("GET", "PATCH", "DELETE")
        )
        hashing = (PasswordUnfit, SignInBusy, ExtraMissing)
        return [
            Route(
                "GET", at, self.list, "List users", query=UsersQuery, answer=ListAnswer[UserAnswer],
                role=Role.ADMIN, errors=(InvalidCursor,), description="Who can sign in with a password.",
            ),
            Route(
                "POST", at, self.make, "Make a user", body=NewUserBody, answer=UserAnswer, status=201,
                role=Role.ADMIN, errors=(NameTaken, *hashing), sends=(_LOCATION,), links=links,
                description="Tell the password by a way that nobody else reads; the user can change it.",
            ),
            Route(
                "GET", one, self.show, "Show a user", answer=UserAnswer, role=Role.ADMIN,
                errors=(UserNotFound,), parameters=_PARAMETERS, description="With when the last sign-in was.",
            ),
            Route(
                "PATCH", one, self.change, "Change a user", body=UserPatch, answer=UserAnswer, role=Role.ADMIN,
                errors=(UserNotFound, LastAdmin, *hashing), parameters=_PARAMETERS,
                description="Effective at once. Another password ends all sessions and forgives failed sign-ins.",
            ),
            Route(
                "DELETE", one, self.remove, "Remove a user", status=204, role=Role.ADMIN,
                errors=(UserNotFound, LastAdmin), parameters=_PARAMETERS, description="All sessions end at once.",
            ),
            Route(
                "DELETE", f"{one}/totp", self.take_totp_off, "Take a user's second factor off", status=204,
                role=Role.ADMIN, errors=(UserNotFound,), parameters=_PARAMETERS,
                description="For who has lost it; the recovery codes are good for nothing then.",
            ),
        ]  # fmt: skip

    async def list(self, _request: web.Request, *, query: UsersQuery) -> ListAnswer[UserAnswer]:
        """Answer a page of users."""
        every = {user.name: user for user in self._accounts.users}

        def pick(position: tuple[str | float, ...]) -> User | None:
            user = every[str(position[-1])]
            wanted = (not query.role or user.role in query.role) and query.disabled in (None, user.disabled)
            return user if wanted and found(query.q, user.name) else None

        by_time = query.sort.endswith("created_at")
        positions = sorted((user.created_at, user.name) if by_time else (user.name,) for user in every.values())
        listed = page(self._cursors, LIST, query, keys=positions, pick=pick)
        return envelope(listed, [user_answer(user) for user in listed.rows])

    async def make(self, request: web.Request, *, body: NewUserBody) -> web.Response:
        """Make a user."""
        name = folded(body.name)
        if self._accounts.users.find(name) is not None:
            raise NameTaken(f"There is a user called {name!r} already.")
        await self._passwords.judge(body.password, name, field="password")
        user = users.fresh(
            name, body.role, password_hash=await self._passwords.hash(body.password), now=self._ctx.clock.utc(),
            created_by=principal_of(request).id, scope=scope_of(body.scope),
        )  # fmt: skip
        user = await self._accounts.users.make(self._accounts.ledger, user)
        self._log(request, "user_made", user)
        return web.Response(
            status=201, body=dumps(user_answer(user)), content_type="application/json",
            headers={"Location": f"{self._at}/{user.name}"},
        )  # fmt: skip

    async def show(self, _request: web.Request, *, user_id: str) -> UserAnswer:
        """Answer a user."""
        return user_answer(self._accounts.users.get(user_id))

    async def change(self, request: web.Request, *, user_id: str, body: UserPatch) -> UserAnswer:
        """Change a user."""
        changes = changes_in(body)
        mentioned = sorted(changes)
        user = self._accounts.users.get(user_id)
        password = changes.pop("password", None)
        hashed = None
        if password is not None:
            await self._passwords.judge(password, user_id, field="password")
            hashed = await self._passwords.hash(password)
        if "scope" in changes:
            changes["scope"] = scope_of(changes["scope"])
        if changes:
            user = await self._accounts.change_user(user_id, changes)
        if hashed is not None:
            user = await self._accounts.set_password(user_id, hashed)
        self._log(request, "user_changed", user, changed=mentioned)
        return user_answer(user)

    async def remove(self, request: web.Request, *, user_id: str) -> None:
        """Remove a user."""
        user = self._accounts.users.get(user_id)
        await self._accounts.remove_user(user_id)
        self._log(request, "user_removed", user)

    async def take_totp_off(self, request: web.Request, *, user_id: str) -> None:
        """Take a second factor off."""
        user = await self._accounts.users.change(self._accounts.ledger, user_id, NO_TOTP)
        self._log(request, "totp_off", user)

    def _log(self, request: web.Request, event: str, user: User, **more: Any) -> None:
        self._ctx.log.info(event, user=user.name, role=user.role.value, by=principal_of(request).id, **more)


def user_answer(user: User) -> UserAnswer:
    """Show a user."""
    return UserAnswer(
        id=user.name,
        name=user.name,
        role=user.role,
        scope=shown_scope(user.scope),
        disabled=user.disabled,
        totp=user.totp_secret is not None,
        created_at=str(rfc3339(user.created_at)),
        created_by=user.created_by,
        password_changed_at=str(rfc3339(user.password_changed_at)),
        signed_in_at=rfc3339(user.signed_in_at),
    )
