"""One poll of a device: all requests of its plan, as many at once as may be, and one future for the lot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from core.plugin import Clock, DeviceTimeout, ReadingBatch, Source
from plugins.bacnet.engine import Outcome
from plugins.bacnet.errors import Refusal
from plugins.bacnet.polling import Part
from plugins.bacnet.profile import Profile
from plugins.bacnet.reader import Errand, Reader


class Round:
    """Asks the parts of a plan that are one request each.

    ``batches`` are in the order of the answers. ``refused`` are the parts that want asking in another way, and why.
    ``unanswered`` are those that got no answer, or were not sent after one that got none. ``left`` are those whose turn
    did not come in time, because others had theirs.
    """

    def __init__(self, reader: Reader, profile: Profile, clock: Clock, source: Source) -> None:
        self.batches: list[ReadingBatch] = []
        self.refused: list[tuple[Part, Refusal]] = []
        self.unanswered: list[Part] = []
        self.left: list[Part] = []
        self.silence: DeviceTimeout | None = None
        self._reader = reader
        self._profile = profile
        self._clock = clock
        self._source = source
        self._open = 0
        self._errands: list[_Part] = []
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, parts: Sequence[Part], *, patience_s: float) -> None:
        """Ask, and return when the outcome of each part is known.

        After ``patience_s`` seconds those whose turn has not come are left.
        """
        self._open = len(parts)
        self._errands = [_Part(self._reader, self._profile, part, self) for part in parts]
        for errand in self._errands:
            self._reader.traffic.enter(errand)
        timer = self._done.get_loop().call_later(patience_s, self._drop_waiting, self.left)
        try:
            await self._done
        finally:
            timer.cancel()
            if self._open:
                self._give_up()

    def told(self, part: Part, outcome: Outcome) -> None:
        """Take a part's outcome."""
        self._open -= 1
        if isinstance(outcome, bytes):
            try:
                self.batches.append(part.take(outcome, time=self._clock.utc(), source=self._source))
            except Refusal as refusal:
                self.refused.append((part, refusal))
            else:
                self._profile.values.fits(part.cost, self._clock)
                self._profile.trust(part.refs)
        elif isinstance(outcome, Refusal):
            self.refused.append((part, outcome))
        else:
            self.silence = self.silence or outcome
            self.unanswered.append(part)
            self._drop_waiting(self.unanswered)
        if not self._open and not self._done.done():
            self._done.set_result(None)

    def _drop_waiting(self, into: list[Part]) -> None:
        """Ask no more of what has not left yet."""
        for errand in self._errands:
            if errand.asked_at is None and not errand.given_up:
                errand.given_up = True
                into.append(errand.part)
                self._open -= 1
        if not self._open and not self._done.done():
            self._done.set_result(None)

    def _give_up(self) -> None:
        for errand in self._errands:  # all of them first: the end of one must not let the next one leave
            errand.given_up = True
        for errand in self._errands:
            errand.give_up()


class _Part(Errand):
    """A part's errand."""

    __slots__ = ("_round", "part")

    def __init__(self, reader: Reader, profile: Profile, part: Part, round_: Round) -> None:
        assert part.request is not None  # noqa: S101 - a round is of parts that are one request each
        super().__init__(reader, profile, part.request)
        self.part = part
        self._round = round_

    def told(self, outcome: Outcome) -> None:
        self._round.told(self.part, outcome)
