"""What every cache does: one suite, for the one in memory and for those of plugins.

A class of tests inherits it, and has two fixtures: ``cache``, and ``elapse``, which lets so many seconds pass for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from core.services import Cache

Elapse = Callable[[float], Awaitable[None]]


class CacheSuite:
    """To be inherited."""

    async def test_a_value_is_given_back_until_its_time_is_over(self, cache: Cache, elapse: Elapse) -> None:
        await cache.set("key", b"value", ttl_s=1)
        await cache.set("other", b"longer", ttl_s=60)
        assert await cache.get("key") == b"value"
        await elapse(1.1)
        assert await cache.get("key") is None
        assert await cache.get("other") == b"longer"

    async def test_what_has_no_time_to_live_is_not_kept(self, cache: Cache) -> None:
        await cache.set("key", b"old", ttl_s=60)
        await cache.set("key", b"value", ttl_s=0)
        assert await cache.get("key") is None

    @pytest.mark.parametrize("value", [b"", b"\x00\xff" * 50_000, "ü".encode()])
    async def test_any_bytes_are_kept_as_they_are(self, cache: Cache, value: bytes) -> None:
        await cache.set("a key/with: any * text\nü", value, ttl_s=60, tags=["a tag/with: any * text\nü"])
        assert await cache.get("a key/with: any * text\nü") == value

    async def test_a_value_is_replaced_with_its_time_and_its_tags(self, cache: Cache, elapse: Elapse) -> None:
        await cache.set("key", b"old", ttl_s=1, tags=["old"])
        await cache.set("key", b"new", ttl_s=60, tags=["new"])
        await elapse(1.1)
        await cache.forget("old")
        assert await cache.get("key") == b"new"
        await cache.forget("new")
        assert await cache.get("key") is None

    async def test_what_was_deleted_is_gone_and_deleting_again_is_no_error(self, cache: Cache) -> None:
        await cache.set("key", b"value", ttl_s=60)
        await cache.delete("key")
        await cache.delete("key")
        assert await cache.get("key") is None

    async def test_all_of_a_tag_are_forgotten_together_and_no_others(self, cache: Cache) -> None:
        await cache.set("a", b"1", ttl_s=60, tags=["red", "round"])
        await cache.set("b", b"2", ttl_s=60, tags=["red"])
        await cache.set("c", b"3", ttl_s=60, tags=["round"])
        await cache.set("d", b"4", ttl_s=60)
        await cache.forget("red")
        await cache.forget("unknown")
        assert [await cache.get(key) for key in "abcd"] == [None, None, b"3", b"4"]
        await cache.set("a", b"5", ttl_s=60, tags=["red"])
        assert await cache.get("a") == b"5"

    async def test_many_at_once_do_not_mix_up(self, cache: Cache) -> None:
        async def one(number: int) -> None:
            key, value = f"key-{number}", str(number).encode()
            await cache.set(key, value, ttl_s=60, tags=[f"tag-{number % 2}"])
            assert await cache.get(key) == value

        await asyncio.gather(*(one(number) for number in range(50)))
        await cache.forget("tag-0")
        kept = [number for number in range(50) if await cache.get(f"key-{number}") is not None]
        assert kept == list(range(1, 50, 2))
