"""How each point is recorded, as the configuration says."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

import attrs

from core.plugin import Point, Points
from plugins.history.classes import Kept
from plugins.history.config import HistoryConfig, Rule, duration_s


@attrs.frozen
class Treatment:
    """How a point is recorded: not at all, or which changes; times are in milliseconds, the dead-band in its unit."""

    record: bool = True
    dead_band: float = 0.0
    min_interval_ms: int = 0
    heartbeat_ms: int = 86_400_000
    keep: str = "60d"

    @property
    def is_plain(self) -> bool:
        """Whether every change is recorded."""
        return self.record and not self.dead_band and not self.min_interval_ms


class Rules:
    """The configuration's rules; of those that mean a point, the last one that says something of an option counts."""

    def __init__(self, config: HistoryConfig, points: Points) -> None:
        self._config = config
        self._points = points
        self.default = Treatment(heartbeat_ms=round(config.heartbeat * 1000), keep=config.keep)
        names = dict.fromkeys([config.keep, *(rule.keep for rule in config.points if rule.keep is not None)])
        self.kept = [Kept(name, duration_s(name)) for name in names]
        self._numbers = {name: number for number, name in enumerate(names)}
        self.all_plain = all(_only_keeps(rule) for rule in config.points)
        beats = [config.heartbeat, *(rule.heartbeat for rule in config.points if rule.heartbeat is not None)]
        self.shortest_heartbeat_ms = round(min(beats) * 1000)

    @property
    def version(self) -> int:
        """A number that grows when a point may be recorded in another way."""
        return self._points.version

    def treatment(self, slot: int) -> Treatment:
        """Return how the point of a slot is recorded; one that nobody knows is like those that no rule means."""
        point = self._points.point(slot)
        if point is None:
            return self.default
        found = self.default
        for rule in self._meaning(point, slot):
            found = attrs.evolve(
                found,
                record=found.record if rule.record is None else rule.record,
                dead_band=found.dead_band if rule.dead_band is None else rule.dead_band,
                min_interval_ms=found.min_interval_ms if rule.min_interval is None else round(rule.min_interval * 1000),
                heartbeat_ms=found.heartbeat_ms if rule.heartbeat is None else round(rule.heartbeat * 1000),
                keep=rule.keep or found.keep,
            )
        return found

    def class_number(self, slot: int) -> int:
        """Return the number in ``kept`` of the class that a point is of."""
        return self._numbers[self.treatment(slot).keep]

    def _meaning(self, point: Point, slot: int) -> Iterator[Rule]:
        plugin = point.id.partition(".")[0]
        tags = self._points.tags(slot)
        for rule in self._config.points:
            if (
                fnmatch.fnmatchcase(point.id, rule.match)
                and rule.tag in (None, *tags)
                and rule.plugin in (None, plugin)
                and rule.unit in (None, point.unit)
            ):
                yield rule


def _only_keeps(rule: Rule) -> bool:
    """Tell whether a rule leaves every change recorded."""
    return rule.record is not False and not rule.dead_band and not rule.min_interval
