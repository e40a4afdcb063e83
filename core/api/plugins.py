"""Shows each plugin: how it is, what it was told, and what it brought."""

from __future__ import annotations

import sys
from typing import Any, Literal

import attrs
from aiohttp import web

from core import __version__
from core.api.health import run_check
from core.api.lists import ListQuery, envelope, found, page
from core.cursors import Cursors
from core.errors import InvalidCursor, PluginNotFound
from core.events import EventHandler
from core.manager import MANY, ONE, LoadedPlugin, PluginManager, PluginState
from core.model import Inventory
from core.plugin import Migration
from core.registry import Registry
from core.routes import Middleware, Route
from core.serialize import field

NAME = "plugins"


@attrs.frozen(kw_only=True)
class PluginsQuery(ListQuery):
    """Which plugins to list; a filter given several times takes any of its values."""

    sort: Literal["name", "-name"] = field(default="name")
    state: tuple[PluginState, ...] = field(default=())


class Plugins:
    """The resource /api/v1/plugins."""

    def __init__(self, manager: PluginManager, registry: Registry, cursors: Cursors) -> None:
        self._manager = manager
        self._registry = registry
        self._cursors = cursors

    @property
    def routes(self) -> list[Route]:
        """The routes of this resource."""
        at, one = "/api/v1/plugins", "/api/v1/plugins/{name}"
        return [
            Route("GET", at, self.list, "List plugins", query=PluginsQuery, errors=(InvalidCursor,)),
            Route("GET", one, self.get, "Show a plugin", errors=(PluginNotFound,)),
        ]

    async def list(self, _request: web.Request, *, query: PluginsQuery) -> dict[str, object]:
        """Answer a page of plugins."""
        plugins = self._manager.plugins

        def pick(name: str) -> LoadedPlugin | None:
            plugin = plugins[name]
            wanted = not query.state or plugin.state in query.state
            return plugin if wanted and found(query.q, name, plugin.entry.use, _description(plugin)) else None

        listed = page(self._cursors, NAME, query, keys=sorted(plugins), pick=pick)
        return envelope(listed, [self._json(plugin) for plugin in listed.rows])

    async def get(self, _request: web.Request, *, name: str) -> dict[str, Any]:
        """Answer a plugin."""
        plugin = self._manager.plugins.get(name)
        if plugin is None:
            raise PluginNotFound(f"No plugin is called {name!r}; GET /api/v1/plugins lists them.")
        return self._json(plugin)

    def _json(self, plugin: LoadedPlugin) -> dict[str, Any]:
        entry = plugin.entry
        return {
            "name": plugin.name,
            "use": entry.use,
            "description": _description(plugin),
            "version": _version(plugin),
            "state": plugin.state,
            "error": plugin.error,
            "enabled": entry.enabled,
            "required": entry.required,
            "requires": plugin.requires,
            "config": entry.redacted,
            "registered": _registered(plugin),
            "device_count": sum(1 for _device in self._registry.devices(plugin.name)),
            "health": _checks(plugin),
        }


def _description(plugin: LoadedPlugin) -> str:
    text = (plugin.entry.plugin_class.__doc__ if plugin.entry.plugin_class else None) or ""
    return text.strip().partition("\n")[0]


def _version(plugin: LoadedPlugin) -> str | None:
    """The version of the package that the plugin's class comes from; bundled ones have the kernel's."""
    cls = plugin.entry.plugin_class
    if cls is None:
        return None
    package = cls.__module__.partition(".")[0]
    if package == "plugins":
        return __version__
    for module in (cls.__module__, package):
        version = getattr(sys.modules.get(module), "__version__", None)
        if version is not None:
            return str(version)
    return None


def _registered(plugin: LoadedPlugin) -> dict[str, Any]:
    """What the plugin answered to the kernel's hooks, in short."""
    short: dict[str, Any] = {}
    for hook in plugin.answers:
        if hook in MANY:
            short[hook] = [_short(item) for item in plugin.many(hook)]
        elif hook in ONE:
            short[hook] = type(plugin.answers[hook]).__name__
    return short


def _short(item: object) -> str:
    """Name one thing that a plugin brought."""
    match item:
        case Inventory(device=device):
            return device.id
        case Route(method=method, path=path):
            return f"{method} {path}"
        case Middleware(phase=phase):
            return phase.name
        case Migration(version=version):
            return str(version)
        case EventHandler(event=event):
            return event.__name__
    name = getattr(item, "name", None) or getattr(item, "__name__", None)
    return str(name or type(item).__name__)


def _checks(plugin: LoadedPlugin) -> list[dict[str, str]]:
    if plugin.state is not PluginState.RUNNING:
        return []
    results = [(check.name, *run_check(plugin.name, check)) for check in plugin.checks]
    return [{"check": name, "status": health, "detail": sentence} for name, health, sentence in results]
