"""Turns a group of points into requests that are repeated as they are, and answers into batches of readings."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import attrs

from core.plugin import (
    Chunk,
    DeviceTimeout,
    Flag,
    Point,
    PointGroup,
    PointNotFound,
    ReadingBatch,
    Reason,
    Row,
    Source,
    batch_of,
)
from plugins.bacnet.addresses import Station
from plugins.bacnet.columns import Columns, Place
from plugins.bacnet.engine import Request
from plugins.bacnet.errors import Refusal, UnusableValue, read_error
from plugins.bacnet.objects import Prop, object_of
from plugins.bacnet.planner import cost, pack
from plugins.bacnet.profile import Profile
from plugins.bacnet.protocol import Answer
from plugins.bacnet.requests import answer_in, elements_of, read_multiple
from plugins.bacnet.values import NotThatKind, flags_of, value_of
from plugins.bacnet.wire.datatypes import Ref
from plugins.bacnet.wire.read_property_multiple import Element

_SINGLES_AT_ONCE = 16
_LONGEST_PAUSE = 64  # answers, before a layout that keeps changing is learned once more


@attrs.frozen
class Question:
    """What is read of one point."""

    point: Point
    refs: tuple[Ref, ...]

    def row(self, answers: Mapping[Ref, Answer]) -> Row:
        """Make the point's row of the answers; what was refused or does not fit is the row's own error."""
        value = answers[self.refs[0]]
        if isinstance(value, Refusal):
            return Row(error=read_error(value, self.point.id))
        try:
            return Row(value_of(value, self.point.kind), self._flags(answers))
        except NotThatKind as error:
            return Row(error=UnusableValue(f"{self.point.id} answered with {error}."))

    def _flags(self, answers: Mapping[Ref, Answer]) -> Flag:
        answer = answers[self.refs[1]] if len(self.refs) > 1 else ()
        return flags_of(() if isinstance(answer, Refusal) else answer)


@attrs.define(eq=False)
class Part:
    """One request of a plan, with the points that it is for and what its last answer was.

    ``request`` is None where the properties are asked for one by one. An answer with the same octets as the last costs
    one comparison, one of the same layout a few more; any other is decoded in full, and its layout learned.
    """

    chunk: Chunk
    questions: tuple[Question, ...]
    refs: tuple[Ref, ...]
    request: Request | None
    cost: int
    _octets: bytes = b""
    _last: ReadingBatch | None = None
    _columns: Columns | None = None
    _pause: int = 0
    _answers_to_go: int = 0

    def take(self, octets: bytes, *, time: float, source: Source) -> ReadingBatch:
        """Make a batch of the result of the request; raises Refusal where it cannot be decoded."""
        last, columns = self._last, self._columns
        if last is not None:
            if octets == self._octets:
                return last.confirmed(time, source)
            if columns is not None:
                batch = columns.batch(octets, last, time=time, source=source)
                if batch is not None:
                    self._octets, self._last = octets, batch
                    return batch
        elements = elements_of(octets, self.refs)
        batch = self.batch([answer_in(octets, element) for element in elements], time=time, source=source)
        self._octets, self._last = octets, batch
        self._learn(octets, elements, batch)
        return batch

    def batch(self, answers: Sequence[Answer], *, time: float, source: Source) -> ReadingBatch:
        """Lay the answers out; one for each of ``refs``."""
        by_ref = dict(zip(self.refs, answers, strict=True))
        return batch_of(self.chunk, [item.row(by_ref) for item in self.questions], time=time, source=source)

    def unanswered(self, error: DeviceTimeout, *, time: float, source: Source) -> ReadingBatch:
        """Make the batch of a request that went unanswered while the device did answer others."""
        rows = [Row(error=error, reason=Reason.TIMEOUT) for _ in self.questions]
        return batch_of(self.chunk, rows, time=time, source=source)

    def _learn(self, octets: bytes, elements: Sequence[Element | None], batch: ReadingBatch) -> None:
        """Learn the layout, after ever longer pauses where it is another one each time."""
        if self._columns is None and self._answers_to_go > 0:
            self._answers_to_go -= 1
            return
        if self._columns is not None and not self._columns.served:
            self._pause = min(2 * self._pause + 1, _LONGEST_PAUSE)
            self._answers_to_go = self._pause
            self._columns = None
            return
        if self._columns is not None:
            self._pause = 0
        by_ref = dict(zip(self.refs, elements, strict=True))
        places = [Place(item.point.kind, *(by_ref[ref] for ref in item.refs)) for item in self.questions]
        self._columns = Columns(octets, places, batch)


@attrs.define(eq=False)
class Plan:
    """How a group is read: ``asked`` are parts that are one request each, ``singly`` those whose properties are not.

    ``state`` is what the device's profile was when it was made.
    """

    state: tuple[Station, int, bool, frozenset[Ref]]
    asked: tuple[Part, ...]
    singly: tuple[Part, ...]

    def put_first(self, left: Sequence[Part]) -> None:
        """Have those asked first the next time whose turn did not come this time."""
        self.asked = (*left, *(part for part in self.asked if part not in left))


def plan_of(group: PointGroup, profile: Profile) -> Plan:
    """Plan how to read a group; raises PointNotFound where none of its points is an object of ours."""
    slots: dict[Ref, int] = {}
    together: list[Question] = []
    alone: list[Question] = []
    for point, slot in zip(group.points, group.slots, strict=True):
        try:
            kind, object_id = object_of(point.key)
        except ValueError:
            continue
        value = Ref(object_id, Prop.PRESENT_VALUE)
        refs = (value, Ref(object_id, Prop.STATUS_FLAGS)) if kind.status_flags else (value,)
        slots[value] = slot
        (together if profile.loners.keys().isdisjoint(refs) else alone).append(Question(point, refs))
    if not slots:
        raise PointNotFound(f"{group.points[0].id} is not an object with a present value.")
    parts = [_part(questions, slots, profile, multiple=profile.multiple) for questions in _packed(together, profile)]
    parts += [_part([question], slots, profile, multiple=False) for question in alone]
    asked = tuple(part for part in parts if part.request is not None)
    return Plan(profile.state, asked, tuple(part for part in parts if part.request is None))


def _packed(questions: Sequence[Question], profile: Profile) -> list[list[Question]]:
    if not profile.multiple:
        starts = range(0, len(questions), _SINGLES_AT_ONCE)
        return [list(questions[start : start + _SINGLES_AT_ONCE]) for start in starts]
    by_refs = {question.refs: question for question in questions}
    return [[by_refs[refs] for refs in entries] for entries in pack(by_refs, profile.values.octets)]


def _part(questions: Sequence[Question], slots: Mapping[Ref, int], profile: Profile, *, multiple: bool) -> Part:
    chunk = Chunk(array("I", [slots[question.refs[0]] for question in questions]))
    refs = tuple(ref for question in questions for ref in question.refs)
    request = read_multiple(profile.path, refs) if multiple else None
    return Part(chunk, tuple(questions), refs, request, cost(refs))
