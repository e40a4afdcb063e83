"""Plans what is polled, runs it, and tells the registry what came and who was silent."""

from __future__ import annotations

import asyncio
import itertools
from array import array
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Literal

import structlog

from core.clock import Clock
from core.deadlines import Deadlines
from core.errors import DeviceTimeout, PlantroomError, PluginError
from core.events import DeviceAsked, EventBus, ReadingsChanged
from core.leases import Leases
from core.model import Device, DeviceStatus, Point, Source
from core.plugin import Polled
from core.plugin import Poller as PluginPoller
from core.poller import Poller, Repeated
from core.readings import Chunk, PointGroup, ReadingBatch, Row, batch_of
from core.registry import DeviceEntry, PointEntry, Registry
from core.request_ids import request_ids, working_for
from core.services import Driver, Patience, PointConfiguration, Watching

DEFAULT_INTERVAL_S = 10.0
LONGEST_READ_S = 60.0
LONGEST_PROBE_DELAY_S = 20.0


class Polls:
    """Keeps one repeated read for each device and interval of every driver, and runs plugins' own pollers."""

    def __init__(self, registry: Registry, poller: Poller, leases: Leases, clock: Clock, events: EventBus) -> None:
        self._registry = registry
        self._poller = poller
        self._leases = leases
        self._clock = clock
        self._events = events
        self._deadlines = Deadlines(LONGEST_READ_S)
        self._running: set[str] = set()
        self._drivers: dict[str, Driver] = {}
        self._groups: dict[str, dict[float, tuple[PointGroup, Repeated]]] = {}
        self._chunks: dict[bytes, Chunk] = {}
        self._bringers: dict[int, Repeated] = {}
        self._watching: dict[str, Watching] = {}
        self._watched: dict[str, PointGroup] = {}
        registry.on_change.append(self._replan)

    @property
    def drivers(self) -> tuple[str, ...]:
        """The plugins that have a driver and run."""
        return tuple(self._drivers)

    def driver(self, plugin: str) -> Driver | None:
        """Return a running plugin's driver."""
        return self._drivers.get(plugin)

    def runs(self, plugin: str) -> bool:
        """Tell whether a plugin runs, so that its points can be had."""
        return plugin in self._running

    def add_plugin(self, plugin: str) -> None:
        """Note that a plugin runs; one without driver and pollers may push readings."""
        self._running.add(plugin)

    def add_driver(self, plugin: str, driver: Driver) -> None:
        """Poll all of a plugin's points by its driver, from now on."""
        self.add_plugin(plugin)
        for device in self._registry.devices(plugin):
            self._registry.set_live(device.points.values(), None)
        if isinstance(driver, PointConfiguration):
            self._registry.reconfigure(plugin, driver.configured)
        if isinstance(driver, Watching):
            self._watching[plugin] = driver
        self._drivers[plugin] = driver
        self._replan([entry.device for entry in self._registry.devices(plugin)])

    def remove_plugin(self, plugin: str) -> None:
        """Stop all polls of a plugin."""
        self._running.discard(plugin)
        self._drivers.pop(plugin, None)
        self._watching.pop(plugin, None)
        for device in self._registry.devices(plugin):
            self._watched.pop(device.id, None)
            self._registry.set_live(device.points.values(), None)
        self._replan([entry.device for entry in self._registry.devices(plugin)])
        for item in self._poller.all:
            if item.owner == plugin:
                self._poller.remove(item)

    def add_poller(self, plugin: str, poller: PluginPoller) -> Repeated:
        """Run a plugin's own poller, from now on; answers it with its figures."""

        async def work() -> None:
            if self._leases.valid(plugin):
                async with asyncio.timeout(max(LONGEST_READ_S, poller.interval)):
                    self.take(plugin, await poller.poll(), item=item)

        self.add_plugin(plugin)
        item = Repeated(f"{plugin}.{poller.name}", plugin, poller.interval, work)
        return self._poller.add(item, at_once=True)

    def seen(self, device_id: str) -> None:
        """Poll a device at once that was offline and has given a sign of life."""
        if self._registry.has_device(device_id):
            entry = self._registry.device(device_id)
            if entry.status is not DeviceStatus.ONLINE:
                self._poll_now(entry)

    def bringer(self, slot: int) -> Repeated | None:
        """Return the plugin poller that brings a slot's readings."""
        return self._bringers.get(slot)

    def now(self, item: Repeated) -> asyncio.Task[None] | None:
        """Run a poller now, or join the run under way."""
        self._poller.soon(item)
        return item.running

    # what comes in

    def apply(self, batch: ReadingBatch) -> None:
        """Take a batch into the current readings and tell who listens."""
        rows = self._registry.current.apply(batch)
        if rows and self._events.wanted(ReadingsChanged):
            self._events.publish(ReadingsChanged(batch, rows))

    def take(self, plugin: str, polled: Polled, *, item: Repeated | None = None) -> None:
        """Take what a plugin's poller or push brought; raises PluginError for points that it does not own."""
        if polled is None:
            return
        if isinstance(polled, ReadingBatch):
            entries = [self._registry.by_slot(slot) for slot in polled.chunk.slots]
            batch = polled
        else:
            entries = [self._registry.point(point.id) for point in polled]
            rows = [Row(value) for value in polled.values()]
            chunk = self._chunk(array("I", [entry.slot for entry in entries if entry]))
            batch = batch_of(chunk, rows, time=self._clock.utc(), source=Source.POLL)
        for entry in entries:
            if entry is None or entry.device.device.plugin != plugin:
                raise PluginError(f"{plugin} brought a reading for a point that is not its own")
            if item is not None:
                if entry.polled_every != item.interval:
                    self._registry.set_polled(entry, item.interval)
                self._bringers[entry.slot] = item
        self.apply(batch)
        for device in {id(entry.device): entry.device for entry in entries if entry}.values():
            self.answered(device)

    def answered(self, entry: DeviceEntry, *, latency_s: float | None = None, by: PointGroup | None = None) -> None:
        """Note that a device answered; one that was offline comes back with all its groups, but ``by``, at once."""
        back = entry.status is DeviceStatus.OFFLINE
        self._registry.answered(entry, latency_s=latency_s)
        if back:
            structlog.get_logger().info("device_online", plugin=entry.device.plugin, device=entry.id)
            self._poll_now(entry, but=by)

    def live(self, plugin: str, points: Iterable[Point], every: float | None) -> None:
        """Poll points only each so many seconds, since they arrive by themselves; None: as they are configured.

        A plugin that does not run any more changes nothing. Raises PluginError for points that are not the plugin's.
        """
        if plugin not in self._drivers:
            return
        entries = [self._registry.point(point.id) for point in points]
        for entry in entries:
            if entry.device.device.plugin != plugin:
                raise PluginError(f"{plugin} calls a point live that is not its own: {entry.id}")
        self._registry.set_live(entries, every)

    def _chunk(self, slots: array[int]) -> Chunk:
        key = slots.tobytes()
        chunk = self._chunks.get(key)
        if chunk is None:
            if len(self._chunks) > 10_000:  # a plugin whose answers never repeat: begin anew
                self._chunks.clear()
            chunk = self._chunks[key] = Chunk(slots)
        return chunk

    # what goes out

    def _replan(self, devices: Sequence[Device]) -> None:
        for device in devices:
            wanted: dict[float, list[PointEntry]] = {}
            if device.plugin in self._drivers and self._registry.has_device(device.id):
                wanted = by_interval(self._registry.device(device.id).points.values())
                for point in itertools.chain.from_iterable(wanted.values()):
                    self._registry.set_polled(point, DEFAULT_INTERVAL_S)
            self._plan_device(device, wanted)
            if device.plugin in self._watching:
                self._have_watched(self._watching[device.plugin], device, wanted)

    def _have_watched(self, driver: Watching, device: Device, wanted: Mapping[float, Sequence[PointEntry]]) -> None:
        """Tell a driver which of a device's points are polled, where these are others than before."""
        points = sorted(itertools.chain.from_iterable(wanted.values()), key=lambda point: point.slot)
        slots = array("I", [point.slot for point in points])
        group = PointGroup(device, tuple(point.point for point in points), slots)
        known = self._watched.pop(device.id, None)
        if points:
            self._watched[device.id] = group
        if known is None and not points:
            return
        if known is not None and (known.device, known.points, known.slots) == (device, group.points, slots):
            return
        try:
            with working_for(None):  # watching goes on when the request is answered that found the points
                driver.watch(group)
        except Exception as error:  # a plugin's code: what it cannot watch is polled
            log = structlog.get_logger().bind(plugin=device.plugin, device=device.id)
            log.exception("watch_failed", error=str(error))

    def _plan_device(self, device: Device, wanted: dict[float, list[PointEntry]]) -> None:
        """Keep the groups that are as before, so that what a driver has learned of them stays."""
        groups = self._groups.setdefault(device.id, {})
        for interval in [known for known in groups if known not in wanted]:
            self._poller.remove(groups.pop(interval)[1])
        for interval, points in wanted.items():
            group = group_of(points, interval=interval)
            known = groups.get(interval)
            if known is not None:
                if known[0].points == group.points and known[0].slots == group.slots and known[0].device == device:
                    continue
                self._poller.remove(known[1])
            item = Repeated(
                poll_name(device, interval),
                device.plugin,
                interval,
                self._work(points[0].device, group),
                longest_delay=self._longest_probe_delay_s(device),
                quiet=(DeviceTimeout, TimeoutError),  # a silent device is told of by its status
            )
            groups[interval] = group, self._poller.add(item, at_once=True)
        if not groups:
            del self._groups[device.id]

    def _longest_probe_delay_s(self, device: Device) -> float:
        driver = self._drivers.get(device.plugin)
        return driver.longest_probe_delay_s if isinstance(driver, Patience) else LONGEST_PROBE_DELAY_S

    def _work(self, entry: DeviceEntry, group: PointGroup) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            driver = self._drivers.get(entry.device.plugin)
            if driver is not None and self._leases.valid(entry.device.plugin):
                await self.read(driver, entry, group)

        return work

    async def read(self, driver: Driver, entry: DeviceEntry, group: PointGroup) -> Sequence[ReadingBatch]:
        """Read a group once, apply what comes and note whether the device answered; raises what the driver raises."""
        started = self._clock.monotonic()
        try:
            with self._deadlines.one():
                batches = await driver.read(group)
        except (DeviceTimeout, TimeoutError) as error:
            self._note_silence(entry, error)
            self.asked(entry, "read", len(group.points), self._clock.monotonic() - started, error)
            raise
        except PlantroomError as error:
            entry.last_error = str(error)
            raise
        elapsed = self._clock.monotonic() - started
        self.asked(entry, "read", len(group.points), elapsed)
        self.answered(entry, latency_s=elapsed / max(1, len(batches)), by=group)
        for batch in batches:
            self.apply(batch)
        if batches and all(len(batch.errors) == len(batch.chunk.slots) for batch in batches):
            entry.last_error = str(next(iter(batches[0].errors.values()), None) or entry.last_error)
        return batches

    def asked(
        self,
        entry: DeviceEntry,
        what: Literal["read", "write"],
        points: int,
        seconds: float,
        error: BaseException | None = None,
    ) -> None:
        """Tell who wants to know what a device was asked for, how long that took, and how it ended."""
        if self._events.wanted(DeviceAsked):
            told = None if error is None else str(error) or "The device did not answer in time."
            plugin = entry.device.plugin
            self._events.publish(DeviceAsked(entry.id, plugin, what, points, seconds, request_ids(), told))

    def _note_silence(self, entry: DeviceEntry, error: Exception) -> None:
        if entry.status is not DeviceStatus.OFFLINE:
            log = structlog.get_logger()
            log.warning("device_offline", plugin=entry.device.plugin, device=entry.id, error=str(error))
        self._registry.silent(entry, str(error) or "The device did not answer in time.")

    def _poll_now(self, entry: DeviceEntry, *, but: PointGroup | None = None) -> None:
        for group, item in self._groups.get(entry.id, {}).values():
            if group is not but:
                self._poller.soon(item)


def by_interval(points: Iterable[PointEntry]) -> dict[float, list[PointEntry]]:
    """Sort a device's points that are polled by their intervals in seconds, each list by slot.

    Where all of them are live, one is polled at its own interval all the same, so that a silent device is noticed.
    """
    polled = sorted((point for point in points if point.polled), key=lambda item: item.slot)
    sign_of_life = None
    if polled and all(point.live_every is not None for point in polled):
        sign_of_life = min(polled, key=_own_interval)
    wanted: dict[float, list[PointEntry]] = {}
    for point in polled:
        interval = _own_interval(point)
        if point.live_every is not None and point is not sign_of_life:
            interval = max(interval, point.live_every)
        wanted.setdefault(interval, []).append(point)
    return wanted


def _own_interval(point: PointEntry) -> float:
    return point.own_interval or DEFAULT_INTERVAL_S


def poll_name(device: Device, interval: float) -> str:
    """Name the repeated read of a device's points at an interval."""
    return f"{device.id}@{interval:g}s"


def group_of(points: Sequence[PointEntry], *, interval: float = 0.0) -> PointGroup:
    """Group points of one device for one read."""
    slots = array("I", [point.slot for point in points])
    return PointGroup(points[0].device.device, tuple(point.point for point in points), slots, interval)
