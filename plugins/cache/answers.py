"""Gives answers of the REST API again, each to the principal that it was made for, while they are still true."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Hashable

import attrs

from core.plugin import Cached, Call, Clock, Phase, PlantroomError, Policy, Reply, Route, Steps
from plugins.cache.config import AnswersConfig
from plugins.cache.kept import Kept, KeptAnswers, Key, Refusal

HIT = ("Cache-Status", "plantroom; hit")
SHARED = ("Cache-Status", "plantroom; fwd=miss; collapsed")
MISS = ("Cache-Status", "plantroom; fwd=miss")
RESULTS = ("hit", "shared", "miss")
WAITS_AT_MOST_S = 10.0
OK, NOT_FOUND = 200, 404


@attrs.define(eq=False)
class _Fill:
    """An answer that is being made; ``done`` is there once somebody waits for it, ``kept`` in the end."""

    key: Key
    stamp: Hashable
    began: float
    done: asyncio.Event | None = None
    ended: bool = False
    kept: Kept | None = None

    def end(self, kept: Kept | None) -> None:
        """Tell those who wait; None: each must ask for itself."""
        self.ended, self.kept = True, kept
        if self.done is not None:
            self.done.set()

    async def wait(self) -> Kept | None:
        """Wait for the end, if that is not over yet: who was told to wait may come to it late."""
        if not self.ended:
            self.done = self.done or asyncio.Event()
            await self.done.wait()
        return self.kept


class Answers:
    """What is kept, and the policy that keeps it, for routes that say that their answers may be (`Route.cached`)."""

    def __init__(self, config: AnswersConfig, clock: Clock) -> None:
        self._config = config
        self._now = clock.monotonic
        self._found = KeptAnswers(entries=config.entries, size=config.size)
        self._unknown = KeptAnswers(entries=config.unknown, size=config.size)
        self._under_way: dict[Key, _Fill] = {}
        self._of_call: dict[Call, _Fill] = {}  # those too in whose place another one was begun
        self.results: Counter[str] = Counter(dict.fromkeys(RESULTS, 0))

    @property
    def policy(self) -> Policy:
        """The policy, which stands next to the handlers: limits and permissions are looked at each time."""
        return Policy(Phase.CACHE, self._compile)

    @property
    def entries(self) -> int:
        """How many answers are kept."""
        return len(self._found) + len(self._unknown)

    @property
    def size(self) -> int:
        """About how many bytes they take."""
        return self._found.size + self._unknown.size

    def clear(self) -> None:
        """Forget everything; what is being made now is not kept either."""
        self._found.clear()
        self._unknown.clear()
        self._under_way.clear()

    def _compile(self, route: Route | None) -> Steps | None:
        if route is None or route.cached is None or route.method != "GET" or not self._config.longest:
            return None
        of_route = _RouteAnswers(self, route.cached, longest_s=self._config.longest)
        return Steps(of_route.before, of_route.refused, of_route.after, replied=of_route.replied)

    def find(self, key: Key, stamp: Hashable) -> Kept | None:
        """Return an answer that is still good."""
        kept = self._found.find(key) or self._unknown.find(key)
        return kept if kept is not None and kept.stamp == stamp and self._now() < kept.until else None

    def begin(self, key: Key, call: Call, stamp: Hashable) -> _Fill | None:
        """Note that a call is going to be answered; answer what another one is answered by already, if it may wait."""
        fill = self._under_way.get(key)
        if fill is not None and fill.stamp == stamp:
            return fill
        self._under_way[key] = self._of_call[call] = _Fill(key, stamp, self._now())
        return None

    def end(self, call: Call, answer: Reply | Refusal | None = None, *, ttl_s: float = 0.0) -> None:
        """Keep what a call was answered, where that can be, and tell those who wait for it."""
        fill = self._of_call.pop(call, None)
        if fill is None:
            return
        kept = None if answer is None else Kept(answer, fill.stamp, fill.began, fill.began + ttl_s)
        if self._under_way.get(fill.key) is fill:  # else something has changed since it was begun
            del self._under_way[fill.key]
            if kept is not None and _may_be_kept(kept.answer):
                (self._found if isinstance(answer, Reply) else self._unknown).keep(fill.key, kept)
        fill.end(kept)

    async def shared(self, fill: _Fill) -> Kept | None:
        """Wait for what is being made for somebody else; None where it was not made, or not in time."""
        try:
            async with asyncio.timeout(WAITS_AT_MOST_S):
                return await fill.wait()
        except TimeoutError:
            return None

    def given(self, call: Call, kept: Kept) -> Reply:
        """Return an answer as it is now."""
        if isinstance(kept.answer, Refusal):
            return kept.answer.reply(call)
        passed = int(self._now() - kept.made)
        aged = passed and any(name == "Age" for name, _value in kept.answer.headers)
        return _aged(kept.answer, passed) if aged else kept.answer


class _RouteAnswers:
    """The steps of one route; a later application has others, to which nothing of these belongs."""

    def __init__(self, answers: Answers, cached: Cached, *, longest_s: float) -> None:
        self._answers = answers
        self._stamp = cached.stamp or (lambda: None)
        self._ttl_s = min(cached.ttl_s, longest_s)
        self._counts = answers.results

    def before(self, call: Call) -> Reply | Awaitable[Reply | None] | None:
        """Answer a call with what is kept, or with what is being made already."""
        key, stamp = (self, call.principal, call.path, call.query), self._stamp()
        kept = self._answers.find(key, stamp)
        if kept is not None:
            self._note(call, "hit", HIT)
            return self._answers.given(call, kept)
        fill = self._answers.begin(key, call, stamp)
        if fill is None:
            self._note(call, "miss", MISS)
            return None
        return self._wait(call, fill)

    async def _wait(self, call: Call, fill: _Fill) -> Reply | None:
        kept = await self._answers.shared(fill)
        if kept is None:
            self._note(call, "miss", MISS)
            return None
        self._note(call, "shared", SHARED)
        return self._answers.given(call, kept)

    def replied(self, call: Call, reply: Reply) -> None:
        """Keep what a call was answered."""
        self._answers.end(call, reply, ttl_s=self._ttl_s)

    def refused(self, call: Call, error: PlantroomError) -> PlantroomError:
        """Keep that there is nothing, and tell others who asked the same what came of it."""
        self._answers.end(call, Refusal.of(error), ttl_s=self._ttl_s)
        return error

    def after(self, call: Call, _status: int) -> None:
        """Have those ask for themselves who wait for what was answered otherwise, or to nobody."""
        self._answers.end(call)

    def _note(self, call: Call, result: str, header: tuple[str, str]) -> None:
        self._counts[result] += 1
        call.answer_headers.append(header)
        call.remarks.append(("cache", result))


def _may_be_kept(answer: Reply | Refusal) -> bool:
    """Tell whether an answer is one that may be given again."""
    if isinstance(answer, Refusal):
        return answer.status == NOT_FOUND
    return answer.status == OK and not any(name.lower() == "set-cookie" for name, _value in answer.headers)


def _aged(reply: Reply, seconds: int) -> Reply:
    """Say of readings that are so many seconds older by now how old they are."""
    headers = tuple(
        (name, str(int(value) + seconds)) if name == "Age" else (name, value) for name, value in reply.headers
    )
    return attrs.evolve(reply, headers=headers)
