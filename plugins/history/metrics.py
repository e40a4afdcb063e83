"""The figures of the history at ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterable

from core.plugin import Metric
from plugins.history.store import Store


def metrics(store: Store) -> Iterable[Metric]:
    """Return the metrics of a store."""
    committed, kept, size = store.committer.figures, store.housekeeper.figures, store.retention.figures
    return [
        Metric(
            "plantroom_history_samples_total", "counter", "Samples that are safe.", lambda: [({}, committed.rows)]
        ),
        Metric(
            "plantroom_history_refused_total", "counter", "Samples that were refused, since the disk took none.",
            lambda: [({}, committed.refused)],
        ),
        Metric(
            "plantroom_history_filtered_total", "counter", "Changes that the rules left out.",
            lambda: [({}, store.filter.skipped)],
        ),
        Metric("plantroom_history_commits_total", "counter", "Commits.", lambda: [({}, committed.commits)]),
        Metric(
            "plantroom_history_journal_bytes_total", "counter", "Bytes of the batches in the journal.",
            lambda: [({}, committed.bytes)],
        ),
        Metric(
            "plantroom_history_sealed_total", "counter", "Samples that were sealed into partitions.",
            lambda: [({}, kept.sealed_rows)],
        ),
        Metric(
            "plantroom_history_deleted_partitions_total", "counter", "Partitions that retention deleted.",
            lambda: [({}, kept.deleted)],
        ),
        Metric(
            "plantroom_history_lost_batches_total", "counter", "Batches that were deleted before a cursor passed them.",
            lambda: [({}, committed.lost_batches)],
        ),
        Metric("plantroom_history_unsealed_samples", "gauge", "Samples in memory.", lambda: [({}, store.head.rows)]),
        Metric(
            "plantroom_history_waiting_samples", "gauge", "Samples that are not safe yet.",
            lambda: [({}, store.head.unsafe_rows)],
        ),
        Metric("plantroom_history_bytes", "gauge", "What the history takes on the disk.", lambda: [({}, size.bytes)]),
        Metric(
            "plantroom_history_paused", "gauge", "1 while nothing can be recorded.",
            lambda: [({}, float(store.committer.paused is not None))],
        ),
        Metric(
            "plantroom_history_damaged_files", "gauge", "Files that were set aside as damaged.",
            lambda: [({}, len(store.damaged))],
        ),
    ]  # fmt: skip
