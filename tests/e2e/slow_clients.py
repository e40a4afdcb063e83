"""Clients that send a little every moment, of many kinds at once."""

from __future__ import annotations

import contextlib
import itertools
import select
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from e2e.attacked import House

TEMPO_S = 0.05
EACH = 10
"""How many there are of each kind."""

Pieces: TypeAlias = Iterator[bytes]


def slowly(first: bytes, *again: bytes) -> Pieces:
    """Send something at once, and then so much every moment, without end."""
    return itertools.chain([first], itertools.cycle(again or [b""]))


def octets(raw: bytes) -> Pieces:
    """Send octet by octet what is complete some day, and then nothing more."""
    return itertools.chain((raw[at : at + 1] for at in range(len(raw))), itertools.repeat(b""))


def still_open(
    house: House, kinds: Mapping[str, Callable[[], Pieces]], *, seconds: float, encrypted: bool = True
) -> set[str]:
    """Have clients of all kinds go on until they are closed; answers the kinds that are not after so many seconds."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        still = {}
        for (name, kind), number in itertools.product(kinds.items(), range(EACH)):
            attacker = house.attacker(f"127.0.1.{number + 1}", encrypted=encrypted)
            stack.callback(attacker.close)
            still[attacker] = (name, kind())
        while still and time.monotonic() - began < seconds:
            for attacker, (_name, pieces) in [*still.items()]:
                piece = next(pieces)
                if attacker.is_closed() or (piece and not attacker.send(piece)):
                    del still[attacker]
            select.select([], [], [], TEMPO_S)
        return {name for name, _pieces in still.values()}
