"""Change of value: takes subscriptions, and tells subscribers when a present value has moved (ASHRAE 135, 13.1)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import attrs

from plugins.bacnet.wire import apdu, bvll, cov
from plugins.bacnet.wire.apdu import PduType, PropertyError, Service, UnconfirmedService
from plugins.bacnet.wire.errors import DecodeError
from plugins.bacnet.wire.npdu import Place, write_npdu
from plugins.simulator.objects import ObjectType, SimulatedObject, Value
from plugins.simulator.server.link import Address
from plugins.simulator.server.octets import object_id
from plugins.simulator.server.prepared import UNKNOWN_OBJECT, status_flags
from plugins.simulator.server.prepared_device import DEVICE
from plugins.simulator.server.properties import Property
from plugins.simulator.server.station import Station
from plugins.simulator.server.timer import Handle, Timer

NOT_CONFIRMED_S = 3.0
"""How long a confirmed notification waits for its answer, and is then sent again: the devices' APDU time-out."""

MOST_RETRIES = 3

_NO_SPACE = PropertyError(3, 19)  # resources, no-space-to-add-list-element
_NOT_TOLD = PropertyError(5, 43)  # services, cov-subscription-failed
_MISSING_PARAMETER, _UNRECOGNIZED_SERVICE = 5, 9
_WITHOUT_COV = (ObjectType.ACCUMULATOR,)
_INVOKE_IDS = 256


class Recipient(NamedTuple):
    """Who is told: an address of the outside and, behind a router there, a station."""

    address: Address
    place: Place | None


@attrs.define(eq=False, kw_only=True)
class Subscription:
    """One subscription; ``expires`` is a time of the timer's, None: never. ``told`` is what was sent last."""

    station: Station
    recipient: Recipient
    process_id: int
    data: SimulatedObject
    confirmed: bool
    expires: float | None
    told: tuple[Value, bool]
    version: int

    @property
    def is_due(self) -> bool:
        """Whether the value has moved by the COV increment since it was told, or a flag has changed."""
        if self.version == self.data.version:
            return False
        self.version = self.data.version
        (old, was_out), (new, is_out) = self.told, _state(self.data)
        increment = self.data.cov_increment
        if increment and was_out == is_out and isinstance(old, float | int) and isinstance(new, float | int):
            return abs(new - old) >= increment
        return (new, is_out) != (old, was_out)


class Taken(NamedTuple):
    """The answer to SubscribeCOV, and the subscription whose first notification is to follow it."""

    answer: bytes
    subscription: Subscription | None = None


Send: TypeAlias = Callable[[Station, bytes, Address], None]
"""Sends a datagram of a station's that answers nothing."""

_Key: TypeAlias = tuple[Recipient, int, int]  # process id and packed object id make it the subscriber's
_Outstanding: TypeAlias = tuple[Station, Recipient, int]


@attrs.define(eq=False)
class _Unconfirmed:
    """A confirmed notification that nobody has answered yet."""

    datagram: bytes
    left: int
    handle: Handle


class ChangeOfValue:
    """The subscriptions to all devices, until they expire, are cancelled, or their device forgets them."""

    def __init__(self, send: Send, *, timer: Timer) -> None:
        self._send = send
        self._timer = timer
        self._log = logging.getLogger(__name__)
        self._of: dict[Station, dict[_Key, Subscription]] = {}
        self._outstanding: dict[_Outstanding, _Unconfirmed] = {}
        self._last_id: dict[Station, int] = {}

    def take(self, station: Station, parameters: bytes, recipient: Recipient, *, invoke_id: int) -> Taken:
        """Subscribe, renew or cancel (13.14)."""
        if not station.quirks.product.subscribe_cov:
            return Taken(bytes((PduType.REJECT << 4, invoke_id, _UNRECOGNIZED_SERVICE)))
        try:
            wanted = cov.read_subscription(parameters)
        except DecodeError:
            wanted = None
        if wanted is None or (wanted.confirmed is None and wanted.lifetime_s is not None):
            return Taken(bytes((PduType.REJECT << 4, invoke_id, _MISSING_PARAMETER)))
        outcome = self._take(station, wanted, recipient)
        if isinstance(outcome, PropertyError):
            return Taken(apdu.write_error(Service.SUBSCRIBE_COV, invoke_id, outcome))
        return Taken(apdu.write_simple_ack(Service.SUBSCRIBE_COV, invoke_id), outcome)

    def _take(
        self, station: Station, wanted: cov.Subscription, recipient: Recipient
    ) -> Subscription | PropertyError | None:
        station.refresh()
        own = self._of.setdefault(station, {})
        key = (recipient, wanted.process_id, wanted.object.packed)
        if wanted.cancels:
            own.pop(key, None)
            return None
        data = station.objects.get(wanted.object.packed)
        if data is None:
            return _NOT_TOLD if wanted.object.type == DEVICE else UNKNOWN_OBJECT
        if data.type in _WITHOUT_COV:
            return _NOT_TOLD
        if key not in own and self.count(station) >= station.quirks.product.cov_slots:
            return _NO_SPACE
        own[key] = Subscription(
            station=station,
            recipient=recipient,
            process_id=wanted.process_id,
            data=data,
            confirmed=bool(wanted.confirmed),
            expires=self._timer.time() + wanted.lifetime_s if wanted.lifetime_s else None,
            told=_state(data),
            version=data.version,
        )
        return own[key]

    def count(self, station: Station) -> int:
        """Say how many subscriptions a device has at present."""
        return sum(1 for _ in self._current(station))

    def check(self, *, only: SimulatedObject | None = None) -> None:
        """Tell all whose value has moved far enough, or those of one object."""
        for station in tuple(self._of):
            station.refresh()
            for subscription in tuple(self._current(station)):
                if (only is None or subscription.data is only) and subscription.is_due:
                    self.tell(subscription)

    def tell(self, subscription: Subscription) -> None:
        """Send the present state to a subscriber."""
        station, data = subscription.station, subscription.data
        subscription.told, subscription.version = _state(data), data.version
        if station.conduct is not None and station.conduct.keeps_to_itself():
            return
        values = [
            (Property.PRESENT_VALUE, station.present_value(data)(data)),
            (Property.STATUS_FLAGS, status_flags(data)),
        ]
        left = subscription.expires and max(1, round(subscription.expires - self._timer.time()))
        parameters = cov.write_notification(
            subscription.process_id, station.prepared.identifier, object_id(data), left or 0, values
        )
        if subscription.confirmed:
            self._ask(station, subscription.recipient, parameters)
        else:
            service = bytes((PduType.UNCONFIRMED_REQUEST << 4, UnconfirmedService.UNCONFIRMED_COV_NOTIFICATION))
            self._send(station, _datagram(station, subscription.recipient, service + parameters), _to(subscription))

    def answered(self, station: Station, recipient: Recipient, invoke_id: int) -> bool:
        """Take the answer to a confirmed notification, whatever it is; tell whether one was waited for."""
        waiting = self._outstanding.pop((station, recipient, invoke_id), None)
        if waiting is None:
            return False
        waiting.handle.cancel()
        return True

    def forget(self, station: Station) -> None:
        """Drop all subscriptions of a device, as it does when it starts."""
        self._of.pop(station, None)
        for key in [key for key in self._outstanding if key[0] is station]:
            self._outstanding.pop(key).handle.cancel()

    def close(self) -> None:
        """Drop everything."""
        for station in {*self._of, *(key[0] for key in self._outstanding)}:
            self.forget(station)

    def _current(self, station: Station) -> Iterator[Subscription]:
        """Go through what has not expired, and drop the rest, and what is about objects that are gone."""
        own, now = self._of.get(station, {}), self._timer.time()
        for key, subscription in tuple(own.items()):
            expired = subscription.expires is not None and subscription.expires <= now
            if expired or station.objects.get(key[2]) is not subscription.data:
                del own[key]
            else:
                yield subscription

    def _ask(self, station: Station, recipient: Recipient, parameters: bytes) -> None:
        last = self._last_id.get(station, -1)
        ids = ((last + 1 + n) % _INVOKE_IDS for n in range(_INVOKE_IDS))
        invoke_id = next((each for each in ids if (station, recipient, each) not in self._outstanding), None)
        if invoke_id is None:
            self._log.warning("%s does not answer notifications: one is dropped", recipient.address)
            return
        self._last_id[station] = invoke_id
        message = apdu.write_request(Service.CONFIRMED_COV_NOTIFICATION, parameters, invoke_id=invoke_id)
        datagram = _datagram(station, recipient, message, expects_reply=True)
        self._send_again((station, recipient, invoke_id), datagram, left=MOST_RETRIES)

    def _send_again(self, key: _Outstanding, datagram: bytes, *, left: int) -> None:
        handle = self._timer.call_later(NOT_CONFIRMED_S, self._unanswered, key)
        self._outstanding[key] = _Unconfirmed(datagram, left, handle)
        self._send(key[0], datagram, key[1].address)

    def _unanswered(self, key: _Outstanding) -> None:
        waiting = self._outstanding.pop(key, None)
        if waiting is not None and waiting.left:
            self._send_again(key, waiting.datagram, left=waiting.left - 1)


def _state(data: SimulatedObject) -> tuple[Value, bool]:
    return data.value, data.out_of_service


def _to(subscription: Subscription) -> Address:
    return subscription.recipient.address


def _datagram(station: Station, recipient: Recipient, message: bytes, *, expects_reply: bool = False) -> bytes:
    npdu = write_npdu(source=station.address, destination=recipient.place, expects_reply=expects_reply)
    return bvll.unicast(npdu + message)
