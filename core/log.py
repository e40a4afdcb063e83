"""Sets up logging: one stream of events on stderr, for people on a terminal and as JSON lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from core.json_lines import JsonLines
from core.security import redact
from core.settings import LogSettings

REQUEST_ID: ContextVar[str] = ContextVar(f"{structlog.contextvars.STRUCTLOG_KEY_PREFIX}request_id")
"""The request that is being answered: structlog puts it on each line."""
QUIET = ("aiohttp.access", "aiosqlite", "asyncio", "bacpypes3")
"""Loggers of libraries of which only warnings and worse are wanted; aiosqlite's has all that is written to tables."""


def configure(settings: LogSettings, extra_processors: Sequence[Processor] = ()) -> None:
    """Send everything that is logged, by us and by libraries, to stderr in one form.

    ``extra_processors`` are plugins' own: they run before secrets are blacked out and the line is rendered. May be
    called again; loggers made since then speak the new way.
    """
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    prepare: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    _retire()
    lines = JsonLines(_Stderr(), batches=not extra_processors, silent=level > logging.INFO)
    finish: list[Processor] = [*map(_Guarded, extra_processors), _black_out, *_renderers(settings.format, lines)]
    structlog.configure(
        processors=[*prepare, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=_Stderr()),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    _route_libraries(level, [*prepare, structlog.stdlib.add_logger_name], finish)


class _Stderr:
    """The standard error stream of the moment; one that is full or gone stops nobody's work."""

    def write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
        except (OSError, ValueError):
            """Nowhere is left to tell it."""

    def flush(self) -> None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            """Nowhere is left to tell it."""


class _Guarded:
    """A plugin's processor: when it raises, the event goes on as it was, and that is told once."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor
        self._failing = False

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> Any:
        try:
            return self._processor(logger, method, dict(event))
        except structlog.DropEvent:
            raise
        except Exception as error:  # a plugin's code: its failure must not silence the log
            if not self._failing:
                self._failing = True
                structlog.get_logger().warning(
                    "log_processor_failed", processor=repr(self._processor), error=str(error)
                )
            return event


def _black_out(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    hidden: EventDict = redact(event)
    return hidden


def _retire() -> None:
    """Have what was noted for the log as it was until now be written so."""
    processors = structlog.get_config()["processors"]
    if processors and isinstance(processors[-1], JsonLines):
        processors[-1].retire()


def _renderers(form: str, lines: JsonLines) -> list[Processor]:
    terminal = sys.stderr.isatty()
    if form == "console" or (form == "auto" and terminal):
        colors = terminal and not os.environ.get("NO_COLOR")
        return [
            structlog.dev.ConsoleRenderer(
                colors=colors, timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
            )
        ]
    return [structlog.processors.format_exc_info, lines]


class _Handler(logging.Handler):
    """Writes what libraries log by the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = _Stderr()
            stream.write(self.format(record) + "\n")
            stream.flush()
        except Exception:  # a library's record that cannot be formatted: logging's own rule is to go on
            self.handleError(record)


def _route_libraries(level: int, prepare: Sequence[Processor], finish: Sequence[Processor]) -> None:
    handler = _Handler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=prepare,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
