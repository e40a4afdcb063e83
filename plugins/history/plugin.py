"""The plugin: is the history service."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from core.errors import PluginError
from core.plugin import Context, Health, HealthCheck, Metric, Plugin, Route, hookimpl
from plugins.history.config import SCHEMA, HistoryConfig

if TYPE_CHECKING:
    from core.services import History

NEEDED = ("numpy", "pcodec", "zstandard")


class HistoryPlugin(Plugin[HistoryConfig]):
    """Keeps past readings in the data directory."""

    schema = SCHEMA
    config_class = HistoryConfig
    api_version = 4
    start_timeout_s = 60.0
    stop_timeout_s = 10.0

    def __init__(self, config: HistoryConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise PluginError(f"it needs {', '.join(missing)}: pip install 'plantroom[history]'")
        from plugins.history.store import Store

        self.store = Store(ctx.data_dir, config, points=ctx.points, clock=ctx.clock, log=ctx.log)

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        return self.store.running()

    @hookimpl
    def provide_history(self) -> History:
        return self.store

    @hookimpl
    def register_routes(self) -> Iterable[Route]:
        from plugins.history.routes import Routes

        return Routes(self.store).all

    @hookimpl
    def register_health_checks(self) -> Iterable[HealthCheck]:
        return [
            HealthCheck("recording", self._recording),
            HealthCheck("housekeeping", self._housekeeping),
            HealthCheck("files", self._files),
        ]

    @hookimpl
    def register_metrics(self) -> Iterable[Metric]:
        from plugins.history.metrics import metrics

        return metrics(self.store)

    def _recording(self) -> tuple[Health, str]:
        committer = self.store.committer
        if committer.paused is not None:
            waiting, refused = self.store.head.unsafe_rows, committer.figures.refused
            return Health.DEGRADED, f"paused: {committer.paused} {waiting} samples wait, {refused} were refused"
        return Health.OK, f"{committer.figures.rows} samples recorded"

    def _housekeeping(self) -> tuple[Health, str]:
        figures = self.store.housekeeper.figures
        if figures.error is not None:
            return Health.DEGRADED, figures.error
        if self.store.retention.figures.warned:
            return Health.DEGRADED, "the history is near its size cap: raise size_cap_gib, or shorten keep"
        return Health.OK, f"{figures.sealed_rows} samples sealed"

    def _files(self) -> tuple[Health, str]:
        damaged = self.store.damaged
        if damaged:
            return Health.DEGRADED, f"set aside as damaged: {', '.join(damaged)}"
        return Health.OK, f"{len(self.store.catalog.keys)} files"
