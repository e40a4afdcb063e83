"""A device on the wire whose subscriptions a test looks at, and which does with them what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from plugins.bacnet.wire import apdu, bvll, cov, npdu, primitives, read_property
from plugins.bacnet.wire import read_property_multiple as rpm
from plugins.bacnet.wire.apdu import PduType, PropertyError, Service, UnconfirmedService
from plugins.bacnet.wire.datatypes import Bits, ObjectId
from plugins.bacnet.wire.who_is import IAm, write_i_am

NO_SPACE = PropertyError(3, 19)  # resources, no-space-to-add-list-element
INCREMENT = 22
FLAGS = primitives.encode_bit_string(Bits((False,) * 4))


class Subscribed(asyncio.DatagramProtocol):
    """Device 7001.

    ``answer`` says what becomes of a subscription: None accepts it, an error or the number of a reject reason refuses
    it, False leaves it unanswered. ``tells`` is whether a notification follows. ``values`` are those of analog inputs.
    """

    def __init__(self) -> None:
        self.answer: Callable[[cov.Subscription], PropertyError | int | bool | None] = lambda _subscription: None
        self.tells = True
        self.values: dict[int, float] = {number: 20.0 + number for number in range(1, 6)}
        self.increment = 0.5
        self.asked: list[cov.Subscription] = []
        self.cancelled: list[cov.Subscription] = []
        self.acknowledged: list[bytes] = []
        self.news = asyncio.Event()
        self.client: Any = None
        self.transport: Any = None

    @property
    def process_ids(self) -> dict[int, int]:
        """The process id of each object's last subscription."""
        return {each.object.instance: each.process_id for each in self.asked}

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        header = npdu.read_npdu(data, bvll.HEADER)
        message = data[header.at :]
        self.client = address
        if message[0] >> 4 == PduType.CONFIRMED_REQUEST:
            self._asked(apdu.read_request(message), message)
        elif message[0] >> 4 in (PduType.SIMPLE_ACK, PduType.ERROR):
            self.acknowledged.append(message)
        self.news.set()

    def say(self, message: bytes, *, header: bytes | None = None) -> None:
        self.transport.sendto(bvll.unicast((header or npdu.write_npdu()) + message), self.client)

    def announce(self) -> None:
        """Say I-Am, as after a restart."""
        self.say(write_i_am(IAm(ObjectId(8, 7001), 1476, 3, 999)))

    def notify(
        self, number: int, value: float | bytes, *, process_id: int | None = None, confirmed: bool = False
    ) -> None:
        """Tell of an analog input."""
        octets = value if isinstance(value, bytes) else primitives.encode_real(value)
        values = [(85, octets), (111, FLAGS)] if octets else [(111, FLAGS)]
        process = self.process_ids[number] if process_id is None else process_id
        told = cov.write_notification(process, ObjectId(8, 7001), ObjectId(0, number), 60, values)
        if confirmed:
            self.say(apdu.write_request(Service.CONFIRMED_COV_NOTIFICATION, told, invoke_id=9))
        else:
            self.say(bytes((PduType.UNCONFIRMED_REQUEST << 4, UnconfirmedService.UNCONFIRMED_COV_NOTIFICATION)) + told)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until what came in makes a condition hold."""
        async with asyncio.timeout(5):
            while not holds():
                self.news.clear()
                await self.news.wait()

    def _asked(self, request: apdu.ConfirmedRequest, message: bytes) -> None:
        if request.service == Service.SUBSCRIBE_COV:
            self._subscribed(cov.read_subscription(message, request.at), request.invoke_id)
        elif request.service == Service.READ_PROPERTY:
            self._read(read_property.read_parameters(message, request.at), request.invoke_id)
        elif request.service == Service.READ_PROPERTY_MULTIPLE:
            refs = rpm.read_parameters(message, request.at)
            objects: dict[ObjectId, bytes] = {}
            for ref in refs:
                value = FLAGS if ref.property == 111 else primitives.encode_real(self.values[ref.object.instance])
                objects[ref.object] = objects.get(ref.object, b"") + rpm.write_element(ref, value)
            result = b"".join(rpm.write_object(each, elements) for each, elements in objects.items())
            self.say(apdu.write_complex_ack(request.service, request.invoke_id, result))

    def _read(self, ref: Any, invoke_id: int) -> None:
        value = primitives.encode_character_string("seven")
        if ref.property == INCREMENT:
            value = primitives.encode_real(self.increment)
        self.say(apdu.write_complex_ack(Service.READ_PROPERTY, invoke_id, read_property.write_result(ref, value)))

    def _subscribed(self, subscription: cov.Subscription, invoke_id: int) -> None:
        if subscription.cancels:
            self.cancelled.append(subscription)
            self.say(apdu.write_simple_ack(Service.SUBSCRIBE_COV, invoke_id))
            return
        self.asked.append(subscription)
        answer = self.answer(subscription)
        if answer is False:
            return
        if isinstance(answer, PropertyError):
            self.say(apdu.write_error(Service.SUBSCRIBE_COV, invoke_id, answer))
        elif isinstance(answer, int) and answer is not True:
            self.say(bytes((PduType.REJECT << 4, invoke_id, answer)))
        else:
            self.say(apdu.write_simple_ack(Service.SUBSCRIBE_COV, invoke_id))
            if self.tells:
                number = subscription.object.instance
                self.notify(number, self.values[number], process_id=subscription.process_id)
