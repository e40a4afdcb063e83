"""Who a device is by its own words: what stays when it moves, and what another device with its number has not."""

from __future__ import annotations

import attrs

from core.plugin import Device, DeviceTimeout
from plugins.bacnet.errors import Refusal
from plugins.bacnet.objects import DEVICE, Prop
from plugins.bacnet.points import text_in
from plugins.bacnet.profile import Profile
from plugins.bacnet.reader import Reader
from plugins.bacnet.wire.datatypes import ObjectId, Ref


@attrs.frozen
class Nameplate:
    """A device's vendor, model, and the name of its device object, which is its own on the whole network (12.11.2)."""

    vendor_id: object
    model: str
    name: str

    @classmethod
    def of(cls, device: Device) -> Nameplate:
        """Return what a listed device said when it was examined."""
        return cls(device.attributes.get("vendor_id"), device.model, device.name)


async def nameplate(reader: Reader, profile: Profile, *, vendor_id: int) -> Nameplate | None:
    """Read it off a device; None where that is silent, has another number, or does not say who it is."""
    itself = ObjectId(DEVICE, profile.instance)
    try:
        name = text_in(await reader.one(profile, Ref(itself, Prop.OBJECT_NAME)))
        return Nameplate(vendor_id, await _model(reader, profile, itself), name or str(profile.instance))
    except (DeviceTimeout, Refusal):
        return None


async def _model(reader: Reader, profile: Profile, itself: ObjectId) -> str:
    """Read the model, which a device need not tell; raises Refusal where it might tell it later, and DeviceTimeout."""
    try:
        return text_in(await reader.one(profile, Ref(itself, Prop.MODEL_NAME)))
    except Refusal as refusal:
        if refusal.is_passing:
            raise
        return ""
