"""The log's plugin: writes what is logged to files, and says how that goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from core.events import DeviceAsked
from core.plugin import Context, EventHandler, Health, HealthCheck, LogSink, Metric, Plugin, Policy, Route, hookimpl
from plugins.logging.config import MB, SCHEMA, LoggingConfig
from plugins.logging.file import LogFile, Stdout
from plugins.logging.levels import ChangedLevels
from plugins.logging.outlet import Outlet, Target
from plugins.logging.rotated import Rotated
from plugins.logging.routes import LoggingRoutes
from plugins.logging.sentry import Sentry, is_error
from plugins.logging.slow import Slow


class LoggingPlugin(Plugin[LoggingConfig]):
    """Files of lines that are rotated and kept for a while, levels that change, and lines about what is slow."""

    schema = SCHEMA
    config_class = LoggingConfig
    api_version = 3
    stop_timeout_s = 1.2

    def __init__(self, config: LoggingConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.levels = ChangedLevels(ctx)
        self.slow = Slow(ctx.log, request_s=config.slow_request, device_s=config.slow_device)
        self.outlets: list[Outlet] = []
        self.file: LogFile | None = None
        self.rotated: Rotated | None = None
        if config.file is not None:
            path = ctx.data_dir / config.file.path
            self.rotated = Rotated(path, config.file, ctx.log, now=ctx.clock.utc)
            self.file = LogFile(path, config.file, self.rotated, now=ctx.clock.utc)
            self._add(self.file)
        if config.stdout:
            self._add(Stdout())
        self.sentry = None if config.sentry is None else Sentry(config.sentry)
        if self.sentry is not None:
            self._add(self.sentry)

    def _add(self, target: Target) -> None:
        self.outlets.append(Outlet(target, self.ctx.log, queue_bytes=self.config.queue_mb * MB))

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        return self._run()

    @hookimpl
    def register_log_sinks(self) -> Iterable[LogSink]:
        return [LogSink(f"{self.ctx.name}.{outlet.target.name}", _taker(outlet)) for outlet in self.outlets]

    @hookimpl
    def register_middlewares(self) -> Iterable[Policy]:
        return self.slow.policies

    @hookimpl
    def register_event_handlers(self) -> Iterable[EventHandler[Any]]:
        return [] if self.config.slow_device is None else [EventHandler(DeviceAsked, self.slow.note)]

    @hookimpl
    def register_routes(self) -> Iterable[Route]:
        return LoggingRoutes(self.ctx, self.levels, self.outlets, self.rotated).routes

    @hookimpl
    def register_health_checks(self) -> Iterable[HealthCheck]:
        checks = [HealthCheck(outlet.target.name, _health_of(outlet)) for outlet in self.outlets]
        return [*checks, HealthCheck("files", self._files_health)]

    @hookimpl
    def register_metrics(self) -> Iterable[Metric]:
        written, dropped = "Lines of the log that were written.", "Lines of the log that could not be written."
        return [
            Metric("plantroom_log_lines_total", "counter", written, self._figures(lambda each: each.written)),
            Metric("plantroom_log_lines_dropped_total", "counter", dropped, self._figures(lambda each: each.dropped)),
        ]

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        if self.sentry is not None:
            await asyncio.to_thread(self.sentry.open)
        for outlet in self.outlets:
            outlet.start()
        if self.rotated is not None:
            self.rotated.start()
        try:
            yield
        finally:
            await self.levels.close()
            await asyncio.gather(*(outlet.stop() for outlet in self.outlets))
            if self.rotated is not None:
                await asyncio.to_thread(self.rotated.stop)

    def _figures(self, figure: Callable[[Outlet], float]) -> Callable[[], Iterable[tuple[Mapping[str, str], float]]]:
        return lambda: [({"target": outlet.target.name}, figure(outlet)) for outlet in self.outlets]

    def _files_health(self) -> tuple[Health, str]:
        problems = [part.problem for part in (self.file, self.rotated) if part is not None and part.problem]
        return (Health.DEGRADED, problems[0]) if problems else (Health.OK, "old files are tidied")


def _taker(outlet: Outlet) -> Callable[[str], None]:
    """Return what takes lines for an outlet; what is no error is not even queued for Sentry."""
    if not isinstance(outlet.target, Sentry):
        return outlet.take

    def take(text: str) -> None:
        if is_error(text):
            outlet.take("".join(f"{line}\n" for line in text.splitlines() if is_error(line)))

    return take


def _health_of(outlet: Outlet) -> Callable[[], tuple[Health, str]]:
    def check() -> tuple[Health, str]:
        if outlet.problem is not None:
            return Health.DEGRADED, f"{outlet.problem}; {outlet.dropped} lines were dropped"
        return Health.OK, f"{outlet.written} lines written, {outlet.dropped} dropped"

    return check
