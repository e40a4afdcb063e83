"""Deletes the partitions that need not be kept any longer, and the oldest where the history grows too large."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from structlog.typing import FilteringBoundLogger

from plugins.history.catalog import Catalog, Key
from plugins.history.config import duration_s
from plugins.history.rollups import LEVELS

WARN_AT = 0.8
GIB = 1024**3


@attrs.define
class SizeFigures:
    """How large the history is, in bytes, and whether that is near what it may be."""

    bytes: int = 0
    warned: bool = False


class Retention:
    """What is kept of each class, and how much in all.

    ``kept_s`` is by the name of the class; one that is not there any more is kept as its name says, or as ``default_s``
    if that is longer. None: for ever.
    """

    def __init__(
        self, catalog: Catalog, *, kept_s: Mapping[str, float | None], default_s: float | None, cap_bytes: int | None,
        log: FilteringBoundLogger,
    ) -> None:  # fmt: skip
        self.figures = SizeFigures()
        self._catalog = catalog
        self._kept_s = kept_s
        self._default_s = default_s
        self._cap_bytes = cap_bytes
        self._log = log

    def enforce(self, now_ms: int) -> int:
        """Delete what is outdated or too much, and return how many partitions that were."""
        outdated = [key for key in self._catalog.keys if self._outdated(key, now_ms)]
        for key in outdated:
            self._delete(key, "outdated")
        return len(outdated) + self._cap()

    def _outdated(self, key: Key, now_ms: int) -> bool:
        kept_s = self._kept_s[key.class_name] if key.class_name in self._kept_s else self._longer(key.class_name)
        return kept_s is not None and key.span.end_ms < now_ms - kept_s * 1000

    def _longer(self, name: str) -> float | None:
        once_s = duration_s(name)
        return None if once_s is None or self._default_s is None else max(once_s, self._default_s)

    def _cap(self) -> int:
        """Delete what was set aside, and the oldest partitions, until the history is small enough; the newest stays."""
        figures, cap = self.figures, self._cap_bytes
        figures.bytes = self._catalog.size()
        if cap is None:
            return 0
        deleted = 0
        aside, spare = self._catalog.damaged(), self._spare()
        while figures.bytes > cap and (aside or spare):
            if aside:
                name = aside.pop(0)
                self._catalog.drop_damaged(name)
                self._log.info("history_deleted", file=name, why="size_cap")
            else:
                self._delete(spare.pop(0), "size_cap")
                deleted += 1
            figures.bytes = self._catalog.size()
        near = figures.bytes > cap * WARN_AT
        if near and not figures.warned:
            self._log.warning("history_near_its_size_cap", bytes=figures.bytes, cap=cap)
        figures.warned = near
        return deleted

    def _spare(self) -> list[Key]:
        """Return what can go for want of room: samples first, the oldest first, then roll-ups, the finest first."""
        finest_first = [level.name for level in LEVELS]
        rollups = [key for key in self._catalog.keys if key.class_name in finest_first]
        return [
            *self._catalog.samples()[:-1],
            *sorted(rollups, key=lambda key: (finest_first.index(key.class_name), key.span)),
        ]

    def _delete(self, key: Key, why: str) -> None:
        self._catalog.drop(key)
        self._log.info("history_deleted", partition=f"{key.class_name}/{key.span.label}", why=why)
