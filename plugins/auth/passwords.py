"""Passwords: hashed with argon2id in threads of their own, and judged before they are taken."""

from __future__ import annotations

import asyncio
import functools
import secrets
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from core.plugin import FieldFault
from plugins.auth.config import LONGEST_PASSWORD, PasswordOptions
from plugins.auth.errors import ExtraMissing, PasswordUnfit, SignInBusy

if TYPE_CHECKING:
    from argon2 import PasswordHasher

AT_ONCE = 2
"""How many passwords are worked on at a time: each takes ``password.memory`` and a processor core."""
WAITING_MOST = 32
LEAST_SCORE = 3
"""Of zxcvbn, 0 to 4: safe against who has the hashes and plenty of time takes 3."""

_JUDGED = 72  # characters: what zxcvbn looks at, whose time grows with the square
_OWN_WORDS = ("plantroom", "building", "bacnet", "admin")
_zxcvbn_in_use = threading.Lock()  # it keeps the words that are forbidden now in a global

T = TypeVar("T")


class Passwords:
    """Hashes, compares and judges passwords, a bounded number at a time; everything raises ExtraMissing."""

    def __init__(self, options: PasswordOptions) -> None:
        self._options = options
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._nobodys: str | None = None

    async def prepare(self) -> None:
        """Hash the password that nobody has, so that looking for it takes what looking for another one takes."""
        self._nobodys = await self._in_a_thread(self.hash_now, secrets.token_hex())

    def close(self) -> None:
        """Give the threads back; what waits for one is given up."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    async def hash(self, password: str) -> str:
        """Hash a password; raises SignInBusy."""
        return await self._in_a_thread(self.hash_now, password)

    async def is_right(self, password: str, hashed: str | None) -> bool:
        """Compare a password with a hash; None takes as long, and is not it. Raises SignInBusy."""
        if self._nobodys is None:
            await self.prepare()
        same = await self._in_a_thread(self._compare, password, hashed or self._nobodys)
        return same and hashed is not None

    def is_outgrown(self, hashed: str) -> bool:
        """Tell whether a hash was made with other parameters than the present ones."""
        return self._hasher.check_needs_rehash(hashed)

    async def judge(self, password: str, name: str, *, field: str) -> None:
        """See whether a user may have a password, which ``field`` brought; raises PasswordUnfit and SignInBusy."""
        await self._in_a_thread(functools.partial(self.judge_now, field=field), password, name)

    # in a thread, or on the command line

    def hash_now(self, password: str) -> str:
        """Hash a password in the thread that asks."""
        return self._hasher.hash(_octets(password))

    def judge_now(self, password: str, name: str, *, field: str = "password") -> None:
        """Judge a password in the thread that asks; raises PasswordUnfit."""
        shortest = self._options.min_length
        if not shortest <= len(password) <= LONGEST_PASSWORD:
            raise _unfit(field, "length", f"must have {shortest} to {LONGEST_PASSWORD} characters")
        try:
            from zxcvbn import zxcvbn  # type: ignore[import-untyped]
        except ImportError as error:
            raise ExtraMissing from error
        with _zxcvbn_in_use:
            found = zxcvbn(password[:_JUDGED], user_inputs=[name, *_OWN_WORDS])
        if found["score"] < LEAST_SCORE:
            why = found["feedback"]["warning"].rstrip(".") or "too few guesses find it"
            raise _unfit(field, "invalid", f"is too easily guessed: {why[:1].lower()}{why[1:]}")

    def _compare(self, password: str, hashed: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            return self._hasher.verify(hashed, _octets(password))
        except (VerificationError, InvalidHashError):
            return False

    @functools.cached_property
    def _hasher(self) -> PasswordHasher:
        try:
            from argon2 import PasswordHasher
        except ImportError as error:
            raise ExtraMissing from error
        options = self._options
        return PasswordHasher(time_cost=options.iterations, memory_cost=options.memory, parallelism=options.parallelism)

    async def _in_a_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        if self._waiting >= WAITING_MOST:
            raise SignInBusy("Too many passwords are being checked; try again in 2 s.")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="auth:passwords")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._waiting -= 1


def _octets(password: str) -> bytes:
    """Return what is hashed: the same for each way in which a keyboard may compose a letter (RFC 8265, 4.2)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _unfit(field: str, code: str, message: str) -> PasswordUnfit:
    return PasswordUnfit(f"Take another password: it {message}.", errors=[FieldFault(field, code, message)])
