"""Writes points, one or many, relinquishes them, and shows who holds them."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

import attrs
import structlog
from aiohttp import web

from core.access import point_for
from core.api.idempotency import KEY, Idempotency, Passing, key_of
from core.api.readings import POINT_ID, BatchAnswer, batch_answer, failed_item, family
from core.api.render import EXAMPLE, ReadingAnswer, json_value, render_reading
from core.callers import principal_of, spend
from core.clock import Clock
from core.commands import Commands
from core.errors import (
    Conflict,
    DeviceError,
    NotWritable,
    PermissionDenied,
    PlantroomError,
    PluginNotRunning,
    PointNotFound,
    PriorityNotAllowed,
    ValueNotSuitable,
)
from core.json_schema import example_of
from core.model import Command, Point, Value, Written, rfc3339
from core.operations import ProblemDocument
from core.policies import Work
from core.principals import Role
from core.problem import INTERNAL
from core.registry import Registry
from core.replies import Answer
from core.routes import Route
from core.serialize import UNSET, Unset, dumps, field

ORIGIN = "rest"
VERIFIED = (
    "Whether the device shows what was written: in its slot, or, where the point has none, as its value. "
    "Null where that could not be told."
)
EFFECTIVE = (
    "Whether what was asked for is so: false where another priority holds the point, or, where it has no priority "
    "array, where it shows something else. True for a slot that was relinquished and is empty."
)
VALUE = "A number, boolean, text, or an enum's integer or state text, as the point's `kind` has it."


_EMPTY: dict[str, Any] = {"value": None, "held_by": None, "since": None}
_EXAMPLE_SLOTS = [{"priority": number} | _EMPTY for number in range(1, 17)]
_EXAMPLE_SLOTS[7] |= {"value": 21.5, "held_by": "anonymous", "since": "2026-01-31T12:00:00.000Z"}


def _priority() -> Any:
    return field(
        default=None, min=1, max=16, description="1, the strongest, to 16; the driver's default otherwise.", example=8
    )


@attrs.frozen
class WriteBody:
    """What to write to a point."""

    value: float | int | bool | str | None = field(description=VALUE, example=21.5)
    priority: int | None = _priority()


@attrs.frozen
class RelinquishQuery:
    """Which slot of the priority array to empty."""

    priority: int | None = _priority()


@attrs.frozen
class WriteItem:
    """One write of many: a value, or ``relinquish``."""

    ALSO_HOLDS: ClassVar[dict[str, Any]] = {
        "oneOf": [{"required": ["value"]}, {"required": ["relinquish"], "properties": {"relinquish": {"const": True}}}]
    }

    point_id: str = field(min_length=1, max_length=500, example=EXAMPLE)
    value: float | int | bool | str | None | Unset = field(default=UNSET, description=VALUE, example=21.5)
    relinquish: bool = field(default=False, description="Empty the slot instead of writing.")
    priority: int | None = _priority()

    def __attrs_post_init__(self) -> None:
        if self.relinquish is (self.value is not UNSET):
            raise ValueError("needs either a value or relinquish: true")


@attrs.frozen
class WritesBody:
    """Many writes."""

    writes: tuple[WriteItem, ...] = field(
        min_items=1, max_items=1000,
        description="Writes to one device are carried out in their order, many at once where it can.",
        example=[{"point_id": EXAMPLE, "value": 21.5, "priority": 8}],
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class WrittenAnswer:
    """What a write came to."""

    reading: ReadingAnswer | None = field(
        description="What the device showed when it was read back.", example=example_of(ReadingAnswer)
    )
    effective: bool = field(description=EFFECTIVE, example=True)
    active_priority: int | None = field(description="Which slot holds the point, where that is known.", example=8)
    priority: int | None = field(description="Which slot was written; null where the point has none.", example=8)
    verified: bool | None = field(description=VERIFIED, example=True)


@attrs.frozen(kw_only=True)
class WrittenItem:
    """What became of one write of a batch: what it came to, or the error."""

    point_id: str = field(example=EXAMPLE)
    reading: ReadingAnswer | Unset | None = field(default=UNSET, example=example_of(ReadingAnswer))
    effective: bool | Unset = field(default=UNSET, example=True)
    active_priority: int | Unset | None = field(default=UNSET, example=8)
    priority: int | Unset | None = field(default=UNSET, example=8)
    verified: bool | Unset | None = field(default=UNSET, example=True)
    error: ProblemDocument | Unset = field(default=UNSET)


@attrs.frozen(kw_only=True)
class SlotAnswer:
    """One slot of a priority array."""

    priority: int = field(min=1, max=16, example=8)
    value: Value = field(description="Null where the slot is empty.", example=21.5)
    held_by: str | None = field(description="Who wrote it, where that is known.", example="anonymous")
    since: str | None = field(description="When.", format="date-time", example="2026-01-31T12:00:00.000Z")


@attrs.frozen(kw_only=True)
class PrioritiesAnswer:
    """A point's priority array, as its device shows it now."""

    slots: tuple[SlotAnswer, ...] = field(min_items=16, max_items=16, example=_EXAMPLE_SLOTS)
    relinquish_default: Value = field(description="What holds where every slot is empty.", example=20.0)
    active_priority: int | None = field(description="The strongest slot in use.", example=8)
    read_at: str = field(format="date-time", example="2026-01-31T12:04:55.120Z")


class Writes:
    """The resources /api/v1/points/{point_id}/value, for writing, its priorities, and /api/v1/writes."""

    def __init__(self, registry: Registry, commands: Commands, idempotency: Idempotency, clock: Clock) -> None:
        self._registry = registry
        self._commands = commands
        self._idempotency = idempotency
        self._clock = clock

    @property
    def routes(self) -> list[Route]:
        """The routes of these resources."""
        point, operator = "/api/v1/points/{point_id}", Role.OPERATOR
        kinds = (PointNotFound, NotWritable, ValueNotSuitable, PriorityNotAllowed, PluginNotRunning, DeviceError)
        errors: tuple[type[PlantroomError], ...] = (Conflict, *family(*kinds))
        one, many, held = f"{point}/value", "/api/v1/writes", f"{point}/priorities"
        return [
            Route(
                "PUT", one, self.put, "Write a point", body=WriteBody, answer=WrittenAnswer, role=operator,
                errors=errors, parameters=POINT_ID, takes=(KEY,),
                description="Writes at a priority, reads back, and says whether the value is in effect. "
                "An input takes a value only while its object is out of service. Where the device took the write and "
                "could not be read back, the answer is 504 or 502 and says so; the write is on record.",
            ),
            Route(
                "DELETE", one, self.relinquish, "Relinquish a point", query=RelinquishQuery, answer=WrittenAnswer,
                role=operator, errors=errors, parameters=POINT_ID, takes=(KEY,),
                description="Empties a slot of the priority array, reads back, and says what holds the point now.",
            ),
            Route(
                "POST", many, self.post, "Write many points", body=WritesBody, answer=BatchAnswer[WrittenItem],
                role=operator, minds_scope=True, takes=(KEY,),
                description="A write that fails does so alone. Sent again with its key, what was carried out is not "
                "carried out again.",
            ),
            Route(
                "GET", held, self.priorities, "Show a point's priority array", answer=PrioritiesAnswer,
                errors=errors, parameters=POINT_ID,
                description="Read from the device: 16 slots, and who holds them where that is known.",
            ),
        ]  # fmt: skip

    async def put(self, request: web.Request, *, point_id: str, body: WriteBody) -> Answer:
        """Write one point and read it back."""
        item = WriteItem(point_id, body.value, priority=body.priority)
        return await self._idempotency.once(request, body, lambda: self._one(request, item))

    async def relinquish(self, request: web.Request, *, point_id: str, query: RelinquishQuery) -> Answer:
        """Empty a slot of one point's priority array and read it back."""
        item = WriteItem(point_id, relinquish=True, priority=query.priority)
        return await self._idempotency.once(request, None, lambda: self._one(request, item))

    async def post(self, request: web.Request, *, body: WritesBody) -> Answer:
        """Carry many writes out, each with its own success."""

        async def run() -> Answer:
            outcomes: list[Written | Exception | None] = []
            commands: list[Command] = []
            for index, item in enumerate(body.writes):
                try:
                    commands.append(self._command(self._command_id(request, index), request, item))
                    outcomes.append(None)
                except (PointNotFound, PermissionDenied) as error:
                    outcomes.append(error)
            await spend(request, Work.WRITE, len(commands))
            written = iter(await self._commands.write_many(commands))
            found = [next(written) if outcome is None else outcome for outcome in outcomes]
            kind = Passing if any(map(_may_pass, found)) else Answer
            return batch_answer(
                [_item(item.point_id, outcome) for item, outcome in zip(body.writes, found, strict=True)], kind
            )

        return await self._idempotency.once(request, body, run)

    async def priorities(self, request: web.Request, *, point_id: str) -> PrioritiesAnswer:
        """Answer a point's 16 slots, as its device shows them now."""
        entry = self._registry.point(point_id)
        await spend(request, Work.READ, 1)
        priorities = await self._commands.priorities(entry)
        return PrioritiesAnswer(
            slots=tuple(self._slot(entry.point, number, value) for number, value in enumerate(priorities.slots, 1)),
            relinquish_default=json_value(priorities.relinquish_default),
            active_priority=priorities.active,
            read_at=str(rfc3339(self._clock.utc())),
        )

    def _slot(self, point: Point, number: int, value: Value) -> SlotAnswer:
        holder = None if value is None else self._commands.holder(point, number, value)
        return SlotAnswer(
            priority=number,
            value=json_value(value),
            held_by=None if holder is None else holder.principal,
            since=None if holder is None else rfc3339(holder.since),
        )

    async def _one(self, request: web.Request, item: WriteItem) -> Answer:
        command = self._command(self._command_id(request), request, item)
        await spend(request, Work.WRITE, 1)
        return Answer(_written_json(await self._commands.write(command)))

    def _command(self, command_id: str, request: web.Request, item: WriteItem) -> Command:
        """Make the command that an item asks for; raises PointNotFound, PermissionDenied."""
        value = None if isinstance(item.value, Unset) else item.value
        return Command(
            command_id, str(principal_of(request)), ORIGIN, point_for(request, self._registry, item.point_id).point,
            value=value, relinquish=item.relinquish, priority=item.priority,
        )  # fmt: skip

    @staticmethod
    def _command_id(request: web.Request, index: int | None = None) -> str:
        key = key_of(request)
        if key is None:
            return str(uuid.uuid4())
        whose = f"{principal_of(request).id}:{key}"
        return whose if index is None else f"{whose}:{index}"


def _may_pass(outcome: Written | Exception) -> bool:
    """Tell whether a repetition could mend a failure; what was carried out is answered from the record then."""
    return isinstance(outcome, Exception) and getattr(outcome, "status", INTERNAL) >= INTERNAL


def _item(point_id: str, outcome: Written | Exception) -> bytes:
    if isinstance(outcome, PlantroomError):
        return failed_item(point_id, outcome)
    if isinstance(outcome, Exception):  # a driver's code: its failure stays with this item
        structlog.get_logger().error("write_failed", point=point_id, exc_info=outcome)
        return failed_item(point_id, PlantroomError(PlantroomError.remedy))
    return b'{"point_id":%b,%b' % (dumps(point_id), _written_json(outcome)[1:])


def _written_json(written: Written) -> bytes:
    rest = dumps(
        {
            "effective": written.effective,
            "active_priority": written.active_priority,
            "priority": written.priority,
            "verified": written.verified,
        }
    )
    return b'{"reading":%b,%b' % (render_reading(written.reading), rest[1:])
