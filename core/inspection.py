"""Looks at a whole configuration, plugins included, for what should not reach production."""

from __future__ import annotations

from collections.abc import Iterator

from core.events import EventBus
from core.manager import LoadedPlugin, PluginManager
from core.policies import Policy
from core.production import unfit
from core.routes import Middleware, Phase
from core.settings import Settings
from core.source import Fault, Source
from core.subcommands import unstarted_context
from core.weaknesses import Weakness

UNLIMITED = Weakness("nothing limits how often somebody may ask, or guess", "enable the ratelimit plugin")
CARELESS = Weakness("browsers are not told to be careful with what is answered", "enable the security plugin")
CAREFUL = "x-content-type-options"
"""A header that whoever thinks of browsers sends."""


async def inspect(source: Source, settings: Settings) -> list[Fault]:
    """Build the plugins, start none, and list what is unfit, in the order in which it stands in the files."""
    manager = PluginManager(settings.plugins, EventBus())
    await manager.load(lambda name: unstarted_context(name, settings.data_dir))
    loaded = [plugin for plugin in manager if plugin.instance is not None]
    parts: list[Middleware | Policy] = [part for each in loaded for part in each.many("register_middlewares")]
    expected = (
        (UNLIMITED, any(part.phase is Phase.RATE_LIMIT for part in parts)),
        (CARELESS, any(map(_careful, parts))),
    )
    missing = [source.fault(("plugins",), str(weakness)) for weakness, met in expected if not met]
    faults = [*unfit(source, settings), *missing, *(fault for plugin in loaded for fault in _own(source, plugin))]
    return sorted(faults, key=lambda fault: (str(fault.mark.file), fault.mark.line))


def _careful(part: Middleware | Policy) -> bool:
    """Tell whether a part sends the headers for browsers; of ordinary middleware at their phase nobody can know."""
    if not isinstance(part, Policy):
        return part.phase is Phase.HEADERS
    steps = part.compile(None)
    return steps is not None and any(name.lower() == CAREFUL for name in steps.headers)


def _own(source: Source, plugin: LoadedPlugin) -> Iterator[Fault]:
    """Name what a plugin says of itself."""
    for weakness in plugin.many("register_weaknesses"):
        yield source.fault((*plugin.entry.path, *weakness.option), str(weakness))
