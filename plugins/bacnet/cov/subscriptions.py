"""All subscriptions of one plugin: which points want one, what the notifications say, and whom to tell at the end."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import attrs

from core.plugin import (
    Context,
    Device,
    DeviceTimeout,
    Kind,
    PlantroomError,
    Point,
    PointGroup,
    ReadingBatch,
    Reason,
    Source,
    Value,
    batch_of,
)
from core.tasks import end_tasks
from plugins.bacnet.addresses import Station
from plugins.bacnet.config import BacnetConfig
from plugins.bacnet.cov.subscription import Subscription, cancellation
from plugins.bacnet.cov.watch import GRACE_S, Watch
from plugins.bacnet.engine import Request
from plugins.bacnet.errors import Refusal
from plugins.bacnet.points import wants_cov
from plugins.bacnet.profile import Profile
from plugins.bacnet.reader import Reader
from plugins.bacnet.wire.cov import Notification

FIRST_WITHIN_S = 2.0
PARTING_S = 0.5
_MOST_PARTINGS = 64
_HIGHEST_ID = 2**32 - 1


class Subscriptions:
    """Keeps the points that the configuration's rules want by change of value subscribed to.

    ``profile_of`` returns what is known of a device, or raises DeviceNotFound. Each subscription has a process id of
    its own, since a device keeps one for each subscriber, process id and object; they begin at random, so that those
    from before a restart are told from these.
    """

    def __init__(
        self, config: BacnetConfig, ctx: Context, reader: Reader, profile_of: Callable[[Device], Profile]
    ) -> None:
        self.notifications = 0
        self.strays = 0
        self._config = config
        self._ctx = ctx
        self._reader = reader
        self._profile_of = profile_of
        self._watches: dict[str, Watch] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._by_id: dict[int, tuple[Watch, Subscription]] = {}
        self._last_id = random.randrange(1, 2**31)
        self._parting: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Subscription]:
        """Give all of them, device by device."""
        for watch in self._watches.values():
            yield from watch.subscriptions

    @property
    def renewals(self) -> int:
        """How often a device took a subscription, again or for the first time."""
        return sum(watch.renewals for watch in self._watches.values())

    @property
    def refusals(self) -> int:
        """How often a device refused one."""
        return sum(watch.refusals for watch in self._watches.values())

    @property
    def missed(self) -> int:
        """How many changes a poll found that should have been told of."""
        return sum(watch.missed for watch in self._watches.values())

    # what the kernel and the driver tell

    def watch(self, group: PointGroup) -> None:
        """Keep a device's points subscribed to as far as the rules want it, and cancel what is no longer among them."""
        wanted = {
            slot: point
            for point, slot in zip(group.points, group.slots, strict=True)
            if wants_cov(point, self._config.points)
        }
        watch = self._watches.get(group.device.id)
        if watch is None and wanted:
            watch = self._begin(group.device)
        if watch is None:
            return
        watch.device = group.device
        for each in list(watch.subscriptions):
            if each.slot in wanted:
                each.describe(wanted[each.slot])
            else:
                self._drop(watch, each)
        due = self._ctx.clock.monotonic() + random.uniform(0.0, FIRST_WITHIN_S)
        for slot, point in wanted.items():
            if watch.by_slot(slot) is None:
                self._add(watch, point, slot, due)
        if not group.points:
            self._end(group.device.id)

    def announced(self, device_id: str, *, solicited: bool) -> None:
        """Note a device's I-Am: after a restart it has forgotten its subscribers."""
        watch = self._watches.get(device_id)
        if watch is not None:
            watch.restarted(solicited=solicited)

    def polled(self, group: PointGroup, batches: Sequence[ReadingBatch], *, was_silent: bool) -> None:
        """Compare what a poll found with what the device told, and note that it answers again."""
        watch = self._watches.get(group.device.id)
        if watch is None:
            return
        if was_silent:
            watch.recovered()
        now = self._ctx.clock.monotonic()
        for batch in batches:
            for row, slot in enumerate(batch.chunk.slots):
                each = watch.by_slot(slot)
                if each is None or batch.time < (each.notified_at or 0.0):  # read before it was told
                    continue
                if not Reason(batch.reasons[row]).keeps_value:
                    each.compare(_value(batch, row, each.point.kind), now, GRACE_S)
        watch.check_soon()

    # what devices tell

    def hear(self, notification: Notification, data: bytes, station: Station) -> bool:
        """Take a notification in; False: it is of no subscription of ours, or comes from somewhere else."""
        known = self._by_id.get(notification.process_id)
        if known is None or not _is_from(station, known[0]) or known[1].object_id != notification.object:
            self._part_with(notification, station)
            return False
        watch, subscription = known
        self.notifications += 1
        now = self._ctx.clock.utc()
        row = subscription.row(data, notification, now)
        if row is not None:
            with contextlib.suppress(PlantroomError):  # of a point that was deleted a moment ago
                self._ctx.publish(batch_of(subscription.chunk, [row], time=now, source=Source.COV))
            watch.notified(subscription)
        return True

    async def close(self) -> None:
        """Tell the devices that we listen no more, as far as that can be done within ``PARTING_S``."""
        await end_tasks(self._tasks.values())
        partings = [
            asyncio.create_task(self._cancel(watch, each), name="bacnet:cov:parting")
            for watch in self._watches.values()
            for each in watch.subscriptions
            if each.holds_slot
        ]
        partings += self._parting
        if partings:
            await asyncio.wait(partings, timeout=PARTING_S)
        await end_tasks(partings)
        self._watches.clear()
        self._tasks.clear()
        self._by_id.clear()

    def _begin(self, device: Device) -> Watch:
        watch = self._watches[device.id] = Watch(
            device,
            self._profile_of,
            self._reader,
            self._ctx,
            self._config.cov,
            cancel=lambda each: self._part(self._cancel(watch, each)),
        )
        self._tasks[device.id] = asyncio.create_task(watch.run(), name=f"bacnet:cov:{device.id}")
        return watch

    def _end(self, device_id: str) -> None:
        """Keep up nothing for a device any more; its task ends once it has told the kernel so."""
        watch = self._watches.pop(device_id)
        watch.tell()
        self._tasks.pop(device_id).cancel()

    def _add(self, watch: Watch, point: Point, slot: int, due: float) -> None:
        process_id = self._free_id()
        made = Subscription.to(point, slot, process_id, confirmed=self._config.cov.confirmed, due=due)
        if made is not None:
            self._by_id[process_id] = watch, made
            watch.add(made)

    def _drop(self, watch: Watch, each: Subscription) -> None:
        watch.remove(each)
        del self._by_id[each.process_id]
        if each.holds_slot:
            self._part(self._cancel(watch, each))

    def _free_id(self) -> int:
        while True:
            self._last_id = self._last_id % _HIGHEST_ID + 1
            if self._last_id not in self._by_id:
                return self._last_id

    def _part_with(self, notification: Notification, station: Station) -> None:
        """Cancel a subscription that is none of ours any more: it takes room that somebody may need."""
        self.strays += 1
        device_id = f"{self._ctx.name}.{notification.device.instance}"
        watch = self._watches.get(device_id)
        if watch is not None and _is_from(station, watch) and notification.process_id not in self._by_id:
            profile = watch.profile()
            if profile is not None:
                request = cancellation(profile.path, notification.process_id, notification.object)
                self._part(self._ask(profile, request))

    def _part(self, parting: Coroutine[Any, Any, None]) -> None:
        """Have a device told, a few at once; what is too much runs out by itself at the end of its lifetime."""
        if len(self._parting) >= _MOST_PARTINGS:
            parting.close()
            return
        task = asyncio.create_task(parting, name="bacnet:cov:parting")
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)

    async def _cancel(self, watch: Watch, each: Subscription) -> None:
        profile = watch.profile()
        if profile is not None and not profile.silent:
            await self._ask(profile, each.cancellation(profile.path))

    async def _ask(self, profile: Profile, request: Request) -> None:
        with contextlib.suppress(Refusal, DeviceTimeout):  # it runs out by itself
            await self._reader.ask(profile, request)


def _is_from(station: Station, watch: Watch) -> bool:
    """Tell whether a device is where we know it to be; which of our interfaces heard it makes no difference."""
    profile = watch.profile()
    return profile is not None and attrs.evolve(profile.station, interface=station.interface) == station


def _value(batch: ReadingBatch, row: int, kind: Kind) -> Value:
    """Return what a batch says of a point."""
    if kind is Kind.TEXT:
        return batch.texts.get(row)
    number = batch.values[row]
    if math.isnan(number):
        return None
    return batch.integers.get(row, bool(number) if kind is Kind.BOOLEAN else number)
