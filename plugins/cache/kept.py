"""Answers by what they were given for, bounded in number and bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any, TypeAlias

import attrs

from core.plugin import Call, PlantroomError, Reply
from core.problem import CONTENT_TYPE, document
from core.serialize import dumps

OVERHEAD_BYTES = 1000
"""What an answer takes in memory beside its body, about."""

Key: TypeAlias = Hashable


@attrs.frozen(eq=False)
class Refusal:
    """What an error says, without the error, which would keep all that was there when it was raised."""

    document: Mapping[str, Any]
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, error: PlantroomError) -> Refusal:
        """Take over what an error says."""
        return cls(document(error), tuple(error.headers.items()))

    @property
    def status(self) -> int:
        """The status that it is answered with."""
        return int(self.document["status"])

    def reply(self, call: Call) -> Reply:
        """Write it for another call."""
        about = {"instance": call.path, "request_id": call.request_id}
        return Reply(self.status, dumps({**self.document, **about}), CONTENT_TYPE, self.headers)


@attrs.frozen(eq=False)
class Kept:
    """An answer, or what was said in its place; ``made`` and ``until`` are monotonic seconds."""

    answer: Reply | Refusal
    stamp: Hashable
    made: float
    until: float

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return OVERHEAD_BYTES + (len(self.answer.body) if isinstance(self.answer, Reply) else 0)


class KeptAnswers:
    """The answers that were given last; the one that was not asked for longest goes first."""

    def __init__(self, *, entries: int, size: int) -> None:
        self._limit, self._limit_bytes = entries, size
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: Key) -> Kept | None:
        """Return what is kept, good or not."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def keep(self, key: Key, kept: Kept) -> None:
        """Keep an answer in the place of the one before, unless it is larger than all may be together."""
        self.drop(key)
        if kept.size <= self._limit_bytes and self._limit:
            self._kept[key] = kept
            self.size += kept.size
        while len(self._kept) > self._limit or self.size > self._limit_bytes:
            self.size -= self._kept.popitem(last=False)[1].size

    def drop(self, key: Key) -> None:
        """Forget an answer, if there is one."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.size -= kept.size

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.size = 0
