"""Pages through sorted lists by keyset: opaque signed cursors that cost the same on every page."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

import attrs
import orjson

from core.errors import InvalidCursor

T = TypeVar("T")
Key: TypeAlias = str | tuple[str | float, ...]
KeyT = TypeVar("KeyT", str, tuple[str | float, ...])

MAC_BYTES = 16


@attrs.frozen
class Page(Generic[T]):
    """Some rows of a list, the cursor of the next, and how many rows there are in all where that was asked for."""

    rows: tuple[T, ...]
    next_cursor: str | None
    total: int | None


class Cursors:
    """Signs positions in lists with the installation's secret, each for one list with its sort and filters."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def write(self, position: Key, context: bytes) -> str:
        """Write a position as a cursor that is good for this context only."""
        payload = orjson.dumps(position)
        return _text(self._mac(payload, context) + payload)

    def read(self, cursor: str, context: bytes) -> Key:
        """Read a position back; raises InvalidCursor for one that is damaged, forged or another context's."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        mac, payload = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not payload or _text(raw) != cursor or not hmac.compare_digest(mac, self._mac(payload, context)):
            raise InvalidCursor("This cursor is not one of this list with this sort and these filters.")
        position = orjson.loads(payload)
        return position if isinstance(position, str) else tuple(position)

    def _mac(self, payload: bytes, context: bytes) -> bytes:
        signed = len(context).to_bytes(4) + context + payload
        return hmac.digest(self._secret, signed, hashlib.sha256)[:MAC_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def keyset(
    keys: Sequence[KeyT],
    pick: Callable[[KeyT], T | None],
    *,
    after: KeyT | None,
    limit: int,
    descending: bool,
) -> tuple[tuple[T, ...], KeyT | None]:
    """Take up to ``limit`` rows behind a key, in ascending ``keys`` or against their order.

    ``pick`` makes the row of a key, or None where a filter leaves it out. Answers the rows, and the key of the last
    one where more rows follow.
    """
    if descending:
        start = len(keys) - 1 if after is None else bisect_left(keys, after) - 1
        indexes = range(start, -1, -1)
    else:
        indexes = range(0 if after is None else bisect_right(keys, after), len(keys))
    rows: list[T] = []
    last: KeyT | None = None
    for index in indexes:
        row = pick(keys[index])
        if row is None:
            continue
        if len(rows) == limit:
            return tuple(rows), last
        rows.append(row)
        last = keys[index]
    return tuple(rows), None
