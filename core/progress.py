"""Shows how a scan gets on: a live line on a terminal, a line at its start and end elsewhere."""

from __future__ import annotations

import shutil
from typing import TextIO

from core.events import EventBus, EventHandler, JobChanged, Subscription

SCAN = "scan"
ENDED = ("succeeded", "failed", "cancelled")
CLEAR = "\x1b[2K"


class Progress:
    """Writes to a stream what the events of jobs tell."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._known: set[str] = set()

    def follow(self, events: EventBus) -> Subscription:
        """Start to show the scans of a kernel, until the bus closes."""
        return events.subscribe(EventHandler(JobChanged, self._show), owner="progress")

    async def _show(self, event: JobChanged) -> None:
        if event.kind != SCAN:
            return
        if event.state in ENDED:
            self._known.discard(event.id)
            self._write(f"{event.kind} {event.state}: {_devices(event.found)} found", live=False)
        elif self._live:
            self._write(_under_way(event), live=True)
        elif event.id not in self._known:
            self._known.add(event.id)
            self._write(f"{event.kind} started", live=False)

    def _write(self, text: str, *, live: bool) -> None:
        """Write a line; a live one leaves the cursor at its start, so that what comes next takes its place."""
        if self._live:
            text = CLEAR + text[: shutil.get_terminal_size().columns - 1]
        try:
            self._stream.write(text + ("\r" if live else "\n"))
            self._stream.flush()
        except (OSError, ValueError):
            """Nobody reads it any more, and the scan goes on."""


def _under_way(event: JobChanged) -> str:
    parts = [f"{event.kind}:", event.phase or "waiting"]
    if event.total:
        parts.append(f"{event.done} of {event.total} ({event.progress:.0%})")
    parts.append(f"- {_devices(event.found)} found")
    if event.counts.get("points"):
        parts.append(f"- {event.counts['points']} points")
    if event.time_left_s is not None:
        parts.append(f"- {event.time_left_s:.0f} s left")
    return " ".join(parts)


def _devices(count: int) -> str:
    return f"{count} device" if count == 1 else f"{count} devices"
