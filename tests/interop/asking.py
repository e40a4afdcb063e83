"""What the tests ask a device by other people's clients, in one vocabulary for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import attrs

from plugins.bacnet.wire.enumerations import ABORT_REASONS, ERROR_CLASSES, ERROR_CODES, REJECT_REASONS

PORT = 47996
BROADCAST = "127.255.255.255"

DEVICE, ANALOG_INPUT, ANALOG_VALUE, BINARY_OUTPUT, MULTI_STATE_VALUE = 8, 0, 2, 4, 19
ANY_INSTANCE = 4194303
ALL, REQUIRED, OPTIONAL = 8, 105, 80
OBJECT_LIST, OBJECT_NAME, PRESENT_VALUE, PRIORITY_ARRAY = 76, 77, 85, 87
SERVICES_SUPPORTED, OBJECT_TYPES_SUPPORTED = 97, 96
STATUS_FLAGS, HIGH_LIMIT = 111, 45

ObjectId: TypeAlias = tuple[int, int]

REQUIRED_OF_A_DEVICE = (
    75, 77, 79, 112, 121, 120, 70, 44, 12, 98, 139, 97, 96, 76, 62, 107, 11, 73, 30, 155, 371,
)  # fmt: skip
"""Object-identifier and so on to property-list, without those that only segmentation asks for (12.11)."""


class Refused(Exception):
    """A device's no; ``kinds`` are what it may have been, as the client does not always say.

    ``failed`` is the object of the first write that failed, of several.
    """

    failed: ObjectId | None = None

    def __init__(self, number: int, *, kinds: Sequence[str], error_class: int | None = None) -> None:
        self.said = {kind: _NAMES[kind].get(number, str(number)) for kind in kinds}
        self.error_class = None if error_class is None else ERROR_CLASSES[error_class]
        super().__init__(", or ".join(f"{kind} {name}" for kind, name in self.said.items()))


_NAMES = {"error": ERROR_CODES, "reject": REJECT_REASONS, "abort": ABORT_REASONS}


@attrs.frozen
class Found:
    """A device that has answered a Who-Is; ``network`` is where it is, None: not behind a router."""

    max_apdu: int
    segmented: bool
    vendor: int
    network: int | None


@attrs.frozen
class Told:
    """A notification."""

    process_id: int
    object: ObjectId
    values: Mapping[int, list[Any]]
    confirmed: bool


@attrs.frozen
class Typed:
    """A value to write, with the tag that it has on the wire (clause 20.2.1.4)."""

    tag: int
    value: Any


NULL = Typed(0, None)


def real(value: float) -> Typed:
    return Typed(4, value)


def text(value: str) -> Typed:
    return Typed(7, value)


def enumerated(value: int) -> Typed:
    return Typed(9, value)


def unsigned(value: int) -> Typed:
    return Typed(2, value)


class Asker(Protocol):
    """A client of somebody else's; all raise Refused. A device is named by its number, once it was found."""

    knows: frozenset[str]
    """What it knows of ``routers``, ``element 0`` of an array, the form of ``failed writes`` of several properties."""

    async def find(
        self, at: str | None, limits: tuple[int, int] | None = None, *, expected: set[int]
    ) -> Mapping[int, Found]:
        """Ask who is there, all or the one at an address, and return whoever answers until those expected have."""

    async def heard(self) -> set[int]:
        """Return who has announced itself since it last asked who is there."""

    async def read(self, device: int, object_id: ObjectId, prop: int, index: int | None = None) -> list[Any]: ...

    async def read_many(
        self, device: int, wanted: Mapping[ObjectId, Sequence[int]]
    ) -> dict[ObjectId, dict[int, list[Any] | Refused]]: ...

    async def write(
        self, device: int, object_id: ObjectId, prop: int, value: Typed, priority: int | None = None
    ) -> None: ...

    async def write_many(self, device: int, wanted: Mapping[ObjectId, Mapping[int, Typed]], priority: int) -> None: ...

    async def subscribe(self, device: int, object_id: ObjectId, process_id: int, *, confirmed: bool) -> None: ...

    async def cancel(self, device: int, object_id: ObjectId, process_id: int) -> None: ...

    async def told(self, *, confirmed: bool) -> Told:
        """Wait for the next notification, of the sort that was asked for."""

    def others(self, device: int) -> Mapping[str, Callable[[], Awaitable[Any]]]:
        """Return the confirmed services that it knows besides these."""

    async def announce(self, device: int) -> None:
        """Send it what is not answered: the time, a private transfer."""
