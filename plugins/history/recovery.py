"""Opens the journal and gives what is not sealed; of a damaged one it saves what can be read, and begins a new one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs
from structlog.typing import FilteringBoundLogger

from core.samples import Gap, Position
from plugins.history import blobs
from plugins.history.columns import Columns
from plugins.history.databases import moved, salvaged, set_aside, unsound
from plugins.history.errors import DamagedHistory, HistoryError
from plugins.history.journal import Journal


@attrs.frozen
class Recovered:
    """The journal, and what there is of before: rows that are not sealed, with the number of their batch; and gaps.

    Where ``is_new`` the rows, the gaps and the cursors are those of another file, and in this one they are not yet.
    """

    journal: Journal
    rows: Sequence[tuple[int, Columns]]
    gaps: Sequence[Gap]
    alive_ms: int | None
    cursors: dict[str, Position] = attrs.field(factory=dict)
    is_new: bool = False


def recovered(path: Path, *, epoch: int, log: FilteringBoundLogger) -> Recovered:
    """Open the journal, or make one with this epoch; raises HistoryError."""
    wrong = unsound(path) if path.exists() else None
    if wrong is not None:
        return begun_anew(path, wrong, epoch=epoch, log=log)
    try:
        journal = Journal(path, epoch=epoch)
        try:
            rows = [(seq, rows) for seq, body in journal.unsealed() if (rows := _decoded(seq, body, log)) is not None]
            return Recovered(journal, rows, journal.gaps(), journal.alive_ms)
        except BaseException:
            journal.close()
            raise
    except DamagedHistory as error:
        return begun_anew(path, str(error), epoch=epoch, log=log)


def begun_anew(path: Path, wrong: str, *, epoch: int, log: FilteringBoundLogger) -> Recovered:
    """Set a damaged journal aside, if it is there, and make a new one in a later epoch; raises HistoryError."""
    aside = set_aside(path) if path.exists() else None
    if aside is None:
        log.error("history_damaged", file=str(path), error=wrong, saved=0)
        return Recovered(Journal(path, epoch=epoch), (), (), None, is_new=True)
    facts = {name: value for name, value in salvaged(aside, "fact", "name, value") if isinstance(value, int)}
    batches = [
        (seq, rows)
        for seq, body in salvaged(aside, "batch", "seq, body")
        if seq > facts.get("sealed", 0) and (rows := _decoded(seq, body, log)) is not None
    ]
    gaps = [Gap(*row) for row in salvaged(aside, "gap", "start_ms, end_ms, reason") if _fits(row, int, int, str)]
    cursors = {
        row[0]: Position(*row[1:]) for row in salvaged(aside, "cursor", "name, epoch, seq") if _fits(row, str, int, int)
    }
    try:
        journal = Journal(path, epoch=max(epoch, facts.get("epoch", 0) + 1))
    except HistoryError:
        moved(aside, path)  # so that it is found again when there is room for a new one
        raise
    log.error(
        "history_damaged", file=str(path), set_aside=str(aside), error=wrong,
        saved=sum(len(rows) for _seq, rows in batches),
    )  # fmt: skip
    cursors = {name: at for name, at in cursors.items() if at.epoch < journal.epoch}
    return Recovered(journal, batches, gaps, facts.get("alive_ms"), cursors, is_new=True)


def _decoded(seq: int, body: bytes, log: FilteringBoundLogger) -> Columns | None:
    try:
        return blobs.decode(body)
    except DamagedHistory as error:
        log.error("history_batch_damaged", seq=seq, error=str(error))  # noqa: TRY400  # the trace says no more
        return None


def _fits(row: tuple[object, ...], *types: type) -> bool:
    return all(isinstance(value, kind) for value, kind in zip(row, types, strict=True))
