"""Takes what a request costs from the budgets of its plan, or refuses it, and says in its headers what is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TypeAlias

from core.plugin import Allowance, Call, TooManyRequests, Work
from plugins.ratelimit.config import Cost
from plugins.ratelimit.limits import POLICY, REMAINING, HeaderPair, retry_after_s
from plugins.ratelimit.plans import Bucket, Plan
from plugins.ratelimit.refusals import Refusals
from plugins.ratelimit.store import Store

Costs: TypeAlias = Sequence[tuple[Bucket, float]]
Take: TypeAlias = Callable[[Bucket, float], "Allowance | Awaitable[Allowance]"]
Taking: TypeAlias = Generator[Awaitable[Allowance], Allowance, None]

REFUSED = ("limit", "refused")
"""What the line of a refused request tells."""
_OURS = (POLICY, REMAINING)


class Limiter:
    """What all requests pass; `take` and `look` answer something to await where the store does."""

    def __init__(self, store: Store, refusals: Refusals, cost: Cost) -> None:
        self._store = store
        self._refusals = refusals
        self._cost = cost

    def admit(self, call: Call, plan: Plan) -> Awaitable[None] | None:
        """Take 1 from each budget, and meter what the request makes the field bus do; raises TooManyRequests."""
        call.meter = Meter(self, plan, self._cost)
        return self.take(call, plan, plan.once)

    def take(self, call: Call, plan: Plan, costs: Costs) -> Awaitable[None] | None:
        """Take from all of some budgets, or from none; raises TooManyRequests."""
        if len(costs) > 1:
            return _run(self._taking(call, plan, costs, self._store.take))
        bucket, cost = costs[0]
        answer = self._store.take(bucket, cost)
        if not isinstance(answer, Allowance):
            return self._settled(call, plan, bucket, cost, answer)
        if not answer.allowed:
            raise self._refusal(call, plan, bucket, answer, cost)
        _show(call, plan.policy, bucket.limit.shown(answer))
        return None

    async def _settled(
        self, call: Call, plan: Plan, bucket: Bucket, cost: float, pending: Awaitable[Allowance]
    ) -> None:
        answer = await pending
        if not answer.allowed:
            raise self._refusal(call, plan, bucket, answer, cost)
        _show(call, plan.policy, bucket.limit.shown(answer))

    def look(self, call: Call, plan: Plan, *, needs: float = 0.0) -> Awaitable[None] | None:
        """Tell what is left; raises TooManyRequests where that is less than is needed."""
        return _run(self._looking(call, plan, needs, self._store.take))

    def take_at_once(self, call: Call, plan: Plan) -> TooManyRequests | None:
        """Take 1 from each budget where nothing can be awaited; answers the refusal."""
        try:
            for _pending in self._taking(call, plan, plan.once, self._store.at_once):
                raise AssertionError("what is taken at once is not awaited")
        except TooManyRequests as refusal:
            return refusal
        return None

    def _taking(self, call: Call, plan: Plan, costs: Costs, take: Take) -> Taking:
        """Look whether all but the first have enough, so that who is refused by one has taken from none."""
        for bucket, cost in costs[1:]:
            answer = take(bucket, 0.0)
            if not isinstance(answer, Allowance):
                answer = yield answer
            if bucket.limit.lacks(answer, cost):
                raise self._refusal(call, plan, bucket, answer, cost)
        tightest, least = None, 0
        for bucket, cost in costs:
            answer = take(bucket, cost)
            if not isinstance(answer, Allowance):
                answer = yield answer
            if not answer.allowed:
                raise self._refusal(call, plan, bucket, answer, cost)
            if tightest is None or answer.remaining < least:
                tightest, least = bucket.limit.shown(answer), answer.remaining
        if tightest is not None:
            _show(call, plan.policy, tightest)

    def _looking(self, call: Call, plan: Plan, needs: float, take: Take) -> Taking:
        for bucket in plan.buckets:
            answer = take(bucket, 0.0)
            if not isinstance(answer, Allowance):
                answer = yield answer
            if bucket.limit.lacks(answer, needs):
                raise self._refusal(call, plan, bucket, answer, needs)
            _show(call, plan.policy, bucket.limit.shown(answer))

    def _refusal(self, call: Call, plan: Plan, bucket: Bucket, answer: Allowance, cost: float) -> TooManyRequests:
        limit = bucket.limit
        _show(call, plan.policy, limit.shown(answer))
        self._refusals.note(bucket)
        call.remarks.append(REFUSED)
        wait = retry_after_s(limit.wait_s(answer, cost), at_least=limit.more_after_s(answer))
        return TooManyRequests(
            f"This is more than the limit {limit} allows; try again in {wait} s.",
            headers={"Retry-After": str(wait)},
        )


class Meter:
    """Charges a request for what it makes the field bus do.

    All together it is charged the whole burst of a budget at most: what costs more is possible, but alone.
    """

    __slots__ = ("_cost", "_limiter", "_plan", "_spent")

    def __init__(self, limiter: Limiter, plan: Plan, cost: Cost) -> None:
        self._limiter = limiter
        self._plan = plan
        self._cost = cost
        self._spent = 1.0

    def __call__(self, call: Call, work: Work, count: int) -> Awaitable[None] | None:
        before = self._spent
        after = before + self._cost.of(work, count)
        costs = [
            (bucket, min(after, burst) - min(before, burst) if bucket.limit.counts_cost else 0.0)
            for bucket in self._plan.buckets
            for burst in (bucket.limit.burst,)
        ]
        pending = self._limiter.take(call, self._plan, costs)
        if pending is not None:
            return self._then_spent(pending, after)
        self._spent = after
        return None

    async def _then_spent(self, pending: Awaitable[None], after: float) -> None:
        await pending
        self._spent = after


def is_shown(call: Call) -> bool:
    """Tell whether an answer says already what is left."""
    return any(name == POLICY for name, _value in call.answer_headers)


def _show(call: Call, policy: HeaderPair, remaining: HeaderPair) -> None:
    """Put our headers on, in the place of those that were."""
    headers = call.answer_headers
    if headers:
        headers[:] = [header for header in headers if header[0] not in _OURS]
    headers += (policy, remaining)


def _run(taking: Taking) -> Awaitable[None] | None:
    """Run to the end, or to where something has to be awaited."""
    try:
        pending = next(taking)
    except StopIteration:
        return None
    return _run_on(taking, pending)


async def _run_on(taking: Taking, pending: Awaitable[Allowance]) -> None:
    while True:
        answer = await pending
        try:
            pending = taking.send(answer)
        except StopIteration:
            return
