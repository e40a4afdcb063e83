"""The register of devices and points: who is there, what people changed about them, and how each one does."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Sequence

import attrs

from core.changes import Changes
from core.clock import Clock
from core.current import CurrentReadings
from core.errors import Conflict, DeviceNotFound, PointNotFound
from core.events import DevicesChanged, DeviceStatusChanged, EventBus
from core.inventories import check
from core.model import Device, DeviceStatus, Inventory, Point, Quality, Reading, Reason
from core.principals import Scope

STALE_AFTER_INTERVALS = 2.5


@attrs.frozen
class Overrides:
    """What a person has set by PATCH; None leaves it to the plugin."""

    name: str | None = None
    tags: tuple[str, ...] = ()
    enabled: bool | None = None
    interval: float | None = None


@attrs.define(eq=False)
class DeviceEntry:
    """A device with its present state; times are UTC seconds, ``latency_ms`` that of the last answer."""

    device: Device
    overrides: Overrides = Overrides()
    status: DeviceStatus = DeviceStatus.UNKNOWN
    status_since: float = 0.0
    last_seen: float | None = None
    latency_ms: float | None = None
    last_error: str | None = None
    vanished: bool = False
    points: dict[str, PointEntry] = attrs.field(factory=dict, repr=False)

    @property
    def id(self) -> str:
        return self.device.id

    @property
    def name(self) -> str:
        return self.overrides.name or self.device.name

    @property
    def enabled(self) -> bool:
        return self.overrides.enabled is not False

    def within(self, scope: Scope | None) -> bool:
        """Tell whether a principal of this scope may know of it; None is the whole house."""
        return scope is None or scope.covers(self.device.plugin, self.id, self.overrides.tags)


@attrs.define(eq=False)
class PointEntry:
    """A point with its slot.

    ``version`` grows with each change of what is told of it beside its reading; ``polled_every`` is the interval in
    seconds of the poller that brings its readings. A point with ``live_every`` is told of by its device whenever it
    changes, and polled each so many seconds only to verify that.
    """

    slot: int
    point: Point
    device: DeviceEntry = attrs.field(repr=False)
    overrides: Overrides = Overrides()
    vanished: bool = False
    version: int = 0
    polled_every: float | None = None
    live_every: float | None = None

    @property
    def id(self) -> str:
        return self.point.id

    @property
    def name(self) -> str:
        return self.overrides.name or self.point.name

    @property
    def enabled(self) -> bool:
        chosen = self.overrides.enabled
        return self.device.enabled and (self.point.enabled if chosen is None else chosen)

    @property
    def own_interval(self) -> float | None:
        """Seconds between polls: the point's own setting, its device's, or what the plugin says."""
        return self.overrides.interval or self.device.overrides.interval or self.point.interval

    @property
    def interval(self) -> float | None:
        """Seconds between polls, as somebody says or as it is done."""
        return self.own_interval or self.polled_every

    @property
    def confirmed_every(self) -> float | None:
        """Seconds within which its reading is confirmed: between polls, or between those that verify a live one."""
        interval = self.interval
        return interval if self.live_every is None else max(self.live_every, interval or 0.0)

    @property
    def stale_after(self) -> float:
        """Seconds from its last confirmation after which its reading is stale; infinite where nothing confirms it."""
        return STALE_AFTER_INTERVALS * (self.confirmed_every or math.inf)

    @property
    def polled(self) -> bool:
        return self.enabled and not self.vanished

    def within(self, scope: Scope | None) -> bool:
        """Tell whether a principal of this scope may know of it; its tags are its own and its device's."""
        if scope is None:
            return True
        device = self.device
        tags = (*self.overrides.tags, *device.overrides.tags) if scope.tags else ()
        return scope.covers(device.device.plugin, device.id, tags)


class Registry:
    """All devices and points of the installation, in memory; `core.persistence` keeps them over restarts."""

    def __init__(self, clock: Clock, events: EventBus) -> None:
        self.current = CurrentReadings()
        self.next_slot = 1
        self.version = 0  # grows with each change of what they are
        self.statuses = 0  # grows with each change of how a device does
        self._clock = clock
        self._events = events
        self._devices: dict[str, DeviceEntry] = {}
        self._points: dict[str, PointEntry] = {}
        self._by_slot: dict[int, PointEntry] = {}
        self._device_ids: tuple[str, ...] | None = None
        self._point_ids: tuple[str, ...] | None = None
        self.unsaved: set[str] = set()
        self.on_change: list[Callable[[Sequence[Device]], None]] = []

    # looking things up

    def device(self, device_id: str) -> DeviceEntry:
        """Return a device; raises DeviceNotFound."""
        try:
            return self._devices[device_id]
        except KeyError:
            raise DeviceNotFound(f"No device has the id {device_id!r}; GET /api/v1/devices lists them.") from None

    def point(self, point_id: str) -> PointEntry:
        """Return a point; raises PointNotFound."""
        try:
            return self._points[point_id]
        except KeyError:
            raise PointNotFound(f"No point has the id {point_id!r}; GET /api/v1/points lists them.") from None

    def by_slot(self, slot: int) -> PointEntry | None:
        return self._by_slot.get(slot)

    def devices(self, plugin: str | None = None) -> Iterator[DeviceEntry]:
        """All devices, or one plugin's."""
        return (entry for entry in self._devices.values() if plugin in (None, entry.device.plugin))

    def has_device(self, device_id: str) -> bool:
        return device_id in self._devices

    def device_ids(self) -> tuple[str, ...]:
        """All device ids, sorted."""
        if self._device_ids is None:
            self._device_ids = tuple(sorted(self._devices))
        return self._device_ids

    def point_ids(self) -> tuple[str, ...]:
        """All point ids, sorted."""
        if self._point_ids is None:
            self._point_ids = tuple(sorted(self._points))
        return self._point_ids

    def reading(self, entry: PointEntry) -> Reading | None:
        """Return a point's reading with the quality that its age and device give it now."""
        return self.current.reading(entry.slot, entry.point, overlay=self.overlay(entry))

    def quality(self, entry: PointEntry) -> Quality | None:
        """Return the quality that `reading` would have, without making one."""
        if self.current.time(entry.slot) == 0.0:
            return None
        return self.current.reason(entry.slot, overlay=self.overlay(entry)).quality

    def overlay(self, entry: PointEntry) -> Reason:
        """Tell what a point's device and age make of a good reading now: `offline`, `stale`, or nothing."""
        if entry.device.status is DeviceStatus.OFFLINE:
            return Reason.OFFLINE
        stale_at = self.current.time(entry.slot) + entry.stale_after
        return Reason.STALE if self._clock.utc() > stale_at else Reason.NONE

    # what plugins tell

    def put(self, inventories: Sequence[Inventory]) -> Changes:
        """Add or refresh devices with all their points, and return what is other than it was.

        Points no longer listed have vanished, where the inventory is complete. Ids, slots and what people changed
        stay. Raises PluginError for ids that do not fit, a point that is not its device's, an interval that is no
        length of time, and attributes that are no JSON.
        """
        for inventory in inventories:
            check(inventory)
        changes = Changes()
        changed = [inventory.device for inventory in inventories if self._put(inventory, changes)]
        if changed:
            self.announce(changed)
        return changes

    def _put(self, inventory: Inventory, changes: Changes) -> bool:
        """Enter one device; answer whether anything about it is new."""
        entry = self._devices.get(inventory.device.id)
        is_new = entry is None
        if entry is None:
            entry = DeviceEntry(inventory.device, status_since=self._clock.utc())
            self.add_device(entry)
            changes.devices_added.append(entry.id)
        listed = {point.id: self._described(point, inventory.unread) for point in inventory.points}
        there, found = {point.point for point in entry.points.values() if not point.vanished}, set(listed.values())
        if (
            entry.device == inventory.device
            and not entry.vanished
            and there == (found if inventory.complete else found | there)
        ):
            return is_new
        entry.device, entry.vanished = inventory.device, False
        for point in listed.values():
            self._put_point(entry, point, changes)
        for known in entry.points.values():
            if inventory.complete and known.id not in listed and not known.vanished:
                known.vanished = True
                known.version += 1
                changes.vanished.append(known.id)
        return True

    def _described(self, point: Point, unread: Container[str]) -> Point:
        """Return a point as it is known where the device could not be asked about it now."""
        known = self._points.get(point.id) if point.id in unread else None
        return point if known is None else known.point

    def _put_point(self, device: DeviceEntry, point: Point, changes: Changes) -> None:
        known = device.points.get(point.id)
        if known is None:
            self.add_point(PointEntry(self.next_slot, point, device))
            changes.added.append(point.id)
        elif known.point != point or known.vanished:
            (changes.returned if known.vanished else changes.changed).append(point.id)
            known.point, known.vanished = point, False
            known.version += 1

    def reconfigure(self, plugin: str, configured: Callable[[Point], Point]) -> None:
        """Apply what a plugin's configuration says by now to the points that are known of it."""
        changed = set()
        for device in self.devices(plugin):
            for entry in device.points.values():
                point = configured(entry.point)
                if point != entry.point:
                    entry.point = point
                    entry.version += 1
                    changed.add(device.device)
        if changed:
            self.announce(sorted(changed, key=lambda device: device.id))

    def add_device(self, entry: DeviceEntry) -> None:
        """Enter a device as it is: a new one, or one from storage."""
        self._devices[entry.id] = entry
        self._device_ids = None

    def add_point(self, entry: PointEntry) -> None:
        """Enter a point as it is, under its slot."""
        self._points[entry.id] = self._by_slot[entry.slot] = entry
        entry.device.points[entry.id] = entry
        self.next_slot = max(self.next_slot, entry.slot + 1)
        self.current.reserve(entry.slot)
        self._point_ids = None

    def announce(self, devices: Sequence[Device], *, save: bool = True) -> None:
        """Tell the house that devices or their points changed, and have them saved."""
        self.version += 1
        if save:
            self.unsaved.update(device.id for device in devices)
        for listener in self.on_change:
            listener(devices)
        self._events.publish(DevicesChanged(tuple(devices)))

    # what people change

    def override_device(self, device_id: str, change: Callable[[Overrides], Overrides]) -> DeviceEntry:
        """Change what a person may set of a device; raises DeviceNotFound."""
        entry = self.device(device_id)
        entry.overrides = change(entry.overrides)
        for point in entry.points.values():
            point.version += 1
        self.announce([entry.device])
        return entry

    def override_point(self, point_id: str, change: Callable[[Overrides], Overrides]) -> PointEntry:
        """Change what a person may set of a point; raises PointNotFound."""
        entry = self.point(point_id)
        entry.overrides = change(entry.overrides)
        entry.version += 1
        self.announce([entry.device.device])
        return entry

    def delete_device(self, device_id: str) -> None:
        """Forget a vanished device and its points; raises DeviceNotFound, and Conflict for one that is there."""
        entry = self.device(device_id)
        if not entry.vanished:
            raise Conflict(f"{device_id} has not vanished; only a device that the last full scan missed can go.")
        del self._devices[device_id]
        for point in entry.points.values():
            del self._points[point.id], self._by_slot[point.slot]
            self.current.forget(point.slot)
        self._device_ids = self._point_ids = None
        self.announce([entry.device])

    def mark_vanished(self, device_ids: Sequence[str]) -> Changes:
        """Note that a full scan did not find these devices any more, and that they are offline."""
        gone = [self._devices[device_id] for device_id in device_ids]
        for entry in gone:
            entry.vanished = True
            for point in entry.points.values():
                point.version += 1
        if gone:
            self.announce([entry.device for entry in gone])
        return Changes(devices_vanished=[entry.id for entry in gone])

    # how devices do

    def set_polled(self, entry: PointEntry, every: float) -> None:
        """Note the seconds between the polls that bring a point's readings."""
        if entry.polled_every != every:
            entry.polled_every = every
            entry.version += 1
            self.version += 1

    def set_live(self, entries: Iterable[PointEntry], every: float | None) -> None:
        """Note that devices tell of points by themselves, which are verified each so many seconds; None: no longer."""
        changed: dict[str, Device] = {}
        for entry in entries:
            if entry.live_every != every:
                entry.live_every = every
                entry.version += 1
                changed[entry.device.id] = entry.device.device
        if changed:
            self.announce(list(changed.values()), save=False)

    def answered(self, entry: DeviceEntry, *, latency_s: float | None = None) -> None:
        """Note that a device answered, now."""
        entry.last_seen = self._clock.utc()
        entry.last_error = None
        if entry.vanished:
            entry.vanished = False
            self.announce([entry.device])
        if latency_s is not None:
            entry.latency_ms = round(latency_s * 1000, 2)
        self._set_status(entry, DeviceStatus.ONLINE)

    def silent(self, entry: DeviceEntry, error: str) -> None:
        """Note that a device did not answer."""
        entry.last_error = error
        self._set_status(entry, DeviceStatus.OFFLINE)

    def unwatched(self, plugin: str) -> None:
        """Note that nobody asks a plugin's devices any more, so that how they are is not known."""
        for entry in self.devices(plugin):
            self._set_status(entry, DeviceStatus.UNKNOWN)

    def _set_status(self, entry: DeviceEntry, status: DeviceStatus) -> None:
        if entry.status is status:
            return
        entry.status, entry.status_since = status, self._clock.utc()
        self.statuses += 1
        self._events.publish(DeviceStatusChanged(entry.id, status, entry.status_since, entry.last_error))
