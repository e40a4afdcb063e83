"""Writes and relinquishes present values, and reads back what came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeAlias

from core.plugin import (
    Command,
    DeviceTimeout,
    NotSent,
    NotWritable,
    PlantroomError,
    Point,
    Priorities,
    Taken,
    Value,
    ValueNotSuitable,
    WriteResult,
)
from core.values import agrees
from plugins.bacnet.config import Write
from plugins.bacnet.errors import NOTHING_WRITTEN, TAKEN, Refusal, UnusableValue, read_error, unread_error, write_error
from plugins.bacnet.objects import Prop
from plugins.bacnet.profile import Profile
from plugins.bacnet.protocol import Answer
from plugins.bacnet.reader import Reader
from plugins.bacnet.values import NotThatKind, flags_of, value_of
from plugins.bacnet.wire.datatypes import Datum, Items, ObjectId, Ref
from plugins.bacnet.writing.delivery import Delivery, chunks, fits, longest_write
from plugins.bacnet.writing.outgoing import Outgoing, kind_of, outgoing

_SLOTS = 16

Result: TypeAlias = WriteResult | Taken | PlantroomError


class Writer:
    """Writes within what the configuration allows."""

    def __init__(self, reader: Reader, config: Write) -> None:
        self._reader = reader
        self._config = config
        self._delivery = Delivery(reader)

    async def write(self, profile: Profile, command: Command) -> WriteResult | Taken:
        """Write or relinquish, then read back; nothing is sent that cannot suit the point."""
        results: dict[int, Result] = {}
        async for found in self.write_many(profile, [command]):
            results |= found
        if isinstance(results[0], PlantroomError):
            raise results[0]
        return results[0]

    async def write_many(self, profile: Profile, commands: Sequence[Command]) -> AsyncIterator[Mapping[int, Result]]:
        """Carry commands out in their order, in few requests; tell of each, by its index, when it is read back."""
        results: dict[int, Result] = {}
        fit: dict[int, Outgoing] = {}
        for number, command in enumerate(commands):
            try:
                fit[number] = _short_enough(profile, outgoing(command, self._config))
            except PlantroomError as error:
                results[number] = error
        results |= await self._refused_inputs(profile, fit)
        if results:
            yield results
        numbers = [number for number in fit if number not in results]
        singly = not profile.writes_multiple(self._reader.clock.monotonic())
        silent = False
        for part in chunks(profile, [fit[number].write for number in numbers], singly=singly):
            found: Sequence[Result] = [NotSent()] * len(numbers[part])
            if not silent:
                found = await self._chunk(profile, [fit[number] for number in numbers[part]])
                silent = any(map(_is_silence, found))
            yield dict(zip(numbers[part], found, strict=True))

    async def priorities(self, profile: Profile, point: Point) -> Priorities:
        """Read a point's priority array; raises NotWritable where it has none."""
        if not point.commandable:
            raise NotWritable(f"{point.id} has no priority array.")
        _kind, object_id = kind_of(point)
        whole, default = Ref(object_id, Prop.PRIORITY_ARRAY), Ref(object_id, Prop.RELINQUISH_DEFAULT)
        answers = await self._reader.all(profile, [whole, default], profile.values)
        slots = await self._slots(profile, object_id, answers[whole])
        if isinstance(slots, Refusal):
            raise read_error(slots, f"the priority array of {point.id}")
        answer = answers[default]
        resting = None if isinstance(answer, Refusal) else _value(answer, point)
        return Priorities(tuple(_value((slot,), point) for slot in slots), resting)

    async def _refused_inputs(self, profile: Profile, fit: dict[int, Outgoing]) -> dict[int, Result]:
        """Ask of each input whether it is out of service now, since it takes a value only then (12.2.9 and others)."""
        inputs = {number: Ref(each.object_id, Prop.OUT_OF_SERVICE) for number, each in fit.items() if _is_input(each)}
        if not inputs:
            return {}
        try:
            answers = await self._reader.all(profile, dict.fromkeys(inputs.values()), profile.values)
        except DeviceTimeout as error:
            return dict.fromkeys(inputs, NotSent(f"{error} {NOTHING_WRITTEN}"))
        return {
            number: _in_service(fit[number].point, answers[ref])
            for number, ref in inputs.items()
            if answers[ref] != (True,)
        }

    async def _chunk(self, profile: Profile, part: Sequence[Outgoing]) -> list[Result]:
        """Send writes and read back what the device took."""
        fates = await self._delivery.send(profile, [each.write for each in part])
        taken = [each for each, fate in zip(part, fates, strict=True) if fate is None]
        refs = dict.fromkeys(ref for each in taken for ref in each.questions)
        silence: DeviceTimeout | None = None
        answers: dict[Ref, Answer] = {}
        try:
            answers = await self._reader.all(profile, refs, profile.values)
        except DeviceTimeout as error:
            silence = DeviceTimeout(f"{error} {TAKEN}")
        results: list[Result] = []
        for each, fate in zip(part, fates, strict=True):
            if isinstance(fate, Refusal):
                results.append(write_error(fate, each.point.id))
            elif fate is not None:
                results.append(fate)
            elif silence is not None:
                results.append(Taken(silence, each.priority))
            else:
                results.append(await self._read_back(profile, each, answers))
        return results

    async def _read_back(self, profile: Profile, out: Outgoing, answers: dict[Ref, Answer]) -> Result:
        point, object_id = out.point, out.object_id
        shown = answers[Ref(object_id, Prop.PRESENT_VALUE)]
        if isinstance(shown, Refusal):
            return Taken(unread_error(shown, point.id), out.priority)
        try:
            value = _value(shown, point)
            slots: Sequence[Value] | None = None
            if point.commandable:
                found = await self._slots(profile, object_id, answers[Ref(object_id, Prop.PRIORITY_ARRAY)])
                slots = None if isinstance(found, Refusal) else [_value((slot,), point) for slot in found]
        except DeviceTimeout as error:
            return Taken(DeviceTimeout(f"{error} {TAKEN}"), out.priority)
        except UnusableValue as error:
            return Taken(UnusableValue(f"{error} {TAKEN}"), out.priority)
        active = None if slots is None else next((n for n, slot in enumerate(slots, 1) if slot is not None), None)
        verified = _verified(out, value, slots)
        return WriteResult(
            value=value,
            flags=flags_of(_items(answers.get(Ref(object_id, Prop.STATUS_FLAGS), ()))),
            effective=verified is not False if slots is None or out.relinquishes else active == out.priority,
            active_priority=active,
            priority=out.priority,
            verified=verified,
        )

    async def _slots(self, profile: Profile, object_id: ObjectId, whole: Answer) -> Sequence[Datum] | Refusal:
        """Return a priority array, read slot by slot where all at once is too long for an answer."""
        if isinstance(whole, Refusal) and whole.answer_is_too_long:
            refs = [Ref(object_id, Prop.PRIORITY_ARRAY, slot) for slot in range(1, _SLOTS + 1)]
            answers = (await self._reader.all(profile, refs, profile.values)).values()
            failure = next((one for one in answers if isinstance(one, Refusal)), None)
            return failure or [items[0] if (items := _items(one)) else None for one in answers]
        if not isinstance(whole, Refusal) and len(whole) != _SLOTS:
            return Refusal("error", "undecodable-value", "property")
        return whole


def _short_enough(profile: Profile, out: Outgoing) -> Outgoing:
    if not fits(profile, out.write):
        raise ValueNotSuitable(
            f"The value is too long for {out.point.device_id}, which takes {longest_write(profile)} octets at once."
        )
    return out


def _is_input(out: Outgoing) -> bool:
    return not out.point.writable


def _in_service(point: Point, answer: Answer) -> NotWritable:
    """Say why an input takes no value, and what to do first."""
    if isinstance(answer, Refusal):
        return NotWritable(f"{point.id} is read-only, and cannot be taken out of service ({answer}).")
    plugin, _, instance = point.device_id.rpartition(".")
    at = f"/api/v1/{plugin}/devices/{instance}/objects/{point.key}/properties/out-of-service"
    return NotWritable(f'{point.id} is an input: take it out of service first, by PUT {at} {{"value": true}}.')


def _is_silence(result: Result) -> bool:
    return isinstance(result.error if isinstance(result, Taken) else result, DeviceTimeout)


def _verified(out: Outgoing, value: Value, slots: Sequence[Value] | None) -> bool | None:
    """Tell whether the device shows what was written.

    A slot holds what was written into it, whatever the output does meanwhile. Without it only the present value is
    left, which proves something where it is as written; where a priority array could not be read, nothing if not.
    """
    if out.priority is not None and slots is not None:
        slot = slots[out.priority - 1]
        return slot is None if out.relinquishes else agrees(out.point, out.meant, slot)
    agreed = not out.relinquishes and agrees(out.point, out.meant, value)
    return agreed if out.priority is None else agreed or None


def _items(answer: Answer) -> Items:
    return () if isinstance(answer, Refusal) else answer


def _value(items: Sequence[Datum], point: Point) -> Value:
    try:
        return value_of(items, point.kind)
    except NotThatKind as error:
        raise UnusableValue(f"{point.id} answered with {error}.") from error
