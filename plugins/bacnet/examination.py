"""Asks a found device what it is and what points it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from core.plugin import Context, Inventory
from plugins.bacnet.config import PointRule
from plugins.bacnet.errors import Refusal
from plugins.bacnet.objects import DEVICE, TYPES, Prop
from plugins.bacnet.points import has_priority_array, point_of, questions, ruled, text_in
from plugins.bacnet.profile import Profile, attributes_of
from plugins.bacnet.progress import Effort
from plugins.bacnet.protocol import Answer, IAm
from plugins.bacnet.reader import Reader
from plugins.bacnet.wire.datatypes import Datum, ObjectId, Ref
from plugins.bacnet.wire.enumerations import type_name

_MOST_STATES = 1000
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
        return cls(objects, len(objects) == len(entries))


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
        """
        itself = ObjectId(DEVICE, profile.instance)
        about = await self._reader.all(profile, [Ref(itself, prop) for prop in _ABOUT_DEVICE], profile.texts)
        listed = await self.object_list(profile, itself)
        objects = list(dict.fromkeys(listed.objects))
        wanted = [object_id for object_id in objects if object_id.type in TYPES]
        refs = [ref for object_id in wanted for ref in questions(object_id)]
        if effort is not None:
            effort.began(len(wanted))
        answers = await self._reader.all(profile, refs, profile.texts, told=_telling(effort, len(refs)))
        answers |= await self._reader.all(profile, _missing_state_texts(answers), profile.texts)
        await self._ask_again(profile, wanted, answers)
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
        made = (point_of(device, object_id, answers) for object_id in wanted)
        points = [ruled(point, self._rules, interval=self._interval) for point in made if point is not None]
        unread = {str(ref.object) for ref, answer in answers.items() if _is_untold(ref, answer, answers)}
        unread |= {str(object_id) for object_id in wanted if has_priority_array(object_id, answers) is None}
        return Inventory(device, points, listed.complete, frozenset(f"{device.id}.{key}" for key in unread))

    async def object_list(self, profile: Profile, itself: ObjectId) -> ObjectList:
        """Read the object list whole where its answer can come, else by index; what is not told is asked for twice."""
        whole = Ref(itself, Prop.OBJECT_LIST)
        if profile.can_segment and profile.whole_list is not False:
            listed = await self._whole_list(profile, whole)
            if listed is not None:
                return listed
        match await self._reader.one(profile, Ref(itself, Prop.OBJECT_LIST, 0)):
            case (int() as count,):
                pass
            case _:
                raise Refusal("error", "undecodable-value", "property")
        if not profile.can_segment and count * _LIST_ITEM + _LIST_FRAME <= profile.max_apdu:
            listed = await self._whole_list(profile, whole)
            if listed is not None:
                return listed
        refs = [Ref(itself, Prop.OBJECT_LIST, index) for index in range(1, count + 1)]
        answers = await self._reader.all(profile, refs, profile.values)
        missing = [ref for ref, answer in answers.items() if isinstance(answer, Refusal)]
        answers |= await self._reader.all(profile, missing, profile.values)
        return ObjectList.of(*(() if isinstance(answer, Refusal) else answer for answer in answers.values()))

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


def _missing_state_texts(answers: Mapping[Ref, Answer]) -> list[Ref]:
    """Return what to ask one by one where all state texts at once were too long for an answer."""
    missing = []
    for ref, answer in answers.items():
        if ref.property == Prop.STATE_TEXT and isinstance(answer, Refusal) and answer.answer_is_too_long:
            match answers.get(Ref(ref.object, Prop.NUMBER_OF_STATES)):
                case (int() as count,) if count <= _MOST_STATES:
                    missing += [Ref(ref.object, Prop.STATE_TEXT, state) for state in range(1, count + 1)]
    return missing


def _is_untold(ref: Ref, answer: Answer, answers: Mapping[Ref, Answer]) -> bool:
    """Tell whether an answer says nothing of its object now; a text too long for any answer will never be told."""
    if not isinstance(answer, Refusal) or not answer.is_passing or ref.property in _OF_ARRAYS:
        return False
    if ref.property == Prop.STATE_TEXT and Ref(ref.object, Prop.STATE_TEXT, 1) in answers:
        return ref.index is not None
    return not answer.is_of_length


def _telling(effort: Effort | None, questions: int) -> Callable[[int], None]:
    return lambda answered: None if effort is None else effort.read(answered / questions)


def _text(answers: Mapping[Ref, Answer], object_id: ObjectId, prop: Prop) -> str:
    answer = answers[Ref(object_id, prop)]
    return "" if isinstance(answer, Refusal) else text_in(answer)


def _number(answers: Mapping[Ref, Answer], object_id: ObjectId, prop: Prop) -> int | None:
    match answers[Ref(object_id, prop)]:
        case (int() as number,):
            return number
    return None
