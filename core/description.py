"""Describes the API that a configuration makes, without starting anything of it."""

from __future__ import annotations

from core.api import described_routes
from core.events import EventBus
from core.kernel import own_routes
from core.manager import PluginManager
from core.openapi import Document
from core.routes import Middleware
from core.settings import Settings
from core.subcommands import unstarted_context


async def describe(settings: Settings) -> tuple[Document, dict[str, str]]:
    """Ask the plugins for their routes; answers the document, and why those that it leaves out could not be asked."""
    manager = PluginManager(settings.plugins, EventBus())
    await manager.load(lambda name: unstarted_context(name, settings.data_dir))
    routes = [("core", route) for route in described_routes()]
    middlewares: list[Middleware] = []
    for plugin in manager:
        routes.extend(own_routes(plugin))
        middlewares.extend(plugin.many("register_middlewares"))
    left_out = {plugin.name: plugin.error for plugin in manager if plugin.error is not None}
    return Document(routes, middlewares), left_out
