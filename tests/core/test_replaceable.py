"""Who comes in, how often, and what browsers are told: each can be off, on, and another plugin's, by hooks alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

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
    from_aiohttp,
    hookimpl,
)

HEADER = "X-Content-Type-Options"
REMAINING = "RateLimit"


class Badges(Plugin[Any]):
    """Knows whoever shows a badge."""

    @hookimpl
    def register_authenticators(self):
        return [Authenticator("badge", self.badge)]

    def badge(self, call):
        return Principal("badge:7", "ada", Role.ADMIN, PrincipalKind.USER) if call.headers.get("X-Badge") else None


class Three(Plugin[Any]):
    """Lets everybody ask three times, as a policy."""

    @hookimpl
    def register_middlewares(self):
        self.asked: Counter[str] = Counter()
        return [Policy(Phase.RATE_LIMIT, lambda _route: Steps(before=self.count), errors=(TooManyRequests,))]

    def count(self, call):
        self.asked[call.client] += 1
        if self.asked[call.client] > 3:
            raise TooManyRequests("Three times is enough.")


class ThreeByMiddleware(Three):
    """The same as ordinary middleware of aiohttp's."""

    @hookimpl
    def register_middlewares(self):
        self.asked = Counter()
        return [from_aiohttp(Phase.RATE_LIMIT, self.wrap)]

    async def wrap(self, request, handler):
        self.asked["all"] += 1
        if self.asked["all"] > 3:
            raise TooManyRequests("Three times is enough.")
        return await handler(request)


class Sniffing(Plugin[Any]):
    """Says something else to browsers."""

    @hookimpl
    def register_middlewares(self):
        return [Policy(Phase.HEADERS, lambda _route: Steps(headers={HEADER: "by-another"}))]


OURS = {"auth", "ratelimit", "security"}


@pytest.mark.parametrize("off", sorted(OURS))
async def test_each_is_on_by_its_name_and_off_without(plantroom, off: str):
    running = await plantroom("plugins: {" + ", ".join(f"{each}: " for each in sorted(OURS - {off})) + "}")
    answer = await running.api.get("/api/v1/devices")
    assert answer.status == (200 if off == "auth" else 401)
    assert (REMAINING in answer.headers) is (off != "ratelimit")
    assert (HEADER in answer.headers) is (off != "security")


async def test_another_plugin_says_who_comes_in(plantroom):
    api = (await plantroom("plugins: {badges: , ratelimit: , security: }", plugins={"badges": Badges})).api
    assert (await api.get("/api/v1/devices")).status == 401
    answer = await api.get("/api/v1/devices", headers={"X-Badge": "7"})
    assert (answer.status, answer.headers[HEADER], REMAINING in answer.headers) == (200, "nosniff", True)


async def test_another_plugin_stands_beside_ours(plantroom, monkeypatch):
    key = "a-key-of-at-least-thirty-two-characters"
    monkeypatch.setenv("PLANTROOM_API_KEY", key)
    api = (await plantroom("plugins: {badges: , auth: }", plugins={"badges": Badges})).api
    for headers, status in (({}, 401), ({"X-Badge": "7"}, 200), ({"X-API-Key": key}, 200), ({"X-API-Key": "x"}, 401)):
        assert (await api.get("/api/v1/devices", headers=headers)).status == status


@pytest.mark.parametrize("limiter", [Three, ThreeByMiddleware])
async def test_another_plugin_limits(plantroom, limiter: type[Plugin[Any]]):
    api = (await plantroom("plugins: {badges: , three: }", plugins={"badges": Badges, "three": limiter})).api
    statuses = [(await api.get("/api/v1/devices", headers={"X-Badge": "7"})).status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


async def test_another_plugin_tells_browsers(plantroom):
    api = (await plantroom("plugins: {sniffing: }", plugins={"sniffing": Sniffing})).api
    assert (await api.get("/healthz")).headers[HEADER] == "by-another"


async def test_a_reload_puts_one_in_the_place_of_the_other(plantroom):
    running = await plantroom("plugins: {security: }", plugins={"sniffing": Sniffing, "badges": Badges})
    assert (await running.api.get("/healthz")).headers[HEADER] == "nosniff"
    await running.reload("plugins: {sniffing: }")
    assert (await running.api.get("/healthz")).headers[HEADER] == "by-another"
    await running.reload("plugins: {badges: }")
    assert HEADER not in (await running.api.get("/healthz")).headers
    assert (await running.api.get("/api/v1/devices")).status == 401
    assert (await running.api.get("/api/v1/devices", headers={"X-Badge": "7"})).status == 200
