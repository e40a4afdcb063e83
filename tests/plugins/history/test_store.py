"""The store, by the suite that all histories pass: before it seals and after, and after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from shared_history import HistorySuite

from plugins.history.store import Store


@pytest.fixture
async def history(make_store: Callable[..., Store]) -> AsyncIterator[Store]:
    store = make_store()
    async with store.running():
        yield store


class TestStore(HistorySuite):
    """The shared suite, of what is in the head."""


class TestSealedStore(HistorySuite):
    """The shared suite, where everything is sealed as soon as it is safe."""

    @pytest.fixture
    async def history(self, make_store: Callable[..., Store]) -> AsyncIterator[Store]:
        store = make_store()
        async with store.running():
            await store.register("keeps the outbox")
            flush = store.flush

            async def and_seal() -> None:
                await flush()
                await store.housekeeper.seal()
                assert not store.head.rows

            store.flush = and_seal  # type: ignore[method-assign]
            yield store


async def test_the_folder_is_for_its_owner_alone(make_store: Callable[..., Store], tmp_path: Path):
    async with make_store().running():
        assert (tmp_path / "history").stat().st_mode & 0o777 == 0o700
