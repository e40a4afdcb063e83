"""Makes guessing passwords slow, by delays that grow with each failure, and locks nobody out by another's failures."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable

import attrs

from core.plugin import Clock
from plugins.auth.errors import Locked

FREE_HERE = 5
"""Failures for one account from one address before the first delay."""
FREE_OF_ADDRESS = 20
FREE_OF_ACCOUNT = 20
FREE_CODES = 5
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 900.0
FORGOTTEN_AFTER_S = 3600.0
"""Seconds without a failure after which the failures before count no more."""
KEPT = 20_000
"""Tallies of each sort; the one untouched for longest goes first."""


def place(address: str) -> str:
    """Return what counts as one address: of IPv6 the /64, which one subscriber has whole."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


@attrs.define(eq=False)
class _Tally:
    failures: int = 0
    last: float = 0.0
    until: float = 0.0


class _Tallies:
    """Failures by whatever they are counted for, the longest untouched of too many forgotten."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._tallies: OrderedDict[Hashable, _Tally] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tallies)

    def of(self, key: Hashable, now: float) -> _Tally:
        """Return what is counted now; an empty tally where nothing is."""
        tally = self._tallies.get(key)
        return _Tally() if tally is None or now - tally.last > FORGOTTEN_AFTER_S else tally

    def delay(self, key: Hashable, now: float) -> float:
        """Return for how long the failures up to now would hold up the next attempt."""
        over = self.of(key, now).failures - self._free
        return 0.0 if over < 0 else min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(over, 30))

    def count(self, key: Hashable, now: float, *, at_least: float = 0.0) -> None:
        """Count a failure; the next attempt has to wait."""
        tally = self.of(key, now)
        tally.failures, tally.last = tally.failures + 1, now
        self._tallies[key] = tally
        self._tallies.move_to_end(key)
        tally.until = now + max(self.delay(key, now), at_least)
        if len(self._tallies) > KEPT:
            self._tallies.popitem(last=False)

    def take_back(self, key: Hashable, now: float) -> None:
        """Count one failure less, and no delay because of it."""
        tally = self.of(key, now)
        if tally.failures:
            tally.failures, tally.until = tally.failures - 1, 0.0

    def forget(self, key: Hashable) -> None:
        """Count nothing any more."""
        self._tallies.pop(key, None)

    def forget_all(self, which: Callable[[Hashable], bool]) -> None:
        """Count nothing any more for any of these."""
        for key in list(filter(which, self._tallies)):
            self.forget(key)


@attrs.frozen
class Attempt:
    """A sign-in under way, counted as failed until it is known not to be.

    ``known`` where somebody has signed in to the account from this address before.
    """

    name: str
    address: str
    known: bool


class Lockout:
    """Failed sign-ins: for each account from each address, for each address, and for each account.

    - An account from an address: five are free, then the delay doubles from a second to 15 minutes.
    - An address, whatever the account: likewise, with 20 free; where it is *known*, this does not count.
    - An account, whatever the address: with 20 failures it is under attack. Each address that is not known then has one
      attempt at a time, and waits for as long as these failures say. Nobody waits for the failures of other addresses
      before the first attempt, so that nobody can lock others out.

    All is in memory alone, for names that exist and names that do not.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._here = _Tallies(FREE_HERE)
        self._addresses = _Tallies(FREE_OF_ADDRESS)
        self._accounts = _Tallies(FREE_OF_ACCOUNT)
        self._codes = _Tallies(FREE_CODES)

    def __len__(self) -> int:
        return sum(map(len, (self._here, self._addresses, self._accounts, self._codes)))

    def begin(self, name: str, address: str, *, known: bool) -> Attempt:
        """Count an attempt before it is looked at, so that many at once are counted one by one; raises Locked."""
        attempt = Attempt(name, place(address), known)
        now = self._clock.monotonic()
        here = name, attempt.address
        until = self._here.of(here, now).until
        if not known:
            until = max(until, self._addresses.of(attempt.address, now).until)
        if until > now:
            raise Locked(until - now)
        self._here.count(here, now, at_least=0.0 if known else self._accounts.delay(name, now))
        self._accounts.count(name, now)
        if not known:
            self._addresses.count(attempt.address, now)
        return attempt

    def succeeded(self, attempt: Attempt) -> None:
        """Forget the failures of the account from this address; what else was counted stays."""
        self.take_back(attempt)
        self._here.forget((attempt.name, attempt.address))

    def take_back(self, attempt: Attempt) -> None:
        """Count an attempt as not made, since it could not be looked at."""
        now = self._clock.monotonic()
        self._here.take_back((attempt.name, attempt.address), now)
        self._accounts.take_back(attempt.name, now)
        if not attempt.known:
            self._addresses.take_back(attempt.address, now)

    def takes_code(self, attempt: Attempt) -> bool:
        """Tell whether a code is looked at: who has the password cannot try codes from ever new addresses."""
        now = self._clock.monotonic()
        return attempt.known or self._codes.of(attempt.name, now).until <= now

    def code_failed(self, attempt: Attempt) -> None:
        """Count a wrong code behind the right password."""
        self._codes.count(attempt.name, self._clock.monotonic())

    def forgive(self, name: str) -> None:
        """Count nothing of an account any more: somebody who may has set its password."""
        self._accounts.forget(name)
        self._codes.forget(name)
        self._here.forget_all(lambda key: isinstance(key, tuple) and key[0] == name)
