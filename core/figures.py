"""The kernel's own figures: devices, points, polls and events, each by plugin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from core.events import EventBus
from core.poller import Poller
from core.registry import Registry
from core.routes import Metric

Samples: TypeAlias = Iterable[tuple[Mapping[str, str], float]]


def kernel_metrics(
    registry: Registry, poller: Poller, events: EventBus, *, connections: Callable[[], int]
) -> list[Metric]:
    """Make the metrics, which count when they are scraped; ``connections`` tells how many are open."""

    def devices() -> Samples:
        counts = Counter((entry.device.plugin, entry.status.value) for entry in registry.devices())
        return [({"plugin": plugin, "status": status}, count) for (plugin, status), count in counts.items()]

    def points() -> Samples:
        counts: Counter[str] = Counter()
        for entry in registry.devices():
            counts[entry.device.plugin] += len(entry.points)
        return _by_plugin(counts)

    def failing() -> Samples:
        return _by_plugin(Counter(item.owner for item in poller.all if item.failures))

    def dropped() -> Samples:
        return [({"plugin": each.owner, "event": each.handler.event.__name__}, each.dropped) for each in events.all]

    return [
        Metric("plantroom_http_connections", "gauge", "Open connections.", lambda: [({}, connections())]),
        Metric("plantroom_devices", "gauge", "Devices by status.", devices),
        Metric("plantroom_points", "gauge", "Points that are known.", points),
        Metric("plantroom_poll_runs_total", "counter", "Polls that have ended.", _totals(poller.runs)),
        Metric("plantroom_poll_overruns_total", "counter", "Turns that slow polls skipped.", _totals(poller.overruns)),
        Metric("plantroom_polls_failing", "gauge", "Polls whose last run failed.", failing),
        Metric("plantroom_events_dropped_total", "counter", "Events that found their listener's queue full.", dropped),
    ]


def _totals(counts: Counter[str]) -> Callable[[], Samples]:
    return lambda: _by_plugin(counts)


def _by_plugin(counts: Mapping[str, int]) -> Samples:
    return [({"plugin": plugin}, count) for plugin, count in counts.items()]
