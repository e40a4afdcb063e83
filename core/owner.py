"""Tells on whose behalf code runs: a plugin's, or the kernel's own."""

from __future__ import annotations

import asyncio
from contextvars import Context, ContextVar, Token
from types import TracebackType
from typing import Protocol

from core.errors import PluginError

CORE = "core"


class Owner(Protocol):
    """A plugin, as the code that runs on its behalf has it at hand."""

    @property
    def name(self) -> str: ...

    def note(self, thing: object) -> None:
        """Remember a task, socket or file as the owner's."""
        ...


_owner: ContextVar[Owner | None] = ContextVar("plantroom_owner", default=None)

owner = _owner.get
"""Return the owner of the code that asks; None for the kernel. Tasks, callbacks and `asyncio.to_thread` inherit it."""


def owner_in(context: Context) -> Owner | None:
    """Return the owner of what runs in a context."""
    return context.get(_owner)


def owner_name() -> str:
    """Name the owner of the code that asks; the kernel is ``core``."""
    known = owner()
    return CORE if known is None else known.name


class owned_by:  # noqa: N801  # reads as the sentence that it is: with owned_by(belongings)
    """Run the block on an owner's behalf; None: on the kernel's, so that what is made in it outlives the plugin.

    Where a plugin's code would end the process (``sys.exit()`` and its like), PluginError is raised instead.
    """

    __slots__ = ("_owner", "_token")

    def __init__(self, owner: Owner | None) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        self._token: Token[Owner | None] = _owner.set(self._owner)

    def __exit__(self, _type: object, error: BaseException | None, _traceback: TracebackType | None) -> None:
        try:
            _owner.reset(self._token)
        except ValueError:
            """A coroutine that is thrown away ends in a context that is not its own."""
        if error is not None and self._owner is not None:
            refuse_exit(error)


def refuse_exit(error: BaseException) -> None:
    """Raise PluginError for what would end more than the plugin's own work."""
    if isinstance(error, Exception | asyncio.CancelledError | GeneratorExit):
        return
    what = "called sys.exit()" if isinstance(error, SystemExit) else f"raised {type(error).__name__}"
    raise PluginError(f"it {what}") from error
