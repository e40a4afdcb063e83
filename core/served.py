"""Puts together what is served: the kernel's routes and those of plugins, each of these only while its plugin runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import attrs

from core.access import Doorkeeper
from core.errors import PluginNotRunning
from core.manager import LoadedPlugin, PluginState
from core.policies import Policy
from core.requests import Request
from core.routes import Middleware, Route, placed


def served_by(
    kernel: Iterable[Route], plugins: Iterable[LoadedPlugin]
) -> tuple[list[tuple[str, Route]], list[Middleware | Policy]]:
    """Put together what is served: routes with their owners, and what plugins put around them."""
    routes = [("core", route) for route in kernel]
    parts: list[Middleware | Policy] = []
    for plugin in plugins:
        routes.extend(own_routes(plugin))
        parts.extend(plugin.many("register_middlewares"))
    return routes, parts


def keeper_of(plugin: LoadedPlugin) -> Doorkeeper:
    """Make of a plugin what is asked who somebody is."""
    return Doorkeeper(plugin.name, lambda: plugin.state is PluginState.RUNNING, plugin.many("register_authenticators"))


def own_routes(plugin: LoadedPlugin) -> list[tuple[str, Route]]:
    """Return a plugin's routes where they are served."""
    return [
        (
            plugin.name,
            attrs.evolve(
                route,
                path=placed(route.path, plugin.name),
                handler=_while_running(plugin, route.handler),
                at_once=_if_running(plugin, route.at_once),
            ),
        )
        for route in plugin.many("register_routes")
    ]


def _if_running(plugin: LoadedPlugin, at_once: Callable[..., Any] | None) -> Callable[..., Any] | None:
    if at_once is None:
        return None
    return lambda **arguments: at_once(**arguments) if plugin.state is PluginState.RUNNING else None


def _while_running(plugin: LoadedPlugin, handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def handle(request: Request, **arguments: Any) -> Any:
        if plugin.state is not PluginState.RUNNING:
            raise PluginNotRunning(f"{plugin.name} does not run; see GET /api/v1/plugins/{plugin.name}.")
        plugin.requests += 1
        try:
            return await handler(request, **arguments)
        finally:
            plugin.request_ended()

    return handle
