"""Other people's BACnet stacks: skipped with the reason where one is missing, unless CI says that it must be there."""

from __future__ import annotations

import fcntl
import importlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def rusty() -> ModuleType:
    """Return rusty-bacnet, a stack in Rust."""
    try:
        return importlib.import_module("rusty_bacnet")
    except ImportError as error:
        reason = f"rusty-bacnet cannot be imported ({error}); pip install rusty-bacnet"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def _ports_to_itself() -> Iterator[None]:
    """Let two runs of these tests on one machine take turns: their devices would hear each other's broadcasts."""
    lock = Path(tempfile.gettempdir()) / f"plantroom-tests-interop-{os.getuid()}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
