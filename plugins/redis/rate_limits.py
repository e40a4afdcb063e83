"""Limits that several processes share, counted on the server and leased from it in blocks.

A key that is asked for over and over has some of its budget lent to this process, which answers from that at once. What
is lent is taken on the server already: in any time, all processes together never let more pass than the budget does in
that time and `LEASE_S`. What is not used in that time is given back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import attrs

from core.plugin import Allowance, Clock
from core.rate_limits import GRAIN, MemoryRateLimitStore
from plugins.redis.client import Away
from plugins.redis.link import Link
from plugins.redis.scripts import GIVE_BACK, TAKE

LEASE_S = 1.0
"""How long what is lent may be used, and a refusal is taken to stand."""
LARGEST_LEASE = 200
"""How many requests are lent at most; nor is it ever more than a tenth of what is left of a budget."""
LEASES = 10_000
"""How many keys have a lease at most; the server is asked about the others each time."""
GIVEN_AT_ONCE = 500


@attrs.define(eq=False)
class _Lease:
    """What is known here of a budget: ``left`` on the server when it was ``asked``, and ``lent`` to this process.

    ``block`` is how much to lend next time, ``queued`` what those cost who wait for their ``turn`` to ask.
    """

    rate: float
    burst: float
    asked: float = float("-inf")
    left: float = 0.0
    lent: float = 0.0
    used: float = 0.0
    refused: bool = False
    block: int = 0
    queued: float = 0.0
    turn: asyncio.Lock = attrs.field(factory=asyncio.Lock)

    def answer(self, cost: float, now: float) -> Allowance | None:
        """Answer from what is lent, or as a moment ago where that was refused; None: the server has to be asked."""
        since = now - self.asked
        if since >= LEASE_S:
            return None
        left = self.left + since * self.rate + self.lent
        if left > self.burst:  # noqa: PLR1730 # min() would take a fifth of all the time
            left = self.burst
        if cost <= self.lent and self.lent > 0.0:
            self.lent -= cost
            self.used += cost
            left -= cost
            return Allowance(True, int(left + GRAIN), 0.0, (self.burst - left) / self.rate)
        if self.refused and cost > left + GRAIN:
            return self.refusal(cost, left)
        return None

    def refusal(self, cost: float, left: float) -> Allowance:
        return Allowance(False, int(left + GRAIN), (cost - left) / self.rate, (self.burst - left) / self.rate)

    def next_block(self, now: float, most: int) -> int:
        """Say how much to lend: more each time that it was used up, and else what was used of the last."""
        self.block = min(most, 2 * self.block + 1 if now - self.asked < LEASE_S else int(self.used))
        return self.block


class RedisRateLimitStore:
    """Budgets on the server; the memory of this process counts instead while it is away.

    ``asked``, ``leased`` and ``alone`` count where answers came from: the server, what it lent, this process.
    """

    def __init__(
        self, link: Link, clock: Clock, *, keys: int, leases: int = LEASES, largest_lease: int = LARGEST_LEASE
    ) -> None:
        self._link = link
        self._clock = clock
        self._now: Callable[[], float] = clock.monotonic
        self._keys = keys
        self._limit = leases
        self._largest_lease = largest_lease
        self._leases: dict[str, _Lease] = {}
        self._here = MemoryRateLimitStore(clock, keys=keys)
        self._outage = link.outages
        self.asked = self.leased = self.alone = 0

    def __len__(self) -> int:
        """Tell how many keys have a lease."""
        return len(self._leases)

    def take(self, key: str, *, rate: float, burst: float, cost: float = 1.0) -> Allowance | Awaitable[Allowance]:
        if self._link.problem is not None:
            return self._counted_here(key, rate, burst, cost)
        if cost > burst:  # noqa: PLR1730 # as above
            cost = burst
        lease = self._leases.get(key)
        if lease is not None and lease.rate == rate and lease.burst == burst:
            answer = lease.answer(cost, self._now())
            if answer is not None:
                self.leased += 1
                return answer
        return self._asked(key, rate, burst, cost)

    async def give_back(self, *, everything: bool = False) -> None:
        """Give back what was lent and not used in its time, or all of it."""
        now = self._now()
        over = [
            (key, lease)
            for key, lease in self._leases.items()
            if not lease.turn.locked() and (everything or now - lease.asked >= LEASE_S)
        ]
        unused = [(f"limit:{key}", lease.lent / lease.rate) for key, lease in over if lease.lent > 0.0]
        for key, lease in over:
            del self._leases[key]
            lease.lent = 0.0  # somebody whose turn is next may have it in hand
        for first in range(0, len(unused), GIVEN_AT_ONCE):
            part = unused[first : first + GIVEN_AT_ONCE]
            try:
                await self._link.ask(GIVE_BACK, [key for key, _seconds in part], [seconds for _key, seconds in part])
            except Away:  # then it is lost, as it is where a process dies
                return

    async def keep(self) -> None:
        """Give back, every `LEASE_S`, for ever."""
        while True:
            await self._clock.sleep(LEASE_S)
            await self.give_back()

    async def _asked(self, key: str, rate: float, burst: float, cost: float) -> Allowance:
        """Ask the server, one at a time for each key: who comes meanwhile is answered from what is lent then."""
        lease = self._lease(key, rate, burst)
        lease.queued += cost
        try:
            await lease.turn.acquire()
        finally:
            lease.queued -= cost
        try:
            answer = lease.answer(cost, self._now())
            return await self._renewed(key, lease, cost) if answer is None else answer
        except Away:
            return self._counted_here(key, rate, burst, cost)
        finally:
            lease.turn.release()

    async def _renewed(self, key: str, lease: _Lease, cost: float) -> Allowance:
        """Give back what is lent, and take and borrow anew; raises Away."""
        now = self._now()
        back, lease.lent = lease.lent / lease.rate, 0.0
        most = lease.next_block(now, self._largest_lease) if self._leases.get(key) is lease else 0
        arguments = [lease.rate, lease.burst, cost, max(0.0, lease.queued), most, back]
        taken, left, lent = await self._link.ask(TAKE, [f"limit:{key}"], [f"{each:.17g}" for each in arguments])
        self.asked += 1
        lease.asked, lease.left, lease.lent, lease.used = now, float(left), float(lent), 0.0
        lease.refused = not taken
        if lease.refused:
            return lease.refusal(cost, lease.left)
        there = lease.left + lease.lent
        return Allowance(True, int(there + GRAIN), 0.0, (lease.burst - there) / lease.rate)

    def _lease(self, key: str, rate: float, burst: float) -> _Lease:
        """Find what is known of a key; where its limit has changed, or there is no room, that is nothing."""
        lease = self._leases.get(key)
        if lease is None or lease.rate != rate or lease.burst != burst:
            lease = _Lease(rate, burst)
            if key in self._leases or len(self._leases) < self._limit:
                self._leases[key] = lease
        return lease

    def _counted_here(self, key: str, rate: float, burst: float, cost: float) -> Allowance:
        """Count in this process, which begins each outage anew; what was lent before is worth nothing."""
        self.alone += 1
        if self._outage != self._link.outages:
            self._outage = self._link.outages
            self._leases.clear()
            self._here = MemoryRateLimitStore(self._clock, keys=self._keys)
        return self._here.take(key, rate=rate, burst=burst, cost=cost)
