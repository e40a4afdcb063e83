"""What holds for every test."""

from __future__ import annotations

import pytest
import structlog


@pytest.fixture(autouse=True)
def _log_as_if_nobody_had_set_it_up() -> None:
    """Forget how the test before had logging set up: a kernel and the command line do that for the process."""
    structlog.reset_defaults()
