"""Sees whether what a plugin says of a device and its points can be kept: ids, intervals, attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import orjson

from core.errors import PluginError
from core.model import Inventory

_DEVICE_ID = re.compile(r"[a-z0-9_-]+\.[a-z0-9_-]+")


def check(inventory: Inventory) -> None:
    """Raise PluginError for a device or point that the house cannot keep."""
    device = inventory.device
    if not _DEVICE_ID.fullmatch(device.id) or not device.id.startswith(f"{device.plugin}."):
        raise PluginError(
            f"{device.id!r} is no device id of plugin {device.plugin!r}: "
            f"write {device.plugin}.<device>, the device in a-z, 0-9, _ and -"
        )
    _check_json(device.id, device.attributes)
    for point in inventory.points:
        if point.device_id != device.id or not point.id.startswith(f"{device.id}.") or not point.key.isprintable():
            raise PluginError(f"point {point.id!r} does not belong to device {device.id!r}")
        if point.key in ("", ".", ".."):
            raise PluginError(f"point {point.id!r} has no name of its own behind its device's")
        if point.interval is not None and not 0 < point.interval < math.inf:
            raise PluginError(f"point {point.id!r} has an interval of {point.interval} s; give seconds above 0")
        _check_json(point.id, point.attributes)


def _check_json(owner: str, attributes: Mapping[str, Any]) -> None:
    try:
        orjson.dumps(attributes)
    except TypeError as error:
        raise PluginError(f"the attributes of {owner!r} are not all JSON values: {error}") from error
