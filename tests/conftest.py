"""What holds for every test."""

from __future__ import annotations

import pytest
import structlog


@pytest.fixture(autouse=True)
def _log_as_if_nobody_had_set_it_up() -> None:
    """Forget how the test before had logging set up: a kernel and the command line do that for the process."""
    structlog.reset_defaults()


LONGEST = ("test_schemathesis.py", "test_import_alone.py", "hundred_reloads.py", "test_calm.py")
"""Files that take longest: they are begun first, so that no core waits for the other in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
