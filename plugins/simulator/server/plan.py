"""An answer in the making: octets that stay, and between them those that are written anew when an object changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from plugins.bacnet.wire.apdu import PduType
from plugins.simulator.objects import SimulatedObject
from plugins.simulator.server.prepared import Live


class Blank(NamedTuple):
    """A gap in an answer, where an object says what one of its properties is."""

    data: SimulatedObject
    write: Live


Part: TypeAlias = bytes | Blank


class Plan:
    """The answer to one request; ``first`` is its first octet, ``body`` what follows its invoke id.

    ``seen`` is the device's count of changes at which the body was put together: while that stands, it holds.
    """

    __slots__ = ("_live", "_parts", "_versions", "body", "first", "seen")

    def __init__(self, pdu_type: PduType, parts: Iterable[Part]) -> None:
        self.first = pdu_type << 4
        self.body = b""
        self.seen = -1
        self._parts: list[bytes] = [b""]
        self._live: list[tuple[int, SimulatedObject, Live]] = []
        for part in parts:
            if isinstance(part, Blank):
                self._live.append((len(self._parts), part.data, part.write))
                self._parts += (b"", b"")
            else:
                self._parts[-1] += part
        self._versions = [-1] * len(self._live)

    def compose(self, changes: int) -> None:
        """Put the body together for a count of changes; only what has changed is written again."""
        parts, versions = self._parts, self._versions
        for number, (at, data, write) in enumerate(self._live):
            if versions[number] != data.version:
                parts[at] = write(data)
                versions[number] = data.version
        self.body = b"".join(parts)
        self.seen = changes
