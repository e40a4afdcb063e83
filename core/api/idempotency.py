"""Carries a request out once, however often it is sent with the same Idempotency-Key."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import attrs
from aiohttp import web

from core.callers import principal_of
from core.clock import Clock
from core.errors import DeviceRefused, FieldFault, Invalid, PlantroomError, RequestError, Unavailable
from core.replies import Answer
from core.routes import Header
from core.serialize import FieldInfo, dumps

HEADER = "Idempotency-Key"
KEPT_S = 3600.0
KEYS_KEPT = 10_000
BYTES_KEPT = 16 * 1024 * 1024
LONGEST_KEY = 255
KEY = Header(
    HEADER,
    FieldInfo(
        description="A key of your choice: the same request sent again with it is carried out once.",
        min_length=1, max_length=LONGEST_KEY, pattern="[!-~]([ -~]*[!-~])?", example="7c0f5a52-setpoint-1",
    ),
)  # fmt: skip


@attrs.define(eq=False)
class _Kept:
    """One key's request, its outcome as soon as there is one, and when it came (monotonic seconds)."""

    fingerprint: bytes
    outcome: asyncio.Future[Answer]
    at: float
    size: int = 0


def key_of(request: web.Request) -> str | None:
    """Return the request's Idempotency-Key; raises Invalid for one that is empty, too long or not plain ASCII."""
    key = request.headers.get(HEADER)
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        message = f"must be 1 to {LONGEST_KEY} printable ASCII characters"
        raise Invalid(f"The {HEADER} {message}.", errors=[FieldFault(HEADER, "length", message)])
    return key


@attrs.frozen
class Passing(Answer):
    """An answer that tells of failures which a repetition could mend; it is not remembered."""


class Idempotency:
    """Remembers outcomes for an hour, within bounds of number and size; the oldest go first.

    A failure that a repetition could mend (a silent device, a plugin that is down) is not remembered.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._size = 0

    async def once(self, request: web.Request, body: object, run: Callable[[], Awaitable[Answer]]) -> Answer:
        """Run, or answer what the same request came to before; one that still runs is waited for.

        Raises Invalid where the key was used for another request.
        """
        given = key_of(request)
        if given is None:
            return await run()
        key = principal_of(request).id, given
        fingerprint = hashlib.blake2b(dumps([request.method, request.path_qs, body])).digest()
        self._forget_old()
        kept = self._kept.get(key)
        if kept is None:
            return await self._first(key, fingerprint, run)
        if kept.fingerprint != fingerprint:
            fault = FieldFault(HEADER, "reused", "was used for another request")
            raise Invalid(f"This {HEADER} was used for another request; take a new one.", errors=[fault])
        return await asyncio.shield(kept.outcome)

    async def _first(self, key: tuple[str, str], fingerprint: bytes, run: Callable[[], Awaitable[Answer]]) -> Answer:
        kept = _Kept(fingerprint, asyncio.get_running_loop().create_future(), self._clock.monotonic())
        self._kept[key] = kept
        try:
            answer = await run()
        except BaseException as error:
            if not isinstance(error, RequestError | DeviceRefused):
                self._forget(key)
            given_up = Unavailable("The request that this one repeats was given up.")
            kept.outcome.set_exception(error if isinstance(error, PlantroomError) else given_up)
            kept.outcome.exception()  # nobody may be waiting for it
            raise
        kept.outcome.set_result(answer)
        if isinstance(answer, Passing):
            self._forget(key)
            return answer
        kept.size = len(answer.body)
        self._size += kept.size
        return answer

    def _forget_old(self) -> None:
        now = self._clock.monotonic()
        while self._kept:
            key, oldest = next(iter(self._kept.items()))
            full = len(self._kept) >= KEYS_KEPT or self._size > BYTES_KEPT
            if not oldest.outcome.done() or not (full or now - oldest.at > KEPT_S):
                break
            self._forget(key)

    def _forget(self, key: tuple[str, str]) -> None:
        self._size -= self._kept.pop(key).size
