"""Each plugin at the door is turned off, on, and replaced by a stranger's few lines, which know core.plugin alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from core.plugin import (
    Authenticator,
    Phase,
    Plugin,
    Policy,
    Principal,
    PrincipalKind,
    Role,
    Steps,
    TooManyRequests,
    call_of_request,
    from_aiohttp,
    hookimpl,
)
from core.testing import Answer, Running, StartPlantroom

AUTH = "auth: {password: {memory: 7168, iterations: 1, parallelism: 1}}"
OURS = f"plugins: {{{AUTH}, ratelimit: , security: }}"
BADGE = {"X-Badge": "ada"}
MOST = 3


class Badges(Plugin[dict]):
    """Knows whoever wears a badge, as an operator."""

    api_version = 2

    @hookimpl
    def register_authenticators(self):
        return [Authenticator("badge", self.read)]

    def read(self, call):
        name = call.headers.get("X-Badge")
        return None if name is None else Principal(f"badge:{name}", name, Role.OPERATOR, PrincipalKind.CERTIFICATE)


class Ration(Plugin[dict]):
    """Lets each principal ask three times, and never again."""

    api_version = 2

    @hookimpl
    def register_middlewares(self):
        self.asked: Counter[str] = Counter()
        return [Policy(Phase.RATE_LIMIT, lambda route: Steps(before=self.count), errors=(TooManyRequests,))]

    def count(self, call):
        who = call.principal.id if call.principal else call.client
        self.asked[who] += 1
        if self.asked[who] > MOST:
            raise TooManyRequests("You have asked three times.", headers={"Retry-After": "60"})


class Turnstile(Plugin[dict]):
    """Does the same as ordinary middleware of aiohttp does it."""

    api_version = 2

    @hookimpl
    def register_middlewares(self):
        self.asked: Counter[str] = Counter()
        return [from_aiohttp(Phase.RATE_LIMIT, self.turn)]

    async def turn(self, request, handler):
        principal = call_of_request(request).principal
        who = principal.id if principal else str(request.remote)
        self.asked[who] += 1
        if self.asked[who] > MOST:
            raise web.HTTPTooManyRequests(text="You have asked three times.", headers={"Retry-After": "60"})
        return await handler(request)


class Manners(Plugin[dict]):
    """Says one thing to browsers, on every answer."""

    api_version = 2

    @hookimpl
    def register_middlewares(self):
        return [
            Policy(Phase.HEADERS, lambda route: Steps(headers={"X-Frame-Options": "SAMEORIGIN", "X-House": "open"}))
        ]


THEIRS: Mapping[str, type[Plugin[Any]]] = {
    "badges": Badges,
    "ration": Ration,
    "turnstile": Turnstile,
    "manners": Manners,
}


class House:
    """A Plantroom whose door changes while it runs."""

    def __init__(self, running: Running, folder: Path) -> None:
        self.running = running
        self._key_file = folder / "data" / "admin-key"

    @property
    def key(self) -> dict[str, str]:
        return {"X-API-Key": self._key_file.read_text(encoding="utf-8").strip()}

    async def ask(self, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.running.api.get("/api/v1/devices", headers=headers)

    async def statuses(self, headers: Mapping[str, str] | None = None, *, times: int = MOST + 2) -> list[int]:
        return [(await self.ask(headers)).status for _ in range(times)]

    async def doors(self) -> dict[str, bool]:
        """Tell which of our plugins is seen at work, by what somebody unknown is answered."""
        answer = await self.ask()
        return {
            "auth": answer.status == 401,
            "ratelimit": "RateLimit" in answer.headers,
            "security": answer.headers.get("X-Frame-Options") == "DENY",
        }


@pytest.fixture
async def house(plantroom: StartPlantroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.delenv("PLANTROOM_API_KEY", raising=False)
    return House(await plantroom(OURS, plugins=THEIRS), tmp_path)


ALL = dict.fromkeys(("auth", "ratelimit", "security"), True)


@pytest.mark.parametrize("name", ALL)
async def test_each_is_turned_off_and_on_by_reload_and_the_others_work_on(house: House, name: str) -> None:
    assert await house.doors() == ALL
    for line in (f"{name}: {{enabled: false}}", None):
        others = [each for each in (AUTH, "ratelimit: ", "security: ") if not each.startswith(name)]
        await house.running.reload(f"plugins: {{{', '.join(others if line is None else [*others, line])}}}")
        assert await house.doors() == {**ALL, name: False}, line
        assert (await house.ask(house.key)).status == 200
        await house.running.reload(OURS)
        assert await house.doors() == ALL
    assert (await house.ask(BADGE)).status == 401
    assert (await house.ask(house.key)).status == 200


async def test_a_house_with_none_of_them_runs_and_may_have_all_by_a_reload(
    plantroom: StartPlantroom, tmp_path: Path
) -> None:
    house = House(await plantroom("plugins: {}"), tmp_path)
    assert await house.doors() == dict.fromkeys(ALL, False)
    assert (await house.ask()).status == 200
    await house.running.reload(OURS)
    assert await house.doors() == ALL
    assert (await house.ask(house.key)).status == 200


@pytest.mark.parametrize("entry", ["badges: ", "door: {use: badges}"])
async def test_a_stranger_s_authenticator_takes_the_place_of_ours(house: House, entry: str) -> None:
    await house.running.reload(f"plugins: {{{entry}, ratelimit: , security: }}")
    assert (await house.ask()).status == 401
    answer = await house.ask(BADGE)
    assert (answer.status, answer.headers["RateLimit-Policy"]) == (200, '"default";q=200;w=2')
    assert (await house.running.api.post("/api/v1/system/reload", headers=BADGE)).status == 403, (
        "roles are as they were"
    )
    assert (await house.ask(house.key)).status == 401, "keys are ours, who have gone"
    document = await house.running.get("/api/v1/openapi.json")
    assert "/api/v1/auth/login" not in document["paths"]
    await house.running.reload(OURS)
    assert (await house.ask(BADGE)).status == 401
    assert (await house.ask(house.key)).status == 200


@pytest.mark.parametrize("name", ["ration", "turnstile"])
async def test_a_stranger_s_limiter_takes_the_place_of_ours(house: House, name: str) -> None:
    await house.running.reload(f"plugins: {{{AUTH}, {name}: , security: }}")
    assert await house.statuses(house.key) == [200] * MOST + [429] * 2
    refused = await house.ask(house.key)
    assert (refused.json["code"], refused.headers["Retry-After"]) == ("request.too_many", "60")
    assert refused.headers["X-Frame-Options"] == "DENY" and "RateLimit" not in refused.headers
    assert (await house.ask()).status == 401, "who is unknown never came as far as to be counted"
    await house.running.reload(OURS)
    assert await house.statuses(house.key) == [200] * (MOST + 2)


async def test_a_stranger_s_headers_take_the_place_of_ours(house: House) -> None:
    await house.running.reload(f"plugins: {{{AUTH}, ratelimit: , manners: }}")
    for answer in (await house.ask(house.key), await house.ask(), await house.running.api.get("/nowhere")):
        assert (answer.headers["X-Frame-Options"], answer.headers["X-House"]) == ("SAMEORIGIN", "open")
        assert "Content-Security-Policy" not in answer.headers
    await house.running.reload(OURS)
    assert await house.doors() == ALL


async def test_all_of_a_stranger_s_make_a_door_without_any_of_ours(house: House) -> None:
    await house.running.reload("plugins: {badges: , turnstile: , manners: }")
    assert await house.statuses(BADGE) == [200] * MOST + [429] * 2
    stranger = await house.ask()
    assert (stranger.status, stranger.headers["X-House"]) == (401, "open")


async def test_ours_and_theirs_work_side_by_side(house: House) -> None:
    both = f"plugins: {{{AUTH}, badges: , ratelimit: , ration: , turnstile: , security: , manners: }}"
    await house.running.reload(both)
    for headers in (house.key, BADGE):
        first = await house.ask(headers)
        assert first.status == 200 and "RateLimit" in first.headers
        assert {"X-House", "Content-Security-Policy"} <= set(first.headers)
        assert await house.statuses(headers) == [200] * (MOST - 1) + [429] * 3
    assert (await house.ask()).status == 401
    await house.running.reload(OURS)
    assert (await house.ask(BADGE)).status == 401
    assert await house.statuses(house.key) == [200] * (MOST + 2)
