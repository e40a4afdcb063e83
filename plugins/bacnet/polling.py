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
from plugins.bacnet.errors import Refusal, UnusableValue, read_error
from plugins.bacnet.objects import Prop, object_of
from plugins.bacnet.planner import Ref, pack
from plugins.bacnet.profile import Profile
from plugins.bacnet.protocol import Answer
from plugins.bacnet.values import NotThatKind, flags_of, value_of

_SINGLES_AT_ONCE = 16


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


@attrs.frozen(eq=False)
class Part:
    """One request of a plan, with the points that it is for."""

    chunk: Chunk
    questions: tuple[Question, ...]
    refs: tuple[Ref, ...]

    def batch(self, answers: Sequence[Answer], *, time: float, source: Source) -> ReadingBatch:
        """Lay the answers out; one for each of ``refs``."""
        by_ref = dict(zip(self.refs, answers, strict=True))
        return batch_of(self.chunk, [item.row(by_ref) for item in self.questions], time=time, source=source)

    def unanswered(self, error: DeviceTimeout, *, time: float, source: Source) -> ReadingBatch:
        """Make the batch of a request that went unanswered while the device did answer others."""
        rows = [Row(error=error, reason=Reason.TIMEOUT) for _ in self.questions]
        return batch_of(self.chunk, rows, time=time, source=source)


@attrs.frozen
class Plan:
    """The requests that read a group; ``state`` is what the device's profile was when it was made."""

    state: tuple[int, bool, int]
    parts: tuple[Part, ...]


def plan(group: PointGroup, profile: Profile) -> Plan:
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
        (alone if profile.loners.intersection(refs) else together).append(Question(point, refs))
    if not slots:
        raise PointNotFound(f"{group.points[0].id} is not an object with a present value.")
    parts = [*_packed(together, profile), *([question] for question in alone)]
    return Plan(profile.state, tuple(_part(questions, slots) for questions in parts))


def _packed(questions: Sequence[Question], profile: Profile) -> list[list[Question]]:
    if not profile.multiple:
        starts = range(0, len(questions), _SINGLES_AT_ONCE)
        return [list(questions[start : start + _SINGLES_AT_ONCE]) for start in starts]
    by_refs = {question.refs: question for question in questions}
    return [[by_refs[refs] for refs in entries] for entries in pack(by_refs, profile.values.octets)]


def _part(questions: Sequence[Question], slots: Mapping[Ref, int]) -> Part:
    chunk = Chunk(array("I", [slots[question.refs[0]] for question in questions]))
    return Part(chunk, tuple(questions), tuple(ref for question in questions for ref in question.refs))
