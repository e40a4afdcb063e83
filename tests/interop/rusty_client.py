"""A client on rusty-bacnet."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from .asking import DEVICE, Found, ObjectId, Refused, Told, Typed

LONGEST_S = 5.0
QUIET_MS = 50


class RustyClient:
    """Asks by rusty-bacnet; one that is not behind a router is reached by its address, the others by their numbers."""

    knows = frozenset({"routers", "element 0", "failed writes"})

    def __init__(self, rusty: ModuleType, client: Any, notifications: Any) -> None:
        self.rusty = rusty
        self.client = client
        self._notifications = notifications
        self._addresses: dict[int, str] = {}

    @classmethod
    async def of(cls, rusty: ModuleType, client: Any) -> RustyClient:
        return cls(rusty, client, await client.cov_notifications())

    async def find(
        self, at: str | None, limits: tuple[int, int] | None = None, *, expected: set[int]
    ) -> Mapping[int, Found]:
        await self.client.clear_devices()
        if at is None:
            await self.client.who_is(*(limits or ()))
        else:
            await self.client.who_is_directed(at, *(limits or ()))
        async with asyncio.timeout(LONGEST_S):
            while not expected <= {each.object_identifier.instance for each in await self.client.discovered_devices()}:
                await asyncio.sleep(0.01)
        found = await self.client.discovered_devices()
        for each in found:
            octets = each.mac_address
            place = f"{'.'.join(map(str, octets[:4]))}:{int.from_bytes(octets[4:], 'big')}"
            if each.source_network is None:
                self._addresses[each.object_identifier.instance] = place
        return {
            each.object_identifier.instance: Found(
                each.max_apdu_length,
                each.segmentation_supported == self.rusty.Segmentation.BOTH,
                each.vendor_id,
                each.source_network,
            )
            for each in found
        }

    async def heard(self) -> set[int]:
        return {each.object_identifier.instance for each in await self.client.discovered_devices()}

    async def has(self, wanted: ObjectId | str, *, limits: tuple[int, int] | None = None) -> list[tuple[Any, ...]]:
        """Ask who has an object, for a short while, and return the number, the object and its name of each."""
        asked = wanted if isinstance(wanted, str) else self._oid(wanted)
        found = await self.client.who_has_replies(asked, *(limits or ()), timeout_ms=4 * QUIET_MS)
        return [(each.device_identifier.instance, _pair(each.object_identifier), each.object_name) for each in found]

    async def read(self, device: int, object_id: ObjectId, prop: int, index: int | None = None) -> list[Any]:
        answer = await self._ask("read_property", device, self._oid(object_id), self._prop(prop), index)
        return _items(answer)

    async def read_many(
        self, device: int, wanted: Mapping[ObjectId, Sequence[int]]
    ) -> dict[ObjectId, dict[int, list[Any] | Refused]]:
        specs = [(self._oid(each), [(self._prop(prop), None) for prop in props]) for each, props in wanted.items()]
        answer = await self._ask("read_property_multiple", device, specs)
        return {
            _pair(each["object_id"]): {result["property_id"].to_raw(): _result(result) for result in each["results"]}
            for each in answer
        }

    async def write(
        self, device: int, object_id: ObjectId, prop: int, value: Typed, priority: int | None = None
    ) -> None:
        written = self._value(value)
        await self._ask("write_property", device, self._oid(object_id), self._prop(prop), written, priority)

    async def write_many(self, device: int, wanted: Mapping[ObjectId, Mapping[int, Typed]], priority: int) -> None:
        specs = [
            (self._oid(each), [(self._prop(prop), self._value(value), priority, None) for prop, value in props.items()])
            for each, props in wanted.items()
        ]
        await self._ask("write_property_multiple", device, specs)

    async def subscribe(self, device: int, object_id: ObjectId, process_id: int, *, confirmed: bool) -> None:
        place = self._addresses[device]
        await self._answer(self.client.subscribe_cov(place, process_id, self._oid(object_id), confirmed, 60))

    async def cancel(self, device: int, object_id: ObjectId, process_id: int) -> None:
        place = self._addresses[device]
        await self._answer(self.client.unsubscribe_cov(place, process_id, self._oid(object_id)))

    async def told(self, *, confirmed: bool) -> Told:
        async with asyncio.timeout(LONGEST_S):
            each = await anext(self._notifications)
        assert (each.delivery == "confirmed") is confirmed
        return Told(
            each.subscriber_process_identifier,
            _pair(each.monitored_object_identifier),
            {value["property_id"].to_raw(): _items(value["value"]) for value in each.values},
            confirmed,
        )

    def others(self, device: int) -> Mapping[str, Callable[[], Awaitable[Any]]]:
        rusty, client, at = self.rusty, self.client, self._addresses[device]
        us, prop = self._oid((DEVICE, device)), rusty.PropertyIdentifier
        file, one = self._oid((10, 1)), bytes.fromhex("c402000001")
        never = rusty.BACnetTimeStamp.sequence_number(0)
        asked: Mapping[str, Callable[[], Any]] = {
            "subscribe-cov-property-multiple": lambda: client.subscribe_cov_property_multiple(
                at, 1, [(us, [(prop.OBJECT_NAME, None, None, False)])], False, 10, 60
            ),
            "device-communication-control": lambda: client.device_communication_control(
                at, rusty.EnableDisable.DISABLE_INITIATION, 1
            ),
            "reinitialize-device": lambda: client.reinitialize_device(at, rusty.ReinitializedState.WARMSTART),
            "create-object": lambda: client.create_object(at, rusty.ObjectType.ANALOG_VALUE),
            "delete-object": lambda: client.delete_object(at, us),
            "add-list-element": lambda: client.add_list_element(at, us, prop.DEVICE_ADDRESS_BINDING, one),
            "remove-list-element": lambda: client.remove_list_element(at, us, prop.DEVICE_ADDRESS_BINDING, one),
            "get-event-information": lambda: client.get_event_information(at),
            "get-alarm-summary": lambda: client.get_alarm_summary(at),
            "get-enrollment-summary": lambda: client.get_enrollment_summary(at),
            "acknowledge-alarm": lambda: client.acknowledge_alarm_request(
                at, 1, us, rusty.EventState.NORMAL, never, "test", never
            ),
            "read-range": lambda: client.read_range(at, us, prop.OBJECT_LIST),
            "confirmed-private-transfer": lambda: client.confirmed_private_transfer(at, 999, 1),
            "confirmed-text-message": lambda: client.confirmed_text_message(
                at, us, rusty.MessagePriority.NORMAL, "hello"
            ),
            "atomic-read-file": lambda: client.atomic_read_file(at, file, "stream", 0, 10),
            "atomic-write-file": lambda: client.atomic_write_file(at, file, "stream", 0, b"x"),
            "life-safety-operation": lambda: client.life_safety_operation(
                at, 1, "test", rusty.LifeSafetyOperation.SILENCE
            ),
        }
        return {name: lambda ask=ask: self._answer(ask()) for name, ask in asked.items()}

    async def announce(self, device: int) -> None:
        at, now = self._addresses[device], dt.datetime.now(dt.UTC)
        date = now.year, now.month, now.day, now.isoweekday()
        for synchronize in (self.client.time_synchronization, self.client.utc_time_synchronization):
            await synchronize(at, date, (now.hour, now.minute, now.second, 0))
        await self.client.unconfirmed_private_transfer(at, 999, 1)

    async def _ask(self, name: str, device: int, *arguments: Any) -> Any:
        if device in self._addresses:
            return await self._answer(getattr(self.client, name)(self._addresses[device], *arguments))
        by_number = f"{name}_{'from' if name.startswith('read') else 'to'}_device"
        return await self._answer(getattr(self.client, by_number)(device, *arguments))

    async def _answer(self, asked: Awaitable[Any]) -> Any:
        rusty = self.rusty
        try:
            async with asyncio.timeout(LONGEST_S):
                return await asked
        except rusty.BacnetProtocolError as error:
            refused = Refused(error.error_code, kinds=["error"], error_class=error.error_class)
            if error.first_failed_write_attempt is not None:
                refused.failed = _pair(error.first_failed_write_attempt["object_identifier"])
            raise refused from error
        except rusty.BacnetRejectError as error:
            raise Refused(error.reason, kinds=["reject"]) from error
        except rusty.BacnetAbortError as error:
            raise Refused(error.reason, kinds=["abort"]) from error

    def _oid(self, object_id: ObjectId) -> Any:
        return self.rusty.ObjectIdentifier(self.rusty.ObjectType.from_raw(object_id[0]), object_id[1])

    def _prop(self, number: int) -> Any:
        return self.rusty.PropertyIdentifier.from_raw(number)

    def _value(self, value: Typed) -> Any:
        make = self.rusty.PropertyValue
        if value.value is None:
            return make.null()
        named = {2: make.unsigned, 4: make.real, 7: make.character_string, 9: make.enumerated}
        return named[value.tag](value.value)


def _result(result: Mapping[str, Any]) -> list[Any] | Refused:
    if result["error"] is None:
        return _items(result["value"])
    error_class, code = result["error"]
    return Refused(code.to_raw(), kinds=["error"], error_class=error_class.to_raw())


def _items(value: Any) -> list[Any]:
    if value.tag == "bit_string":
        octets = value.value["data"]
        return [frozenset(bit for bit in range(8 * len(octets)) if octets[bit >> 3] & 0x80 >> (bit & 7))]
    elements = value.value if value.tag == "list" else [value.value]
    return [_pair(each) if hasattr(each, "object_type") else each for each in elements]


def _pair(object_id: Any) -> ObjectId:
    return object_id.object_type.to_raw(), object_id.instance
