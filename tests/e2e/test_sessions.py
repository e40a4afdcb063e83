"""Attacks on browsers' sessions, against the real process: fixation, theft, tampering, and what other sites send."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from e2e.door import ANOTHER, BEHIND_A_PROXY, COOKIE, GUARDED, PASSWORD, Browser, Door, browser_of, from_, opened
from e2e.program import StartProgram, free_port, until

AUTH = "/api/v1/auth"


@pytest.fixture
async def door(start: StartProgram, tmp_path: Path) -> AsyncIterator[Door]:
    async with opened(start, tmp_path, GUARDED) as guarded:
        await guarded.make_user("ada", "admin")
        yield guarded


# fixation and theft


async def test_a_session_that_is_brought_to_the_login_is_ended_and_never_adopted(door: Door) -> None:
    victim = await door.browser()
    again = await door.browser(headers=victim.without_token)
    assert again.cookie != victim.cookie and again.token != victim.token
    assert not await door.is_open_to(victim)
    for planted in ("A" * 43, "x", victim.cookie):
        begun = await door.browser(headers={"Cookie": f"{COOKIE}={planted}"})
        assert begun.cookie != planted
        assert not await door.is_open_to(Browser(planted, ""))
        assert await door.is_open_to(begun)


async def test_a_failed_login_changes_nothing_about_the_session_that_was_there(door: Door) -> None:
    browser = await door.browser()
    answer = await door.login("ada", "wrong", headers=browser.without_token)
    assert answer.status == 401 and "Set-Cookie" not in answer.headers
    assert await door.is_open_to(browser)


async def test_of_two_session_cookies_in_one_request_none_is_taken(door: Door) -> None:
    mine, planted = await door.browser(), await door.browser()
    for first, second in ((mine, planted), (planted, mine)):
        both = {"Cookie": f"{COOKIE}={first.cookie}; {COOKIE}={second.cookie}"}
        assert (await door.ask("GET", f"{AUTH}/me", headers=both)).status == 401
        lines = [("Cookie", f"{COOKIE}={each.cookie}") for each in (first, second)]
        assert (await door.ask("GET", f"{AUTH}/me", headers=lines)).status == 401


async def test_a_tampered_cookie_is_no_session(door: Door) -> None:
    browser = await door.browser()
    value = browser.cookie
    tampered = [
        *(value[:length] for length in range(len(value))),
        *(value[:at] + ("A" if value[at] != "A" else "B") + value[at + 1 :] for at in range(len(value))),
        *(value + "A", value.swapcase(), f'"{value}"', f"{value}%00", value[::-1], f"{value},{value}"),
    ]
    answers = await asyncio.gather(
        *(door.ask("GET", f"{AUTH}/me", headers={"Cookie": f"{COOKIE}={each}"}) for each in tampered)
    )
    assert [each for each, answer in zip(tampered, answers, strict=True) if answer.status != 401] == []
    for name in (COOKIE.upper(), f"x{COOKIE}", f"__Host-{COOKIE}", "session"):
        assert (await door.ask("GET", f"{AUTH}/me", headers={"Cookie": f"{name}={value}"})).status == 401
    for headers in ({"X-API-Key": value}, {"Authorization": f"Bearer {value}"}, {"X-API-Key": browser.token}):
        assert (await door.ask("GET", f"{AUTH}/me", headers=headers)).status == 401
    assert await door.is_open_to(browser)


Ending = Callable[[Door, Browser], Awaitable[Any]]


def by_itself(method: str, path: str, body: Any = None) -> Ending:
    return lambda door, browser: door.ask(method, f"{AUTH}{path}", body, headers=browser.headers)


def by_an_admin(method: str, path: str, body: Any = None) -> Ending:
    return lambda door, _browser: door.admin(method, f"{AUTH}{path}", body)


async def named_in_the_list(door: Door, browser: Browser) -> Any:
    listed = (await door.ask("GET", f"{AUTH}/sessions", headers=browser.without_token)).json["items"]
    (current,) = [item["id"] for item in listed if item["current"]]
    return await door.admin("DELETE", f"{AUTH}/sessions/{current}")


ENDINGS: dict[str, tuple[Ending, bool]] = {
    "logout": (by_itself("POST", "/logout"), False),
    "ended from the list": (named_in_the_list, False),
    "logout everywhere": (by_itself("POST", "/logout-everywhere"), True),
    "own password": (
        by_itself("POST", "/me/password", {"old_password": PASSWORD, "new_password": ANOTHER}), True,
    ),
    "password by an admin": (by_an_admin("PATCH", "/users/grace", {"password": ANOTHER}), True),
    "disabled": (by_an_admin("PATCH", "/users/grace", {"disabled": True}), True),
    "deleted": (by_an_admin("DELETE", "/users/grace"), True),
}  # fmt: skip
"""What ends a session, and whether it ends the user's others too."""


async def test_a_stolen_cookie_is_dead_as_soon_as_its_session_was_ended_in_whatever_way(door: Door) -> None:
    for name, (end, everywhere) in ENDINGS.items():
        await door.make_user("grace", "operator")
        browser, other = await door.browser("grace"), await door.browser("grace")
        answer = await end(door, browser)
        assert answer.status in (200, 204), (name, answer.text)
        assert not await door.is_open_to(browser), name
        assert await door.is_open_to(other) is not everywhere, name
        for method, path in (("GET", "/api/v1/points"), ("POST", f"{AUTH}/logout-everywhere")):
            assert (await door.ask(method, path, headers=browser.headers)).status == 401, name
        await door.admin("DELETE", f"{AUTH}/users/grace")


async def test_a_user_who_is_made_anew_or_enabled_again_has_none_of_the_old_sessions(door: Door) -> None:
    await door.make_user("grace")
    first = await door.browser("grace")
    await door.admin("PATCH", f"{AUTH}/users/grace", {"disabled": True})
    await door.admin("PATCH", f"{AUTH}/users/grace", {"disabled": False})
    assert not await door.is_open_to(first)
    second = await door.browser("grace")
    await door.admin("DELETE", f"{AUTH}/users/grace")
    await door.make_user("grace")
    assert not await door.is_open_to(second)


async def test_sessions_end_unused_and_at_the_latest_as_configured(start: StartProgram, tmp_path: Path) -> None:
    short = "plugins: {auth: {session: {idle: 1, absolute: 2}, password: {memory: 7168, iterations: 1}}}"
    async with opened(start, tmp_path, short) as door:
        await door.make_user()
        unused, used = await door.browser(), await door.browser()
        began = asyncio.get_running_loop().time()
        await until(lambda: door.is_open_to(used), lambda open_: not open_, seconds=5, every=0.05)
        lasted = asyncio.get_running_loop().time() - began
        assert lasted > 1.2, "what is used ends not before its time"
        assert not await door.is_open_to(unused)


# the cookie


async def test_the_cookie_is_for_no_script_for_no_other_site_and_under_tls_for_nothing_else(
    start: StartProgram, tmp_path: Path
) -> None:
    async with opened(start, tmp_path, BEHIND_A_PROXY) as door:
        await door.make_user()
        over_tls = {"X-Forwarded-Proto": "https", **from_("192.0.2.7")}
        for headers, peer, secure in (
            ({}, "127.0.0.1", False),
            (over_tls, "127.0.0.1", True),
            ({"X-Forwarded-Proto": "http", **from_("192.0.2.7")}, "127.0.0.1", False),
            (over_tls, "127.0.0.9", False),
        ):
            answer = await door.login(headers=headers, peer=peer)
            assert answer.status == 200
            assert flags(answer) == {"HttpOnly", "SameSite=Strict", "Path=/", *({"Secure"} if secure else ())}
            assert answer.headers["Cache-Control"] == "no-store"
            assert ("Strict-Transport-Security" in answer.headers) is secure
            out = await door.ask("POST", f"{AUTH}/logout", headers={**browser_of(answer).headers, **headers}, peer=peer)
            assert flags(out) == flags(answer) and "Max-Age=0" in out.headers["Set-Cookie"]


def flags(answer: Any) -> set[str]:
    """Return what a cookie says of itself but its value and its age."""
    parts = answer.headers["Set-Cookie"].split("; ")[1:]
    return {part for part in parts if not part.startswith(("Max-Age", "expires"))}


# what other sites send

CHANGE = ("POST", "/api/v1/auth/users", {"name": "mallory", "password": PASSWORD, "role": "admin"})


async def test_a_change_takes_the_token_of_its_own_session_and_no_other(door: Door) -> None:
    await door.make_user("mallory", "admin")
    older = await door.browser()
    browser = await door.browser(headers=older.without_token)
    theirs = await door.browser("mallory")
    method, path, body = CHANGE
    for token in (
        None, "", older.token, theirs.token, browser.token[:-1], browser.token + "0", browser.token.upper(),
        browser.cookie, "null", f"{browser.token},{theirs.token}",
    ):  # fmt: skip
        headers = browser.without_token | ({} if token is None else {"X-CSRF-Token": token})
        answer = await door.ask(method, path, body, headers=headers)
        assert (answer.status, answer.json["code"]) == (403, "auth.csrf"), token
        in_url = await door.ask(method, f"{path}?csrf_token={browser.token}", body, headers=headers)
        assert in_url.status == 403
    in_cookie = {"Cookie": f"{COOKIE}={browser.cookie}; X-CSRF-Token={browser.token}"}
    assert (await door.ask(method, path, body, headers=in_cookie)).status == 403
    assert (await door.admin("GET", f"{AUTH}/users?q=mallory")).json["items"][0]["created_by"] != "user:ada"


OTHER_SITES = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://localhost"},
    {"Origin": "http://[broken"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
)


async def test_nothing_is_taken_from_another_site_s_page_even_with_the_token_nor_is_a_login(door: Door) -> None:
    browser = await door.browser()
    method, path, body = CHANGE
    for site in OTHER_SITES:
        answer = await door.ask(method, path, body, headers={**browser.headers, **site})
        assert (answer.status, answer.json["code"]) == (403, "auth.csrf"), site
        login = await door.login(headers=site)
        assert (login.status, login.json["code"]) == (403, "auth.csrf"), site
        assert "Set-Cookie" not in login.headers
    assert (await door.admin("GET", f"{AUTH}/users/mallory")).status == 404
    for own in ({"Origin": door.url}, {"Origin": door.url, "Sec-Fetch-Site": "same-origin"}, {}):
        assert (await door.ask("POST", f"{AUTH}/me/totp", headers={**browser.headers, **own})).status == 200, own
        assert (await door.login(headers=own)).status == 200


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "", "text/json"]
)
async def test_what_a_form_can_send_is_no_request(door: Door, kind: str) -> None:
    browser = await door.browser()
    bodies = (
        b'{"name": "ada", "password": "%b"}' % PASSWORD.encode(),
        b"name=ada&password=" + PASSWORD.encode(),
        b'{"name": "mallory", "password": "x", "role": "admin", "x": "="}',
    )
    for body in bodies:
        login = await door.ask("POST", f"{AUTH}/login", data=body, headers={"Content-Type": kind})
        assert login.status == 415 and "Set-Cookie" not in login.headers
        for headers, due in ((browser.without_token, 403), (browser.headers, 415)):
            answer = await door.ask("POST", f"{AUTH}/users", data=body, headers={**headers, "Content-Type": kind})
            assert answer.status == due, (kind, body)


async def test_no_page_of_another_site_may_ask_beforehand_or_read_an_answer(door: Door) -> None:
    browser = await door.browser()
    site = {"Origin": "https://evil.example"}
    asked = {**site, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-csrf-token"}
    for headers in (asked, {**asked, **browser.without_token}):
        preflight = await door.ask("OPTIONS", f"{AUTH}/users", headers=headers)
        assert preflight.status >= 400
        assert not [name for name in preflight.headers if name.startswith("Access-Control-")]
    read = await door.ask("GET", f"{AUTH}/me", headers={**site, **browser.without_token})
    assert not [name for name in read.headers if name.startswith("Access-Control-")]
    assert read.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_no_get_changes_anything(start: StartProgram, tmp_path: Path) -> None:
    ports = f"port: {free_port()}"
    async with opened(start, tmp_path, f"{GUARDED}\n", f"plugins: {{simulator: {{{ports}}}}}") as door:
        await door.make_user("ada", "admin")
        await door.make_key()
        browser = await door.browser()
        before = await state_of(door)
        document = (await door.ask("GET", "/api/v1/openapi.json")).json
        asked = 0
        for path, methods in document["paths"].items():
            for method in {"get", "head"} & {*methods, "head"} if "get" in methods else ():
                for query in ("", "?method=DELETE&_method=DELETE"):
                    at = re.sub(r"{user_id}", "ada", re.sub(r"{(?!user_id)\w+}", "1", path))
                    override = {"X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "DELETE"}
                    answer = await door.ask(method.upper(), at + query, headers={**browser.headers, **override})
                    assert answer.status in (200, 404, 409, 422), (method, at, answer.status)
                    asked += 1
        assert asked > 50
        assert await state_of(door) == before


async def state_of(door: Door) -> dict[str, Any]:
    """Return all that can be changed, but when something was last used."""
    lists = ("auth/users", "auth/api-keys", "auth/sessions", "jobs", "plugins", "devices", "points", "simulator/faults")
    state = {}
    for name in lists:
        answer = await door.admin("GET", f"/api/v1/{name}")
        assert answer.status == 200, answer.text
        passing = {"last_used_at", "last_used_from", "idle_expires_at", "current", "health"}
        state[name] = [
            {key: value for key, value in item.items() if key not in passing} for item in answer.json["items"]
        ]
    return state
