"""The words in which the plugin speaks of requests and answers, whatever engine stands behind the client."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from plugins.bacnet.addresses import Station
from plugins.bacnet.errors import Refusal
from plugins.bacnet.wire.datatypes import NO_INSTANCE, Items

Answer: TypeAlias = Items | Refusal

SHORTEST_APDU = 50
"""The length that every device takes, in octets (ASHRAE 135, 20.1.2.5)."""


@attrs.frozen
class IAm:
    """A device's answer to Who-Is: what it takes, and where it is. ``can_segment`` says whether it sends segments."""

    instance: int
    station: Station
    max_apdu: int
    can_segment: bool
    vendor_id: int

    @property
    def is_absurd(self) -> bool:
        """Whether no device says so: with the number of none, a length below the shortest there is, or from nowhere."""
        return self.instance >= NO_INSTANCE or self.max_apdu < SHORTEST_APDU or not self.station.is_single
