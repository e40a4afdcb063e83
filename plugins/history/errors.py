"""What can go wrong with the history.

PlantroomError
└── HistoryError            503  it cannot be kept or read now
    └── DamagedHistory      503  a part of it does not read as it was written
"""

from __future__ import annotations

from core.plugin import Example, PlantroomError, any_of

RETRY_AFTER_S = 5


class HistoryError(PlantroomError):
    """The history cannot be written or read now, for the reason that the detail gives."""

    code = "history.not_kept"
    status = 503
    title = "The history cannot be kept"
    causes = any_of(
        "The disk is full, or has been mounted read-only after an error.",
        "A file in the folder `history` of the data directory belongs to another user.",
    )
    remedy = "Check the data directory's free space and permissions; recording goes on by itself when it can."
    example = Example(
        "data/history: the disk has 12 MiB left, less than the 64 MiB that are kept free.",
        "/api/v1/points/bacnet.2001.analog-input.1/history",
    )

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": str(RETRY_AFTER_S)})


class DamagedHistory(HistoryError):
    """A part of the history does not read as it was written."""

    code = "history.damaged"
    title = "A part of the history is damaged"
    causes = any_of(
        "The disk has failed or the file was cut off or changed by something else.",
        "The file was written by a newer version of Plantroom.",
    )
    remedy = "Restore the file from a backup while Plantroom is stopped; all other parts of the history can be read."
    example = Example(
        "data/history/60d/2026-01-26.week.1.sqlite3 is damaged: database disk image is malformed.",
        "/api/v1/points/bacnet.2001.analog-input.1/history",
    )
