"""Where committed batches go outside of the process: what a plugin declares, and what its receiver is handed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

import attrs

from core.model import Kind, Point
from core.samples import Committed, Lost, Position, Sample

BATCH_SAMPLES = 10_000
TIMEOUT_S = 30.0


@attrs.frozen(eq=False)
class Delivery:
    """Committed batches, in their order, with the points that they are of.

    What a receiver did not confirm comes again, perhaps joined with other batches: ``installation_id`` and a batch's
    position are the key by which it knows what it has already. ``points`` are by slot, as they were when the batch was
    read; the slot of a point that was deleted is not among them. ``lost`` are batches before these that were removed
    before they could be delivered; there may be nothing else to tell.
    """

    installation_id: str
    site: str
    batches: tuple[Committed, ...]
    points: Mapping[int, Point]
    lost: Lost | None = None

    @property
    def position(self) -> Position:
        """Where a receiver stands that has committed this."""
        if self.batches:
            return self.batches[-1].position
        if self.lost is None:
            raise ValueError("a delivery has batches, or tells of lost ones")
        return self.lost.last

    def __len__(self) -> int:
        """Return the number of samples."""
        return sum(len(batch.rows.slots) for batch in self.batches)

    def rows(self) -> Iterator[tuple[int, Point | None, Sample]]:
        """Give each sample with its slot and point; None for a point that was deleted.

        It takes some microseconds for each: what is handed over by the million reads the columns of ``batches``.
        """
        for batch in self.batches:
            for row, slot in enumerate(batch.rows.slots):
                point = self.points.get(slot)
                yield slot, point, batch.rows.samples.sample(row, Kind.NUMBER if point is None else point.kind)


class Receiver(Protocol):
    """A connection to where samples go."""

    async def deliver(self, delivery: Delivery) -> None:
        """Hand a delivery over, and return when the receiver has committed it; raise to have it delivered again."""
        ...


@runtime_checkable
class Positioned(Protocol):
    """What a receiver also has that keeps, with the samples, the position of the last batch that it committed."""

    async def position(self) -> Position | None:
        """Return where it stands with this installation, so that delivery goes on behind that; None where it is new."""
        ...


@attrs.frozen
class Sink:
    """Somewhere outside of the process that committed batches are delivered to.

    ``connect`` makes the async context manager that is entered to connect and left when the connection is given up,
    which it is after each failure; it yields a `Receiver`. Batches are joined up to ``batch_samples`` samples; one that
    has more by itself is delivered alone. Connecting, each delivery and disconnecting have ``timeout_s`` seconds.
    """

    name: str
    connect: Callable[[], AbstractAsyncContextManager[Receiver]]
    batch_samples: int = BATCH_SAMPLES
    timeout_s: float = TIMEOUT_S
