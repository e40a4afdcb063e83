"""REST: the API keys, for admins."""

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
from core.serialize import UNSET, Unset
from plugins.auth import key_table
from plugins.auth.accounts import Accounts
from plugins.auth.errors import KeyNotFound, KeyOfEnvironment
from plugins.auth.key_table import LONGEST_OVERLAP_S, ApiKey
from plugins.auth.routes.fields import (
    ScopeFields,
    changes_in,
    confidential,
    networks_of,
    scope_of,
    shown_scope,
    time_of,
)

LIST = "api-keys"
EXAMPLE_ID = "k7f3q09xw2mb"
_EXAMPLE_KEY = "plr_k7f3q09xw2mb_..."
_PARAMETERS = {"key_id": FieldInfo(description="The key's id: what stands behind `plr_` in it.", example=EXAMPLE_ID)}
_NAME: dict[str, Any] = {"min_length": 1, "max_length": 100, "example": "energy report"}
_EXPIRES: dict[str, Any] = {
    "max_length": 40, "format": "date-time", "example": "2027-01-31T12:00:00.000Z",
    "description": "When it ends to work; null: never.",
}  # fmt: skip
_NETWORKS: dict[str, Any] = {
    "min_length": 2, "max_length": 43, "max_items": 64, "example": ["10.0.0.0/8"],
    "description": "From where it works; none: from anywhere.",
}  # fmt: skip
_ENABLED: dict[str, Any] = {"description": "Whether it works at all.", "example": True}
_LOCATION = Header(
    "Location", FieldInfo(description="Where the key is.", example=f"/api/v1/auth/api-keys/{EXAMPLE_ID}")
)


@attrs.frozen(kw_only=True)
class KeysQuery(ListQuery):
    """Which keys to list; a filter given several times takes any of its values."""

    sort: Literal["id", "-id", "name", "-name", "created_at", "-created_at"] = field(default="id", description=SORT)
    role: tuple[Role, ...] = field(default=(), description="Only those of these roles.", example="viewer")


@attrs.frozen(kw_only=True)
class NewKeyBody:
    """A key to make."""

    name: str = field(description="What it is for; several may have the same.", **_NAME)
    role: Role = field(description="What may be done with it.", example="viewer")
    scope: ScopeFields | None = field(default=None, description="What it is limited to; null: the whole house.")
    expires_at: str | None = field(default=None, **_EXPIRES)
    networks: tuple[str, ...] = field(default=(), **_NETWORKS)


@attrs.frozen(kw_only=True)
class KeyPatch:
    """What to change of a key; what is not mentioned stays."""

    name: str | Unset = field(default=UNSET, **_NAME)
    role: Role | Unset = field(default=UNSET, example="viewer")
    scope: ScopeFields | None | Unset = field(default=UNSET)
    expires_at: str | None | Unset = field(default=UNSET, **_EXPIRES)
    networks: tuple[str, ...] | Unset = field(default=UNSET, **_NETWORKS)
    enabled: bool | Unset = field(default=UNSET, **_ENABLED)


@attrs.frozen(kw_only=True)
class RotateBody:
    """How to rotate a key."""

    overlap_s: float = field(
        default=0.0, min=0, max=LONGEST_OVERLAP_S, example=3600,
        description="For how many seconds the present value works on.",
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class KeyAnswer:
    """An API key, without its value."""

    id: str = field(example=EXAMPLE_ID)
    name: str = field(example="energy report")
    role: Role = field(example="viewer")
    scope: ScopeFields | None = field(description="What it is limited to; null: the whole house.")
    networks: tuple[str, ...] = field(description="From where it works; none: from anywhere.", example=[])
    enabled: bool = field(**_ENABLED)
    expires_at: str | None = field(description="When it ends to work; null: never.", format="date-time")
    created_at: str = field(format="date-time", example="2026-01-31T12:00:00.000Z")
    created_by: str = field(description="Who made it.", example="user:ada")
    last_used_at: str | None = field(description="To the minute.", format="date-time")
    last_used_from: str | None = field(description="The address.", example="10.1.2.3")
    rotated_away_until: str | None = field(
        description="Until when values that were rotated away work on.", format="date-time"
    )


@attrs.frozen(kw_only=True)
class MadeKeyAnswer(KeyAnswer):
    """An API key with its value, which is shown this once."""

    key: str = field(description="Send it as X-API-Key. It is shown this once.", example=_EXAMPLE_KEY)


class KeyRoutes:
    """The resource api-keys."""

    def __init__(self, ctx: Context, accounts: Accounts) -> None:
        self._ctx = ctx
        self._keys = accounts.keys
        self._ledger = accounts.ledger
        self._at = f"/api/v1/{ctx.name}/api-keys"
        self._cursors = Cursors(secrets.token_bytes(32))

    @property
    def routes(self) -> list[Route]:
        """List, make, show, change, rotate and revoke keys."""
        at, one = "/api-keys", "/api-keys/{key_id}"
        of_key = {"key_id": "$response.body#/id"}
        links = tuple(Link(method, f"{self._at}/{{key_id}}", of_key) for method in ("GET", "PATCH", "DELETE"))
        links = (*links, Link("POST", f"{self._at}/{{key_id}}/rotate", of_key))
        known = (KeyNotFound, KeyOfEnvironment)
        return [
            Route(
                "GET", at, self.list, "List API keys", query=KeysQuery, answer=ListAnswer[KeyAnswer],
                role=Role.ADMIN, errors=(InvalidCursor,), description="Without their values, which nobody knows.",
            ),
            Route(
                "POST", at, self.make, "Make an API key", body=NewKeyBody, answer=MadeKeyAnswer, status=201,
                role=Role.ADMIN, sends=(_LOCATION,), links=links,
                description="Its value is answered this once: only a digest of it is kept.",
            ),
            Route(
                "GET", one, self.show, "Show an API key", answer=KeyAnswer, role=Role.ADMIN,
                errors=(KeyNotFound,), parameters=_PARAMETERS, description="Without its value.",
            ),
            Route(
                "PATCH", one, self.change, "Change an API key", body=KeyPatch, answer=KeyAnswer, role=Role.ADMIN,
                errors=known, parameters=_PARAMETERS,
                description="Effective at once. What is not mentioned stays.",
            ),
            Route(
                "DELETE", one, self.revoke, "Revoke an API key", status=204, role=Role.ADMIN, errors=known,
                parameters=_PARAMETERS, description="Effective at once, and for good.",
            ),
            Route(
                "POST", f"{one}/rotate", self.rotate, "Give an API key a new value", body=RotateBody,
                answer=MadeKeyAnswer, role=Role.ADMIN, errors=known, parameters=_PARAMETERS,
                description="The new value is answered this once; the present one works on for the overlap.",
            ),
        ]  # fmt: skip

    async def list(self, _request: web.Request, *, query: KeysQuery) -> ListAnswer[KeyAnswer]:
        """Answer a page of keys."""
        keys = {key.id: key for key in self._keys}

        def pick(position: tuple[str | float, ...]) -> ApiKey | None:
            key = keys[str(position[-1])]
            return key if (not query.role or key.role in query.role) and found(query.q, key.id, key.name) else None

        positions = sorted(_position(key, query.sort.removeprefix("-")) for key in keys.values())
        listed = page(self._cursors, LIST, query, keys=positions, pick=pick)
        return envelope(listed, [self._shown(key) for key in listed.rows])

    async def make(self, request: web.Request, *, body: NewKeyBody) -> web.Response:
        """Make a key."""
        key = key_table.fresh(
            body.name, body.role, now=self._ctx.clock.utc(), created_by=str(principal_of(request).id),
            scope=scope_of(body.scope), networks=networks_of(body.networks),
            expires_at=time_of(body.expires_at, "expires_at"),
        )  # fmt: skip
        key, text = await self._keys.make(self._ledger, key)
        self._log(request, "key_made", key)
        return confidential(self._made(key, text), status=201, location=f"{self._at}/{key.id}")

    async def show(self, _request: web.Request, *, key_id: str) -> KeyAnswer:
        """Answer a key."""
        return self._shown(self._keys.get(key_id))

    async def change(self, request: web.Request, *, key_id: str, body: KeyPatch) -> KeyAnswer:
        """Change a key."""
        changes = changes_in(body)
        if "scope" in changes:
            changes["scope"] = scope_of(changes["scope"])
        if "networks" in changes:
            changes["networks"] = networks_of(changes["networks"])
        if "expires_at" in changes:
            changes["expires_at"] = time_of(changes["expires_at"], "expires_at")
        key = await self._keys.change(self._ledger, key_id, changes)
        self._log(request, "key_changed", key, changed=sorted(changes))
        return self._shown(key)

    async def revoke(self, request: web.Request, *, key_id: str) -> None:
        """Revoke a key."""
        self._log(request, "key_revoked", await self._keys.revoke(self._ledger, key_id))

    async def rotate(self, request: web.Request, *, key_id: str, body: RotateBody) -> web.Response:
        """Rotate a key."""
        key, text = await self._keys.rotate(self._ledger, key_id, overlap_s=body.overlap_s)
        self._log(request, "key_rotated", key, overlap_s=body.overlap_s)
        return confidential(self._made(key, text))

    def _shown(self, key: ApiKey) -> KeyAnswer:
        return KeyAnswer(**self._fields(key))

    def _made(self, key: ApiKey, text: str) -> MadeKeyAnswer:
        return MadeKeyAnswer(**self._fields(key), key=text)

    def _fields(self, key: ApiKey) -> dict[str, Any]:
        use, now = self._keys.use_of(key.id), self._ctx.clock.utc()
        ends = [each.valid_until for each in key.secrets if each.valid_until is not None and each.valid_until > now]
        return {
            "id": key.id,
            "name": key.name,
            "role": key.role,
            "scope": shown_scope(key.scope),
            "networks": key.networks,
            "enabled": key.enabled,
            "expires_at": rfc3339(key.expires_at),
            "created_at": rfc3339(key.created_at),
            "created_by": key.created_by,
            "last_used_at": None if use is None else rfc3339(use.at // 60 * 60),
            "last_used_from": None if use is None else use.address,
            "rotated_away_until": rfc3339(max(ends, default=None)),
        }

    def _log(self, request: web.Request, event: str, key: ApiKey, **more: Any) -> None:
        by = principal_of(request).id
        self._ctx.log.info(event, key=key.id, name=key.name, role=key.role.value, by=by, **more)


def _position(key: ApiKey, sort: str) -> tuple[str | float, ...]:
    """Return where a key stands in a list."""
    match sort:
        case "name":
            return key.name.casefold(), key.id
        case "created_at":
            return key.created_at, key.id
    return (key.id,)
