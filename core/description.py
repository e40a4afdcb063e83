"""Describes the API that a configuration makes, without starting anything of it."""

from __future__ import annotations

from core.api import described_routes
from core.events import EventBus
from core.manager import PluginManager
from core.openapi import Document
from core.served import served_by
from core.settings import Settings
from core.subcommands import unstarted_context


async def describe(settings: Settings) -> tuple[Document, dict[str, str]]:
    """Ask the plugins for their routes; answers the document, and why those that it leaves out could not be asked."""
    manager = PluginManager(settings.plugins, EventBus())
    await manager.load(lambda name: unstarted_context(name, settings.data_dir))
    routes, around = served_by(described_routes(), manager)
    left_out = {plugin.name: plugin.error for plugin in manager if plugin.error is not None}
    return Document(routes, around, secured=settings.authenticated), left_out
