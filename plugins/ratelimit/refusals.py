"""Remembers who is refused: counted by limit, logged when it begins and when it is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import attrs

from core.plugin import Context
from plugins.ratelimit.plans import Bucket

OVER_AFTER_S = 60.0
"""How long nothing of a client was refused when its being refused is over."""
LOOK_EVERY_S = 10.0
SPELLS_MOST = 1000
"""How many clients are logged at a time; the count of refusals goes on."""


@attrs.define
class _Spell:
    """A time in which a client is refused again and again."""

    limit: str
    last: float
    refused: int = 1


class Refusals:
    """The requests that were refused, since the plugin started."""

    def __init__(self, ctx: Context, limits: Iterable[str]) -> None:
        self._log = ctx.log
        self._clock = ctx.clock
        self._counts: Counter[str] = Counter(dict.fromkeys(limits, 0))
        self._spells: dict[str, _Spell] = {}

    def note(self, bucket: Bucket) -> None:
        """Take note of a request that was refused for want of this budget."""
        name, now = bucket.limit.name, self._clock.monotonic()
        self._counts[name] += 1
        spell = self._spells.get(bucket.key)
        if spell is not None:
            spell.last = now
            spell.refused += 1
        elif len(self._spells) < SPELLS_MOST:
            self._spells[bucket.key] = _Spell(name, now)
            self._log.warning("rate_limited", limit=name, client=_client(bucket.key))

    def samples(self) -> Iterable[tuple[Mapping[str, str], float]]:
        """Give the count of each limit."""
        return [({"limit": name}, float(count)) for name, count in self._counts.items()]

    async def watch(self) -> None:
        """Notice, for as long as it is let, who is refused no longer."""
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            self.end(before=self._clock.monotonic() - OVER_AFTER_S)

    def end(self, *, before: float = float("inf")) -> None:
        """Call over what saw no refusal since then."""
        for key in [key for key, spell in self._spells.items() if spell.last <= before]:
            spell = self._spells.pop(key)
            self._log.info("rate_limit_over", limit=spell.limit, client=_client(key), refused=spell.refused)


def _client(key: str) -> str:
    return key.partition("|")[2].removeprefix("@")
