"""Ends tasks within a bounded time, whatever they do about being cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import PurePath
from types import CodeType
from typing import Any

import structlog

GIVEN_UP_AFTER_S = 0.2


async def end_tasks(tasks: Iterable[asyncio.Task[Any]], *, within_s: float = GIVEN_UP_AFTER_S) -> None:
    """Cancel tasks and wait for them; one that swallows it is named in the log and left behind."""
    ending = set(tasks)
    for task in ending:
        task.cancel()
    if not ending:
        return
    done, stuck = await asyncio.wait(ending, timeout=within_s)
    for task in done:
        if not task.cancelled():
            task.exception()  # looked at here, since nobody else will
    for task in stuck:
        structlog.get_logger().error("task_does_not_end", task=task.get_name(), at=standing(task))


def standing(task: asyncio.Task[Any]) -> str:
    """Say where a task's coroutine stands: ``file:line function``; empty where it has no code in Python."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return "" if frame is None else place(frame.f_code, frame.f_lineno)


def place(code: CodeType, line: int | None) -> str:
    """Name a place in the code, short enough for a line of the log."""
    return f"{'/'.join(PurePath(code.co_filename).parts[-2:])}:{line} {code.co_name}"
