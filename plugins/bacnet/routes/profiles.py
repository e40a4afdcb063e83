"""REST: what has been learned of a device, to look at and to forget."""

from __future__ import annotations

from collections.abc import Collection

import attrs
from aiohttp import web

from core.errors import DeviceNotFound
from core.plugin import FieldInfo, Role, Route, field
from plugins.bacnet.profile import Profile
from plugins.bacnet.profiles import Profiles

_PARAMETERS = {"instance": FieldInfo(description="The device's number on the network.", example="2001")}


@attrs.frozen
class ProfileAnswer:
    """What has been learned of a device."""

    device_id: str = field(example="bacnet.2001")
    address: str = field(example="2001:1@127.0.0.1:47809")
    silent: bool = field(description="Whether it left the last request unanswered.", example=False)
    read_property_multiple: bool = field(description="Whether it reads several properties at once.", example=True)
    write_property_multiple: bool = field(description="Whether it takes several writes at once.", example=True)
    segmentation: bool = field(description="Whether it sends long answers in pieces.", example=False)
    max_apdu: int = field(description="The longest message it takes, in octets, as it says.", example=480)
    value_octets: int = field(description="How long an answer with values may be that is asked for.", example=477)
    text_octets: int = field(description="How long an answer with names and texts may be.", example=238)
    object_list: str = field(description="How its object list is read: whole, by-index, or unknown.", example="whole")
    concurrency: int = field(description="How many requests to it may be under way at once.", example=2)
    network_concurrency: int = field(
        description="How many requests to all devices of its network may be under way at once.", example=1
    )
    network_is_serial: bool = field(
        description="Whether that network was found to answer one after the other, as MS/TP does.", example=False
    )
    latency_ms: float | None = field(description="How long it takes to answer, on average.", example=4.2)
    latency_deviation_ms: float | None = field(description="By how much that varies.", example=0.9)
    cov_slots: int | None = field(
        description="How many subscriptions to changes of value it took before it had no room for more; null: all.",
        example=10,
    )
    isolated: Collection[str] = field(
        description="Properties that make a whole request fail, and are asked for alone.",
        example=["analog-input.7 85"],
    )


class ProfileRoutes:
    """The routes; ``profiles`` are those that the driver reads by."""

    def __init__(self, name: str, profiles: Profiles) -> None:
        self._name = name
        self._profiles = profiles

    @property
    def routes(self) -> list[Route]:
        """Show and forget."""
        at = "/devices/{instance}/profile"
        return [
            Route(
                "GET", at, self.show, "Show what was learned of a device", answer=ProfileAnswer,
                errors=(DeviceNotFound,), parameters=_PARAMETERS,
                description="How the device is asked: what it can do, how much at once, how fast it is.",
            ),
            Route(
                "POST", f"{at}/reset", self.reset, "Forget what was learned of a device", answer=ProfileAnswer,
                role=Role.OPERATOR, errors=(DeviceNotFound,), parameters=_PARAMETERS,
                description="After a repair or an update: it is learned anew from the next poll on. "
                "Answers the profile that it begins with.",
            ),
        ]  # fmt: skip

    async def show(self, _request: web.Request, *, instance: str) -> ProfileAnswer:
        """Answer a device's profile."""
        device_id = f"{self._name}.{instance}"
        return self._answer(device_id, self._profiles.get(device_id))

    async def reset(self, _request: web.Request, *, instance: str) -> ProfileAnswer:
        """Forget, and answer the fresh profile."""
        device_id = f"{self._name}.{instance}"
        return self._answer(device_id, await self._profiles.reset(device_id))

    def _answer(self, device_id: str, profile: Profile | None) -> ProfileAnswer:
        if profile is None:
            raise DeviceNotFound(f"{device_id} has not been met since the start; see GET /api/v1/devices.")
        network, latency = profile.lane.network.pace, profile.latency
        return ProfileAnswer(
            device_id=device_id,
            address=str(profile.station),
            silent=profile.silent,
            read_property_multiple=profile.multiple,
            write_property_multiple=profile.write_multiple,
            segmentation=profile.can_segment,
            max_apdu=profile.max_apdu,
            value_octets=profile.values.octets,
            text_octets=profile.texts.octets,
            object_list=profile.list_name,
            concurrency=profile.lane.pace.limit,
            network_concurrency=network.limit,
            network_is_serial=network.is_serial,
            latency_ms=_milliseconds(latency.average_s),
            latency_deviation_ms=_milliseconds(latency.deviation_s),
            cov_slots=profile.cov_slots,
            isolated=[f"{ref.object} {ref.property}" for ref in profile.loners],
        )


def _milliseconds(seconds: float) -> float | None:
    return round(seconds * 1000, 3) if seconds else None
