from __future__ import annotations

import asyncio
from collections import Counter

from core.testing import ManualClock

from .house import ANOTHER, House, OpenHouse

BEHIND_PROXY = """
http: {trusted_proxies: [127.0.0.1]}
plugins: {auth: {password: {memory: 7168, iterations: 1, parallelism: 1}}}
"""


def from_(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def test_an_attacker_locks_himself_out_and_nobody_else(open_house: OpenHouse, clock: ManualClock) -> None:
    house = await open_house(BEHIND_PROXY)
    await house.make_user()
    await house.browser(headers=from_("10.0.0.1"))
    statuses = [(await house.login("ada", "wrong", headers=from_("192.0.2.1"))).status for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    for number in range(2, 40):
        await house.login("ada", "wrong", headers=from_(f"192.0.2.{number}"))
    locked = await house.login("ada", "wrong", headers=from_("192.0.2.39"))
    assert (locked.status, locked.json["code"]) == (429, "auth.locked")
    assert int(locked.headers["Retry-After"]) > 1
    assert (await house.login(headers=from_("10.0.0.1"))).status == 200
    assert (await house.login(headers=from_("10.0.0.2"))).status == 200


async def test_forged_forwarding_headers_give_no_new_budget(house: House) -> None:
    await house.make_user()
    statuses = [(await house.login("ada", "wrong", headers=from_(f"192.0.2.{n}"))).status for n in range(7)]
    assert statuses == [401] * 5 + [429] * 2


async def test_of_many_guesses_at_once_no_more_are_looked_at_than_of_many_in_turn(house: House) -> None:
    await house.make_user()
    answers = await asyncio.gather(*(house.login("ada", f"wrong {n}") for n in range(30)))
    assert Counter(answer.status for answer in answers) == {401: 5, 429: 25}


async def test_another_password_set_by_an_admin_lets_one_in_at_once(house: House) -> None:
    await house.make_user()
    for _ in range(6):
        answer = await house.login("ada", "wrong")
    assert answer.status == 429
    await house.admin("PATCH", "/users/ada", {"password": ANOTHER})
    assert (await house.login("ada", ANOTHER)).status == 200


async def test_a_flood_of_sign_ins_is_turned_away_before_it_takes_the_memory(house: House) -> None:
    answers = await asyncio.gather(*(house.login(f"user{n}", "wrong") for n in range(60)))
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) <= {401, 429, 503}
    assert statuses[401] <= 20  # so many failures an address has
    assert (await house.admin("GET", "/me")).status == 200
