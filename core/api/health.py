"""Tells whether the process lives, and whether the house is ready."""

from __future__ import annotations

from typing import Any

import structlog
from aiohttp import web

from core.errors import Unavailable
from core.manager import LoadedPlugin, PluginManager, PluginState
from core.routes import Health, HealthCheck, Route


def healthz() -> Route:
    """The route that answers while the process lives."""

    async def handler(_request: web.Request) -> dict[str, str]:
        return {"status": "ok"}

    return Route("GET", "/healthz", handler, "Tell that the process lives", role=None)


def readyz(manager: PluginManager) -> Route:
    """The route that answers once every enabled plugin has started or failed."""

    async def handler(_request: web.Request) -> dict[str, Any]:
        enabled = [plugin for plugin in manager if plugin.state is not PluginState.DISABLED]
        missing = [each.name for each in enabled if each.entry.required and each.state is not PluginState.RUNNING]
        if missing:
            raise Unavailable(f"Required plugins do not run: {', '.join(missing)}; see GET /api/v1/plugins.")
        healths = {plugin.name: health_of(plugin) for plugin in enabled}
        well = all(health is Health.OK for health in healths.values())
        states = {plugin.name: {"state": plugin.state, "health": healths[plugin.name]} for plugin in enabled}
        return {"status": Health.OK if well else Health.DEGRADED, "plugins": states}

    return Route("GET", "/readyz", handler, "Tell whether the house is ready", role=None, errors=(Unavailable,))


def health_of(plugin: LoadedPlugin) -> Health:
    """Sum a plugin up: it runs, and none of its checks says otherwise."""
    results = [run_check(plugin.name, check)[0] for check in plugin.checks]
    well = plugin.state is PluginState.RUNNING and all(health is Health.OK for health in results)
    return Health.OK if well else Health.DEGRADED


def run_check(owner: str, check: HealthCheck) -> tuple[Health, str]:
    """Take a plugin's own look at itself; a check that raises is no good sign."""
    try:
        health, sentence = check.check()
        return Health(health), str(sentence)
    except Exception as error:  # a plugin's code: its failure stays with it
        structlog.get_logger().warning("health_check_failed", plugin=owner, check=check.name, error=str(error))
        return Health.DEGRADED, f"the check failed: {type(error).__name__}"
