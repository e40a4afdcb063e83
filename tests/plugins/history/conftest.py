"""A store on real files, with a clock that tests turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from shared_history import START_MS

from core.clock import ManualClock
from core.plugin import NoPoints, Points
from plugins.history.config import HistoryConfig
from plugins.history.store import Store


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands half an hour after the samples of the shared suite."""
    return ManualClock(START_MS / 1000 + 1800)


@pytest.fixture
def make_store(tmp_path: Path, clock: ManualClock) -> Callable[..., Store]:
    """Make a store in a folder of the test's own; options are those of the configuration, `points` are its rules."""

    def make(
        *, house: Points | None = None, folder: Path = tmp_path, clock: ManualClock = clock, **options: Any
    ) -> Store:
        log = structlog.get_logger(plugin="history")
        return Store(folder, HistoryConfig(**options), points=house or NoPoints(), clock=clock, log=log)

    return make
