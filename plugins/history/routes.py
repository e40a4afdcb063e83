"""REST: what the history is made of, and how it does."""

from __future__ import annotations

import asyncio
from typing import Literal

import attrs
from aiohttp import web

from core.model import rfc3339
from core.plugin import Role, Route, field
from plugins.history.catalog import Key
from plugins.history.store import Store


@attrs.frozen
class Recording:
    """What is recorded, since the start."""

    paused: str | None = field(description="Why nothing can be recorded; null while it can.", example=None)
    samples: int = field(description="Samples that are safe.", example=1_204_112, min=0)
    waiting: int = field(description="Samples that are not safe yet.", example=310, min=0)
    refused: int = field(description="Samples that were refused, since the disk took none.", example=0, min=0)
    filtered: int = field(description="Changes that the rules left out.", example=0, min=0)
    unsealed: int = field(description="Samples in memory, to be sealed.", example=80_112, min=0)


@attrs.frozen
class Partition:
    """A file of samples, or of roll-ups."""

    class_name: str = field(description="How long it is kept, or which roll-up it has.", example="60d")
    start: str = field(description="Where its time begins.", format="date-time", example="2026-01-26T00:00:00.000Z")
    end: str = field(description="Where its time ends.", format="date-time", example="2026-02-02T00:00:00.000Z")
    state: Literal["open", "sealed", "rolled_up"] = field(
        description="Whether it still grows, is complete, or has its roll-ups made.", example="open"
    )
    bytes: int = field(description="What it takes on the disk.", example=4_210_688, min=0)


@attrs.frozen
class Cursor:
    """Up to where a receiver has read."""

    name: str = field(description="Its name.", example="file_sink.archive")
    epoch: int = field(description="The epoch of the batch that it has passed.", example=1_790_000_000)
    seq: int = field(description="The number of that batch.", example=4711, min=0)


@attrs.frozen
class Status:
    """How the history does."""

    recording: Recording
    bytes: int = field(description="What all of it takes on the disk.", example=9_310_208, min=0)
    epoch: int = field(description="The epoch of the newest batch.", example=1_790_000_000)
    seq: int = field(description="The number of the newest batch.", example=4720, min=0)
    partitions: list[Partition] = field(description="Its files, by time.")
    cursors: list[Cursor] = field(description="How far each receiver has read.")
    damaged: list[str] = field(description="Files that were set aside as damaged.", example=[])


class Routes:
    """The routes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def all(self) -> list[Route]:
        """Show."""
        return [
            Route(
                "GET", "", self.show, "Show how the history does", answer=Status, role=Role.OPERATOR,
                description="What is recorded, the files it is kept in, and how far receivers have read.",
            ),
        ]  # fmt: skip

    async def show(self, _request: web.Request) -> Status:
        """Answer the figures."""
        store, committed = self._store, self._store.committer.figures
        recording = Recording(
            store.committer.paused, committed.rows, store.head.unsafe_rows, committed.refused, store.filter.skipped,
            store.head.rows,
        )  # fmt: skip
        partitions, size = await asyncio.to_thread(self._files)
        cursors = [Cursor(name, at.epoch, at.seq) for name, at in sorted(store.committer.cursors.items())]
        newest = store.newest
        return Status(recording, size, newest.epoch, newest.seq, partitions, cursors, list(store.damaged))

    def _files(self) -> tuple[list[Partition], int]:
        catalog = self._store.catalog
        return [self._partition(key) for key in catalog.keys], catalog.size()

    def _partition(self, key: Key) -> Partition:
        catalog = self._store.catalog
        state: Literal["open", "sealed", "rolled_up"] = "sealed" if key in catalog.compact else "open"
        return Partition(
            key.class_name,
            rfc3339(key.span.start_ms / 1000) or "",
            rfc3339(key.span.end_ms / 1000) or "",
            "rolled_up" if key in catalog.rolled else state,
            catalog.size_of(key),
        )
