"""The parts of the plugin over a real database, a whole Plantroom, and a clock to advance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from core.log import configure
from core.plugin import Context
from core.settings import LogSettings
from core.storage import Storage, open_storage
from core.subcommands import unstarted_context
from core.testing import ManualClock, StartPlantroom
from plugins.auth.config import VARIABLE, AuthConfig
from plugins.auth.tables import MIGRATIONS

from .house import CHEAP, YAML, House, OpenHouse, Parts


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def _log_as_the_program_does() -> None:
    """Set logging up before the plugin is lent its logger."""
    configure(LogSettings(format="json"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with open_storage(tmp_path) as opened:
        await opened.migrate("auth", MIGRATIONS)
        yield opened


@pytest.fixture
def ctx(tmp_path: Path, storage: Storage, clock: ManualClock) -> Context:
    return attrs.evolve(unstarted_context("auth", tmp_path), store=storage, clock=clock)


@pytest.fixture
async def parts(ctx: Context) -> AsyncIterator[Parts]:
    made = Parts(ctx, AuthConfig(password=CHEAP))
    await made.accounts.ledger.catch_up()
    yield made
    made.plugin.passwords.close()


@pytest.fixture
def open_house(
    plantroom: StartPlantroom, tmp_path: Path, clock: ManualClock, _log_as_the_program_does: None
) -> OpenHouse:
    """Let a test start a Plantroom itself, whose log it can read then; the first one's data are in ``data``."""

    async def start(yaml: str = YAML) -> House:
        return House(await plantroom(yaml, clock=clock), tmp_path / "data")

    return start


@pytest.fixture
async def house(open_house: OpenHouse) -> House:
    return await open_house()
