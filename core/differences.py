"""Says what a changed configuration changes: plugins, points, routes and polls."""

from __future__ import annotations

import copy
import enum
from collections.abc import Iterable, Iterator

import attrs

from core.errors import PluginError
from core.manager import LoadedPlugin, PluginManager, PluginState
from core.poller import Poller
from core.polls import by_interval, poll_name
from core.registry import DeviceEntry, PointEntry, Registry
from core.routes import placed
from core.scans import scan_name, turns_of
from core.serialize import field
from core.services import Driver, PointConfiguration
from core.settings import PluginEntry, Settings

LISTED_MOST = 100


class Action(enum.StrEnum):
    """What becomes of a plugin; one that waits would start if what it needs ran."""

    START = "start"
    RESTART = "restart"
    STOP = "stop"
    WAIT = "wait"


@attrs.frozen
class Change:
    """What becomes of one plugin, and why."""

    plugin: str = field(example="bacnet", description="The plugin's key in the configuration.")
    action: Action = field(example="restart")
    because: str = field(example="its options changed: interval")


@attrs.frozen
class Names:
    """Names of what changed: how many, and the first hundred."""

    count: int = field(example=1)
    first: tuple[str, ...] = field(example=["GET /api/v1/weather/forecast"])


@attrs.frozen
class Difference:
    """What is new, what is there no more, and what is another than before."""

    added: Names
    removed: Names
    changed: Names


@attrs.frozen
class Differences:
    """What a reload changes.

    ``points`` are those that plugins and their options name: what a scan will find is not known beforehand.
    """

    dry_run: bool = field(description="Whether this only tells what would change.")
    plugins: tuple[Change, ...] = field(description="Plugins that start, stop or restart; all others run on.")
    points: Difference = field(description="Points that are read, by id.")
    routes: Difference = field(description="Routes, as `GET /api/v1/...`.")
    polls: Difference = field(description="Repeated reads, as `bacnet.2001@10s`.")
    restart_required: tuple[str, ...] = field(
        example=["http.port"], description="Options that changed and count only when Plantroom is started again."
    )


FIXED_HTTP = (
    *("host", "port", "hosts", "trusted_proxies", "tls", "redirect_port", "deadlines", "max_body"),
    "connections_per_address",
)
"""What of the section ``http`` counts only from the next start; a certificate's files are followed all the same."""


def changes_between(manager: PluginManager, settings: Settings) -> dict[str, Change]:
    """List the plugins that do not just run on, by name: because they changed, or because of one that they need."""
    changes: dict[str, Change] = {}
    entries = {entry.name: entry for entry in settings.plugins}
    for plugin in manager:
        if plugin.name not in entries and plugin.entry.enabled:
            changes[plugin.name] = Change(plugin.name, Action.STOP, "was removed")
    for entry in settings.plugins:
        change = _change(manager.plugins.get(entry.name), entry)
        if change is not None:
            changes[entry.name] = change
    for name in sorted(manager.dependents(changes) - set(changes)):
        if manager.plugins[name].state is PluginState.RUNNING:
            needs = [need for need in manager.plugins[name].requires if need in changes] or ["one of these"]
            changes[name] = Change(name, Action.RESTART, f"needs {', '.join(needs)}")
    return changes


def _change(plugin: LoadedPlugin | None, entry: PluginEntry) -> Change | None:
    if plugin is None or not plugin.entry.enabled:
        because = "is new" if plugin is None else "was enabled"
        return Change(entry.name, Action.START, because) if entry.enabled else None
    if not entry.enabled:
        return Change(entry.name, Action.STOP, "was disabled")
    if plugin.state is not PluginState.RUNNING:
        return Change(entry.name, Action.START, f"did not run: {plugin.error}")
    if entry.same_as(plugin.entry):
        return None
    old, new = plugin.entry.options, entry.options
    options = sorted(str(key) for key in {*old, *new} if old.get(key) != new.get(key) or (key in old) != (key in new))
    if entry.use != plugin.entry.use:
        because = f"uses {entry.use}"
    elif options:
        because = f"its options changed: {', '.join(options)}"
    else:
        because = "its code changed"
    return Change(entry.name, Action.RESTART, because)


def differences(
    before: PluginManager,
    after: PluginManager,
    changes: dict[str, Change],
    *,
    registry: Registry,
    poller: Poller,
    settings: tuple[Settings, Settings],
    dry_run: bool,
) -> Differences:
    """Compare what runs with what has been built to run instead; ``settings`` are those of now and the new ones."""
    will_run = _will_run(after)
    final = {name: _final(change, after, will_run) for name, change in changes.items()}
    points, polls = _PointChanges(registry), _Names()
    routes = _Names()
    for name in final:
        polls.old |= {item.name: item.interval for item in poller.all if item.owner == name}
        if name in before.plugins:
            routes.old |= dict.fromkeys(_routes(before.plugins[name]))
        if name in will_run:
            routes.new |= dict.fromkeys(_routes(after.plugins[name]))
            polls.new |= points.of(after.plugins[name])
        else:
            points.stopped(name)
    return Differences(
        dry_run=dry_run,
        plugins=tuple(sorted(final.values(), key=lambda change: change.plugin)),
        points=points.difference,
        routes=routes.difference,
        polls=polls.difference,
        restart_required=tuple(_fixed(*settings)),
    )


def _will_run(after: PluginManager) -> set[str]:
    """Name those that will run if each starts that can."""
    will: set[str] = set()
    for plugin in after.order():
        able = plugin.state in (PluginState.RUNNING, PluginState.WAITING)
        if able and will.issuperset(plugin.requires):
            will.add(plugin.name)
    return will


def _final(change: Change, after: PluginManager, will_run: set[str]) -> Change:
    """Say what becomes of a plugin that would start if what it needs ran."""
    plugin = after.plugins.get(change.plugin)
    if change.action is Action.STOP or plugin is None or change.plugin in will_run:
        return change
    missing = [need for need in plugin.requires if need not in will_run]
    if not missing:
        return change
    action = Action.WAIT if change.action is Action.START else Action.STOP
    return Change(change.plugin, action, f"waits for {', '.join(missing)}, which will not run")


def _routes(plugin: LoadedPlugin) -> Iterator[str]:
    for route in plugin.many("register_routes"):
        yield f"{route.method} {placed(route.path, plugin.name)}"


def _fixed(old: Settings, new: Settings) -> Iterator[str]:
    """Name the options that changed and cannot be followed while running."""
    pairs: dict[str, tuple[object, object]] = {
        **{f"http.{name}": (getattr(old.http, name), getattr(new.http, name)) for name in FIXED_HTTP},
        "data_dir": (old.data_dir, new.data_dir),
        "site": (old.site, new.site),
    }
    return (name for name, (before, after) in pairs.items() if before != after)


@attrs.define
class _Names:
    """Names before and after, each with what tells two of the same name apart."""

    old: dict[str, object] = attrs.field(factory=dict)
    new: dict[str, object] = attrs.field(factory=dict)

    @property
    def difference(self) -> Difference:
        changed = [name for name in self.old if name in self.new and self.old[name] != self.new[name]]
        return Difference(_named(set(self.new) - set(self.old)), _named(set(self.old) - set(self.new)), _named(changed))


class _PointChanges:
    """Collects what becomes of points: those a plugin names itself, and those its driver found earlier."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._added: list[str] = []
        self._removed: list[str] = []
        self._changed: list[str] = []

    @property
    def difference(self) -> Difference:
        return Difference(_named(self._added), _named(self._removed), _named(self._changed))

    def stopped(self, plugin: str) -> None:
        """Note that nobody reads a plugin's points any more."""
        self._removed += [entry.id for entry in self._known(plugin)]

    def of(self, plugin: LoadedPlugin) -> dict[str, float]:
        """Note what a plugin that will run changes about points, and answer its polls with their intervals."""
        name, driver = plugin.name, plugin.answers.get("register_driver")
        polls = {f"{name}.{poller.name}": poller.interval for poller in plugin.many("register_pollers")}
        named = {point.id: point for inventory in plugin.many("register_points") for point in inventory.points}
        known = {entry.id: entry for entry in self._known(name)}
        self._added += [point_id for point_id in named if point_id not in known]
        self._changed += [each for each, point in named.items() if each in known and known[each].point != point]
        if driver is None:
            self._removed += [point_id for point_id in known if point_id not in named]
        else:
            polls |= self._driven(name, driver)
        return polls

    def _driven(self, name: str, driver: Driver) -> dict[str, float]:
        interval = turns_of(driver)
        polls = {} if interval is None else {scan_name(name): interval}
        for device in self._registry.devices(name):
            for each in by_interval([self._configured(entry, driver) for entry in device.points.values()]):
                polls[poll_name(device.device, each)] = each
        return polls

    def _configured(self, entry: PointEntry, driver: Driver) -> PointEntry:
        """Make the entry that a point would have with this driver."""
        try:
            point = driver.configured(entry.point) if isinstance(driver, PointConfiguration) else entry.point
        except Exception as error:  # a plugin's code: it would fail at start just the same
            raise PluginError(f"{entry.device.device.plugin} cannot configure {entry.id}: {error}") from error
        if point != entry.point:
            self._changed.append(entry.id)
        elif entry.live_every is None:
            return entry
        would_be = copy.copy(entry)
        would_be.point, would_be.live_every = point, None  # a driver that starts has subscribed to nothing yet
        return would_be

    def _known(self, plugin: str) -> Iterator[PointEntry]:
        devices: Iterable[DeviceEntry] = self._registry.devices(plugin)
        return (entry for device in devices for entry in device.points.values() if not _gone(device, entry))


def _gone(device: DeviceEntry, entry: PointEntry) -> bool:
    return device.vanished or entry.vanished


def _named(names: Iterable[str]) -> Names:
    ordered = sorted(names)
    return Names(len(ordered), tuple(ordered[:LISTED_MOST]))
