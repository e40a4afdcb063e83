"""REST: what is logged of whom and where to, and how to change that for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import attrs
from aiohttp import web

from core.plugin import Context, Invalid, Role, Route, field, principal_of
from plugins.logging.levels import ChangedLevels
from plugins.logging.outlet import Outlet
from plugins.logging.rotated import Rotated

LONGEST_S = 7 * 86_400
LEVELS_MOST = 50
LEVELS_KEPT = 200
NAME = r"[A-Za-z0-9_.\-]{1,100}"


@attrs.frozen
class LevelAnswer:
    """How much is logged of a logger and all below it."""

    name: str = field(
        description="A plugin, a library's module, `core`, `core.requests`; `root`: the rest.", example="bacnet"
    )
    level: str = field(description="What is logged: this and what is worse.", example="debug")
    until: str | None = field(
        description="Until when it is so; null: until it is changed, or Plantroom ends.",
        example="2026-03-01T12:00:00.000Z",
    )


@attrs.frozen
class TargetAnswer:
    """Where lines are written to."""

    name: str = field(example="plantroom.log")
    written: int = field(description="Lines since the start.", example=120_000)
    dropped: int = field(description="Lines since the start that could not be written.", example=0)
    problem: str | None = field(description="Why lines cannot be written now.", example=None)


@attrs.frozen
class FileAnswer:
    """A file that was put aside."""

    name: str = field(example="plantroom.log.20260301T000000Z-0000.gz")
    size: int = field(description="In bytes.", example=1_200_000)
    time: str = field(description="When it was written to last.", example="2026-03-01T00:00:00.000Z")


@attrs.frozen
class LoggingAnswer:
    """What is logged, and where to."""

    levels: Collection[LevelAnswer] = field()
    targets: Collection[TargetAnswer] = field()
    files: Collection[FileAnswer] = field(description="What was put aside, oldest first.")


@attrs.frozen
class NewLevel:
    """A level for a logger."""

    name: str = field(
        pattern=NAME, example="bacnet",
        description="A plugin, a library's module, `core`, `core.requests`; `root`: all that have none of their own.",
    )  # fmt: skip
    level: Literal["debug", "info", "warning", "error"] | None = field(
        description="What is to be logged: this and what is worse; null: as it is configured.", example="debug"
    )


@attrs.frozen
class LevelsPatch:
    """Levels to change."""

    levels: tuple[NewLevel, ...] = field(min_items=1, max_items=LEVELS_MOST)
    for_s: int | None = field(
        default=None, min=1, max=LONGEST_S, example=600,
        description="For how many seconds; null: until it is changed again, or Plantroom ends.",
    )  # fmt: skip


class LoggingRoutes:
    """The routes of the plugin."""

    def __init__(self, ctx: Context, levels: ChangedLevels, outlets: Sequence[Outlet], rotated: Rotated | None) -> None:
        self._ctx = ctx
        self._levels = levels
        self._outlets = outlets
        self._rotated = rotated

    @property
    def routes(self) -> list[Route]:
        """Show all, change levels."""
        return [
            Route(
                "GET", "", self.show, "Show what is logged", answer=LoggingAnswer, role=Role.OPERATOR,
                description="Levels, where lines go to, and the files that were put aside.",
            ),
            Route(
                "PATCH", "/levels", self.change, "Change what is logged", body=LevelsPatch, answer=LoggingAnswer,
                role=Role.ADMIN, description="Effective at once, for loggers that there are and those to come.",
            ),
        ]  # fmt: skip

    async def show(self, _request: web.Request) -> LoggingAnswer:
        """Answer levels, targets and files."""
        return await self._answer()

    async def change(self, request: web.Request, *, body: LevelsPatch) -> LoggingAnswer:
        """Change levels, and answer how all are then."""
        levels: Mapping[str, str | None] = {each.name: each.level for each in body.levels}
        if len({*self._levels.all(), *levels}) > LEVELS_KEPT:
            raise Invalid(f"{LEVELS_KEPT} loggers have levels of their own at most; take some back with null.")
        self._ctx.log.info("log_levels_changed", levels=levels, for_s=body.for_s, principal=str(principal_of(request)))
        self._levels.change(levels, for_s=body.for_s)
        return await self._answer()

    async def _answer(self) -> LoggingAnswer:
        files = [] if self._rotated is None else await asyncio.to_thread(self._files, self._rotated)
        return LoggingAnswer(
            [LevelAnswer(name, level, _time(self._levels.until(name))) for name, level in self._levels.all().items()],
            [TargetAnswer(each.target.name, each.written, each.dropped, each.problem) for each in self._outlets],
            files,
        )

    @staticmethod
    def _files(rotated: Rotated) -> list[FileAnswer]:
        try:
            return [FileAnswer(each.path.name, each.size, _time(each.at) or "") for each in rotated.files()]
        except OSError:  # the folder cannot be looked into: the targets tell why
            return []


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
