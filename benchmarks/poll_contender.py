"""What the contenders of poll share: which device is read, how the rate is taken, and the check of what was read.

Each is a process of its own, `SCRIPT k seconds`, that prints one JSON object last. `node/contender.js` is this module's
twin for clients in JavaScript, which are given as further arguments what stands here.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence, Sized
from typing import TypeVar

INSTANCE, ADDRESS, PORT, POINTS = 10001, "127.0.0.51", 47851, 400
THERE = f"{ADDRESS}:{PORT}"
AT_ONCE = 8
WARM_UP_S = 0.25
LONGEST_S = 60.0

AnswerT = TypeVar("AnswerT")


def arguments() -> tuple[int, float]:
    """Return how many points each request asks for, and for how many seconds to go on."""
    return int(sys.argv[1]), float(sys.argv[2])


def numbers(k: int, worker: int = 0) -> range:
    """Return the instance numbers of the analog inputs to read; who polls each point once gives each worker its own."""
    return range(worker * k + 1, worker * k + k + 1)


def value_of(number: int) -> float:
    """Return the present-value that the device gives an analog input."""
    return 20.0 + number


async def contend(
    read: Callable[[int], Awaitable[AnswerT]],
    values: Callable[[AnswerT], Iterable[object]],
    *,
    k: int,
    seconds: float,
    size: Callable[[AnswerT], int] | None = None,
) -> None:
    """Read with so many workers for so many seconds after a short warm-up, and print the figures.

    ``read`` takes the worker's number. The first and the last answer are checked value by value, all others by their
    ``size`` (by default their length). Raises ValueError for a wrong answer.
    """
    async with asyncio.timeout(seconds + LONGEST_S):
        _check(list(values(await read(0))), k)
        await _spin(read, size or _length, k=k, seconds=WARM_UP_S)
        began, cpu = time.perf_counter(), time.process_time()
        points = await _spin(read, size or _length, k=k, seconds=seconds)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        _check(list(values(await read(0))), k)
    print(json.dumps({"points": points, "seconds": took, "cpu_seconds": cpu}), flush=True)


async def _spin(
    read: Callable[[int], Awaitable[AnswerT]], size: Callable[[AnswerT], int], *, k: int, seconds: float
) -> int:
    points = 0
    end = time.perf_counter() + seconds

    async def work(worker: int) -> None:
        nonlocal points
        while time.perf_counter() < end:
            answer = await read(worker)
            if size(answer) != k:
                raise ValueError(f"{size(answer)} points instead of {k}: {answer}")
            points += k

    await asyncio.gather(*(work(worker) for worker in range(AT_ONCE)))
    return points


def _length(answer: object) -> int:
    assert isinstance(answer, Sized)
    return len(answer)


def _check(values: Sequence[object], k: int) -> None:
    if values != [value_of(number) for number in numbers(k)]:
        raise ValueError(f"wrong values were read: {values}")
