"""Sets up logging: one stream of events on stderr, for people on a terminal and as JSON lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from core.json_lines import JsonLines
from core.log_levels import NUMBERS, REQUESTS, Levels, nearest
from core.log_sinks import LogSink, Outlets, Stderr, Writer
from core.owner import owner_name
from core.printable import print_safely
from core.request_ids import told_once
from core.security import redact
from core.settings import LogSettings

QUIET = ("aiohttp.access", "aiosqlite", "asyncio", "bacpypes3")
"""Loggers of libraries of which only warnings and worse are wanted; aiosqlite's has all that is written to tables."""


def configure(
    settings: LogSettings,
    extra_processors: Sequence[Processor] = (),
    *,
    sinks: Sequence[LogSink] = (),
    levels: Levels | None = None,
) -> None:
    """Send everything that is logged, by us and by libraries, to stderr in one form, and to ``sinks`` as JSON.

    ``extra_processors`` are plugins' own: they run before secrets are blacked out and the line is rendered. ``levels``
    take those of the settings over. May be called again; what was made by `structlog.get_logger` speaks the new way.
    """
    levels = levels or Levels()
    levels.configure(settings.level, settings.levels)
    root, named = levels.root, levels.named
    prepare: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _tell_once,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    _retire()
    outlets = Outlets(sinks, stderr=_is_json(settings.format, sinks))
    silent = nearest(named, REQUESTS, root) > logging.INFO
    lines = JsonLines(outlets, batches=not extra_processors, silent=silent)
    finish: list[Processor] = [*map(_Guarded, extra_processors), structlog.processors.format_exc_info, _black_out]
    console = settings.format != "none" and not _is_json(settings.format, sinks)
    finish += _for_people(_Fork(lines, outlets) if sinks else None) if console else [lines]
    stream = Stderr() if console else outlets
    structlog.configure(
        processors=[*prepare, *([_ByLevel(named, root)] if named else []), *finish],
        wrapper_class=structlog.make_filtering_bound_logger(min([root, *named.values()])),
        logger_factory=lambda *_names: Writer(stream),
        cache_logger_on_first_use=False,
    )
    _route_libraries(root, named, stream, [*prepare, structlog.stdlib.add_logger_name], finish)


class _ByLevel:
    """Drops what its logger's level does not let pass."""

    def __init__(self, named: Mapping[str, int], root: int) -> None:
        self._named = named
        self._root = root

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        plugin = event.get("plugin")
        name = str(plugin or (REQUESTS if event.get("event") == "request" else owner_name()))
        if NUMBERS.get(event["level"], logging.CRITICAL) < nearest(self._named, name, self._root):
            raise structlog.DropEvent
        return event


class _Fork:
    """Hands sinks lines of JSON where people read text."""

    def __init__(self, lines: JsonLines, outlets: Outlets) -> None:
        self._lines = lines
        self._outlets = outlets

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        self._outlets.write(f"{self._lines(logger, method, event)}\n")
        return event


def _tell_once(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return told_once(event) if "request_ids" in event else event


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


def _is_json(form: str, sinks: Sequence[LogSink]) -> bool:
    """Tell whether stderr gets lines of JSON; it does where nothing else would get any."""
    if form == "none":
        return not sinks
    return form == "json" or (form == "auto" and not sys.stderr.isatty())


def _for_people(fork: _Fork | None) -> list[Processor]:
    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    console = structlog.dev.ConsoleRenderer(
        colors=colors, timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
    )
    return [*([fork] if fork else []), print_safely, console]


class _Handler(logging.Handler):
    """Writes what libraries log by the standard library; ``applied`` are the levels that it gave to loggers."""

    def __init__(self, stream: Stderr | Outlets) -> None:
        super().__init__()
        self._stream = stream
        self.applied: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._stream.write(self.format(record) + "\n")
            self._stream.flush()
        except Exception:  # a library's record that cannot be formatted: logging's own rule is to go on
            self.handleError(record)

    def apply(self, root: int, named: Mapping[str, int], before: Mapping[str, int]) -> None:
        """Give loggers their levels, and back to those that have none any more what they had."""
        quiet = {name: max(root, logging.WARNING) for name in QUIET}
        for name in {*before} - {*named, *quiet}:
            logging.getLogger(name).setLevel(logging.NOTSET)
        for name, level in (quiet | dict(named)).items():
            logger = logging.getLogger(name)
            if name in named or logger.level in (logging.NOTSET, before.get(name, logging.WARNING)):
                logger.setLevel(level)  # else a plugin has seen to it
                self.applied[name] = level


def _route_libraries(
    root_level: int,
    named: Mapping[str, int],
    stream: Stderr | Outlets,
    prepare: Sequence[Processor],
    finish: Sequence[Processor],
) -> None:
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=prepare,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    root = logging.getLogger()
    before: dict[str, int] = {}
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        before |= old.applied
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(root_level)
    handler.apply(root_level, named, before)
