"""Shows each plugin: how it is, what it was told, and what it brought."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Literal

import attrs
from aiohttp import web

from core import __version__
from core.api.health import CheckAnswer, run_check
from core.api.lists import SORT, ListAnswer, ListQuery, envelope, found, page
from core.asking import MANY, ONE
from core.cursors import Cursors
from core.errors import InvalidCursor, PluginNotFound
from core.events import EventHandler
from core.manager import LoadedPlugin, PluginManager, PluginState
from core.model import Inventory
from core.plugin import Migration
from core.registry import Registry
from core.routes import Link, Middleware, Route
from core.serialize import FieldInfo, field

NAME = "plugins"
PARAMETERS = {"name": FieldInfo(description="The plugin's key in the configuration.", example="bacnet")}


@attrs.frozen(kw_only=True)
class PluginsQuery(ListQuery):
    """Which plugins to list; a filter given several times takes any of its values."""

    sort: Literal["name", "-name"] = field(default="name", description=SORT)
    state: tuple[PluginState, ...] = field(default=(), description="How the plugins are.", example="running")


@attrs.frozen(kw_only=True)
class PluginAnswer:
    """A plugin: how it is, what it was told, and what it brought."""

    name: str = field(description="Its key in the configuration.", example="bacnet")
    use: str = field(description="Which plugin it is an instance of.", example="bacnet")
    description: str = field(example="BACnet/IP devices: discovery, polling and writing.")
    version: str | None = field(example="0.1.0")
    state: PluginState = field(example="running")
    error: str | None = field(description="Why it does not run.")
    enabled: bool = field(example=True)
    required: bool = field(description="Whether the house is not ready without it.", example=False)
    requires: tuple[str, ...] = field(description="The plugins that must run first.", example=[])
    config: Any = field(description="Its options, without secrets.", example={"interval": 5})
    registered: Mapping[str, Any] = field(
        description="What it answered to each hook, in short.", example={"register_driver": "BacnetDriver"}
    )
    device_count: int = field(example=29, min=0)
    health: tuple[CheckAnswer, ...] = field(description="Its own checks, while it runs.")


def _links(name: str) -> tuple[Link, ...]:
    """What can be asked about a plugin whose name is found there in an answer."""
    return (
        Link("GET", "/api/v1/plugins/{name}", {"name": name}),
        Link("GET", "/api/v1/devices", {"plugin": name}),
    )


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
            Route(
                "GET", at, self.list, "List plugins", query=PluginsQuery, answer=ListAnswer[PluginAnswer],
                errors=(InvalidCursor,), links=_links("$response.body#/items/0/name"),
                description="Every plugin of the configuration, those that failed or are disabled too.",
            ),
            Route(
                "GET", one, self.get, "Show a plugin", answer=PluginAnswer, errors=(PluginNotFound,),
                parameters=PARAMETERS, links=_links("$response.body#/name"),
                description="How a plugin is and why, its options without secrets, and what it registered.",
            ),
        ]  # fmt: skip

    async def list(self, _request: web.Request, *, query: PluginsQuery) -> ListAnswer[PluginAnswer]:
        """Answer a page of plugins."""
        plugins = self._manager.plugins

        def pick(name: str) -> LoadedPlugin | None:
            plugin = plugins[name]
            wanted = not query.state or plugin.state in query.state
            return plugin if wanted and found(query.q, name, plugin.entry.use, _description(plugin)) else None

        listed = page(self._cursors, NAME, query, keys=sorted(plugins), pick=pick)
        return envelope(listed, [self._answer(plugin) for plugin in listed.rows])

    async def get(self, _request: web.Request, *, name: str) -> PluginAnswer:
        """Answer a plugin."""
        plugin = self._manager.plugins.get(name)
        if plugin is None:
            raise PluginNotFound(f"No plugin is called {name!r}; GET /api/v1/plugins lists them.")
        return self._answer(plugin)

    def _answer(self, plugin: LoadedPlugin) -> PluginAnswer:
        entry = plugin.entry
        return PluginAnswer(
            name=plugin.name,
            use=entry.use,
            description=_description(plugin),
            version=_version(plugin),
            state=plugin.state,
            error=plugin.error,
            enabled=entry.enabled,
            required=entry.required,
            requires=plugin.requires,
            config=entry.redacted,
            registered=_registered(plugin),
            device_count=sum(1 for _device in self._registry.devices(plugin.name)),
            health=_checks(plugin),
        )


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


def _checks(plugin: LoadedPlugin) -> tuple[CheckAnswer, ...]:
    if plugin.state is not PluginState.RUNNING:
        return ()
    return tuple(CheckAnswer(check.name, *run_check(plugin.name, check)) for check in plugin.checks)
