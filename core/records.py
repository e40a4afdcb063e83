"""Keeps what was done to devices: by whom, what was asked for, and what it came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import orjson

from core.clock import Clock
from core.errors import FieldFault, Invalid
from core.model import Command, Deed
from core.plugin import Store

RECORDS_KEPT = 10_000
PERHAPS = "perhaps"
"""What the result of something has that got no answer: it may have been done, and is done again when asked for."""

_STEP_S = 1e-6  # so that records of one moment keep their order


@attrs.frozen
class Record:
    """One command or deed that was carried out; ``at`` is UTC seconds, ``request`` and ``result`` are JSON values."""

    id: str
    principal: str
    origin: str
    target: str
    request: Any
    result: dict[str, Any]
    at: float


class Records:
    """The newest records, in the installation's file."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._last_at = 0.0

    def of(self, asked: Command | Deed, result: dict[str, Any]) -> Record:
        """Put down what something has come to now."""
        at = self._last_at = max(self._clock.utc(), self._last_at + _STEP_S)
        return Record(asked.id, asked.principal, asked.origin, target_of(asked), request_of(asked), result, at)

    async def result_of(self, asked: Command | Deed) -> dict[str, Any] | None:
        """Return what the same came to before, None where it has perhaps not been done.

        Raises Invalid where its id was used for something else.
        """
        rows = await self._store.read(
            "SELECT principal, origin, point_id, request, result FROM commands WHERE id = ?", (asked.id,)
        )
        if not rows:
            return None
        *known, result = rows[0]
        if known != [asked.principal, asked.origin, target_of(asked), _json(request_of(asked))]:
            raise reused()
        found: dict[str, Any] = orjson.loads(result)
        return None if PERHAPS in found else found

    async def keep(self, records: Sequence[Record]) -> None:
        """Store records in their order, and drop the oldest of all."""
        rows = [
            (each.id, each.principal, each.origin, each.target, _json(each.request), _json(each.result), each.at)
            for each in records
        ]
        await self._store.write(
            ("INSERT OR REPLACE INTO commands VALUES (?, ?, ?, ?, ?, ?, ?)", rows),
            (
                "DELETE FROM commands WHERE at < (SELECT at FROM commands ORDER BY at DESC LIMIT 1 OFFSET ?)",
                [(RECORDS_KEPT,)],
            ),
        )

    async def all(self) -> list[Record]:
        """Return all records, the oldest first."""
        rows = await self._store.read(
            "SELECT id, principal, origin, point_id, request, result, at FROM commands ORDER BY at"
        )
        return [
            Record(id_, principal, origin, target, orjson.loads(request), orjson.loads(result), at)
            for id_, principal, origin, target, request, result, at in rows
        ]


def reused() -> Invalid:
    """Say that an id stands for something else already."""
    fault = FieldFault("Idempotency-Key", "reused", "was used for another write")
    return Invalid("This Idempotency-Key was used for another write; take a new one.", errors=[fault])


def target_of(asked: Command | Deed) -> str:
    """Name what is written to."""
    return asked.target if isinstance(asked, Deed) else asked.point.id


def request_of(asked: Command | Deed) -> Any:
    """Return what is wanted, as JSON values."""
    if isinstance(asked, Deed):
        return asked.request
    return {"value": asked.value, "relinquish": asked.relinquish, "priority": asked.priority}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
