"""Clients that send a little every moment, of many kinds at once."""

from __future__ import annotations

import contextlib
import itertools
import select
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from e2e.attacked import House, eventually

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


def close_those_that_do_not_read(house: House, request: bytes, *, seconds: float) -> None:
    """Ask for much without reading any of it, and see that these connections are closed within so many seconds."""
    with contextlib.ExitStack() as stack:
        before = len(house.sockets())
        for _ in range(EACH):
            attacker = house.attacker(window=4096)
            stack.callback(attacker.close)
            attacker.send(request * 100)
        assert eventually(lambda: len(house.sockets()) >= before + EACH - 1)
        assert eventually(lambda: len(house.sockets()) <= before + 1, seconds=seconds), "but for the bystander's"
