"""How much is logged of whom: a level for each logger that has one of its own, which can change at any time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

ROOT = "root"
"""The level of all that have none of their own."""
CORE = "core"
REQUESTS = "core.requests"
"""The logger of the lines that are written for each request."""
NUMBERS: Mapping[str, int] = {
    **{name: logging.getLevelNamesMapping()[name.upper()] for name in ("debug", "info", "warning", "error")},
    "critical": logging.CRITICAL,
}


class LogLevels(Protocol):
    """What a plugin may ask of the log's levels, each ``debug``, ``info``, ``warning`` or ``error``.

    Loggers are named as Python's are: a library's by its module, a plugin's by its instance, the kernel's ``core``,
    that of requests ``core.requests``; a level counts for all below it, that of ``root`` for the rest.
    """

    def all(self) -> Mapping[str, str]:
        """Give the levels that count now, that of ``root`` first."""
        ...

    def set(self, name: str, level: str | None) -> None:
        """Give a logger another level, until Plantroom ends or this is called again; None: as it is configured."""
        ...


class Levels:
    """The levels of the configuration, and those that were set since; ``changed`` is told when one is."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self._configured: dict[str, str] = {ROOT: "info"}
        self._set: dict[str, str] = {}

    def configure(self, root: str, named: Mapping[str, str]) -> None:
        """Take what a configuration says; what was set since goes on to count."""
        self._configured = {ROOT: root, **named}

    def all(self) -> Mapping[str, str]:
        return {**self._configured, **self._set}

    def set(self, name: str, level: str | None) -> None:
        if level is None:
            self._set.pop(name, None)
        else:
            self._set[name] = level
        self._changed()

    @property
    def root(self) -> int:
        """The level of all that have none of their own, as the standard library counts."""
        return NUMBERS[self.all()[ROOT]]

    @property
    def named(self) -> dict[str, int]:
        """The levels of those that have their own."""
        return {name: NUMBERS[level] for name, level in self.all().items() if name != ROOT}


def nearest(named: Mapping[str, int], name: str, root: int) -> int:
    """Return the level of a logger: its own, else that of the nearest one above it."""
    while name:
        if name in named:
            return named[name]
        name = name.rpartition(".")[0]
    return root
