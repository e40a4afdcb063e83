"""Keeps the subscriptions of one device: makes, renews and repairs them, one request at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any

from core.errors import PlantroomError
from core.plugin import Context, Device, DeviceTimeout, Kind, Point
from plugins.bacnet.config import Cov
from plugins.bacnet.cov.subscription import FIRST_NOTIFICATION_S, NEVER, State, Subscription
from plugins.bacnet.errors import Refusal
from plugins.bacnet.objects import Prop
from plugins.bacnet.profile import TRIED_AGAIN_AFTER_S, Profile
from plugins.bacnet.reader import Reader
from plugins.bacnet.wire.datatypes import Ref

TELL_AFTER_S = 0.5
GRACE_S = 5.0
AFTER_RESTART_S = 1.0
AFTER_SCAN_S = 60.0
BETWEEN_RESTARTS_S = 30.0
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
MOST_IN_VAIN = 3

NO_COV = "the device offers no change of value"
NO_ROOM = "the device has no room for more subscriptions"
UNHEARD = "the device accepts the subscription, but no notification comes"
SILENT = "the device does not answer"
RESTARTED = "the device may have restarted"
MISSED = "the device did not tell of a change"

_NO_ROOM = {"no-space-to-add-list-element", "no-space-for-object", "no-space-to-write-property", "out-of-resources"}
_FAILED = "cov-subscription-failed"


class Watch:
    """The subscriptions of one device; `run` keeps them up until it is cancelled.

    ``profile_of`` returns what is known of the device, or raises DeviceNotFound. ``cancel`` has the device end a
    subscription.
    """

    def __init__(
        self,
        device: Device,
        profile_of: Callable[[Device], Profile],
        reader: Reader,
        ctx: Context,
        config: Cov,
        *,
        cancel: Callable[[Subscription], None],
    ) -> None:
        self.device = device
        self.renewals = 0
        self.refusals = 0
        self.missed = 0
        self._profile_of = profile_of
        self._reader = reader
        self._ctx = ctx
        self._config = config
        self._cancel = cancel
        self._by_slot: dict[int, Subscription] = {}
        self._live: dict[str, Point] = {}
        self._tell_at = NEVER
        self._pauses = 0
        self._failed_in_a_row = 0
        self._restarted_at = -NEVER
        self._wake = asyncio.Event()

    @property
    def subscriptions(self) -> Iterable[Subscription]:
        """All of them, whether they are made or not."""
        return self._by_slot.values()

    def by_slot(self, slot: int) -> Subscription | None:
        """Return a point's subscription."""
        return self._by_slot.get(slot)

    def add(self, subscription: Subscription) -> None:
        """Begin to keep one up."""
        self._by_slot[subscription.slot] = subscription
        self._wake.set()

    def remove(self, subscription: Subscription) -> None:
        """Keep one up no longer; whoever calls sees to it that the device hears of it."""
        del self._by_slot[subscription.slot]
        self._tell_soon(0.0)

    def notified(self, subscription: Subscription) -> None:
        """Note that the device told of a change, or of how things stand after subscribing."""
        if self._now() > subscription.sent_at + FIRST_NOTIFICATION_S:
            subscription.missed = 0
        if subscription.state is State.SUBSCRIBED:
            subscription.become_live()
            self._tell_soon(TELL_AFTER_S)

    def restarted(self, *, solicited: bool) -> None:
        """Subscribe to everything again, since the device has announced itself and may have forgotten us.

        One that only answered our own question, as most do, is given more time, so that a scan causes no burst.
        """
        now = self._now()
        spread = AFTER_SCAN_S if solicited else AFTER_RESTART_S
        if self._restarted_at > now:  # that is planned already
            return
        begin = self._restarted_at = max(now, self._restarted_at + BETWEEN_RESTARTS_S)
        profile = self.profile()
        if profile is not None and not solicited:
            profile.cov_slots = None  # the others' subscriptions are gone as well
        due = begin + random.uniform(0.0, spread)
        for each in self._by_slot.values():
            if each.state is State.LIVE:
                each.due = min(each.due, due)
            elif each.state is not State.REFUSED or (each.why == NO_ROOM and not solicited):
                each.wait(min(each.due, due), RESTARTED)
        self._pauses = 0
        self._wake.set()

    def recovered(self) -> None:
        """Go on at once, since the device answers again."""
        due = self._now() + random.uniform(0.0, AFTER_RESTART_S)
        for each in self._by_slot.values():
            if each.state is State.WAITING:
                each.due = min(each.due, due)
        self._pauses = 0
        self._wake.set()

    def check_soon(self) -> None:
        """Have the points looked at that a poll found other than they were told of."""
        self._wake.set()

    async def run(self) -> None:
        """Do what is due, for ever; what raises unexpectedly is logged and tried again later."""
        while True:
            await self._until(min((self._tell_at, *(min(each.due, each.check_at) for each in self._by_slot.values()))))
            try:
                await self._turn()
            except PlantroomError as error:  # such as a device that has no address by now
                self._silence(str(error))
            except Exception as error:
                self._ctx.log.exception("cov_failed", device=self.device.id, error=str(error))
                self._silence(type(error).__name__)

    async def _turn(self) -> None:
        now = self._now()
        if self._tell_at <= now:
            self.tell()
        for each in [each for each in self._by_slot.values() if each.check_at <= now]:
            await self._check(each)
        due = sorted((each for each in self._by_slot.values() if each.due <= now), key=lambda each: each.due)
        for each in due:
            if self._by_slot.get(each.slot) is each and each.due <= now and not await self._subscribe(each):
                break

    async def _subscribe(self, each: Subscription) -> bool:
        """Subscribe or renew; tell whether there is a point in going on with the next."""
        profile = self._profile_of(self.device)
        if self._is_unheard(each) or self._has_no_room(each, profile):
            return True
        lifetime_s = self._config.lifetime
        each.sent_at = self._now()
        each.heard_at_subscribing = each.notifications
        try:
            await self._reader.ask(profile, each.request(profile.path, lifetime_s=lifetime_s))
        except DeviceTimeout:
            self._silence(SILENT)
            return False
        except Refusal as refusal:
            self.refusals += 1
            return self._refused(each, refusal, profile)
        self._accepted(each, profile)
        return True

    def _accepted(self, each: Subscription, profile: Profile) -> None:
        self._pauses = self._failed_in_a_row = 0
        had_no_room = each.why == NO_ROOM
        each.accepted(self._now(), lifetime_s=self._config.lifetime)
        self.renewals += 1
        if each.state is State.LIVE:
            self._tell_soon(TELL_AFTER_S)
        if had_no_room:  # there is room again, perhaps for more
            profile.cov_slots = None
            for other in self._by_slot.values():
                if other.why == NO_ROOM:
                    other.wait(self._now(), "")

    def _is_unheard(self, each: Subscription) -> bool:
        """Poll a point for long whose subscriptions no notification follows, time after time."""
        if each.state is not State.SUBSCRIBED:
            return False
        each.unheard += 1
        if each.unheard < MOST_IN_VAIN:
            each.wait(each.due, UNHEARD)
            return False
        each.unheard = 0
        self._forsake(each, UNHEARD)
        return True

    def _has_no_room(self, each: Subscription, profile: Profile) -> bool:
        """Leave a device alone that has refused one more than it has now, until it is time to try again."""
        if each.state is not State.WAITING or profile.cov_slots is None or each.why == NO_ROOM:
            return False
        if sum(other.holds_slot for other in self._by_slot.values()) < profile.cov_slots:
            return False
        each.refuse(self._now() + self._config.lifetime, NO_ROOM)
        return True

    def _refused(self, each: Subscription, refusal: Refusal, profile: Profile) -> bool:
        """Take a no as what it is: about this object, about all of them, or about how many there are."""
        if refusal.service_is_missing:
            for other in self._by_slot.values():
                other.refuse(self._later(), NO_COV)
            self._tell_soon(0.0)
            return False
        self._failed_in_a_row = self._failed_in_a_row + 1 if refusal.code == _FAILED else 0
        if refusal.code in _NO_ROOM or refusal.error_class == "resources" or self._failed_in_a_row >= MOST_IN_VAIN:
            self._no_room(each, profile)
        elif each.confirmed and not each.notifications:
            each.confirmed = False  # some devices know the other sort only
            each.wait(self._now(), str(refusal))
        else:
            each.refuse(self._later(), str(refusal))
        self._tell_soon(TELL_AFTER_S)
        return True

    def _no_room(self, each: Subscription, profile: Profile) -> None:
        """Poll what the device has no room for, until subscriptions that nobody renews have run out."""
        each.refuse(self._now() + random.uniform(1.0, 1.2) * self._config.lifetime, NO_ROOM)
        profile.cov_slots = sum(other.holds_slot for other in self._by_slot.values())
        for other in self._by_slot.values():
            if other.state is State.WAITING or other.why == NO_ROOM:
                other.refuse(max(other.due, each.due), NO_ROOM)  # one of them tries again for all

    def _silence(self, why: str) -> None:
        """Poll all points until the device answers again, and try so ever more rarely."""
        self._pauses += 1
        longest = min(FIRST_PAUSE_S * 2.0 ** min(self._pauses, 10), LONGEST_PAUSE_S)
        until = self._now() + random.uniform(longest / 2, longest)
        for each in self._by_slot.values():
            if each.state is State.REFUSED:
                each.due = max(each.due, until)
            else:
                each.wait(until, why)
        self._tell_soon(0.0)

    async def _check(self, each: Subscription) -> None:
        """Subscribe again to what changed without our being told; poll it where that happens time after time."""
        if each.increment is None and each.point.kind is Kind.NUMBER:
            each.increment = await self._increment(each)
        if not each.has_missed():
            return
        self.missed += 1
        each.missed += 1
        if each.missed >= MOST_IN_VAIN:
            each.missed = 0
            self._forsake(each, MISSED)
        else:
            each.due = self._now()
            self.restarted(solicited=False)  # perhaps it did, and its I-Am was lost

    def _forsake(self, each: Subscription, why: str) -> None:
        """Poll a point whose subscription the device keeps and does not honour, and take it back."""
        self._cancel(each)
        each.refuse(self._later(), why)
        self._tell_soon(0.0)

    async def _increment(self, each: Subscription) -> float:
        """Read how far the value moves before the device tells of it; infinite where it does not say."""
        try:
            items = await self._reader.one(self._profile_of(self.device), Ref(each.object_id, Prop.COV_INCREMENT))
        except (Refusal, DeviceTimeout):
            return NEVER
        match items:
            case (int() | float() as increment,):
                return float(increment)
        return NEVER

    def _tell_soon(self, seconds: float) -> None:
        """Have the kernel told which points are live, several changes at once."""
        self._tell_at = min(self._tell_at, self._now() + seconds)
        self._wake.set()

    def tell(self) -> None:
        """Tell the kernel which points have become live, and which are no longer."""
        self._tell_at = NEVER
        live = {each.point.id: each.point for each in self._by_slot.values() if each.state is State.LIVE}
        begun = [point for point_id, point in live.items() if point_id not in self._live]
        ended = [point for point_id, point in self._live.items() if point_id not in live]
        self._live = live
        if begun:
            self._ctx.live(begun, self._config.verify)
        for point in ended:  # one by one, since some may have been deleted
            try:
                self._ctx.live([point], None)
            except PlantroomError:
                continue

    def profile(self) -> Profile | None:
        """Return what is known of the device; None where it has no address that can be asked."""
        try:
            return self._profile_of(self.device)
        except PlantroomError:
            return None

    def _later(self) -> float:
        return self._now() + random.uniform(0.5, 1.0) * TRIED_AGAIN_AFTER_S

    def _now(self) -> float:
        return self._ctx.clock.monotonic()

    async def _until(self, due: float) -> None:
        """Wait until a time, or until there is news."""
        seconds = due - self._now()
        if seconds <= 0:
            return
        waiting: set[asyncio.Task[Any]] = {asyncio.create_task(self._wake.wait(), name="bacnet:cov:news")}
        if seconds < NEVER:
            waiting.add(asyncio.create_task(self._ctx.clock.sleep(seconds), name="bacnet:cov:time"))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._wake.clear()
            for task in waiting:
                task.cancel()
