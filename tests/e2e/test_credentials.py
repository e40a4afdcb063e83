"""Attacks on keys, against the real process: what looks like one, what was one, and what carries one wrongly."""

from __future__ import annotations

import asyncio
import string
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from e2e.door import BEHIND_A_PROXY, COOKIE, GUARDED, Door, opened, shell
from e2e.program import StartProgram, until

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


@pytest.fixture
async def door(start: StartProgram, tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(start, tmp_path, GUARDED) as guarded:
        yield guarded


def with_checksum(body: str) -> str:
    """Write the checksum that a key of this body has."""
    rest, written = zlib.crc32(body.encode()), ""
    for _ in range(6):
        rest, index = divmod(rest, 62)
        written = BASE62[index] + written
    return body + written


def forgeries(key: str) -> list[str]:
    """Make keys that are nearly this one: every prefix, every bit flipped, and well-formed ones that nobody made."""
    octets = key.encode()
    flipped = [
        bytes([*octets[:at], octets[at] ^ 1 << bit, *octets[at + 1 :]]).decode("latin-1")
        for at in range(len(octets))
        for bit in range(7)
    ]
    body, key_id = key[:-6], key.split("_")[1]
    made = [
        with_checksum(f"plr_{key_id}_{'A' * 32}"),
        with_checksum(f"plr_{'0' * 12}_{body.split('_')[2]}"),
        with_checksum(body[:-1] + ("A" if body[-1] != "A" else "B")),
        body + "000000",
    ]
    other = [key.upper(), key.lower(), key + "A", "A" + key, key * 2, f"{key},{key}", f"Bearer {key}", key_id]
    return [*(key[:length] for length in range(len(key))), *flipped, *made, *other]


def fits_a_header(value: str) -> bool:
    return value.isprintable() and value == value.strip()


async def test_whatever_is_nearly_a_key_is_none(door: Door) -> None:
    key = (await door.make_key("admin"))["key"]
    assert with_checksum(key[:-6]) == key, "the forgeries are well-formed"
    forged = [each for each in forgeries(key) if each != key and fits_a_header(each)]
    assert len(forged) > 300
    for carried in (lambda each: {"X-API-Key": each}, lambda each: {"Authorization": f"Bearer {each}"}):
        # a key twice over is taken from no header; "Bearer <key>" is no key for X-API-Key, and none behind another one
        answers = await asyncio.gather(*(door.ask("GET", "/api/v1", headers=carried(each)) for each in forged))
        let_in = [each for each, answer in zip(forged, answers, strict=True) if answer.status != 401]
        assert let_in == []
        assert {answer.json["code"] for answer in answers} == {"auth.required"}
        assert {answer.headers["WWW-Authenticate"] for answer in answers} == {'Bearer realm="plantroom"'}
    assert await door.status_of(key) == 200


async def test_a_key_counts_in_its_two_headers_alone(door: Door) -> None:
    key = (await door.make_key())["key"]

    async def status(headers: Any, path: str = "/api/v1") -> int:
        return (await door.ask("GET", path, headers=headers)).status

    assert await status({"X-API-Key": key}) == await status({"authorization": f"bEARER  {key}"}) == 200
    for path in (f"/api/v1?api_key={key}", f"/api/v1?X-API-Key={key}", f"/api/v1?access_token={key}", f"/api/v1/{key}"):
        assert await status({}, path) == 401
    for headers in (
        {"Cookie": f"{COOKIE}={key}"}, {"Cookie": f"X-API-Key={key}"}, {"Authorization": key},
        {"Authorization": f"Basic {key}"}, {"Proxy-Authorization": f"Bearer {key}"}, {"X-Auth-Token": key},
    ):  # fmt: skip
        assert await status(headers) == 401, headers


@pytest.mark.parametrize("name", ["X-API-Key", "Authorization"])
async def test_two_credentials_in_one_request_are_none(door: Door, name: str) -> None:
    keys = [(await door.make_key(role))["key"] for role in ("viewer", "admin")]
    viewer, admin = [key if name == "X-API-Key" else f"Bearer {key}" for key in keys]
    wrong = admin[:-1] + ("A" if admin[-1] != "A" else "B")
    for first, second in ((viewer, admin), (admin, viewer), (wrong, admin), (admin, wrong), (admin, "Basic YTpi")):
        for _ in range(2):  # what was remembered of the first is not asked for less the second time
            answer = await door.ask("GET", "/api/v1/auth/users", headers=[(name, first), (name, second)])
            assert answer.status == 401, (name, first[:8], second[:8])
    assert (await door.ask("GET", "/api/v1/auth/users", headers={name: admin})).status == 200


async def test_a_wrong_key_is_not_made_good_by_a_session_or_another_header(door: Door) -> None:
    key = (await door.make_key("admin"))["key"]
    await door.make_user("ada", "admin")
    browser = await door.browser()
    for headers in (
        {"X-API-Key": "wrong", **browser.headers},
        {"Authorization": "Bearer wrong", **browser.headers},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {key}"},
    ):
        assert (await door.ask("GET", "/api/v1", headers=headers)).status == 401
    assert await door.is_open_to(browser)


Ended = Callable[[Door, Any], Awaitable[Any]]


async def revoked(door: Door, key: Any) -> None:
    assert (await door.admin("DELETE", f"/api/v1/auth/api-keys/{key['id']}")).status == 204


async def rotated(door: Door, key: Any) -> None:
    answer = await door.admin("POST", f"/api/v1/auth/api-keys/{key['id']}/rotate", {})
    assert await door.status_of(answer.json["key"]) == 200


def patched(**changes: Any) -> Ended:
    async def patch(door: Door, key: Any) -> None:
        answer = await door.admin("PATCH", f"/api/v1/auth/api-keys/{key['id']}", changes)
        assert answer.status == 200, answer.text

    return patch


ENDS: dict[str, Ended] = {
    "revoked": revoked,
    "rotated": rotated,
    "disabled": patched(enabled=False),
    "expired": patched(expires_at="2020-01-01T00:00:00Z"),
    "elsewhere": patched(networks=["10.0.0.0/8", "fd00::/8"]),
}


async def test_what_ends_a_key_ends_it_with_the_next_request_and_says_no_more_than_that(door: Door) -> None:
    unknown = await door.ask("GET", "/api/v1", headers={"X-API-Key": "plr_of_nobody"})
    for name, end in ENDS.items():
        made = await door.make_key()
        assert await door.status_of(made["key"]) == 200
        await end(door, made)
        answers = await asyncio.gather(*(door.ask("GET", "/api/v1", headers={"X-API-Key": made["key"]}) for _ in "ab"))
        for answer in answers:
            assert answer.status == 401, name
            assert said(answer) == said(unknown), "why a key is none is told to nobody"


def said(answer: Any) -> dict[str, Any]:
    return {name: value for name, value in answer.json.items() if name != "request_id"}


async def test_a_key_ends_by_itself_when_its_time_has_come(door: Door) -> None:
    made = await door.make_key(expires_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3)))
    assert await door.status_of(made["key"]) == 200
    await until(lambda: door.status_of(made["key"]), lambda status: status == 401, seconds=6, every=0.1)


async def test_a_key_works_from_its_networks_and_nobody_can_say_that_he_is_there(
    start: StartProgram, tmp_path: Path
) -> None:
    async with opened(start, tmp_path, BEHIND_A_PROXY) as door:
        headers = {"X-API-Key": (await door.make_key(networks=["10.1.0.0/16"]))["key"]}

        async def status(*hops: str, peer: str = "127.0.0.1") -> int:
            forwarded = [("X-Forwarded-For", hop) for hop in hops]
            return (await door.ask("GET", "/api/v1", headers=[*headers.items(), *forwarded], peer=peer)).status

        assert await status("10.1.2.3") == await status("192.0.2.1, 10.1.2.3") == 200
        assert await status("::ffff:10.1.2.3") == 200, "an address that is mapped into IPv6 is the same one"
        for hops in (("10.2.0.1",), (), ("10.1.2.3, 192.0.2.1",), ("10.1.2.3", "192.0.2.1"), ("10.1.2.3, nonsense",)):
            assert await status(*hops) == 401, hops
        for hops in (("10.1.2.3",), ("10.1.2.3, 127.0.0.1",), ()):
            assert await status(*hops, peer="127.0.0.9") == 401, "who is no trusted proxy says where he is in vain"
        for name in ("Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "X-Forwarded"):
            forged = {**headers, name: "for=10.1.2.3" if name == "Forwarded" else "10.1.2.3"}
            assert (await door.ask("GET", "/api/v1", headers=forged)).status == 401, name


# from a shell on the machine


async def test_who_is_locked_out_gets_in_again_from_the_shell_beside_the_running_process(door: Door) -> None:
    await door.make_user("ada", "admin")
    browser = await door.browser()
    statuses = [(await door.login("ada", "wrong")).status for _ in range(8)]
    assert statuses[-1] == 429
    code, out, err = await shell(
        door, "users", "password", "ada", "--password-stdin", typed="nobody 4Guesses-this one\n"
    )
    assert code == 0, err
    done = time.monotonic()
    login = await until(
        lambda: door.login("ada", "nobody 4Guesses-this one"), lambda answer: answer.status == 200, every=0.05
    )
    assert time.monotonic() - done < SOON_S
    assert "Set-Cookie" in login.headers
    assert not await door.is_open_to(browser), "the sessions that there were have ended"

    code, out, err = await shell(door, "keys", "add", "way in", "--role", "admin")
    assert code == 0, err
    done, key = time.monotonic(), out.strip()
    await until(lambda: door.status_of(key), lambda status: status == 200, every=0.05)
    assert time.monotonic() - done < SOON_S


SOON_S = 1.5
"""A second, and what a busy machine takes to ask."""


async def test_what_the_shell_takes_away_is_gone_within_a_second(door: Door) -> None:
    made = await door.make_key("admin")
    await door.make_user("ada", "admin")
    browser = await door.browser()
    assert await door.status_of(made["key"]) == 200

    assert (await shell(door, "keys", "revoke", made["id"]))[0] == 0
    done = time.monotonic()
    await until(lambda: door.status_of(made["key"]), lambda status: status == 401, every=0.05)
    assert time.monotonic() - done < SOON_S

    assert (await shell(door, "users", "revoke", "ada"))[0] == 0
    done = time.monotonic()
    await until(lambda: door.is_open_to(browser), lambda open_: not open_, every=0.05)
    assert time.monotonic() - done < SOON_S
    assert (await door.login()).status == 401
