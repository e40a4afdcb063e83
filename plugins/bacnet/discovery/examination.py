"""Asks a found device what it is and what points it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from core.plugin import Context, Inventory, Point
from plugins.bacnet.config import PointRule
from plugins.bacnet.discovery.progress import Effort
from plugins.bacnet.errors import Refusal
from plugins.bacnet.objects import DEVICE, TYPES, Prop
from plugins.bacnet.points import MOST_STATES, has_priority_array, point_of, questions, ruled, text_in
from plugins.bacnet.profile import Profile, attributes_of
from plugins.bacnet.protocol import Answer, IAm
from plugins.bacnet.reader import Reader
from plugins.bacnet.wire.datatypes import Datum, ObjectId, Ref
from plugins.bacnet.wire.enumerations import type_name

MOST_OBJECTS = 100_000
"""How many objects are read of a device; one that says it has more is not believed."""

_AT_ONCE = 1000  # objects, or elements of an array, whose questions are made at once
_LIST_ITEM = 5  # octets of one object id in an answer
_LIST_FRAME = 20
_OF_ARRAYS = (Prop.RELINQUISH_DEFAULT, Prop.PRIORITY_ARRAY)  # `has_priority_array` judges these

_ABOUT_DEVICE = (
    Prop.OBJECT_NAME,
    Prop.DESCRIPTION,
    Prop.VENDOR_NAME,
    Prop.MODEL_NAME,
    Prop.LOCATION,
    Prop.FIRMWARE_REVISION,
    Prop.APPLICATION_SOFTWARE_VERSION,
    Prop.PROTOCOL_REVISION,
    Prop.DATABASE_REVISION,
)


class ObjectList(NamedTuple):
    """What a device says that it has, and whether that is all: each entry was told, and is an object's id."""

    objects: list[ObjectId]
    complete: bool

    @classmethod
    def of(cls, *entries: Sequence[Datum]) -> ObjectList:
        objects = [entry[0] for entry in entries if len(entry) == 1 and isinstance(entry[0], ObjectId)]
        return cls(objects[:MOST_OBJECTS], len(objects) == len(entries) <= MOST_OBJECTS)


class Examination:
    """One device's questions and answers; raises DeviceTimeout when it falls silent, Refusal without object list."""

    def __init__(self, reader: Reader, ctx: Context, rules: Sequence[PointRule], *, interval: float) -> None:
        self._reader = reader
        self._ctx = ctx
        self._rules = rules
        self._interval = interval

    async def inventory(self, i_am: IAm, profile: Profile, effort: Effort | None = None) -> Inventory:
        """Return the device with all points that it has; an object that it cannot tell about loses no other.

        What it could not tell now is no news: the inventory says that it is not complete, or which points are unread.
        Objects are read a thousand at a time, so that no device's word fills the memory or holds up the others.
        """
        itself = ObjectId(DEVICE, profile.instance)
        about = await self._reader.all(profile, [Ref(itself, prop) for prop in _ABOUT_DEVICE], profile.texts)
        listed = await self.object_list(profile, itself)
        objects = list(dict.fromkeys(listed.objects))
        wanted = [object_id for object_id in objects if object_id.type in TYPES]
        skipped = Counter(type_name(item.type) for item in objects if item.type not in TYPES and item.type != DEVICE)
        device = self._ctx.device(
            str(profile.instance),
            name=_text(about, itself, Prop.OBJECT_NAME),
            description=_text(about, itself, Prop.DESCRIPTION),
            address=str(profile.station),
            vendor=_text(about, itself, Prop.VENDOR_NAME) or f"vendor {i_am.vendor_id}",
            model=_text(about, itself, Prop.MODEL_NAME),
            attributes={
                **attributes_of(profile),
                "vendor_id": i_am.vendor_id,
                "location": _text(about, itself, Prop.LOCATION),
                "firmware": _text(about, itself, Prop.FIRMWARE_REVISION),
                "software": _text(about, itself, Prop.APPLICATION_SOFTWARE_VERSION),
                "protocol_revision": _number(about, itself, Prop.PROTOCOL_REVISION),
                "database_revision": _number(about, itself, Prop.DATABASE_REVISION),
                "objects": len(objects),
                "skipped_objects": dict(sorted(skipped.items())),
            },
        )
        points: list[Point] = []
        unread: set[str] = set()
        if effort is not None:
            effort.began(len(wanted))
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            answers = await self._about(profile, part, _telling(effort, start, len(part), len(wanted)))
            await self._ask_again(profile, part, answers)
            made = (point_of(device, object_id, answers) for object_id in part)
            points += [ruled(point, self._rules, interval=self._interval) for point in made if point is not None]
            untold = {ref.object for ref, answer in answers.items() if _is_untold(ref, answer, answers)}
            untold |= {object_id for object_id in part if has_priority_array(object_id, answers) is None}
            unread |= {f"{device.id}.{object_id}" for object_id in untold}
        return Inventory(device, points, listed.complete, frozenset(unread))

    async def object_list(self, profile: Profile, itself: ObjectId) -> ObjectList:
        """Read the object list whole where its answer can come, else by index; what is not told is asked for twice.

        Raises Refusal also where there are more than `MOST_OBJECTS`.
        """
        whole = Ref(itself, Prop.OBJECT_LIST)
        if profile.can_segment and profile.whole_list is not False:
            listed = await self._whole_list(profile, whole)
            if listed is not None:
                return listed
        match await self._reader.one(profile, Ref(itself, Prop.OBJECT_LIST, 0)):
            case (int() as count,) if count > MOST_OBJECTS:
                raise Refusal("error", f"{count}-objects-where-{MOST_OBJECTS}-are-the-most", "property")
            case (int() as count,):
                pass
            case _:
                raise Refusal("error", "undecodable-value", "property")
        if not profile.can_segment and count * _LIST_ITEM + _LIST_FRAME <= profile.max_apdu:
            listed = await self._whole_list(profile, whole)
            if listed is not None:
                return listed
        profile.whole_list = False
        return await self._list_by_index(profile, itself, count)

    async def _list_by_index(self, profile: Profile, itself: ObjectId, count: int) -> ObjectList:
        """Read the object list in slices; after one in which nothing was told, no more is expected."""
        entries: list[Sequence[Datum]] = []
        for start in range(1, count + 1, _AT_ONCE):
            refs = [Ref(itself, Prop.OBJECT_LIST, index) for index in range(start, min(start + _AT_ONCE, count + 1))]
            answers = await self._reader.all(profile, refs, profile.values)
            missing = [ref for ref, answer in answers.items() if isinstance(answer, Refusal)]
            answers |= await self._reader.all(profile, missing, profile.values)
            entries += [() if isinstance(answer, Refusal) else answer for answer in answers.values()]
            if all(isinstance(answer, Refusal) for answer in answers.values()):
                break
        return ObjectList.of(*entries)

    async def _about(
        self, profile: Profile, objects: Sequence[ObjectId], told: Callable[[int, int], None]
    ) -> dict[Ref, Answer]:
        """Read what points are made of; ``told`` hears how many of how many questions are answered."""
        refs = [ref for object_id in objects for ref in questions(object_id)]
        answers = await self._reader.all(profile, refs, profile.texts, told=lambda count: told(count, len(refs)))
        without = _states_without_texts(answers)
        absurd = [(str(object_id), count) for object_id, count in without if count > MOST_STATES]
        if absurd:
            first, states = absurd[0]
            self._ctx.log.warning(
                "states_not_believed", device=profile.instance, objects=len(absurd), first=first, states=states
            )
        missing: list[Ref] = []
        for object_id, count in without:
            if count > MOST_STATES:
                continue
            missing += [Ref(object_id, Prop.STATE_TEXT, state) for state in range(1, count + 1)]
            if len(missing) >= _AT_ONCE:
                answers |= await self._reader.all(profile, missing, profile.texts)
                missing = []
        return answers | await self._reader.all(profile, missing, profile.texts)

    async def _ask_again(self, profile: Profile, wanted: Sequence[ObjectId], answers: dict[Ref, Answer]) -> None:
        """Ask by itself what tells of a priority array, and then for that, where the device did not say it."""
        for prop in (Prop.RELINQUISH_DEFAULT, Prop.PRIORITY_ARRAY):
            for object_id in wanted:
                if has_priority_array(object_id, answers) is None:
                    answers |= await self._reader.all(profile, [Ref(object_id, prop)], profile.texts)

    async def _whole_list(self, profile: Profile, whole: Ref) -> ObjectList | None:
        """Read the object list with one request, in segments where it is long; None where the device refuses."""
        try:
            listed = ObjectList.of(*((item,) for item in await self._reader.one(profile, whole)))
        except Refusal as refusal:
            profile.whole_list = False
            self._ctx.log.debug("object_list_by_index", device=profile.instance, why=str(refusal))
            return None
        profile.whole_list = True
        return listed


def _states_without_texts(answers: Mapping[Ref, Answer]) -> list[tuple[ObjectId, int]]:
    """Return the objects whose state texts, all at once, were too long for an answer, or that are not believed."""
    found = []
    for ref, answer in answers.items():
        if ref.property == Prop.NUMBER_OF_STATES:
            texts = answers.get(Ref(ref.object, Prop.STATE_TEXT))
            match answer:
                case (int() as count,) if count > MOST_STATES or (
                    isinstance(texts, Refusal) and texts.answer_is_too_long
                ):
                    found.append((ref.object, count))
    return found


def _telling(effort: Effort | None, before: int, objects: int, of: int) -> Callable[[int, int], None]:
    """Tell an effort how much has been read, where so many of the device's objects are asked about after others."""

    def told(answered: int, questions: int) -> None:
        if effort is not None:
            effort.read((before + objects * answered / questions) / of)

    return told


def _is_untold(ref: Ref, answer: Answer, answers: Mapping[Ref, Answer]) -> bool:
    """Tell whether an answer says nothing of its object now; a text too long for any answer will never be told."""
    if not isinstance(answer, Refusal) or not answer.is_passing or ref.property in _OF_ARRAYS:
        return False
    if ref.property == Prop.STATE_TEXT and Ref(ref.object, Prop.STATE_TEXT, 1) in answers:
        return ref.index is not None
    return not answer.is_of_length


def _text(answers: Mapping[Ref, Answer], object_id: ObjectId, prop: Prop) -> str:
    answer = answers[Ref(object_id, prop)]
    return "" if isinstance(answer, Refusal) else text_in(answer)


def _number(answers: Mapping[Ref, Answer], object_id: ObjectId, prop: Prop) -> int | None:
    match answers[Ref(object_id, prop)]:
        case (int() as number,):
            return number
    return None
