"""Tells whether the process lives, and whether the house is ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import attrs
import structlog
from aiohttp import web

from core.errors import Unavailable
from core.manager import LoadedPlugin, PluginManager, PluginState
from core.routes import Health, HealthCheck, Route
from core.serialize import field


@attrs.frozen
class LifeAnswer:
    """That the process lives."""

    status: Literal["ok"] = field(example="ok")


@attrs.frozen
class PluginHealth:
    """How a plugin is, in short."""

    state: PluginState = field(example="running")
    health: Health = field(example="ok")


@attrs.frozen
class CheckAnswer:
    """What one look at a plugin, or at the house, says."""

    check: str = field(example="link 127.0.0.1/8:47808")
    status: Health = field(example="ok")
    detail: str = field(example="up")


@attrs.frozen
class ReadinessAnswer:
    """How the house is."""

    status: Health = field(description="`degraded` where a plugin is, or a check says so.", example="ok")
    plugins: Mapping[str, PluginHealth] = field(
        description="Every enabled plugin, by name.", example={"bacnet": {"state": "running", "health": "ok"}}
    )
    checks: tuple[CheckAnswer, ...] = field(description="How the house itself is, such as its certificate.", example=[])


def healthz() -> Route:
    """The route that answers while the process lives."""

    async def handler(_request: web.Request) -> LifeAnswer:
        return LifeAnswer("ok")

    return Route(
        "GET", "/healthz", handler, "Tell that the process lives", answer=LifeAnswer, role=None,
        description="Answered while the process lives, even while it starts and stops.",
    )  # fmt: skip


def readyz(manager: PluginManager, checks: Sequence[HealthCheck] = ()) -> Route:
    """The route that answers once every enabled plugin has started or failed."""

    async def handler(_request: web.Request) -> ReadinessAnswer:
        enabled = [plugin for plugin in manager if plugin.state is not PluginState.DISABLED]
        missing = [each.name for each in enabled if each.entry.required and each.state is not PluginState.RUNNING]
        if missing:
            raise Unavailable(f"Required plugins do not run: {', '.join(missing)}; see GET /api/v1/plugins.")
        healths = {plugin.name: health_of(plugin) for plugin in enabled}
        own = tuple(CheckAnswer(check.name, *run_check("core", check)) for check in checks)
        well = all(health is Health.OK for health in (*healths.values(), *(each.status for each in own)))
        states = {plugin.name: PluginHealth(plugin.state, healths[plugin.name]) for plugin in enabled}
        return ReadinessAnswer(Health.OK if well else Health.DEGRADED, states, own)

    return Route(
        "GET", "/readyz", handler, "Tell whether the house is ready", answer=ReadinessAnswer, role=None,
        errors=(Unavailable,),
        description="503 while it starts or stops, and while a plugin that is `required` does not run.",
    )  # fmt: skip


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
