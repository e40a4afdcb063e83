"""REST: who is there, and who has an object, without listing anybody."""

from __future__ import annotations

from collections.abc import Collection

import attrs
from aiohttp import web

from core.errors import FieldFault, Invalid
from core.plugin import Role, Route, Work, field, spend
from plugins.bacnet.addresses import Station
from plugins.bacnet.driver import BacnetDriver
from plugins.bacnet.protocol import IAm
from plugins.bacnet.wire.datatypes import NO_INSTANCE, ObjectId
from plugins.bacnet.wire.enumerations import type_name, type_number

_RANGE = r"[0-9]{1,7}(-[0-9]{1,7})?"
_TARGET = r"([0-9]{1,5}:([0-9]{1,3}|0x[0-9a-fA-F]{2,14}|\*)@)?[0-9.]{7,15}(:[0-9]{1,5})?"
_MOST = 100


@attrs.frozen
class WhoIsBody:
    """Whom to ask for; nothing given: everybody."""

    instances: tuple[int | str, ...] = field(
        default=(), min=0, max=NO_INSTANCE - 1, pattern=_RANGE, max_items=_MOST, example=[2001, "3000-3999"],
        description="Device numbers, or ranges of them.",
    )  # fmt: skip
    targets: tuple[str, ...] = field(
        default=(), pattern=_TARGET, max_items=_MOST, example=[],
        description="Addresses to ask instead of everybody: `10.0.5.7:47808`, a device behind a router "
        "(`2001:5@10.0.5.7:47808`) or all of a network there (`2001:*@10.0.5.7:47808`).",
    )  # fmt: skip


@attrs.frozen
class WhoHasBody:
    """What to look for: an object by its id or by its name, one of the two."""

    object_id: str | None = field(
        default=None, pattern=r"[a-z0-9-]{1,60}\.[0-9]{1,7}", description="An object's type and number.",
        example="analog-input.1",
    )  # fmt: skip
    name: str | None = field(default=None, min_length=1, max_length=200, description="An object's name.", example=None)
    instances: tuple[int | str, ...] = field(
        default=(), min=0, max=NO_INSTANCE - 1, pattern=_RANGE, max_items=_MOST, example=[],
        description="Numbers of devices that are to answer, or ranges of them; all, otherwise.",
    )  # fmt: skip


@attrs.frozen
class DeviceAnswer:
    """A device that answered Who-Is."""

    instance: int = field(description="The device's number.", example=2001)
    address: str = field(example="2001:1@127.0.0.1:47809")
    interface: str = field(description="Our interface that heard it.", example="127.0.0.1/8:47808")
    max_apdu: int = field(description="The longest message it takes, in octets, as it says.", example=480)
    segmentation: bool = field(description="Whether it sends long answers in pieces.", example=False)
    vendor_id: int = field(example=999)
    known: str | None = field(description="Its id, where it is a device that is listed.", example="bacnet.2001")


@attrs.frozen
class DevicesAnswer:
    """Who answered Who-Is; a number that is there twice is a duplicate."""

    items: Collection[DeviceAnswer] = field(description="By device number.")
    next_cursor: None = field(default=None, description="Always null: there is one page.")


@attrs.frozen
class HolderAnswer:
    """A device that has the object."""

    instance: int = field(description="The device's number.", example=2001)
    address: str = field(example="2001:1@127.0.0.1:47809")
    interface: str = field(description="Our interface that heard it.", example="127.0.0.1/8:47808")
    object_id: str = field(example="analog-input.1")
    name: str = field(description="The object's name.", example="Supply air temperature")
    known: str | None = field(description="The device's id, where it is one that is listed.", example="bacnet.2001")


@attrs.frozen
class HoldersAnswer:
    """Who answered Who-Has."""

    items: Collection[HolderAnswer] = field(description="By device number.")
    next_cursor: None = field(default=None, description="Always null: there is one page.")


class InquiryRoutes:
    """The routes; ``name`` is the plugin's."""

    def __init__(self, name: str, driver: BacnetDriver) -> None:
        self._name = name
        self._driver = driver

    @property
    def routes(self) -> list[Route]:
        """Who-Is and Who-Has."""
        return [
            Route(
                "POST", "/who-is", self.who_is, "Ask who is there", body=WhoIsBody, answer=DevicesAnswer,
                role=Role.OPERATOR,
                description="Sends Who-Is and answers who answered, a few seconds after the last. Nobody is examined "
                "or listed: a scan does that.",
            ),
            Route(
                "POST", "/who-has", self.who_has, "Ask who has an object", body=WhoHasBody, answer=HoldersAnswer,
                role=Role.OPERATOR,
                description="Sends Who-Has and answers who has the object, a few seconds after the last answer.",
            ),
        ]  # fmt: skip

    async def who_is(self, request: web.Request, *, body: WhoIsBody) -> DevicesAnswer:
        """Answer who is there."""
        await spend(request, Work.SCAN, 1)
        found = await self._driver.inquiry.who_is(body.instances, body.targets)
        return DevicesAnswer([self._device(i_am) for i_am in found])

    async def who_has(self, request: web.Request, *, body: WhoHasBody) -> HoldersAnswer:
        """Answer who has an object."""
        await spend(request, Work.SCAN, 1)
        found = await self._driver.inquiry.who_has(_wanted(body), body.instances)
        return HoldersAnswer(
            [
                HolderAnswer(
                    i_have.device.instance,
                    str(station),
                    station.interface,
                    f"{type_name(i_have.object.type)}.{i_have.object.instance}",
                    i_have.name,
                    self._known(i_have.device.instance, station),
                )
                for i_have, station in found
            ]
        )

    def _device(self, i_am: IAm) -> DeviceAnswer:
        return DeviceAnswer(
            i_am.instance,
            str(i_am.station),
            i_am.station.interface,
            i_am.max_apdu,
            i_am.can_segment,
            i_am.vendor_id,
            self._known(i_am.instance, i_am.station),
        )

    def _known(self, instance: int, station: Station) -> str | None:
        """Return the id of the device that is known by this number at this place."""
        device_id = f"{self._name}.{instance}"
        profile = self._driver.profiles.get(device_id)
        return device_id if profile is not None and profile.station.place == station.place else None


def _wanted(body: WhoHasBody) -> ObjectId | str:
    if (body.object_id is None) == (body.name is None):
        raise _invalid("object_id", "Say what to look for: give object_id or name, one of the two.")
    if body.object_id is None:
        return body.name or ""
    name, _, number = body.object_id.partition(".")
    try:
        kind = type_number(name)
    except ValueError as error:
        raise _invalid("object_id", f"{error} of the standard; write an object like analog-input.1.") from error
    if int(number) > NO_INSTANCE:
        raise _invalid("object_id", f"{number} is beyond the highest number of an object, {NO_INSTANCE}.")
    return ObjectId(kind, int(number))


def _invalid(field_name: str, why: str) -> Invalid:
    return Invalid(why, errors=[FieldFault(field_name, "invalid", why)])
