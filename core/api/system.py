"""Says what this installation is, and where everything else is."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from aiohttp import web

from core.manager import PluginManager, PluginState
from core.routes import Route
from core.serialize import field

LINKS = {
    "devices": "/api/v1/devices",
    "points": "/api/v1/points",
    "plugins": "/api/v1/plugins",
    "jobs": "/api/v1/jobs",
    "sinks": "/api/v1/sinks",
    "errors": "/api/v1/errors",
    "openapi": "/api/v1/openapi.json",
    "docs": "/api/docs",
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


@attrs.frozen(kw_only=True)
class SystemAnswer:
    """What this installation is, and where everything else is."""

    name: str = field(example="Plantroom")
    version: str = field(example="0.1.0")
    site: str = field(description="The installation's name, from the configuration.", example="local")
    installation_id: str = field(
        description="Made once, kept in the data directory.", format="uuid",
        example="0d6a1c3e-5b8f-4f57-9a53-2f1f1c0f5f0e",
    )  # fmt: skip
    plugins: Mapping[str, PluginState] = field(description="Their states, by name.", example={"bacnet": "running"})
    links: Mapping[str, str] = field(description="Where to go on, by name.", example=LINKS)


class System:
    """The resource /api/v1."""

    def __init__(self, facts: SystemFacts, manager: PluginManager) -> None:
        self._facts = facts
        self._manager = manager

    @property
    def routes(self) -> list[Route]:
        """The route of this resource."""
        return [
            Route(
                "GET", "/api/v1", self.get, "Tell what this installation is", answer=SystemAnswer, minds_scope=True,
                description="Where to begin: name, version, the plugins' states, and where everything else is.",
            )
        ]  # fmt: skip

    async def get(self, _request: web.Request) -> SystemAnswer:
        """Answer the facts, the plugins' states, and links."""
        return SystemAnswer(
            name="Plantroom",
            version=self._facts.version,
            site=self._facts.site,
            installation_id=self._facts.installation_id,
            plugins={plugin.name: plugin.state for plugin in self._manager},
            links=LINKS,
        )
