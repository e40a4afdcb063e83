"""What can go wrong with the files of samples.

PlantroomError
└── FilesFailed
    └── DirectoryInUse
"""

from __future__ import annotations

from pathlib import Path

from core.errors import any_of
from core.plugin import PlantroomError


class FilesFailed(PlantroomError):
    """The files of samples cannot be written; it is tried again by itself, and nothing is lost meanwhile.

    The history keeps what waits, within its own bounds.
    """

    code = "file_sink.failed"
    title = "Samples cannot be written to files"
    causes = any_of(
        "The disk is full, or has been mounted read-only after an error.",
        "The directory, or what it is to be made in, is missing: a disk that is not mounted.",
        "The directory or a file in it belongs to another user.",
        "The present file was moved or removed while it was written to.",
    )
    remedy = "Mend what the detail names; `error` in GET /api/v1/sinks is null again when it works."


class DirectoryInUse(FilesFailed):
    """Another Plantroom, or another instance of this plugin, writes to the same directory."""

    code = "file_sink.directory_in_use"
    title = "The directory of samples is in use"
    causes = any_of(
        "Two instances of the plugin, or two Plantrooms, have the same `directory`.",
        "A write from before a reload has not ended yet, on a disk that hangs.",
    )
    remedy = "Give each its own `directory`; where the disk hangs, mend that."


def failure(path: Path, error: OSError) -> FilesFailed:
    """Translate what the system says about a path."""
    said = error.strerror or error
    return FilesFailed(f"{path} cannot be written: {said}. Mend that, or free the disk; it then goes on by itself.")
