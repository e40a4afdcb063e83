"""Whether the server does its work: noticed at the first failure, and tried again until it does."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from core.plugin import Context, Health
from plugins.redis.client import Argument, Away, Client
from plugins.redis.config import RedisConfig
from plugins.redis.scripts import PROBE, Script

SHORTEST_DELAY_S = 0.5
LONGEST_DELAY_S = 10.0
STEADY_AFTER_S = 30.0
"""How long it must have answered before a failure is taken for a new one, and not for more of the last."""


class Link:
    """Asks a server that does its work, and refuses at once while it does not: nobody waits for a dead one twice.

    ``problem`` says why it is not asked; ``outages`` counts how often that came about; ``failures`` are counted by
    their reasons. ``settle`` is done whenever it is back, before anybody else asks it.
    """

    def __init__(self, config: RedisConfig, ctx: Context) -> None:
        self._client = Client(config)
        self._log = ctx.log
        self._clock = ctx.clock
        self._timeout_s = config.timeout_s
        self._connect_timeout_s = config.connect_timeout_s
        self.prefix = f"plantroom:{ctx.site}:" if config.prefix is None else config.prefix
        self.problem: str | None = "it has not been asked yet"
        self.outages = 1
        self.failures: Counter[str] = Counter()
        self.settle: Callable[[], Awaitable[None]] | None = None
        self._told = False
        self._up_since = 0.0
        self._delay = SHORTEST_DELAY_S
        self._lost = asyncio.Event()

    async def ask(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Any:
        """Run a script with keys behind our prefix; raises Away, at once where the server does not answer."""
        if self.problem is not None:
            raise Away("down", self.problem)
        return await self.ask_anyway(script, keys, arguments)

    async def ask_anyway(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Any:
        """Run a script, whether the server answered of late or not; raises Away."""
        return await self._run(script, keys, arguments, within_s=self._timeout_s)

    async def connect(self) -> None:
        """See whether the server does its work, within bounded time; where it does not, `keep` goes on trying."""
        await self._works()

    async def keep(self) -> None:
        """Try a server that is away again and again, at longer and longer intervals, for ever."""
        while True:
            await self._lost.wait()
            await self._client.hang_up()
            await self._clock.sleep(random.uniform(0.0, self._delay))
            self._delay = min(2 * self._delay, LONGEST_DELAY_S)
            await self._works()

    async def close(self) -> None:
        """Hang up."""
        self.problem = "it is not asked any more"
        await self._client.hang_up()

    def health(self) -> tuple[Health, str]:
        """Say whether the server does its work."""
        if self.problem is None:
            return Health.OK, f"{self._client.address} answers"
        return Health.DEGRADED, f"this process keeps and counts for itself: {self._client.address}: {self.problem}"

    async def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], *, within_s: float) -> Any:
        named = [(self.prefix + key).encode("utf-8", "surrogatepass") for key in keys]  # any text can be a key
        try:
            return await self._client.run(script, named, arguments, within_s=within_s)
        except Away as away:
            self._failed(away)
            raise

    async def _works(self) -> None:
        try:
            await self._probe()
            if self.settle is not None:
                await self.settle()
        except Away:  # noted already
            return
        self.problem = None
        self._up_since = self._clock.monotonic()
        self._lost.clear()
        if self._told:
            self._told = False
            self._log.info("redis_recovered", server=str(self._client.address))

    async def _probe(self) -> None:
        said = os.urandom(8)
        answer = await self._run(PROBE, ["probe"], [said], within_s=self._connect_timeout_s + self._timeout_s)
        if answer != said:
            away = Away("failed", "what it answers is no Redis server's answer")
            self._failed(away)
            raise away

    def _failed(self, away: Away) -> None:
        self.failures[away.reason] += 1
        if self.problem is None:
            self.outages += 1
            if self._clock.monotonic() - self._up_since > STEADY_AFTER_S:
                self._delay = SHORTEST_DELAY_S
        self.problem = str(away)
        self._lost.set()
        if not self._told:
            self._told = True
            self._log.warning("redis_unavailable", server=str(self._client.address), error=self.problem)
