"""Keeps the answers that tell a point's current reading, to be given again until something about it changes."""

from __future__ import annotations

import attrs

from core.api.render import age_header, render_confirmed, render_contents, render_time
from core.clock import Clock
from core.current import ChunkState
from core.model import DeviceStatus, Reason, Source
from core.registry import PointEntry, Registry
from core.replies import Answer

ANSWERS_KEPT = 4096


@attrs.define(eq=False)
class _Kept:
    """An answer with all that it follows from.

    ``content`` is the reading but for its end; ``stale`` tells whether it was older than ``stale_after`` seconds.
    """

    touched: int
    version: int
    status: DeviceStatus
    state: ChunkState | None
    stale_after: float
    stale: bool
    content: bytes
    time: float
    age: int
    answer: Answer

    def holds(self, entry: PointEntry, touched: int, now: float) -> bool:
        """Tell whether the content is what it would be now."""
        time = self.time if self.state is None else self.state.time
        return (
            touched == self.touched
            and entry.version == self.version
            and entry.device.status is self.status
            and (now > time + self.stale_after) is self.stale
        )

    def follow(self, now: float) -> None:
        """Take over the time that the reading has by now, and the age that this gives it."""
        state, body, moved = self.state, self.answer.body, False
        if state is not None and state.time != self.time:
            self.time, moved = state.time, True
            body = self.content + render_time(self.time, Source.POLL)
        age = int(now - self.time)
        if moved or age != self.age:
            self.age = age
            self.answer = Answer(body, headers=age_header(self.time, now), etag=self.answer.etag)


class ReadingAnswers:
    """The answers that were made last, by slot; one that is still good costs a few comparisons."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry, self._clock = registry, clock
        self._kept: dict[int, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def answer(self, entry: PointEntry) -> Answer:
        """Answer a point's current reading, with its age and an ETag that neither time nor source change."""
        slot, now = entry.slot, self._clock.utc()
        kept = self._kept.get(slot)
        if kept is not None and kept.holds(entry, self._registry.current.touched[slot], now):
            kept.follow(now)
        else:
            kept = self._renew(entry, now)
        return kept.answer

    def _renew(self, entry: PointEntry, now: float) -> _Kept:
        current, slot, status = self._registry.current, entry.slot, entry.device.status
        time, stale_after = current.time(slot), entry.stale_after
        stale = now > time + stale_after
        overlay = Reason.STALE if stale else Reason.NONE
        if status is DeviceStatus.OFFLINE:
            overlay = Reason.OFFLINE
        content = next(render_contents(current, [entry], [overlay]))
        body = content + render_confirmed(current, slot)
        etag = f'W/"{current.nonce}.{slot}.{entry.version}.{current.revised[slot]}.{overlay:d}"'
        self._kept.pop(slot, None)
        if len(self._kept) >= ANSWERS_KEPT:
            del self._kept[next(iter(self._kept))]
        kept = self._kept[slot] = _Kept(
            touched=current.touched[slot],
            version=entry.version,
            status=status,
            state=current.state(slot),
            stale_after=stale_after,
            stale=stale,
            content=content,
            time=time,
            age=int(now - time),
            answer=Answer(body, headers=age_header(time, now), etag=etag),
        )
        return kept
