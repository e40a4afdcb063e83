"""One poll of a device: all requests of its plan, as many at once as may be, and one future for the lot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from core.plugin import Clock, DeviceTimeout, ReadingBatch, Source
from plugins.bacnet.engine import Outcome
from plugins.bacnet.errors import Refusal
from plugins.bacnet.polling import Part
from plugins.bacnet.profile import Profile
from plugins.bacnet.reader import Errand, Reader


class Round:
    """Asks the parts of a plan that are one request each.

    ``batches`` are in the order of the answers. ``refused`` are the parts that want asking in another way, and why.
    ``unanswered`` are those that got no answer, or were not sent after one that got none.
    """

    def __init__(self, reader: Reader, profile: Profile, clock: Clock, source: Source) -> None:
        self.batches: list[ReadingBatch] = []
        self.refused: list[tuple[Part, Refusal]] = []
        self.unanswered: list[Part] = []
        self.silence: DeviceTimeout | None = None
        self._reader = reader
        self._profile = profile
        self._clock = clock
        self._source = source
        self._open = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, parts: Sequence[Part]) -> None:
        """Ask, and return when the outcome of each part is known."""
        waiting = [part for part in parts if part.request is not None]
        self._open = len(waiting)
        if not waiting:
            return
        errands = [self._submit(part) for part in waiting]
        try:
            await self._done
        finally:
            if self._open:
                for errand in errands:
                    errand.give_up()

    def _submit(self, part: Part) -> Errand:
        assert part.request is not None  # noqa: S101 - `run` leaves the others out
        return self._reader.submit(self._profile, part.request, partial(self._told, part), wanted=self._is_wanted)

    def _is_wanted(self) -> bool:
        """Whether a request should still leave: not after one that got no answer."""
        return self.silence is None

    def _told(self, part: Part, outcome: Outcome | None) -> None:
        if isinstance(outcome, bytes):
            try:
                self.batches.append(part.take(outcome, time=self._clock.utc(), source=self._source))
            except Refusal as refusal:
                self.refused.append((part, refusal))
            else:
                self._profile.values.fits(part.cost, self._clock.monotonic())
        elif isinstance(outcome, Refusal):
            self.refused.append((part, outcome))
        else:
            self.silence = self.silence or outcome
            self.unanswered.append(part)
        self._open -= 1
        if not self._open and not self._done.done():
            self._done.set_result(None)
