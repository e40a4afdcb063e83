"""Keeps pages of points ready in pieces: of each, only what changed is written anew before it is answered again."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from itertools import compress
from operator import is_not, itemgetter

import attrs

from core.api.render import render_confirmed, render_contents, render_time
from core.clock import Clock
from core.current import ChunkState
from core.model import DeviceStatus, Reason, Source
from core.registry import DeviceEntry, PointEntry, Registry
from core.replies import Answer

PAGES_KEPT = 16
BYTES_KEPT = 16 * 1024 * 1024
ETAG_BYTES = 12
_FRESH, _STALE = Reason.NONE, Reason.STALE  # as globals much cheaper


@attrs.define(eq=False)
class _Run:
    """The rows of a page that are confirmed together, by the same polls.

    ``written`` is ``time`` as JSON, ``ends`` are the pieces that it stands in, and ``stale_after`` the seconds after
    which one or the other of the rows is stale.
    """

    state: ChunkState
    time: float
    written: bytes
    ends: set[int] = attrs.field(factory=set)
    stale_after: set[float] = attrs.field(factory=set)

    def follow(self) -> bool:
        """Take over the time of the state; answer whether it is another."""
        if self.time == self.state.time:
            return False
        self.time = self.state.time
        self.written = render_time(self.time, Source.POLL)
        return True


@attrs.define
class _Window:
    """The times, UTC seconds, between which no reading turns stale and none is fresh again by a step of the clock."""

    after: float = -math.inf
    until: float = math.inf

    def __contains__(self, now: float) -> bool:
        return self.after < now <= self.until

    def narrow(self, stale_at: float, now: float) -> None:
        """Mind a reading that is stale when it is later than ``stale_at``."""
        if now > stale_at:
            self.after = max(self.after, stale_at)
        else:
            self.until = min(self.until, stale_at)


class PointPage:
    """Points with their current readings, as one body.

    It is good for as long as the points are what they were, which is the registry's ``version``; `answer` sees to all
    else. Each point is three pieces: what is fixed, its reading's content, and when that was confirmed. ``around`` is
    what the body begins and ends with.
    """

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        *,
        entries: Sequence[PointEntry],
        fixed: Sequence[bytes],
        around: tuple[bytes, bytes],
    ) -> None:
        self._registry, self._clock = registry, clock
        self._entries = entries
        self._slots = [entry.slot for entry in entries]
        self._of_all = itemgetter(*self._slots, 0, 0)  # of one item it would make no tuple; no point has slot 0
        self._stale_after = [entry.stale_after for entry in entries]
        self._rows_of: dict[DeviceEntry, list[int]] = {}
        for row, entry in enumerate(entries):
            self._rows_of.setdefault(entry.device, []).append(row)
        self._offline: set[DeviceEntry] = set()
        self._runs: dict[ChunkState, _Run] = {}
        self._run_of: list[_Run | None] = [None] * len(entries)
        self._stale_at: dict[int, float] = {}  # by row, of those that are in no run
        self._window, self._window_alone = _Window(), _Window()
        self._overlays, self._revision = bytearray(len(entries)), 0
        self._pieces = _pieces(fixed, around)
        self._identity = _identity(registry.current.nonce, self._slots, self._pieces)
        self._touched: tuple[int, ...] = ()
        self._seen = -1, -1
        self._looked = clock.utc()
        self._answer = Answer(b"".join(self._pieces), etag=self._etag())

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return 2 * len(self._answer.body)

    def answer(self) -> Answer:
        """Answer the page as it is now; one that raises is not to be used again."""
        registry, now = self._registry, self._clock.utc()
        seen = registry.current.revision, registry.statuses
        if (seen != self._seen or now not in self._window) and self._entries:
            self._renew(now)
            self._seen = seen
        return self._answer

    def _renew(self, now: float) -> None:
        before = self._revision, bytes(self._overlays)
        dirty = self._newly_touched()
        dirty.update(self._of_changed_devices())
        dirty.update(self._aged_alone(now))
        moved = self._follow_runs(now, dirty)
        self._write(list(dirty), now)
        self._looked = now
        if dirty or moved:
            same = before == (self._revision, bytes(self._overlays))
            self._answer = Answer(b"".join(self._pieces), etag=self._answer.etag if same else self._etag())

    def _newly_touched(self) -> set[int]:
        current, known, every = self._registry.current, self._touched, range(len(self._entries))
        touched = self._of_all(current.touched)
        if touched == known:
            return set()
        self._touched = touched
        rows = set(compress(every, map(is_not, touched, known)) if known else every)
        revised, slots = current.revised, self._slots
        self._revision = max(self._revision, *(revised[slots[row]] for row in rows))
        return rows

    def _of_changed_devices(self) -> Iterator[int]:
        if self._seen[1] != self._registry.statuses:
            offline = {device for device in self._rows_of if device.status is DeviceStatus.OFFLINE}
            changed, self._offline = offline ^ self._offline, offline
            for device in changed:
                yield from self._rows_of[device]

    def _aged_alone(self, now: float) -> Iterator[int]:
        """The rows in no run that turned stale since the last look, or fresh by a step of the clock."""
        if now not in self._window_alone:
            self._window_alone = _Window()
            for row, stale_at in self._stale_at.items():
                self._window_alone.narrow(stale_at, now)
                if (now > stale_at) != (self._looked > stale_at):
                    yield row

    def _follow_runs(self, now: float, dirty: set[int]) -> bool:
        """Move the times of all runs, and add the rows that turned stale or fresh; answer whether any time moved."""
        self._window = attrs.evolve(self._window_alone)
        pieces, any_moved = self._pieces, False
        for run in self._runs.values():
            before = run.time
            if run.follow():
                any_moved, written = True, run.written
                for at in run.ends:
                    pieces[at] = written
            for stale_after in run.stale_after:
                stale_at = run.time + stale_after
                self._window.narrow(stale_at, now)
                if (now > stale_at) != (self._looked > before + stale_after):
                    dirty.update(at // 3 for at in run.ends if self._stale_after[at // 3] == stale_after)
        return any_moved

    def _write(self, dirty: Sequence[int], now: float) -> None:
        """Write the readings of rows anew, each placed where it belongs by now."""
        entries = [self._entries[row] for row in dirty]
        overlays = self._overlays_of(dirty, now)
        contents = render_contents(self._registry.current, entries, overlays)
        for row, overlay, content in zip(dirty, overlays, contents, strict=True):
            self._overlays[row], self._pieces[3 * row + 1] = overlay, content

    def _overlays_of(self, dirty: Sequence[int], now: float) -> list[Reason]:
        """Tell what age and device make of rows, each in the place where it belongs by now."""
        state_of, slots, run_of, stale_after = (
            self._registry.current.state,
            self._slots,
            self._run_of,
            self._stale_after,
        )
        overlays = []
        for row in dirty:
            run = run_of[row]
            if run is None or run.state is not state_of(slots[row]):
                run = self._place(row, now)
            stale_at = self._stale_at[row] if run is None else run.time + stale_after[row]
            overlays.append(_STALE if now > stale_at else _FRESH)
        if self._offline:
            entries, offline = self._entries, self._offline
            return [
                Reason.OFFLINE if entries[row].device in offline else overlay
                for row, overlay in zip(dirty, overlays, strict=True)
            ]
        return overlays

    def _place(self, row: int, now: float) -> _Run | None:
        """Put a row into the run that it is confirmed with, or by itself, and write when that was."""
        current, slot, known = self._registry.current, self._slots[row], self._run_of[row]
        state = current.state(slot)
        if known is not None:
            known.ends.discard(3 * row + 2)
            if not known.ends:
                del self._runs[known.state]
        if state is None:
            run, written = None, render_confirmed(current, slot)
            fixed = current.reason(slot) is not Reason.NONE or current.time(slot) == 0.0
            stale_at = self._stale_at[row] = math.inf if fixed else current.time(slot) + self._stale_after[row]
            self._window_alone.narrow(stale_at, now)
        else:
            self._stale_at.pop(row, None)
            run = self._runs.get(state)
            if run is None:
                run = self._runs[state] = _Run(state, state.time, render_time(state.time, Source.POLL))
            run.ends.add(3 * row + 2)
            run.stale_after.add(self._stale_after[row])
            stale_at, written = run.time + self._stale_after[row], run.written
        self._window.narrow(stale_at, now)
        self._run_of[row], self._pieces[3 * row + 2] = run, written
        return run

    def _etag(self) -> str:
        """Name the content: what is fixed, the last revision of any reading, and what age and devices make of them."""
        content = self._identity.copy()
        content.update(self._revision.to_bytes(8) + self._overlays)
        return f'W/"{content.hexdigest()}"'


def _pieces(fixed: Sequence[bytes], around: tuple[bytes, bytes]) -> list[bytes]:
    """Lay out a body with room for the readings; what ends a point stands before the next."""
    pieces = [b""] * (3 * len(fixed))
    pieces[::3] = [b"},%b" % part for part in fixed]
    if pieces:
        pieces[0] = around[0] + fixed[0]
        return [*pieces, b"}" + around[1]]
    return [around[0] + around[1]]


def _identity(nonce: str, slots: Sequence[int], pieces: Sequence[bytes]) -> hashlib.blake2b:
    """Hash what no reading changes; the slots are part of it, since a revision speaks of them alone."""
    fixed = hashlib.blake2b(len(slots).to_bytes(4), digest_size=ETAG_BYTES, key=nonce.encode())
    fixed.update(array("I", slots).tobytes())
    fixed.update(b"".join(pieces))
    return fixed


class PointPages:
    """The pages that were asked for last, bounded in number and bytes; none outlives a change of the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._version: int | None = None
        self._pages: OrderedDict[Hashable, PointPage] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pages)

    def take(self, key: Hashable) -> PointPage | None:
        """Take out the page of a key, if it is still good; put it back by `keep` when it has been answered."""
        if self._version != self._registry.version:
            self._pages.clear()
            self._bytes, self._version = 0, self._registry.version
        page = self._pages.pop(key, None)
        self._bytes -= 0 if page is None else page.size
        return page

    def keep(self, key: Hashable, page: PointPage) -> None:
        """Keep a page, for which those go that were asked for the longest time ago."""
        if self._version is None:
            self._version = self._registry.version
        self._pages[key] = page
        self._bytes += page.size
        while len(self._pages) > PAGES_KEPT or self._bytes > BYTES_KEPT:
            self._bytes -= self._pages.popitem(last=False)[1].size
