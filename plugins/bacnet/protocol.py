"""The words in which the plugin speaks of requests and answers, whatever engine stands behind the client."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from plugins.bacnet.addresses import Station
from plugins.bacnet.errors import Refusal
from plugins.bacnet.wire.datatypes import Items

Answer: TypeAlias = Items | Refusal


@attrs.frozen
class IAm:
    """A device's answer to Who-Is: what it takes, and where it is. ``can_segment`` says whether it sends segments."""

    instance: int
    station: Station
    max_apdu: int
    can_segment: bool
    vendor_id: int
