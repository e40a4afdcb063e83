"""What the history takes, keeps and answers, against SQLite's own limit, a clustered table, and a recorder's table.

`python benchmarks/history.py [--quick] [--json FILE]`

Two houses of ten million samples each, as the simulator's buildings make them: a wide one of 100,000 points for what
arrives and what is kept, and a deep one of 30 days for what is asked. Each contender has a process of its own; one at a
time is measured, in turns.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `http.py` beside this file has the name of a module of Python's: its folder must not be looked into first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import shutil  # noqa: E402
import tempfile  # noqa: E402
from collections import defaultdict  # noqa: E402
from collections.abc import Iterator, Mapping, Sequence  # noqa: E402
from contextlib import AbstractContextManager  # noqa: E402
from random import Random  # noqa: E402
from typing import Any  # noqa: E402

import attrs  # noqa: E402

from benchmarks.bench import environment, options, peers  # noqa: E402
from benchmarks.history_data import DAY, MINUTE_MS, Plan, make_houses  # noqa: E402
from benchmarks.history_ours import kept  # noqa: E402
from benchmarks.history_process import Contender, contender  # noqa: E402
from benchmarks.history_report import APPENDED_ROWS, CLUSTERED_ROWS, OURS, RECORDER, Found, tell  # noqa: E402
from benchmarks.history_rows import POINTS_A_READ, TEXT, House  # noqa: E402
from benchmarks.history_tables import APPENDED, CLUSTERED, Inserter  # noqa: E402

HERE = Path(__file__).resolve().parent
PEERS = ("sqlalchemy==2.1.9", "aiosqlite==0.22.1")
HOUR_MS = 60 * MINUTE_MS
WEEK_MS = 7 * DAY * MINUTE_MS
A_MONDAY_MS = 4 * DAY * MINUTE_MS
DAYS = 30
SAFE_EVERY_READS = 30
"""So many reads bring what 100,000 points bring in a second when each is read once a minute: 1,500 samples."""
KEPT, FAST = "27d", "-4"
"""For how long days are kept that are removed, and by how many days that clock is fast: none is outdated at first."""
WRITES_A_SECOND = 10_000
"""Samples a second while others read: 100,000 points, each every 10 s."""


@attrs.frozen
class Size:
    """How much is measured: the houses' points and minutes, and how often and how long each thing is done."""

    wide_points: int = 100_000
    wide_minutes: int = 100
    deep_points: int = 236
    simulated: int = 0
    rounds: int = 5
    arriving: int = 2
    days: int = 100
    months: int = 20
    paged: int = 1_000_000
    waiting_s: float = 5.0

    @property
    def minutes(self) -> int:
        return self.wide_minutes + self.rounds * self.arriving


QUICK = Size(
    wide_points=10_000, wide_minutes=30, deep_points=12, simulated=DAY, rounds=3, arriving=1, days=30, months=5,
    paged=100_000, waiting_s=0.5,
)  # fmt: skip


@attrs.define
class Bench:
    """Where it is measured, with what, and what was found."""

    size: Size
    folder: Path
    python: Path
    inserter: Inserter
    found: Found = attrs.field(factory=lambda: Found(defaultdict(list), {}))

    def ours(self, name: str, *options: str) -> AbstractContextManager[Contender]:
        return self._contender(OURS, sys.executable, "history_plantroom.py", name, *options)

    def clustered(self, name: str) -> AbstractContextManager[Contender]:
        return self._contender(CLUSTERED_ROWS, self.python, "history_clustered.py", name)

    def recorder(self, name: str) -> AbstractContextManager[Contender]:
        return self._contender(RECORDER, self.python, "history_recorder.py", name)

    def _contender(
        self, name: str, python: str | Path, script: str, store: str, *options: str
    ) -> AbstractContextManager[Contender]:
        return contender(name, [python, "-P", HERE / script, self.folder / store, *options], self.folder, environment())

    def note_written(self, answer: Mapping[str, Any], samples: int, what: str) -> None:
        """Note what was written of so many samples; the figure without more words is what all of it comes to."""
        for counted in ("bytes_written", "bytes_dirtied"):
            name = f"{counted}_per_sample"
            self.found.figures[f"{name}: {what}"] = answer[counted] / samples
            self.found.figures[name] = self.found.figures.get(name, 0.0) + answer[counted] / samples

    def turns(self, *contenders: str) -> Iterator[tuple[int, str]]:
        """Give each contender its turn in each round."""
        for number in range(self.size.rounds):
            for name in contenders[:: -1 if number % 2 else 1]:
                yield number, name

    def compare(self, name: str, contenders: Sequence[Contender], what: str, given: Sequence[dict[str, Any]]) -> None:
        """Ask all for the same in each round, and note the seconds; exits where they do not find the same."""
        answers: dict[int, set[int]] = defaultdict(set)
        by_name = {each.name: each for each in contenders}
        for number, who in self.turns(*by_name):
            answer = by_name[who].ask(what, **given[number % len(given)])
            self.found.note(name, who, answer["seconds"])
            answers[number].add(answer["found"])
        if any(len(each) != 1 for each in answers.values()):
            sys.exit(f"{name}: the contenders did not find the same: {dict(answers)}")


def main() -> None:
    arguments = options(__doc__ or "")
    size = QUICK if arguments.quick else Size()
    python = peers("history", *PEERS)
    with tempfile.TemporaryDirectory(prefix="plantroom-history-") as name:
        folder = Path(name)
        wide, deep = make_houses(
            Plan(folder / "wide", size.wide_points, size.minutes),
            Plan(folder / "deep", size.deep_points, DAYS * DAY, every=3, simulated=size.simulated),
        )
        bench = Bench(size, folder, python, Inserter(folder))
        keep(bench, wide)
        arrive(bench, wide)
        ask(bench, deep, wide)
    tell(bench.found, bench.inserter.by, arguments.json)


def keep(bench: Bench, house: House) -> None:
    """Load the wide house into all, ours at the pace of its commits; note what is written for it and kept.

    What a small house writes is noted beside it, which has as few samples a second as the demo. What is kept of samples
    is noted when all are sealed, and in the form that they have when their week is over.
    """
    figures, minutes = bench.found.figures, bench.size.wide_minutes
    samples = house.points * minutes
    with bench.ours("ours-wide") as one:
        answer = one.ask("load", house=str(house.folder), end_minute=minutes, flush_reads=SAFE_EVERY_READS)
    bench.note_written(answer, samples, "until it is sealed")
    sealed = kept(bench.folder / "ours-wide")
    with bench.ours("ours-wide") as one:
        one.ask("tidy", weeks_later=2)
    with bench.ours("ours-small") as one:
        answer = one.ask("load", house=str(house.folder), end_minute=1, flush_reads=1)
    figures["bytes_written_per_sample: 50 samples a second"] = answer["bytes_written"] / house.points
    figures["bytes_kept_per_sample"] = kept(bench.folder / "ours-wide")["samples"] / samples
    figures["bytes_kept_per_sample: sealed, in its first week"] = sealed["samples"] / samples
    figures["bytes_kept_per_sample: the journal"] = sealed["journal"] / samples
    bench.inserter.load(bench.folder / "appended.db", APPENDED, house, minutes)
    bench.inserter.load(bench.folder / "clustered.db", CLUSTERED, house, minutes)
    with bench.recorder("recorder.db") as one:
        one.ask("load", house=str(house.folder), end_minute=minutes)
    for name, file in ((APPENDED_ROWS, "appended.db"), (CLUSTERED_ROWS, "clustered.db"), (RECORDER, "recorder.db")):
        figures[f"bytes_kept_per_sample: {name}"] = (bench.folder / file).stat().st_size / samples


def arrive(bench: Bench, house: House) -> None:
    """Let the wide house's last minutes arrive at all contenders in turns, and ask for the latest of all points."""
    size = bench.size
    samples = house.points * size.arriving
    with bench.ours("ours-wide") as ours, bench.clustered("clustered.db") as rows, bench.recorder("recorder.db") as orm:
        asked = {each.name: each for each in (ours, rows, orm)}
        for number, name in bench.turns(APPENDED_ROWS, *asked):
            first = size.wide_minutes + number * size.arriving
            if name == APPENDED_ROWS:
                took = bench.inserter.arrive(bench.folder / "appended.db", house, first, first + size.arriving)
            else:
                end = first + size.arriving
                answer = asked[name].ask("arrive", house=str(house.folder), first_minute=first, end_minute=end)
                took = answer["seconds"]
                bench.found.note("bytes written for a sample that arrives", name, answer["bytes_written"] / samples)
                bench.found.note("CPU us for a sample that arrives", name, answer["cpu_s"] / samples * 1e6)
            bench.found.note("samples that arrive, /s", name, samples / took)
        bench.compare(
            "latest of all points, s", (ours, rows), "latest", [{"points": house.points, "before_ms": house.end_ms}]
        )
        points = Random("check").sample(range(house.points), 50)
        ours.ask("check", house=str(house.folder), points=points)
    for path in bench.folder.glob("*.db*"):
        path.unlink()
    shutil.rmtree(bench.folder / "ours-wide", ignore_errors=True)


def ask(bench: Bench, deep: House, wide: House) -> None:
    """Load the deep house into ours at full speed and into a clustered table, and ask both the same.

    With its weeks that are over it tells what these take: samples written anew, and roll-ups.
    """
    figures = bench.found.figures
    bench.inserter.load(bench.folder / "deep.db", CLUSTERED, deep, deep.minutes)
    samples = deep.points * deep.minutes
    with bench.ours("ours-deep") as ours:
        answer = load_deep(ours, deep)
        bench.note_written(ours.ask("tidy", weeks_later=0), samples, "when its week is over")
        figures["loop_lag_p99_ms"] = answer["lag_p99_s"] * 1000
        figures["loop_lag_max_ms"] = answer["lag_max_s"] * 1000
        figures["samples_loaded_per_s"] = samples / answer["seconds"]
    for part, octets in kept(bench.folder / "ours-deep").items():
        figures[f"30 days, bytes_kept_per_sample: {part}"] = octets / samples
    with bench.ours("ours-deep") as ours, bench.clustered("deep.db") as rows:
        ours.ask("check", house=str(deep.folder), points=[0, 1, deep.kinds.index(TEXT)])
        ask_ranges(bench, deep, (ours, rows))
        ask_while_writing(bench, deep, wide, (ours, rows))
    with bench.ours("ours-days", KEPT, FAST) as ours, bench.clustered("deep.db") as rows:
        load_deep(ours, deep)
        ours.ask("tidy", weeks_later=0)
        retain(bench, deep, (ours, rows))


def load_deep(ours: Contender, deep: House) -> dict[str, Any]:
    """Load the deep house at full speed."""
    return ours.ask("load", house=str(deep.folder), end_minute=deep.minutes, flush_reads=2000)


def ask_ranges(bench: Bench, deep: House, contenders: Sequence[Contender]) -> None:
    """Compare ranges, sums and pages.

    Hours are rolled up in weeks that are over, and summed up anew in the one that is not; 59 minutes always are.
    """
    size, random = bench.size, Random("ranges")
    limit = 2 * deep.minutes
    days = [{"spans": spans(deep, random, size.days), "limit": limit} for _ in range(size.rounds)]
    month = [[point, deep.start_ms, deep.end_ms] for point in random.choices(deep.numbers, k=size.months)]
    every = [[point, deep.start_ms, deep.end_ms] for point in range(deep.points)]
    bench.compare(f"{size.days} point-days, s", contenders, "ranges", days)
    bench.compare(f"{size.months} x 30 days, s", contenders, "ranges", [{"spans": month, "limit": limit}])
    first_ms = -(-deep.start_ms // HOUR_MS) * HOUR_MS
    monday_ms = deep.end_ms - (deep.end_ms - A_MONDAY_MS) % WEEK_MS
    for name, interval_ms, end_ms in (
        ("30 days by hours", HOUR_MS, deep.end_ms),
        ("30 days by 59 minutes", 59 * MINUTE_MS, deep.end_ms),
        ("weeks that are over by hours", HOUR_MS, monday_ms),
    ):
        count = (end_ms - first_ms) // interval_ms
        whole = [[point, first_ms, first_ms + count * interval_ms] for point, _start, _end in month]
        given = [{"spans": whole, "interval_ms": interval_ms}]
        bench.compare(f"{size.months} x {name}, s", contenders, "sums", given)
    bench.compare(
        f"{size.paged:,} rows by pages of 10,000, s", contenders, "page", [{"spans": every, "rows": size.paged}]
    )


def spans(house: House, random: Random, count: int) -> list[list[int]]:
    """Choose points with numbers, and a day for each."""
    chosen = []
    for point in random.choices(house.numbers, k=count):
        start_ms = house.start_ms + random.randrange(DAYS - 1) * DAY * MINUTE_MS
        chosen.append([point, start_ms, start_ms + DAY * MINUTE_MS])
    return chosen


def ask_while_writing(bench: Bench, deep: House, wide: House, contenders: Sequence[Contender]) -> None:
    """Read point-days again and again, with nothing else to do and while the wide house is recorded."""
    size, random = bench.size, Random("waits")
    pace = {"house": str(wide.folder), "reads_a_second": WRITES_A_SECOND / POINTS_A_READ}
    by_name = {each.name: each for each in contenders}
    for number, name in bench.turns(*by_name):
        asked = {"spans": spans(deep, random, 200), "seconds": size.waiting_s}
        minute = number * 2 % wide.minutes
        for state, more in (("idle", {}), ("under writes", {**pace, "minute": minute})):
            answer = by_name[name].ask("waits", **asked, **more)
            bench.found.note(f"point-day {state}, p50 ms", name, answer["p50_s"] * 1000)
            bench.found.note(f"point-day {state}, p99 ms", name, answer["p99_s"] * 1000)


def retain(bench: Bench, deep: House, contenders: Sequence[Contender]) -> None:
    """Remove the oldest day in each round."""
    by_name = {each.name: each for each in contenders}
    for number, name in bench.turns(*by_name):
        from_ms = deep.start_ms + (number + 1) * DAY * MINUTE_MS
        answer = by_name[name].ask("retain", points=deep.points, from_ms=from_ms)
        bench.found.note("a day removed, ms", name, answer["seconds"] * 1000)


if __name__ == "__main__":
    main()
