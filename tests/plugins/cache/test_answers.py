"""The cache in a house that is served: what is given again, to whom, and for how long."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import aiohttp
import pytest
from aiohttp import web

from core.plugin import (
    Authenticator,
    Cached,
    Inventory,
    NotFound,
    Plugin,
    Principal,
    PrincipalKind,
    Reply,
    Role,
    Route,
    Scope,
    call_of,
    hookimpl,
)
from core.testing import ManualClock, Running, StartPlantroom
from plugins.cache import CachePlugin
from plugins.cache.answers import Answers
from plugins.cache.config import AnswersConfig

KEYS = {
    "ada": Principal("key:1", "ada", Role.ADMIN, PrincipalKind.KEY),
    "bob": Principal("key:2", "bob", Role.VIEWER, PrincipalKind.KEY),
    "eve": Principal("key:3", "eve", Role.VIEWER, PrincipalKind.KEY, Scope(devices=("rooms.2",))),
}


class Rooms(Plugin[dict]):
    """Two devices with points, and routes that count how often they are called."""

    schema: ClassVar = {}
    api_version = 2

    def __init__(self, config, ctx):
        super().__init__(config, ctx)
        self.devices = [ctx.device(number) for number in "12"]
        self.points = {device: [device.point(name) for name in ("a", "b")] for device in self.devices}
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()
        self.state = 0
        self.error: Exception | None = None
        self.raw = False

    @hookimpl
    def register_points(self):
        return [Inventory(device, points) for device, points in self.points.items()]

    @hookimpl
    def register_authenticators(self):
        return [Authenticator("keys", lambda call: KEYS.get(call.headers.get("X-API-Key", "")))]

    @hookimpl
    def register_routes(self):
        options: dict[str, Any] = {"errors": (NotFound,)}
        return [
            Route("GET", "/count", self.count, "Count", cached=Cached(10.0), **options),
            Route("GET", "/state", self.count, "Count by state", cached=Cached(10.0, lambda: self.state)),
            Route("GET", "/plain", self.count, "Count each", **options),
            Route("GET", "/public", self.count, "Count for all", role=None, cached=Cached(10.0)),
            Route("POST", "/count", self.count, "Change", cached=Cached(10.0)),
        ]

    async def count(self, _request):
        self.calls += 1
        calls = self.calls
        self.began.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        if self.raw:
            return web.json_response({"calls": calls})
        return {"calls": calls}


PLUGINS = {"rooms": Rooms, "cache": CachePlugin}


class House:
    """A house with a cache, and what it answers."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.rooms: Rooms = running.plugin("rooms").instance  # type: ignore[assignment]
        self.cache: CachePlugin = running.plugin("cache").instance  # type: ignore[assignment]

    async def ask(
        self, path: str, key: str | None = "ada", *, method: str = "GET", **headers: str
    ) -> tuple[aiohttp.ClientResponse, Any]:
        sent = {
            **({"X-API-Key": key} if key else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        async with self.running.client.request(method, path, headers=sent) as response:
            return response, await response.json(content_type=None) if method != "HEAD" else None

    async def calls(self, path: str = "/api/v1/rooms/count", key: str | None = "ada", **headers: str) -> int:
        return (await self.ask(path, key, **headers))[1]["calls"]

    async def outcome(self, path: str, key: str | None = "ada", **headers: str) -> tuple[int, str | None]:
        response, _body = await self.ask(path, key, **headers)
        return response.status, response.headers.get("Cache-Status")


@pytest.fixture
async def house(plantroom: StartPlantroom) -> House:
    return House(await plantroom("plugins: {rooms: , cache: }", plugins=PLUGINS, clock=ManualClock()))


MISS, HIT = "plantroom; fwd=miss", "plantroom; hit"


async def test_an_answer_is_given_again_until_its_time_is_over(house: House) -> None:
    assert [await house.outcome("/api/v1/rooms/count") for _ in range(3)] == [(200, MISS), (200, HIT), (200, HIT)]
    await house.running.clock.advance(9.9)
    assert await house.calls() == 1
    await house.running.clock.advance(0.2)
    assert await house.calls() == 2


async def test_the_log_says_where_an_answer_came_from(plantroom: StartPlantroom) -> None:
    house = House(await plantroom("plugins: {rooms: , cache: }", plugins=PLUGINS))
    for _ in range(2):
        await house.calls()
    await house.running.until(lambda: len(house.running.logged("request")) >= 2)
    assert [line["cache"] for line in house.running.logged("request")] == ["miss", "hit"]


async def test_an_answer_has_its_own_request_id_each_time_and_a_304_for_who_has_it(house: House) -> None:
    first, again = [(await house.ask("/api/v1/rooms/count"))[0] for _ in range(2)]
    assert first.headers["ETag"] == again.headers["ETag"]
    assert first.headers["X-Request-ID"] != again.headers["X-Request-ID"]
    for _ in range(2):
        assert await house.outcome("/api/v1/rooms/count", If_None_Match=first.headers["ETag"]) == (304, HIT)
    assert await house.outcome("/api/v1/rooms/count", If_None_Match='W/"other"') == (200, HIT)
    head, _none = await house.ask("/api/v1/rooms/count", method="HEAD")
    assert (head.headers["Cache-Status"], head.headers["Content-Length"]) == (HIT, first.headers["Content-Length"])


async def test_who_asks_with_an_etag_fills_the_cache_too(house: House) -> None:
    tag = (await house.ask("/api/v1/rooms/count"))[0].headers["ETag"]
    house.cache.answers.clear()
    house.rooms.calls = 0
    assert await house.outcome("/api/v1/rooms/count", If_None_Match=tag) == (304, MISS)
    assert await house.outcome("/api/v1/rooms/count", If_None_Match=tag) == (304, HIT)


async def test_no_answer_is_given_across_principals(house: House) -> None:
    assert [await house.calls(key=key) for key in ("ada", "bob", "ada", "bob")] == [1, 2, 1, 2]
    assert [await house.calls("/api/v1/rooms/public", key=None) for _ in range(2)] == [3, 3]
    for path in ("/api/v1/devices", "/api/v1/points"):
        seen = {}
        for key in ("ada", "eve", "bob", "eve", "ada"):
            seen[key] = [item["id"] for item in (await house.ask(path, key))[1]["items"]]
        assert seen["eve"] == [each for each in seen["ada"] if each.startswith("rooms.2")]
        assert len(seen["ada"]) == 2 * len(seen["eve"])
    assert await house.outcome("/api/v1/points/rooms.1.a", "ada") == (200, MISS)
    assert await house.outcome("/api/v1/points/rooms.1.a", "eve") == (403, None), "permission is asked first"
    assert await house.outcome("/api/v1/points/rooms.1.a", None) == (401, None)


async def test_somebody_whose_rights_change_is_somebody_else(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await house.calls(key="bob") == 1
    monkeypatch.setitem(KEYS, "bob", Principal("key:2", "bob", Role.OPERATOR, PrincipalKind.KEY))
    assert await house.calls(key="bob") == 2


async def test_each_query_and_each_path_has_its_own(house: House) -> None:
    assert await house.outcome("/api/v1/devices?limit=1") == (200, MISS)
    assert await house.outcome("/api/v1/devices?limit=2") == (200, MISS)
    assert await house.outcome("/api/v1/devices?limit=1") == (200, HIT)
    assert await house.outcome("/api/v1/devices?limit=0") == (422, MISS)
    assert await house.outcome("/api/v1/devices?limit=0") == (422, MISS), "a refusal is not kept"
    assert await house.outcome("/api/v1/devices/rooms.1") == (200, MISS)


async def test_what_is_not_said_to_be_kept_is_not(house: House) -> None:
    assert [await house.calls("/api/v1/rooms/plain") for _ in range(2)] == [1, 2]
    response, _body = await house.ask("/api/v1/rooms/plain")
    assert "Cache-Status" not in response.headers
    assert [(await house.ask("/api/v1/rooms/count", method="POST"))[1]["calls"] for _ in range(2)] == [4, 5]


async def test_an_answer_is_not_given_again_once_what_it_tells_has_changed(house: House) -> None:
    assert [await house.calls("/api/v1/rooms/state") for _ in range(2)] == [1, 1]
    house.rooms.state += 1
    assert [await house.calls("/api/v1/rooms/state") for _ in range(2)] == [2, 2]


async def test_a_client_sees_its_own_changes(house: House) -> None:
    async def name() -> list[str]:
        return [(await house.ask(path))[1]["name"] for path in ("/api/v1/points/rooms.1.a", "/api/v1/devices/rooms.1")]

    before = await name()
    assert await name() == before
    for path in ("/api/v1/points/rooms.1.a", "/api/v1/devices/rooms.1"):
        async with house.running.client.patch(path, json={"name": "new"}, headers={"X-API-Key": "ada"}) as response:
            assert response.status == 200
    assert await name() == ["new", "new"]


async def test_a_reading_that_changes_is_in_the_next_answer(house: House) -> None:
    [point, *_rest] = house.rooms.points[house.rooms.devices[0]]
    path = f"/api/v1/points/{point.id}"
    for value in (1.0, 2.0, 3.0):
        house.rooms.ctx.publish({point: value})
        assert (await house.ask(path))[1]["reading"]["value"] == value
        assert await house.outcome(path) == (200, HIT)
        assert (await house.ask("/api/v1/points"))[1]["items"][0]["reading"]["value"] == value


async def test_an_age_goes_on_while_the_answer_is_kept(house: House) -> None:
    [point, *_rest] = house.rooms.points[house.rooms.devices[0]]
    house.rooms.ctx.publish({point: 1.0})
    await house.running.clock.advance(30.0)
    ages = []
    for seconds in (0.0, 0.5, 0.4, 0.2):
        await house.running.clock.advance(seconds)
        ages.append(int((await house.ask(f"/api/v1/points/{point.id}"))[0].headers["Age"]))
    assert ages == [30, 30, 30, 31]


async def test_concurrent_misses_share_one_fill(house: House) -> None:
    house.rooms.gate.clear()
    asked = [asyncio.create_task(house.outcome("/api/v1/rooms/count")) for _ in range(20)]
    await house.rooms.began.wait()
    while house.running.kernel.server.connections < 20:
        await asyncio.sleep(0.01)
    house.rooms.gate.set()
    outcomes = await asyncio.gather(*asked)
    assert house.rooms.calls == 1
    assert {status for status, _how in outcomes} == {200}
    assert house.cache.answers.results["miss"] == 1
    assert house.cache.answers.results["shared"] + house.cache.answers.results["hit"] == 19


@asynccontextmanager
async def filling(house: House, path: str = "/api/v1/rooms/count") -> AsyncIterator[asyncio.Task[Any]]:
    """Have a request under way whose answer is not made yet."""
    house.rooms.gate.clear()
    house.rooms.began.clear()
    first = asyncio.create_task(house.ask(path))
    await asyncio.wait_for(house.rooms.began.wait(), 5)
    yield first
    house.rooms.gate.set()


async def until_waiting(house: House) -> None:
    async with asyncio.timeout(5):
        while not any(fill.done is not None for fill in house.cache.answers._under_way.values()):
            await asyncio.sleep(0.005)


async def test_who_comes_to_wait_when_the_answer_is_made_already_is_given_it() -> None:
    async def handler(_request: object) -> None: ...

    answers = Answers(AnswersConfig(), ManualClock())
    steps = answers.policy.compile(Route("GET", "/a", handler, "", cached=Cached(10.0)))
    assert steps is not None
    assert steps.before is not None
    assert steps.replied is not None
    first, second = call_of(), call_of()
    assert steps.before(first) is None
    waits = steps.before(second)
    assert inspect.isawaitable(waits)
    reply = Reply(200, b"made")
    steps.replied(first, reply)
    assert await asyncio.wait_for(waits, 1) is reply


async def test_a_fill_that_fails_fails_those_who_wait_and_is_not_kept(house: House) -> None:
    async with filling(house) as first:
        second = asyncio.create_task(house.ask("/api/v1/rooms/count"))
        await until_waiting(house)
        house.rooms.error = RuntimeError("a fault of the handler's")
    statuses = [(await each)[0].status for each in (first, second)]
    assert (statuses, house.rooms.calls) == ([500, 500], 1)
    house.rooms.error = None
    assert await house.calls() == 2


async def test_who_waits_is_answered_although_the_first_has_gone(house: House) -> None:
    async with filling(house) as first:
        second = asyncio.create_task(house.calls())
        await until_waiting(house)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert (await second, house.rooms.calls) == (1, 1)


async def test_who_waits_asks_for_itself_when_the_answer_is_nothing_to_share(house: House) -> None:
    async with filling(house) as first:
        others = [asyncio.create_task(house.calls()) for _ in range(3)]
        await until_waiting(house)
        house.rooms.raw = True
    assert (await first)[1] == {"calls": 1}
    assert {await each for each in others} == {2, 3, 4}


async def test_who_waits_too_long_asks_for_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.cache.answers.WAITS_AT_MOST_S", 0.05)
    async with filling(house) as first:
        second = asyncio.create_task(house.calls())
        await house.running.until(lambda: house.rooms.calls == 2)
    assert await second == 2
    assert (await first)[1]["calls"] == 1


async def test_who_asks_after_a_change_does_not_wait_for_what_was_begun_before_it(house: House) -> None:
    async with filling(house, "/api/v1/rooms/state") as first:
        house.rooms.state += 1
        house.rooms.gate.set()
        assert await house.calls("/api/v1/rooms/state") == 2
    assert (await first)[1]["calls"] == 1
    assert await house.calls("/api/v1/rooms/state") == 2, "the older answer has not replaced it"


async def test_who_waits_for_what_a_change_or_a_clearing_overtook_is_answered_by_it_all_the_same(house: House) -> None:
    for overtake in (lambda: setattr(house.rooms, "state", house.rooms.state + 1), house.cache.answers.clear):
        async with filling(house, "/api/v1/rooms/state") as first:
            second = asyncio.create_task(house.calls("/api/v1/rooms/state"))
            await until_waiting(house)
            overtake()
            third = asyncio.create_task(house.calls("/api/v1/rooms/state"))
            before = house.rooms.calls
            await house.running.until(lambda: house.rooms.calls > before)  # noqa: B023
        made = (await first)[1]["calls"]
        assert await asyncio.wait_for(second, 2) == made
        assert await third == made + 1
        assert await house.calls("/api/v1/rooms/state") == made + 1, "the newer one is kept"
        house.rooms.state += 1


async def test_an_unknown_id_is_remembered_until_it_is_there(house: House) -> None:
    path = "/api/v1/devices/rooms.3"
    assert [await house.outcome(path) for _ in range(2)] == [(404, MISS), (404, HIT)]
    one, other = [(await house.ask(path))[1] for _ in range(2)]
    assert one["request_id"] != other["request_id"]
    house.rooms.ctx.found(Inventory(house.rooms.ctx.device("3"), []))
    assert (await house.outcome(path))[0] == 200


async def test_unknown_ids_take_a_bounded_memory_and_nobody_elses_place(plantroom: StartPlantroom) -> None:
    yaml = "plugins: {rooms: , cache: {answers: {unknown: 10, entries: 5}}}"
    house = House(await plantroom(yaml, plugins=PLUGINS))
    await house.outcome("/api/v1/devices/rooms.1")
    for number in range(100, 150):
        assert (await house.outcome(f"/api/v1/devices/rooms.{number}"))[0] == 404
    assert house.cache.answers.entries == 11
    assert await house.outcome("/api/v1/devices/rooms.1") == (200, HIT)
    for number in range(1, 20):
        await house.outcome(f"/api/v1/devices?limit={number}")
    assert house.cache.answers.entries == 15


async def test_it_is_bounded_in_bytes(plantroom: StartPlantroom) -> None:
    house = House(await plantroom("plugins: {rooms: , cache: {answers: {size_mib: 1}}}", plugins=PLUGINS))
    for number in range(1, 1001):
        await house.outcome(f"/api/v1/points?limit={number}")
    assert 100_000 < house.cache.answers.size <= 1024 * 1024


@pytest.mark.parametrize("options", ["{answers: {enabled: false}}", "{answers: {longest: 0}}"])
async def test_answers_can_be_left_alone(plantroom: StartPlantroom, options: str) -> None:
    house = House(await plantroom(f"plugins: {{rooms: , cache: {options}}}", plugins=PLUGINS))
    assert [await house.calls() for _ in range(2)] == [1, 2]
    assert await house.outcome("/api/v1/devices") == (200, None)


async def test_a_reload_leaves_nothing_of_before(house: House) -> None:
    assert await house.calls() == 1
    await house.running.reload("plugins: {rooms: , cache: {answers: {longest: 5}}}")
    assert (await house.outcome("/api/v1/rooms/count"))[1] == MISS
    await house.running.reload("plugins: {rooms: }")
    assert (await house.outcome("/api/v1/rooms/count"))[1] is None


async def test_it_tells_how_it_does_and_can_be_cleared(house: House) -> None:
    for _ in range(3):
        await house.calls()
    cache = house.running.kernel.services.cache
    await cache.set("key", b"value", ttl_s=60)
    await cache.get("key")
    figures = (await house.ask("/api/v1/cache/figures"))[1]
    assert figures["answers"] | {"bytes": 0} == {"entries": 1, "bytes": 0, "hits": 2, "shared": 0, "misses": 1}
    assert figures["service"] | {"bytes": 0} == {"entries": 1, "bytes": 0, "hits": 1, "misses": 0, "evicted": 0}
    async with house.running.client.get("/metrics", headers={"X-API-Key": "ada"}) as response:
        text = await response.text()
    assert 'plantroom_cache_answers_total{plugin="cache",result="hit"} 2' in text
    assert 'plantroom_cache_values{plugin="cache"} 1' in text
    assert (await house.ask("/api/v1/cache/clear", "bob", method="POST"))[0].status == 403
    assert (await house.ask("/api/v1/cache/clear", method="POST"))[0].status == 204
    assert await cache.get("key") is None
    assert await house.calls() == 2


async def test_another_plugin_may_be_the_service_beside_it(plantroom: StartPlantroom) -> None:
    class Other(Plugin[dict]):
        @hookimpl
        def provide_cache(self):
            return self

        async def get(self, key):
            return b"other"

        async def set(self, key, value, *, ttl_s, tags=()):
            raise NotImplementedError

        async def delete(self, key):
            raise NotImplementedError

        async def forget(self, tag):
            raise NotImplementedError

    plugins = {**PLUGINS, "other": Other}
    running = await plantroom("plugins: {rooms: , other: , cache: {service: {enabled: false}}}", plugins=plugins)
    assert await running.kernel.services.cache.get("key") == b"other"
    assert (await House(running).outcome("/api/v1/rooms/count")) == (200, MISS)
