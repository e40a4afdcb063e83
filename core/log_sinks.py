"""Where finished lines go: the standard error stream, and what plugins have for them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence

import attrs
import structlog


@attrs.frozen
class LogSink:
    """Takes what is logged as JSON: finished lines, each with a line feed behind it, one or a batch at a time.

    ``write`` is called by whatever logs, on the event loop or in a thread: it never waits, and takes lines also while
    the plugin does not run. When it raises, that is told once, and the lines are lost to it alone.
    """

    name: str
    write: Callable[[str], None]


class Stderr:
    """The standard error stream of the moment; one that is full or gone stops nobody's work."""

    def write(self, text: str) -> None:
        """Write, where that is possible."""
        try:
            sys.stderr.write(text)
        except (OSError, ValueError):
            """Nowhere is left to tell it."""

    def flush(self) -> None:
        """Let nothing wait in a buffer."""
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            """Nowhere is left to tell it."""


class Outlets:
    """All places that lines of JSON go to; ``stderr`` where the standard error stream is one."""

    def __init__(self, sinks: Sequence[LogSink], *, stderr: bool) -> None:
        self._stderr = Stderr() if stderr else None
        self._sinks = sinks
        self._failing: set[str] = set()
        self._here = threading.local()

    def write(self, text: str) -> None:
        """Hand lines to all of them; what a sink itself logs as it takes them is handed to none."""
        if self._stderr is not None:
            self._stderr.write(text)
        if not self._sinks or getattr(self._here, "busy", False):
            return
        self._here.busy = True
        try:
            failed = [each for sink in self._sinks if (each := _handed(sink, text)) is not None]
        finally:
            self._here.busy = False
        for name, error in failed:
            if name not in self._failing:
                self._failing.add(name)
                structlog.get_logger().warning("log_sink_failed", sink=name, error=str(error))

    def flush(self) -> None:
        """Let nothing wait in a buffer of ours; sinks have their own."""
        if self._stderr is not None:
            self._stderr.flush()


class Writer:
    """What structlog hands finished lines to; unlike its own it may be spoken to while it writes."""

    def __init__(self, stream: Stderr | Outlets) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write a line."""
        self._stream.write(f"{line}\n")
        self._stream.flush()

    debug = info = warning = error = critical = msg


def _handed(sink: LogSink, text: str) -> tuple[str, Exception] | None:
    """Hand lines to a sink; answers its failure."""
    try:
        sink.write(text)
    except Exception as error:  # a plugin's code: its failure must not silence the log
        return sink.name, error
    return None
