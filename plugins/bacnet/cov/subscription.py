"""One point's subscription: how it stands, when it is to be renewed, and what it was last told."""

from __future__ import annotations

import enum
import math
import random
from array import array

import attrs

from core.plugin import Chunk, Kind, Point, Row, Value
from plugins.bacnet.engine import Path, Request
from plugins.bacnet.objects import Prop, object_of
from plugins.bacnet.polling import Question
from plugins.bacnet.wire import cov
from plugins.bacnet.wire.apdu import Service
from plugins.bacnet.wire.cov import Notification
from plugins.bacnet.wire.datatypes import Items, ObjectId, Ref
from plugins.bacnet.wire.errors import DecodeError

FIRST_NOTIFICATION_S = 10.0
"""How long the notification may take that follows a subscription (13.14.2)."""

NEVER = math.inf

_RENEWED_FROM, _RENEWED_TO = 0.5, 0.8  # of the lifetime


class State(enum.StrEnum):
    """How a subscription stands; a point is live in the last but one only, and polled in all others."""

    WAITING = "waiting"
    SUBSCRIBED = "subscribed"
    LIVE = "live"
    REFUSED = "refused"


@attrs.define(eq=False)
class Subscription:
    """A subscription to one object; times are monotonic seconds.

    At ``due`` it is made, renewed, or tried again. One that is subscribed becomes live with its first notification.
    ``why`` says what keeps it from being live. ``missed`` counts changes in a row that a poll found and no notification
    told of, ``unheard`` subscriptions in a row that no notification followed. ``increment`` is how far a number moves
    before the device tells (None: it has not been asked).
    """

    question: Question
    slot: int
    object_id: ObjectId
    process_id: int
    confirmed: bool
    due: float
    chunk: Chunk
    state: State = State.WAITING
    why: str = ""
    sent_at: float = 0.0
    expires_at: float = 0.0
    renew_at: float = 0.0
    notifications: int = 0
    notified_at: float | None = None
    heard_at_subscribing: int = 0
    last: Row | None = None
    suspect: tuple[Value, int] | None = None
    check_at: float = NEVER
    increment: float | None = None
    missed: int = 0
    unheard: int = 0

    @classmethod
    def to(cls, point: Point, slot: int, process_id: int, *, confirmed: bool, due: float) -> Subscription | None:
        """Plan to subscribe to a point's object; None where it is none."""
        try:
            kind, object_id = object_of(point.key)
        except ValueError:
            return None
        value, flags = Ref(object_id, Prop.PRESENT_VALUE), Ref(object_id, Prop.STATUS_FLAGS)
        question = Question(point, (value, flags) if kind.status_flags else (value,))
        return cls(question, slot, object_id, process_id, confirmed, due, Chunk(array("I", [slot])))

    @property
    def point(self) -> Point:
        """The point that it is for."""
        return self.question.point

    @property
    def holds_slot(self) -> bool:
        """Whether the device has it in its list."""
        return self.state in (State.SUBSCRIBED, State.LIVE)

    def describe(self, point: Point) -> None:
        """Take over what is known of the point by now, such as another name; its object stays the same."""
        self.question = attrs.evolve(self.question, point=point)

    def request(self, path: Path, *, lifetime_s: int) -> Request:
        """Make the request that subscribes, or renews (13.14.1)."""
        wanted = cov.Subscription(self.process_id, self.object_id, self.confirmed, lifetime_s)
        return Request(path, Service.SUBSCRIBE_COV, cov.write_subscription(wanted))

    def cancellation(self, path: Path) -> Request:
        """Make the request that ends it (13.14.1.2)."""
        return cancellation(path, self.process_id, self.object_id)

    def accepted(self, now: float, *, lifetime_s: int) -> None:
        """Note that the device took it, for so many seconds from when it was asked."""
        self.expires_at = self.sent_at + lifetime_s
        self.renew_at = self.sent_at + random.uniform(_RENEWED_FROM, _RENEWED_TO) * lifetime_s
        self.why = ""
        if self.state is State.LIVE or self.notifications > self.heard_at_subscribing:
            self.become_live()
        else:
            self.state = State.SUBSCRIBED
            self.due = now + FIRST_NOTIFICATION_S

    def become_live(self) -> None:
        """Note that it is accepted and heard of."""
        self.state, self.due, self.why, self.unheard = State.LIVE, self.renew_at, "", 0

    def wait(self, due: float, why: str) -> None:
        """Poll until it is made once more."""
        self.state, self.due, self.why = State.WAITING, due, why
        self._trust()

    def refuse(self, due: float, why: str) -> None:
        """Poll, since the device will not have it; it is tried again at ``due``."""
        self.state, self.due, self.why = State.REFUSED, due, why
        self._trust()

    def row(self, data: bytes, notification: Notification, now_utc: float) -> Row | None:
        """Take a notification in and return what it says of the point; None where it says nothing of its value."""
        value, flags = self.question.refs[0], self.question.refs[-1]
        answers: dict[Ref, Items] = dict.fromkeys(self.question.refs, ())
        told = False
        for each in notification.values:
            try:
                if each.property_id == value.property:
                    answers[value], told = each.items(data), True
                elif each.property_id == flags.property:
                    answers[flags] = each.items(data)
            except DecodeError:
                continue
        if not told:
            return None
        self.notifications += 1
        self.notified_at = now_utc
        self.last = self.question.row(answers)
        return self.last

    def compare(self, value: Value, now: float, grace_s: float) -> None:
        """Look at what a poll found: where it is not what was last told, the notification gets some time to come."""
        if self.state is State.LIVE and self.last is not None and self.suspect is None and value != self._told:
            self.suspect, self.check_at = (value, self.notifications), now + grace_s

    def has_missed(self) -> bool:
        """Tell whether the change that a poll found should have been told of and was not, and suspect it no longer."""
        suspect, self.suspect, self.check_at = self.suspect, None, NEVER
        if suspect is None or self.last is None or suspect[1] != self.notifications:
            return False
        value, told = suspect[0], self._told
        if self.point.kind is Kind.NUMBER and isinstance(value, int | float) and isinstance(told, int | float):
            return self.increment is not None and abs(value - told) >= self.increment
        return value != told

    @property
    def _told(self) -> Value:
        """The value that was last told, None where that is no number, as the current readings have it."""
        value = None if self.last is None else self.last.value
        return None if isinstance(value, float) and not math.isfinite(value) else value

    def _trust(self) -> None:
        self.suspect, self.check_at = None, NEVER


def cancellation(path: Path, process_id: int, object_id: ObjectId) -> Request:
    """Make the request that ends a subscription, ours from before a restart too."""
    ended = cov.Subscription(process_id, object_id, None, None)
    return Request(path, Service.SUBSCRIBE_COV, cov.write_subscription(ended))
