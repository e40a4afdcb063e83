"""Two months of the demo's building, minute by minute: lived through, queried and exported, in how much memory.

`python benchmarks/history_two_months.py [--quick] [--json FILE]`

It begins with nothing. A real `plantroom run` has the building's 707 points and records each of them once a minute for
61 days (61 million samples), as fast as they can be worked out. Then it is asked over HTTP, and exports a hundred
points. Exits with 1 where it ever needed 300 MB or more, or anything is missing. `--quick` is two days.
"""

from __future__ import annotations

import sys
from pathlib import Path

# `http.py` beside this file has the name of a module of Python's: its folder must not be looked into first.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import datetime as dt  # noqa: E402
import http.client  # noqa: E402
import json  # noqa: E402
import shutil  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import urllib.parse  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from typing import Any  # noqa: E402

import attrs  # noqa: E402

from benchmarks.bench import environment, options, report, versions  # noqa: E402
from benchmarks.history_data import DAY, MINUTE_MS  # noqa: E402
from benchmarks.history_ours import CONFIGURATION, PACKAGES  # noqa: E402
from benchmarks.serving import Server, free_port, started  # noqa: E402

HOUR_MS = 60 * MINUTE_MS
MOST_MB = 300.0
LIVED_WITHIN_S = 1800.0
ANSWERED_WITHIN_S = 600.0
PLUGIN = Path(__file__).with_name("history_building.py")
ROOM = "building.2004.analog-input.1"
"""A room's temperature."""
EXPORTED = 100


@attrs.define
class House:
    """The server, what it was made to remember, and what each step took."""

    server: Server
    start_ms: int
    days: int
    steps: list[tuple[str, int, float, float]] = attrs.field(factory=list)

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.days * DAY * MINUTE_MS

    def step(self, name: str, do: Callable[[], int], *, wanted: int) -> None:
        """Do something, and note how many samples that were; exits where they are not as many as wanted."""
        began = time.perf_counter()
        count = do()
        self.steps.append((name, count, time.perf_counter() - began, self.peak_mb()))
        print(f"{name}: {count:,} in {self.steps[-1][2]:.1f} s, peak {self.steps[-1][3]:.0f} MB", file=sys.stderr)
        if count != wanted:
            sys.exit(f"{name}: {count:,} instead of {wanted:,}")

    def peak_mb(self) -> float:
        """The most memory that the server has had until now."""
        lines = Path(f"/proc/{self.server.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

    @contextmanager
    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Iterator[http.client.HTTPResponse]:
        """Ask the server; exits where it does not answer 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=ANSWERED_WITHIN_S)
        content = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, content, {"Content-Type": "application/json", **headers})
            response = connection.getresponse()
            if response.status != 200:
                sys.exit(f"{method} {path}: {response.status} {response.read().decode()[:1000]}")
            yield response
        finally:
            connection.close()

    def get(self, path: str, **query: object) -> Any:
        """GET some JSON."""
        with self.ask("GET", f"{path}?{urllib.parse.urlencode(query)}") as response:
            return json.load(response)

    def live(self) -> int:
        """Have the building live; answer how many samples that made."""
        with self.ask("POST", "/api/v1/building/weeks"):
            deadline = time.monotonic() + LIVED_WITHIN_S
        while (told := self.get("/api/v1/building/weeks"))["minutes"] < self.days * DAY:
            if time.monotonic() > deadline:
                sys.exit(f"only {told['minutes']} minutes were lived through within {LIVED_WITHIN_S:g} s")
            time.sleep(0.5)
        return int(told["samples"])

    def pages(self, start_ms: int, end_ms: int, **query: object) -> Iterator[dict[str, Any]]:
        """Give all items of a point's history, page by page."""
        path = f"/api/v1/points/{ROOM}/history"
        span = {"start": rfc3339(start_ms), "end": rfc3339(end_ms), "limit": 1000, **query}
        page = self.get(path, **span)
        yield from page["items"]
        while page["next_cursor"] is not None:
            page = self.get(path, **span, cursor=page["next_cursor"])
            yield from page["items"]

    def export(self, accept: str) -> int:
        """Have the history of a hundred points streamed, and count the lines."""
        listed = self.get("/api/v1/points", plugin="building", limit=EXPORTED)["items"]
        body = {
            "point_ids": [point["id"] for point in listed],
            "start": rfc3339(self.start_ms),
            "end": rfc3339(self.end_ms),
        }
        lines = 0
        with self.ask("POST", "/api/v1/history/query", body, Accept=accept) as response:
            while octets := response.read(1 << 16):
                lines += octets.count(b"\n")
        return lines - (accept == "text/csv")


def rfc3339(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).isoformat().replace("+00:00", "Z")


@contextmanager
def empty_house(folder: Path, days: int) -> Iterator[House]:
    """Start a house that remembers nothing."""
    end_ms = int(time.time() * 1000) // HOUR_MS * HOUR_MS
    start_ms = end_ms - days * DAY * MINUTE_MS
    (folder / "custom_plugins").mkdir()
    shutil.copy(PLUGIN, folder / "custom_plugins" / "building.py")
    (folder / "plantroom.yaml").write_text(
        f"log: {{format: json}}\nplugins:\n  building: {{minutes: {days * DAY}, start_ms: {start_ms}}}\n{CONFIGURATION}"
    )
    port = free_port()
    command = [sys.executable, "-m", "core", "run", "--config", folder / "plantroom.yaml", "--port", str(port)]
    with started("plantroom", [*command, "--data-dir", folder / "data"], port, {}, folder, environment()) as server:
        yield House(server, start_ms, days)


def main() -> None:
    arguments = options(__doc__ or "")
    days = 2 if arguments.quick else 61
    with tempfile.TemporaryDirectory(prefix="plantroom-months-") as name:
        folder = Path(name)
        with empty_house(folder, days) as house:
            points = int(house.get("/api/v1/points", plugin="building", limit=1, count="true")["total"])
            before_mb = house.peak_mb()
            live_and_ask(house, points)
            peak_mb = house.peak_mb()
        kept = sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file())
    tell(house, before_mb, peak_mb, kept / house.steps[0][1], arguments.json)
    if peak_mb >= MOST_MB:
        sys.exit(f"the process needed {peak_mb:.0f} MB; it is to stay below {MOST_MB:g} MB")


def live_and_ask(house: House, points: int) -> None:
    """Have the weeks lived through, and ask for them in each way."""
    start, end, days = house.start_ms, house.end_ms, house.days
    day_ms = DAY * MINUTE_MS
    month = min(days, 30)

    def hours(start_ms: int) -> Iterator[dict[str, Any]]:
        return house.pages(start_ms, end, interval="1h", aggregate="avg,min,max,count")

    house.step("lived and recorded", house.live, wanted=points * days * DAY)
    house.step("a day", lambda: sum(1 for _ in house.pages(start + day_ms, start + 2 * day_ms)), wanted=DAY)
    house.step(f"{month} days", lambda: sum(1 for _ in house.pages(end - month * day_ms, end)), wanted=month * DAY)
    house.step(f"{days} days by hours", lambda: sum(1 for _ in hours(start)), wanted=days * 24)
    for accept in ("application/x-ndjson", "text/csv"):
        name = f"{EXPORTED} points exported as {accept.rpartition('/')[2].removeprefix('x-')}"
        house.step(name, lambda accept=accept: house.export(accept), wanted=EXPORTED * days * DAY)


def tell(house: House, before_mb: float, peak_mb: float, kept: float, file: Path | None) -> None:
    """Print the table, and write the JSON where it is wanted."""
    report(
        "history_two_months",
        columns=("step", "samples or intervals", "s", "a second", "peak MB until then"),
        rows=[("started", 0, 0.0, 0, before_mb)]
        + [(name, count, seconds, round(count / seconds), peak) for name, count, seconds, peak in house.steps],
        result={
            "ratios": {},
            "figures": {
                "peak_mb": peak_mb,
                "started_mb": before_mb,
                "bytes_kept_per_sample": kept,
                **{f"{name}, s": seconds for name, _count, seconds, _peak in house.steps},
            },
            "versions": versions("aiohttp", *PACKAGES),
        },
        file=file,
    )
    print(f"\nPeak of the process: {peak_mb:.0f} MB; {kept:.2f} bytes a sample in its data directory.")


if __name__ == "__main__":
    main()
