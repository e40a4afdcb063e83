"""A store is killed at any moment, and nothing is missing that was safe."""

from __future__ import annotations

import random
from pathlib import Path

from .crashing import Crashes

KILLS = 10
SLOW_MACHINE_S = 20.0


async def test_nothing_that_was_safe_is_lost_by_kills_under_full_load(tmp_path: Path):
    crashes = Crashes(tmp_path, random.Random(8))
    for _ in range(KILLS):
        await crashes.crash(allowance_s=SLOW_MACHINE_S)
    assert crashes.recovered > 0
