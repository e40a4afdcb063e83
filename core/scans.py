"""Runs drivers' scans as jobs: on demand, at start, and on their schedule."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import structlog

from core.changes import Changes
from core.clock import Clock
from core.errors import Invalid, PlantroomError, PluginError, PluginNotRunning
from core.jobs import Job, Jobs
from core.model import DeviceStatus, Inventory
from core.plugin import JobContext, JobKind
from core.poller import Poller, Repeated
from core.polls import Polls
from core.registry import Registry
from core.services import Driver, ScanRequest

KIND = "scan"
RETRY_WHEN_EMPTY_S = 15.0
MOST_IDS = 100


class _Report:
    """Hands what a driver finds to the registry, and how far it is to the job (`core.services.ScanReport`)."""

    def __init__(
        self, plugin: str, context: JobContext, counts: dict[str, Counter[str]], take: Callable[[Inventory], Changes]
    ) -> None:
        self._plugin = plugin
        self._context = context
        self._counts = counts
        self._take = take
        self.devices: set[str] = set()
        self.points = 0
        self.changes = Changes()
        self.progress = context.progress
        self.warn = context.warn

    def found(self, inventory: Inventory) -> None:
        self.changes.add(self._take(inventory))
        self.devices.add(inventory.device.id)
        self.points += len(inventory.points)
        self._context.found(1)
        self.counted()

    def counted(self, *, devices: int = 0, points: int = 0) -> None:
        mine = self._counts[self._plugin]
        mine["devices"] = max(mine["devices"], devices, len(self.devices))
        mine["points"] = max(mine["points"], points, self.points)
        self._context.counted({sort: sum(each[sort] for each in self._counts.values()) for sort in mine})


class Scans:
    """Starts scans and keeps their schedule."""

    def __init__(self, registry: Registry, polls: Polls, poller: Poller, jobs: Jobs, clock: Clock) -> None:
        self._registry = registry
        self._polls = polls
        self._poller = poller
        self._jobs = jobs
        self._clock = clock
        self._last: dict[str, float] = {}

    @property
    def kind(self) -> JobKind:
        """The job kind that scans."""
        return JobKind(KIND, self._run, "Find devices and their points")

    def start(
        self, plugin: str | None = None, *, instances: Sequence[int | str] = (), targets: Sequence[str] = ()
    ) -> Job:
        """Queue a scan of one plugin, or of all that have a driver; the same scan is not queued twice.

        Raises Invalid for a plugin without a driver and PluginNotRunning where none can scan.
        """
        plugins = [plugin] if plugin else list(self._polls.drivers)
        if plugin and plugin not in self._polls.drivers:
            known = ", ".join(self._polls.drivers) or "none runs"
            raise Invalid(f"{plugin!r} has no running driver to scan with; those that have: {known}.")
        if not plugins:
            raise PluginNotRunning("No plugin with a driver runs; enable one, e.g. bacnet.")
        params = {"plugins": plugins, "instances": list(instances), "targets": list(targets)}
        return self._jobs.submit(KIND, params, key=repr(params))

    def take(self, plugin: str, inventory: Inventory) -> Changes:
        """List a device that a plugin found, and have it polled; raises PluginError for one that is not its own."""
        if inventory.device.plugin != plugin:
            raise PluginError(f"device {inventory.device.id!r} is not {plugin}'s: make it with ctx.device()")
        changes = self._registry.put([inventory])
        self._polls.answered(self._registry.device(inventory.device.id))
        return changes

    def schedule(self, plugin: str, driver: Driver) -> None:
        """Scan at start and then at the driver's interval; sooner again while nothing was found."""
        interval, turns = driver.scan_interval_s, turns_of(driver)
        if interval is None or turns is None:
            return
        self._last.pop(plugin, None)

        async def work() -> None:
            recent = self._clock.monotonic() - self._last.get(plugin, float("-inf")) < interval
            if not recent or not any(self._registry.devices(plugin)):
                self.start(plugin)

        self._poller.add(Repeated(scan_name(plugin), plugin, turns, work), at_once=True)

    async def _run(self, context: JobContext, params: Mapping[str, Any]) -> dict[str, Any]:
        request = ScanRequest(tuple(params["instances"]), tuple(params["targets"]))
        reports: list[_Report] = []
        failures: list[Exception] = []
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for plugin in params["plugins"]:
            report = _Report(plugin, context, counts, functools.partial(self.take, plugin))
            reports.append(report)
            try:
                await self._scan(plugin, request, report)
            except Exception as error:  # a plugin's code: its failure does not keep the others from scanning
                failures.append(error)
                if len(params["plugins"]) > 1:
                    _warn_of(context, plugin, error)
        if len(failures) == len(params["plugins"]):
            raise failures[0]
        result = _result(reports)
        structlog.get_logger().info("scan_done", **{name: count for name, count in result.items() if name in _LOGGED})
        return result

    async def _scan(self, plugin: str, request: ScanRequest, report: _Report) -> None:
        driver = self._polls.driver(plugin)
        if driver is None:
            raise PluginNotRunning(f"{plugin} does not run.")
        self._last[plugin] = self._clock.monotonic()
        known = tuple(entry.device for entry in self._registry.devices(plugin))
        await driver.scan(attrs.evolve(request, known=known), report)
        if report.devices and request == ScanRequest():
            report.changes.add(self._note_vanished(plugin, report.devices))

    def _note_vanished(self, plugin: str, found: set[str]) -> Changes:
        """Mark the devices that neither this full scan nor their last poll reached."""
        gone = [
            entry.id
            for entry in self._registry.devices(plugin)
            if entry.id not in found and entry.status is DeviceStatus.OFFLINE and not entry.vanished
        ]
        return self._registry.mark_vanished(gone)


def scan_name(plugin: str) -> str:
    """Name the repeated look whether a plugin's scan is due."""
    return f"{plugin}.scan"


def turns_of(driver: Driver) -> float | None:
    """Say how often to look whether a scan is due, in seconds; None for a driver that scans only when asked."""
    return None if driver.scan_interval_s is None else min(driver.scan_interval_s, RETRY_WHEN_EMPTY_S)


def _result(reports: Sequence[_Report]) -> dict[str, Any]:
    """Sum up what scans of several plugins found, and what is new, changed or gone since the last."""
    changes = Changes()
    for report in reports:
        changes.add(report.changes)
    counted = {name: len(ids) for name, ids in attrs.asdict(changes).items()}
    return {
        "devices": sum(len(report.devices) for report in reports),
        "points": sum(report.points for report in reports),
        **counted,
        "added_ids": changes.added[:MOST_IDS],
        "vanished_ids": changes.vanished[:MOST_IDS],
    }


_LOGGED = {"devices", "points", *attrs.fields_dict(Changes)}


def _warn_of(context: JobContext, plugin: str, error: Exception) -> None:
    """Tell of one plugin's failure in a scan of several."""
    if isinstance(error, PlantroomError):
        context.warn(error.code, f"{plugin}: {error}", error.remedy)
        return
    structlog.get_logger().error("scan_failed", plugin=plugin, error=str(error), exc_info=error)
    context.warn(PluginError.code, f"{plugin}: {type(error).__name__}: {error}", PluginError.remedy)
