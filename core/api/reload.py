"""Takes over a changed configuration, or says what that would change."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

import attrs
from aiohttp import web

from core.differences import Differences
from core.principals import Role
from core.reload import ReloadRefused, ReloadUndone
from core.routes import Route
from core.serialize import field


@attrs.frozen
class ReloadQuery:
    """Whether to do it."""

    dry_run: bool = field(default=False, description="`true`: only say what would change.", example=True)


class Reload(Protocol):
    """Follow the configuration as it is now; raises ReloadRefused or ReloadUndone where everything stays."""

    def __call__(self, *, dry_run: bool) -> Awaitable[Differences]: ...


class ReloadRoutes:
    """The resource /api/v1/system/reload."""

    def __init__(self, reload: Reload) -> None:
        self._reload = reload

    @property
    def routes(self) -> list[Route]:
        """The route of this resource."""
        return [
            Route(
                "POST", "/api/v1/system/reload", self.post, "Take over a changed configuration",
                query=ReloadQuery, answer=Differences, role=Role.ADMIN, errors=(ReloadRefused, ReloadUndone),
                description="Reads the configuration again. Only plugins that changed restart, and those that need "
                "them; requests to them wait until they are back. What fails changes nothing.",
            )
        ]  # fmt: skip

    async def post(self, _request: web.Request, *, query: ReloadQuery) -> Differences:
        """Read the configuration again; only what changed, and what needs it, restarts."""
        return await self._reload(dry_run=query.dry_run)
