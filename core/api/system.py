"""Says what this installation is, and where everything else is."""

from __future__ import annotations

from typing import Any

import attrs
from aiohttp import web

from core.manager import PluginManager
from core.routes import Route

LINKS = {
    "devices": "/api/v1/devices",
    "points": "/api/v1/points",
    "plugins": "/api/v1/plugins",
    "jobs": "/api/v1/jobs",
    "errors": "/api/v1/errors",
    "metrics": "/metrics",
    "health": "/healthz",
    "ready": "/readyz",
}


@attrs.frozen
class SystemFacts:
    """What does not change while the process runs; ``installation_id`` is a UUID."""

    version: str
    site: str
    installation_id: str


class System:
    """The resource /api/v1."""

    def __init__(self, facts: SystemFacts, manager: PluginManager) -> None:
        self._facts = facts
        self._manager = manager

    @property
    def routes(self) -> list[Route]:
        """The route of this resource."""
        return [Route("GET", "/api/v1", self.get, "Tell what this installation is")]

    async def get(self, _request: web.Request) -> dict[str, Any]:
        """Answer the facts, the plugins' states, and links."""
        return {
            "name": "Plantroom",
            "version": self._facts.version,
            "site": self._facts.site,
            "installation_id": self._facts.installation_id,
            "plugins": {plugin.name: plugin.state for plugin in self._manager},
            "links": LINKS,
        }
