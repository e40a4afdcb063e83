"""What is written once for up to 64 points and read for one of them: parts of compressed columns behind a directory.

The layout, all numbers little-endian::

    magic and version (4 bytes) | CRC-32 of what follows up to the sections | points, parts, sections of a part (u32)
    slot, rows (u32 for each point) | first point of each part (u32) | length of each section (u32)
    one section for all parts together, then those of each part

A part holds the rows of one or several points, by point and time: one for all of them where each has few rows, one for
each where each has many. What a section is, and that it may be empty, is the business of who writes it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

import attrs
import numpy as np
import numpy.typing as npt

from plugins.history.columns import Slots
from plugins.history.errors import DamagedHistory

POINTS = 64
FIRST_BYTES = 4096
"""So much of a blob is read at once: most directories, and what is common, are not longer."""

_HEAD = struct.Struct("<4sI3I")


def group_of(slot: int) -> int:
    """Return the number of the group of points that are written together."""
    return slot // POINTS


def written(
    magic: bytes, slots: npt.NDArray[np.uint32], common: bytes, part: Callable[[int, int], Sequence[bytes]],
    *, few_rows: int,
) -> bytes:  # fmt: skip
    """Write rows of at most `POINTS` points, given the slot of each; ``part`` packs those from ``start`` to ``end``.

    All are one part where there are less than ``few_rows`` of a point: a part of its own costs some 60 bytes a section.
    """
    points, firsts, counts = np.unique(slots, return_index=True, return_counts=True)
    together = len(slots) < few_rows * len(points)
    starts = [0] if together else firsts.tolist()
    parts = [part(start, end) for start, end in zip(starts, [*starts[1:], len(slots)], strict=True)]
    sections = [common, *(section for each in parts for section in each)]
    first_points = np.arange(len(parts))
    lengths = [len(section) for section in sections]
    directory = np.concatenate([points, counts, first_points, lengths]).astype("<u4").tobytes()
    sizes = len(points), len(parts), len(parts[0])
    return b"".join([_HEAD.pack(magic, _checksum(directory, sizes), *sizes), directory, *sections])


class Blob(Protocol):
    """Where a body can be read piece by piece, as `sqlite3.Blob`."""

    def __len__(self) -> int: ...
    def seek(self, offset: int, /) -> object: ...
    def read(self, length: int, /) -> bytes: ...


class Excerpt:
    """Pieces of a body: what was asked for while it was open, and is there to be asked for again."""

    def __init__(self, blob: Blob) -> None:
        self._size = len(blob)
        self._blob: Blob | None = blob
        self._pieces: list[tuple[int, int, memoryview]] = []
        self._read(0, min(FIRST_BYTES, self._size))

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice) -> memoryview:
        start, end, _step = place.indices(self._size)
        for first, last, piece in self._pieces:
            if first <= start and end <= last:
                return piece[start - first : end - first]
        return self._read(start, end)

    def close(self) -> None:
        """Let go of the blob."""
        self._blob = None

    def _read(self, start: int, end: int) -> memoryview:
        if self._blob is None:
            raise ValueError(f"Octets {start} to {end} were not read while the blob was open.")
        self._blob.seek(start)
        piece = memoryview(self._blob.read(end - start))
        self._pieces.append((start, end, piece))
        return piece


@attrs.frozen(eq=False)
class Container:
    """What was `written`, opened."""

    magic: bytes
    body: memoryview | Excerpt
    slots: Slots
    counts: npt.NDArray[np.int64]
    first_points: npt.NDArray[np.int64]
    sections: npt.NDArray[np.int64]
    sections_of_part: int

    @classmethod
    def opened(cls, body: bytes | Excerpt) -> Container:
        """Read the directory; raises DamagedHistory where it is not what was written."""
        try:
            magic, checksum, *sizes = _HEAD.unpack(body[: _HEAD.size])
        except struct.error as error:
            raise DamagedHistory("A block is cut off.") from error
        points, parts, sections_of_part = sizes
        end = _HEAD.size + 4 * (2 * points + parts + 1 + sections_of_part * parts)
        directory = body[_HEAD.size : end]
        if _checksum(directory, sizes) != checksum:
            raise DamagedHistory("A block's directory does not have the checksum that it was written with.")
        numbers = np.frombuffer(directory, "<u4").astype(np.int64)
        first_points, lengths = 2 * points, 2 * points + parts
        sections = np.full(len(numbers) - lengths + 1, end)
        sections[1:] += np.cumsum(numbers[lengths:])
        if sections[-1] != len(body):
            raise DamagedHistory("A block is cut off.")
        slots, counts = numbers[:points].astype(np.uint32), numbers[points:first_points]
        whole = body if isinstance(body, Excerpt) else memoryview(body)
        return cls(magic, whole, slots, counts, numbers[first_points:lengths], sections, sections_of_part)

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self.first_points)

    def place(self, slot: int) -> tuple[int, int, int] | None:
        """Return where a point's rows are: the part, and the first and the last but one row in it; None: nowhere."""
        point = int(np.searchsorted(self.slots, slot))
        if point == len(self.slots) or self.slots[point] != slot:
            return None
        part = int(np.searchsorted(self.first_points, point, "right")) - 1
        start = int(self.counts[int(self.first_points[part]) : point].sum())
        return part, start, start + int(self.counts[point])

    def slots_of(self, part: int) -> Slots:
        """Return the slot of each row of a part."""
        first = int(self.first_points[part])
        end = int(self.first_points[part + 1]) if part + 1 < self.parts else len(self.slots)
        return np.repeat(self.slots[first:end], self.counts[first:end])

    def common(self) -> memoryview:
        """Return the section of all parts together."""
        return self._section(0)

    def of_part(self, part: int) -> list[memoryview]:
        """Return the sections of a part."""
        first = 1 + self.sections_of_part * part
        return [self._section(number) for number in range(first, first + self.sections_of_part)]

    def fetch(self, part: int) -> None:
        """Have the sections of a part read at once, where the body is read piece by piece."""
        first = 1 + self.sections_of_part * part
        self.body[int(self.sections[first]) : int(self.sections[first + self.sections_of_part])]

    def _section(self, number: int) -> memoryview:
        return self.body[int(self.sections[number]) : int(self.sections[number + 1])]


Body: TypeAlias = bytes | Container
"""A container as it was written, or what was read of it."""


def excerpt(blob: Blob, slots: Iterable[int]) -> Container:
    """Read of a container what is needed for some of its points; raises DamagedHistory."""
    body = Excerpt(blob)
    container = Container.opened(body)
    container.common()
    for part in {place[0] for slot in slots if (place := container.place(slot)) is not None}:
        container.fetch(part)
    body.close()
    return container


def opened(body: Body, magic: bytes) -> Container:
    """Return a container of this kind; raises DamagedHistory where it is none."""
    container = body if isinstance(body, Container) else Container.opened(body)
    if container.magic != magic:
        raise DamagedHistory("A block does not begin as this version's do.")
    return container


def _checksum(directory: bytes | memoryview, sizes: Sequence[int]) -> int:
    return zlib.crc32(directory, zlib.crc32(struct.pack("<3I", *sizes)))
