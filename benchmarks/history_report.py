"""What the benchmark of the history found, and how it is told."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.bench import median_and_spread, report, versions
from benchmarks.history_ours import PACKAGES

OURS = "plantroom"
APPENDED_ROWS = "rows appended by the C API"
CLUSTERED_ROWS = "rows clustered, aiosqlite"
RECORDER = "recorder, SQLAlchemy"
RATIOS = {
    "arrival_vs_c_api": ("samples that arrive", APPENDED_ROWS),
    "arrival_vs_clustered": ("samples that arrive", CLUSTERED_ROWS),
    "arrival_vs_recorder": ("samples that arrive", RECORDER),
    "range_1d_time_vs_clustered": (r"\d+ point-days", CLUSTERED_ROWS),
    "range_30d_time_vs_clustered": (r"\d+ x 30 days, s", CLUSTERED_ROWS),
    "hourly_time_vs_clustered": (r"\d+ x 30 days by hours", CLUSTERED_ROWS),
    "hourly_of_rollups_time_vs_clustered": (r"\d+ x weeks that are over by hours", CLUSTERED_ROWS),
    "by_59_minutes_time_vs_clustered": (r"\d+ x 30 days by 59 minutes", CLUSTERED_ROWS),
    "latest_time_vs_clustered": ("latest of all points", CLUSTERED_ROWS),
    "paged_time_vs_clustered": (r"[\d,]+ rows by pages", CLUSTERED_ROWS),
    "retention_day_time_vs_clustered": ("a day removed", CLUSTERED_ROWS),
}
"""The name of a ratio, which measure it is of, and the contender that ours is compared with."""


@attrs.define
class Found:
    """By measure and contender the figure of each round; and other figures by name."""

    rounds: dict[tuple[str, str], list[float]]
    figures: dict[str, float]

    def note(self, measure: str, who: str, figure: float) -> None:
        self.rounds[measure, who].append(figure)

    def of(self, measure: str, who: str) -> list[float]:
        """Return the figures of the measure whose name begins so."""
        return next(found for (name, other), found in self.rounds.items() if other == who and re.match(measure, name))


def tell(found: Found, inserted_by: str, file: Path | None) -> None:
    """Print the tables, and write the JSON where it is wanted."""
    ratios = ratios_of(found)
    if found.of("a day removed", OURS):
        found.figures["retention_day_ms"] = statistics.median(found.of("a day removed", OURS))
    middle = {each: median_and_spread(figures) for each, figures in found.rounds.items()}
    report(
        "history",
        columns=("measure", "contender", "median", "plantroom / it", "spread"),
        rows=[
            (
                measure,
                who,
                middle[measure, who][0],
                against(figures, found.rounds[measure, OURS]),
                middle[measure, who][1],
            )
            for measure in dict.fromkeys(measure for measure, _who in found.rounds)
            for (other, who), figures in found.rounds.items()
            if other == measure
        ],
        result={
            "ratios": ratios,
            "figures": {**found.figures, **{f"{who}: {what}": each[0] for (what, who), each in middle.items()}},
            "spread": {f"{who}: {what}": each[1] for (what, who), each in middle.items()},
            "versions": {**versions(*PACKAGES), "rows appended by": inserted_by},
        },
        file=file,
    )
    print(f"\nRows are appended by {inserted_by}.\n")
    for name, figure in {**ratios, **found.figures}.items():
        print(f"- {name}: {figure:.3g}")


def ratios_of(found: Found) -> Mapping[str, float]:
    """Compare ours with each peer round by round, since the machine is not the same machine in each; the medians."""
    ratios = {
        name: against(found.of(measure, peer), found.of(measure, OURS)) for name, (measure, peer) in RATIOS.items()
    }
    for who, prefix in ((OURS, ""), (CLUSTERED_ROWS, "clustered: ")):
        idle, busy = (found.of(f"point-day {state}, p99", who) for state in ("idle", "under writes"))
        ratios[f"{prefix}read_p99_time_under_writes_vs_idle"] = against(idle, busy)
    return ratios


def against(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """Divide ours by theirs in each round; the median, and infinite where theirs are nothing."""
    return statistics.median(mine / yours if yours else math.inf for mine, yours in zip(ours, theirs, strict=True))
