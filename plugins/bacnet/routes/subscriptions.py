"""REST: the subscriptions to changes of value, and what keeps a point from being live."""

from __future__ import annotations

import secrets
from typing import Literal

import attrs
from aiohttp import web

from core.api.lists import SORT, ListAnswer, ListQuery, envelope, found, page
from core.cursors import Cursors
from core.errors import InvalidCursor
from core.model import rfc3339
from core.plugin import Clock, Route, field
from plugins.bacnet.cov.subscription import State, Subscription
from plugins.bacnet.cov.subscriptions import Subscriptions

LIST = "subscriptions"


@attrs.frozen(kw_only=True)
class SubscriptionsQuery(ListQuery):
    """Which subscriptions to list; a filter given several times takes any of its values."""

    sort: Literal["point_id", "-point_id"] = field(default="point_id", description=SORT)
    device_id: tuple[str, ...] = field(default=(), description="Ids of devices.", example="bacnet.2001")
    state: tuple[State, ...] = field(default=(), description="How the subscriptions stand.", example="live")


@attrs.frozen(kw_only=True)
class SubscriptionAnswer:
    """A point's subscription to changes of its value."""

    point_id: str = field(example="bacnet.2001.analog-input.1")
    device_id: str = field(example="bacnet.2001")
    state: State = field(
        description="`live`: the device tells of each change. Else the point is polled: `waiting` to subscribe, "
        "`subscribed` and not yet told anything, or `refused` until it is tried again.",
        example="live",
    )
    why: str | None = field(
        description="What keeps it from being live.", example="the device has no room for more subscriptions"
    )
    confirmed: bool = field(description="Whether the device wants each notification answered.", example=True)
    process_id: int = field(description="Our number for it on the device.", example=1_804_289_383)
    expires_at: str | None = field(
        description="When the device ends it, unless it is renewed.", format="date-time",
        example="2026-01-31T12:10:00.000Z",
    )  # fmt: skip
    next_at: str | None = field(
        description="When it is renewed, or tried again.", format="date-time", example="2026-01-31T12:06:12.000Z"
    )
    notifications: int = field(description="How many came.", example=12)
    notified_at: str | None = field(
        description="When the last one came.", format="date-time", example="2026-01-31T12:04:55.120Z"
    )


class SubscriptionRoutes:
    """The routes; ``subscriptions`` are the plugin's."""

    def __init__(self, subscriptions: Subscriptions, clock: Clock) -> None:
        self._subscriptions = subscriptions
        self._clock = clock
        self._cursors = Cursors(secrets.token_bytes(32))

    @property
    def routes(self) -> list[Route]:
        """List them."""
        return [
            Route(
                "GET", "/subscriptions", self.list, "List subscriptions to changes of value",
                query=SubscriptionsQuery, answer=ListAnswer[SubscriptionAnswer], errors=(InvalidCursor,),
                description="Those that the rules of the configuration want, whether the device takes them or not.",
            ),
        ]  # fmt: skip

    async def list(self, _request: web.Request, *, query: SubscriptionsQuery) -> ListAnswer[SubscriptionAnswer]:
        """Answer a page of subscriptions."""
        all_ = {each.point.id: each for each in self._subscriptions}

        def pick(point_id: str) -> Subscription | None:
            each = all_[point_id]
            wanted = not query.device_id or each.point.device_id in query.device_id
            wanted = wanted and (not query.state or each.state in query.state)
            return each if wanted and found(query.q, point_id, each.point.name, each.why) else None

        listed = page(self._cursors, LIST, query, keys=sorted(all_), pick=pick)
        return envelope(listed, [self._answer(each) for each in listed.rows])

    def _answer(self, each: Subscription) -> SubscriptionAnswer:
        return SubscriptionAnswer(
            point_id=each.point.id,
            device_id=each.point.device_id,
            state=each.state,
            why=each.why or None,
            confirmed=each.confirmed,
            process_id=each.process_id,
            expires_at=self._time(each.expires_at) if each.holds_slot else None,
            next_at=self._time(each.due),
            notifications=each.notifications,
            notified_at=rfc3339(each.notified_at),
        )

    def _time(self, monotonic: float) -> str | None:
        return rfc3339(self._clock.utc() + monotonic - self._clock.monotonic())
