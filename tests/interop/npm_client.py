"""Clients on stacks from the npm registry: @bacnet-js/client and bacstack, from which it descends."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from .asking import BROADCAST, DEVICE, PORT, Found, ObjectId, Refused, Told, Typed
from .node_process import NodeError, NodeProcess

NO_INDEX = 0xFFFFFFFF
BIT_STRING, OBJECT_IDENTIFIER, ERROR = 8, 12, 105
SEGMENTED_BOTH = 0
LIFETIME_S = 60


class BacnetJsClient:
    """Asks by @bacnet-js/client, which reaches devices behind routers by their networks and addresses."""

    knows = frozenset({"routers", "element 0"})
    subscribing = "subscribeCov"

    def __init__(self, node: NodeProcess) -> None:
        self.node = node
        self._places: dict[int, dict[str, Any]] = {}

    async def find(
        self, at: str | None, limits: tuple[int, int] | None = None, *, expected: set[int]
    ) -> Mapping[int, Found]:
        self.node.waiting("iAm")
        options = {} if limits is None else {"lowLimit": limits[0], "highLimit": limits[1]}
        await self._ask_who_is_there(at or f"{BROADCAST}:{PORT}", options)
        found: dict[int, Found] = {}
        while not expected <= set(found):
            found |= self._noted(await self.node.event("iAm"))
        return found

    async def heard(self) -> set[int]:
        return {each["payload"]["deviceId"] for each in self.node.waiting("iAm")}

    async def read(self, device: int, object_id: ObjectId, prop: int, index: int | None = None) -> list[Any]:
        options = {} if index is None else {"arrayIndex": index}
        answer = await self.call("readProperty", device, _oid(object_id), prop, options)
        return [_plain(each) for each in answer["values"]]

    async def read_many(
        self, device: int, wanted: Mapping[ObjectId, Sequence[int]]
    ) -> dict[ObjectId, dict[int, list[Any] | Refused]]:
        asked = [
            {"objectId": _oid(each), "properties": [{"id": prop, "index": NO_INDEX} for prop in props]}
            for each, props in wanted.items()
        ]
        answer = await self.call("readPropertyMultiple", device, asked, {})
        return {
            _pair(each["objectId"]): {result["id"]: _result(result["value"]) for result in each["values"]}
            for each in answer["values"]
        }

    async def write(
        self, device: int, object_id: ObjectId, prop: int, value: Typed, priority: int | None = None
    ) -> None:
        options = {} if priority is None else {"priority": priority}
        await self.call("writeProperty", device, _oid(object_id), prop, [_tagged(value)], options)

    async def write_many(self, device: int, wanted: Mapping[ObjectId, Mapping[int, Typed]], priority: int) -> None:
        written = [
            {
                "objectId": _oid(each),
                "values": [
                    {"property": {"id": prop, "index": NO_INDEX}, "value": [_tagged(value)], "priority": priority}
                    for prop, value in props.items()
                ],
            }
            for each, props in wanted.items()
        ]
        await self.call("writePropertyMultiple", device, written, {})

    async def subscribe(self, device: int, object_id: ObjectId, process_id: int, *, confirmed: bool) -> None:
        await self.call(self.subscribing, device, _oid(object_id), process_id, False, confirmed, LIFETIME_S, {})

    async def cancel(self, device: int, object_id: ObjectId, process_id: int) -> None:
        await self.call(self.subscribing, device, _oid(object_id), process_id, True, False, 0, {})

    async def told(self, *, confirmed: bool) -> Told:
        event = await self.node.event("covNotify" if confirmed else "covNotifyUnconfirmed")
        payload = event["payload"]
        values = {each["property"]["id"]: [_plain(item) for item in each["value"]] for each in payload["values"]}
        return Told(payload["subscriberProcessId"], _pair(payload["monitoredObjectId"]), values, confirmed)

    def others(self, device: int) -> Mapping[str, Callable[[], Awaitable[Any]]]:
        us, file = _oid((DEVICE, device)), _oid((10, 1))
        binding, one = {"id": 30, "index": NO_INDEX}, [{"type": OBJECT_IDENTIFIER, "value": us}]
        asked: Mapping[str, tuple[Any, ...]] = {
            "subscribe-cov-property": ("subscribeProperty", us, {"id": 77, "index": NO_INDEX}, 1, False, False, {}),
            "device-communication-control": ("deviceCommunicationControl", 1, 1, {}),
            "reinitialize-device": ("reinitializeDevice", 1, {}),
            "create-object": ("createObject", _oid((2, 1)), [], {}),
            "delete-object": ("deleteObject", us, {}),
            "add-list-element": ("addListElement", us, binding, one, {}),
            "remove-list-element": ("removeListElement", us, binding, one, {}),
            "get-event-information": ("getEventInformation", us, {}),
            "get-alarm-summary": ("getAlarmSummary", {}),
            "get-enrollment-summary": ("getEnrollmentSummary", 0, {}),
            "read-range": ("readRange", us, 1, 10, {}),
            "confirmed-private-transfer": ("confirmedPrivateTransfer", 999, 1, [], {}),
            "atomic-read-file": ("readFile", file, 0, 10, {}),
            "atomic-write-file": ("writeFile", file, 0, [[1, 2]], {}),
        }
        return {
            service: lambda name=name, given=given: self.call(name, device, *given)
            for service, (name, *given) in asked.items()
        }

    async def announce(self, device: int) -> None:
        place, now = self._place(device), {"date": dt.datetime.now(dt.UTC).isoformat()}
        await self.node.call("timeSync", place, now)
        await self.node.call("timeSyncUTC", place, now)
        await self.node.call("unconfirmedPrivateTransfer", place, 999, 1, [])

    async def call(self, name: str, device: int, *arguments: Any) -> Any:
        """Call a method for a device; raises Refused."""
        try:
            return await self.node.call(name, self._place(device), *arguments)
        except NodeError as error:
            raise _refusal(str(error)) or error from error

    async def _ask_who_is_there(self, at: str, options: Mapping[str, int]) -> None:
        await self.node.call("whoIs", {"address": at}, options)

    def _place(self, device: int) -> Any:
        return self._places[device]

    def _noted(self, event: Mapping[str, Any]) -> dict[int, Found]:
        said, place = event["payload"], event["from"]
        self._places[said["deviceId"]] = {key: place[key] for key in ("address", "net", "adr") if key in place}
        segmented = said["segmentation"] == SEGMENTED_BOTH
        return {said["deviceId"]: Found(said["maxApdu"], segmented, said["vendorId"], place.get("net"))}


class BacstackClient(BacnetJsClient):
    """Asks by bacstack, which knows no routers, no port but its own, and no element 0 of an array."""

    knows = frozenset()
    subscribing = "subscribeCOV"

    async def announce(self, device: int) -> None:
        place, now = self._place(device), {"date": dt.datetime.now(dt.UTC).isoformat()}
        await self.node.call("timeSync", place, now)
        await self.node.call("timeSyncUTC", place, now)

    async def _ask_who_is_there(self, at: str, options: Mapping[str, int]) -> None:
        await self.node.call("whoIs", {"address": at.partition(":")[0], **options})

    def _place(self, device: int) -> Any:
        return self._places[device]["address"]


def _refusal(message: str) -> Refused | None:
    numbers = [int(number) for number in re.findall(r":(\d+)", message)]
    if message.startswith("BacnetError"):
        return Refused(numbers[1], kinds=["error"], error_class=numbers[0])
    if message.startswith("BacnetAbort"):  # a Reject is called so, too
        return Refused(numbers[0], kinds=["reject", "abort"])
    return None


def _result(items: Sequence[Any]) -> list[Any] | Refused:
    if items and items[0]["type"] == ERROR:
        said = items[0]["value"]
        return Refused(said["errorCode"], kinds=["error"], error_class=said["errorClass"])
    return [_plain(each) for each in items]


def _plain(item: Mapping[str, Any]) -> Any:
    value = item["value"]
    if item["type"] == OBJECT_IDENTIFIER:
        return _pair(value)
    if item["type"] == BIT_STRING:
        octets = value["value"]
        return frozenset(bit for bit in range(8 * len(octets)) if octets[bit >> 3] & 1 << (bit & 7))
    return value


def _tagged(value: Typed) -> dict[str, Any]:
    return {"type": value.tag, "value": value.value}


def _oid(object_id: ObjectId) -> dict[str, int]:
    return {"type": object_id[0], "instance": object_id[1]}


def _pair(object_id: Mapping[str, int]) -> ObjectId:
    return object_id["type"], object_id["instance"]
