"""Attacks by guessing, against the real process: passwords, codes, names; from one address, and from ten thousand."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pyotp
import pytest
from e2e.door import BEHIND_A_PROXY, CHEAP, PASSWORD, Browser, Door, client_from, from_, opened
from e2e.program import StartProgram

from core.testing import Answer

AUTH = "/api/v1/auth"
OWN = from_("10.0.0.1")
FREE_HERE, FREE_OF_ADDRESS = 5, 20
ADDRESSES = 10_000
GROWTH_MOST = 48 * 1024 * 1024


@pytest.fixture
async def door(start: StartProgram, tmp_path: Path) -> AsyncIterator[Door]:
    """Run behind a proxy that is believed, so that anybody can be anywhere."""
    async with opened(start, tmp_path, BEHIND_A_PROXY) as guarded:
        yield guarded


def place(number: int) -> dict[str, str]:
    """Say that a request is from the so-manieth of many addresses."""
    return from_(f"100.64.{number // 250}.{number % 250 + 1}")


# who is there


async def test_a_name_is_not_told_apart_from_a_wrong_password_by_anything_in_the_answer(door: Door) -> None:
    await door.make_user("ada")
    await door.make_user("disabled")
    await door.admin("PATCH", f"{AUTH}/users/disabled", {"disabled": True})
    await door.make_user("careful")
    await with_second_factor(door, "careful")
    attempts: dict[str, dict[str, Any]] = {
        "wrong password": {"name": "ada", "password": "wrong"},
        "unknown user": {"name": "nobody", "password": "wrong"},
        "no name at all": {"name": "", "password": "wrong"},
        "no password": {"name": "ada", "password": ""},
        "disabled, right password": {"name": "disabled", "password": PASSWORD},
        "right password, no code": {"name": "careful", "password": PASSWORD},
        "right password, wrong code": {"name": "careful", "password": PASSWORD, "code": "000000"},
        "wrong password, wrong code": {"name": "careful", "password": "wrong", "code": "000000"},
        "a code that nobody asks for": {"name": "ada", "password": "wrong", "code": "000000"},
    }
    answers = {
        what: await door.login(**attempt, headers=place(number))
        for number, (what, attempt) in enumerate(attempts.items())
    }
    shown = {what: looks(answer) for what, answer in answers.items()}
    assert {what: look for what, look in shown.items() if look != shown["unknown user"]} == {}
    assert answers["unknown user"].status == 401 and answers["unknown user"].json["code"] == "auth.sign_in_failed"


def looks(answer: Answer) -> Any:
    """Return what can be seen of an answer, but the request's own number and the time."""
    body = {name: value for name, value in answer.json.items() if name != "request_id"}
    kept = [(name.lower(), value) for name, value in answer.headers.items()]
    return answer.status, body, sorted(pair for pair in kept if pair[0] not in ("x-request-id", "date"))


async def test_nor_by_the_lock_out_that_follows(door: Door) -> None:
    await door.make_user("ada")
    answers: dict[str, list[tuple[int, str]]] = {"ada": [], "nobody": []}
    for _turn, name in itertools.product(range(FREE_HERE + 2), answers):
        answer = await door.login(name, "wrong", headers=place(len(name)))
        answers[name].append((answer.status, answer.json["code"]))
    assert answers["ada"] == answers["nobody"]
    assert answers["ada"][-1] == (429, "auth.locked")


async def test_nor_by_the_time_that_it_takes(start: StartProgram, tmp_path: Path) -> None:
    """Compare the medians of interleaved attempts in random order, at argon2's real cost.

    Where no password were hashed for one of them, it would take a hundredth of the time: what is let pass here is what
    a busy machine does, and a tenth of what an attacker needs.
    """
    real = BEHIND_A_PROXY.replace(f"auth: {CHEAP}", "auth: ")
    assert real != BEHIND_A_PROXY
    async with opened(start, tmp_path, real) as door:
        await door.make_user("ada")
        await door.make_user("disabled")
        await door.admin("PATCH", f"{AUTH}/users/disabled", {"disabled": True})
        attempts = [("ada", "wrong"), ("nobody", "wrong"), ("disabled", PASSWORD), ("x" * 200, "w" * 200)]
        took: dict[str, list[float]] = {name: [] for name, _password in attempts}
        number = itertools.count()
        for _round in range(12):
            for name, password in random.sample(attempts, len(attempts)):
                began = time.perf_counter()
                answer = await door.login(name, password, headers=place(next(number)))
                took[name].append(time.perf_counter() - began)
                assert answer.status == 401
        medians = {name[:8]: statistics.median(seconds) for name, seconds in took.items()}
        assert max(medians.values()) < 1.5 * min(medians.values()), medians


# who is locked out


async def test_an_attacker_at_many_addresses_keeps_nobody_out(door: Door) -> None:
    await door.make_user("ada")
    await door.browser(headers=OWN)
    attack = await asyncio.gather(*(door.login("ada", "wrong", headers=place(n)) for n in range(200)))
    assert Counter(answer.status for answer in attack).keys() <= {401, 503}
    assert (await door.login(headers=OWN)).status == 200, "from an address that is known"
    assert (await door.login(headers=from_("10.0.0.2"))).status == 200, "and from one that is not, the first time"
    again = [(await door.login("ada", "wrong", headers=place(0))).status for _ in range(3)]
    assert again[-1] == 429, "but each address of the attacker has one attempt at a time"


async def test_an_attacker_at_one_address_locks_an_account_for_no_other_address(door: Door) -> None:
    await door.make_user("ada")
    statuses = [(await door.login("ada", "wrong", headers=place(1))).status for _ in range(FREE_HERE + 3)]
    assert statuses == [401] * FREE_HERE + [429] * 3
    assert (await door.login(headers=place(1))).status == 429, "not even with the right password"
    assert (await door.login(headers=place(2))).status == 200
    assert (await door.ask("GET", "/api/v1", headers={"X-API-Key": door.key, **place(1)})).status == 200


async def test_trying_one_password_with_many_names_from_one_address_becomes_slow(door: Door) -> None:
    await door.make_user("ada")
    await door.browser(headers=OWN)
    answers = [await door.login(f"user{n}", PASSWORD, headers=place(1)) for n in range(FREE_OF_ADDRESS + 20)]
    assert Counter(answer.status for answer in answers) == {401: FREE_OF_ADDRESS, 429: 20}
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert (await door.login(headers=OWN)).status == 200


async def test_forged_forwarding_headers_change_neither_lock_out_nor_limits(
    start: StartProgram, tmp_path: Path
) -> None:
    strict = BEHIND_A_PROXY.replace("100000/s", "1/day, burst: 10")
    async with opened(start, tmp_path, strict) as door:
        stranger = "127.0.0.9"
        forged = [place(n) for n in range(FREE_HERE + 3)]
        statuses = [(await door.login("ada", "wrong", headers=each, peer=stranger)).status for each in forged]
        assert statuses == [401] * FREE_HERE + [429] * 3
        keys = [
            (await door.ask("GET", "/api/v1", headers={"X-API-Key": "wrong", **place(n)}, peer=stranger)).status
            for n in range(10)
        ]
        assert keys == [401] * 5 + [429] * 5, "ten failures a day, of which signing in took five"
        logged = {line["address"] for line in door.program.logged("sign_in_failed")}
        assert logged == {stranger}
        behind = [(await door.login("ada", "wrong", headers=each)).status for each in forged]
        assert behind == [401] * len(forged), "a proxy that is trusted tells them apart"


# second factors


async def with_second_factor(door: Door, name: str) -> tuple[Browser, pyotp.TOTP, list[str]]:
    """Put a second factor on; returns a session, what makes codes, and the recovery codes."""
    browser = await door.browser(name, headers=OWN)
    begun = await door.ask("POST", f"{AUTH}/me/totp", headers={**browser.headers, **OWN})
    totp = pyotp.TOTP(begun.json["secret"])
    confirmed = await door.ask(
        "POST", f"{AUTH}/me/totp/confirm", {"code": totp.at(time.time() - 30)}, headers={**browser.headers, **OWN}
    )
    assert confirmed.status == 200, confirmed.text
    return browser, totp, confirmed.json["recovery_codes"]


async def test_a_code_is_good_once_and_so_is_a_recovery_code(door: Door) -> None:
    await door.make_user("ada")
    _browser, totp, recovery = await with_second_factor(door, "ada")
    code = totp.now()
    statuses = [(await door.login(code=code, headers=OWN)).status for _ in range(2)]
    assert statuses == [200, 401]
    assert (await door.login(code=totp.at(time.time() - 30), headers=OWN)).status == 401, "nor one from before it"
    at_once = await asyncio.gather(*(door.login(code=recovery[0], headers=place(n)) for n in range(4)))
    assert Counter(answer.status for answer in at_once) == {200: 1, 401: 3}
    assert (await door.login(code=recovery[0].upper().replace("-", " "), headers=OWN)).status == 401
    assert (await door.login(code=recovery[1].upper().replace("-", " "), headers=OWN)).status == 200


async def test_who_has_the_password_cannot_try_codes_from_ever_new_addresses(door: Door) -> None:
    await door.make_user("ada")
    _browser, totp, recovery = await with_second_factor(door, "ada")
    for number in range(6):
        assert (await door.login(code="000000", headers=place(number))).status == 401
    assert (await door.login(code=totp.now(), headers=place(50))).status == 401, "it was not looked at"
    assert (await door.login(code=recovery[0], headers=OWN)).status == 200, "at an address that is known it is"


# floods


async def test_limits_are_exact_to_one_request_under_64_connections_at_once(
    start: StartProgram, tmp_path: Path
) -> None:
    exact = (
        f"http: {{trusted_proxies: [127.0.0.1]}}\nplugins: {{auth: {CHEAP}, ratelimit: "
        "{keys: {exact: {rate: 1/day, burst: 100}}, anonymous: {rate: 1/day, burst: 70}, "
        "failed: {rate: 1/day, burst: 30}}}"
    )
    async with opened(start, tmp_path, exact) as door, client_from("127.0.0.1", connections=64) as client:
        key = (await door.made("/api-keys", {"name": "exact", "role": "viewer"}))["key"]
        for path, headers, good, most in (
            ("/api/v1/devices", {"X-API-Key": key}, 200, 100),
            ("/api/v1/devices", {"X-API-Key": "wrong"}, 401, 30),
            ("/api/v1/errors", place(9), 200, 70),
        ):
            counts = await statuses(client, ((door.url + path, headers) for _ in range(400)))
            assert counts == {good: most, 429: 400 - most}, path


async def statuses(client: Any, requests: Iterable[tuple[str, dict[str, str]]], *, method: str = "GET") -> Counter[int]:
    """Ask over 64 connections at once, each one request after the other, and count the answers."""
    counts: Counter[int] = Counter()
    rest = iter(requests)

    async def connection() -> None:
        for url, headers in rest:
            body = {"name": "ada", "password": "wrong"} if method == "POST" else None
            async with client.request(method, url, headers=headers, json=body) as answer:
                await answer.read()
                counts[answer.status] += 1

    await asyncio.gather(*(connection() for _ in range(64)))
    return counts


async def test_twenty_failures_a_minute_are_all_that_an_address_has_and_a_valid_key_there_has_its_own(
    start: StartProgram, tmp_path: Path
) -> None:
    async with opened(start, tmp_path, f"plugins: {{auth: {CHEAP}, ratelimit: }}") as door:
        failures = [await door.ask("GET", "/api/v1", headers={"X-API-Key": f"wrong {n}"}) for n in range(30)]
        assert [answer.status for answer in failures] == [401] * 20 + [429] * 10
        assert int(failures[-1].headers["Retry-After"]) in (2, 3)
        assert (await door.ask("GET", "/api/v1")).status == 429, "nothing at all is a failure, too"
        assert (await door.login("ada", PASSWORD)).status == 429
        assert await door.status_of(door.key) == 200
        assert (await door.ask("GET", "/healthz")).status == 200
        assert await door.status_of("wrong", peer="127.0.0.9") == 401, "another address has its own"


async def test_ten_thousand_addresses_take_a_bounded_memory_and_nobody_else_s_place(
    start: StartProgram, tmp_path: Path
) -> None:
    slow = BEHIND_A_PROXY.replace("100000/s", "1/h, burst: 2")
    async with opened(start, tmp_path, slow) as door, client_from("127.0.0.1") as client:
        await door.make_user("ada")
        await door.browser(headers=OWN)
        await flood(door, client, range(ADDRESSES, ADDRESSES + 500))  # what is taken once, whoever comes
        before = await resident_bytes(door)
        counts = await flood(door, client, range(ADDRESSES))
        grown = await resident_bytes(door) - before
        assert counts["key"] == {401: ADDRESSES} and counts["public"] == {200: ADDRESSES}
        assert counts["login"].keys() <= {401, 429, 503}
        assert grown < GROWTH_MOST, f"{grown / ADDRESSES:.0f} bytes for each address"
        for _ in range(2):  # a sign-in that came too soon to be looked at has left one of the two failures
            again = await statuses(client, ((f"{door.url}/api/v1", place(n)) for n in range(0, ADDRESSES, 100)))
        assert again == {429: 100}, "what an address has used was not forgotten for the others"
        assert (await door.login(headers=OWN)).status == 200


async def flood(door: Door, client: Any, numbers: range) -> dict[str, Counter[int]]:
    """Ask from many addresses: with a wrong key, for what is public, and with a wrong password."""
    wrong = ((f"{door.url}/api/v1", {"X-API-Key": "wrong", **place(n)}) for n in numbers)
    public = ((f"{door.url}/api/v1/errors/auth.required", place(n)) for n in numbers)
    logins = ((f"{door.url}{AUTH}/login", place(n)) for n in numbers)
    return {
        "key": await statuses(client, wrong),
        "public": await statuses(client, public),
        "login": await statuses(client, logins, method="POST"),
    }


async def resident_bytes(door: Door) -> float:
    """Read the process's memory from its own figures."""
    lines = (await door.admin("GET", "/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith("process_resident_memory_bytes ")).split()[1])
