"""Collects everybody's figures when they are asked for, and writes them as Prometheus text."""

from __future__ import annotations

import asyncio
import math
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import structlog
from aiohttp import web

from core.clock import Clock
from core.policies import Call, Policy, Steps
from core.routes import Metric, Phase, Route

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ServerFigures:
    """Counts requests by the class of their status and by how long they took, since the process began to serve."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.monotonic()
        self._by_class = [0] * 6
        self._buckets = [0] * (len(BOUNDS_S) + 1)
        self._seconds = 0.0

    @property
    def policy(self) -> Policy:
        """The policy that counts."""
        return Policy(Phase.METRICS, lambda _route: Steps(after=self._count))

    def _count(self, call: Call, status: int) -> None:
        seconds = time.perf_counter() - call.started
        self._by_class[min(status // 100, 5)] += 1
        self._buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self._seconds += seconds

    def lines(self) -> Iterator[str]:
        """Write the figures."""
        name = "plantroom_uptime_seconds"
        yield from _head(name, "gauge", "How long the process has been serving.")
        yield _sample(name, {}, self._clock.monotonic() - self._started)
        name = "process_cpu_seconds_total"
        yield from _head(name, "counter", "Processor time that the process has used.")
        yield _sample(name, {}, time.process_time())
        name = "process_resident_memory_bytes"
        yield from _head(name, "gauge", "Memory that the process holds.")
        yield _sample(name, {}, _resident_bytes())
        name = "plantroom_tasks"
        yield from _head(name, "gauge", "Tasks of the event loop.")
        yield _sample(name, {}, len(asyncio.all_tasks()))
        name = "plantroom_http_requests_total"
        yield from _head(name, "counter", "Requests answered, by the class of their status.")
        for hundreds in range(1, 6):
            yield _sample(name, {"status": f"{hundreds}xx"}, self._by_class[hundreds])
        name = "plantroom_http_request_duration_seconds"
        yield from _head(name, "histogram", "How long requests took.")
        total = 0
        for bound, count in zip((*BOUNDS_S, math.inf), self._buckets, strict=True):
            total += count
            yield _sample(f"{name}_bucket", {"le": _number(bound)}, total)
        yield _sample(f"{name}_sum", {}, self._seconds)
        yield _sample(f"{name}_count", {}, total)


class Metrics:
    """The resource /metrics; ``collect`` gives the metrics of what runs, with their owners."""

    def __init__(self, figures: ServerFigures, collect: Callable[[], Iterable[tuple[str, Metric]]]) -> None:
        self._figures = figures
        self._collect = collect

    @property
    def routes(self) -> list[Route]:
        """The route of this resource."""
        return [
            Route(
                "GET", "/metrics", self.get, "Show figures as Prometheus text", media_type="text/plain",
                example="# TYPE plantroom_uptime_seconds gauge\nplantroom_uptime_seconds 12.5\n",
                description="The figures of the house and of its plugins, as a Prometheus server scrapes them.",
            )
        ]  # fmt: skip

    async def get(self, _request: web.Request) -> web.Response:
        """Answer all figures as they are now."""
        lines = [*self._figures.lines(), *self._others()]
        return web.Response(body="\n".join([*lines, ""]).encode(), headers={"Content-Type": CONTENT_TYPE})

    def _others(self) -> Iterator[str]:
        """Write providers' metrics, those of one name together, each labelled with its plugin."""
        families: dict[str, list[str]] = {}
        for owner, metric in self._collect():
            try:
                samples = [
                    _sample(metric.name, {"plugin": owner, **labels}, value) for labels, value in metric.collect()
                ]
            except Exception as error:  # a plugin's code: its failure stays with it
                structlog.get_logger().warning("metric_failed", plugin=owner, metric=metric.name, error=str(error))
                continue
            if metric.name not in families:
                families[metric.name] = [*_head(metric.name, metric.kind, metric.help)]
            families[metric.name] += samples
        for lines in families.values():
            yield from lines


def _resident_bytes() -> float:
    """Return the memory that this process holds; NaN where the system does not say so in Linux's way."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return math.nan
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    yield f"# HELP {name} {escaped}"
    yield f"# TYPE {name} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


def _escaped(text: str) -> str:
    return str(text).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
