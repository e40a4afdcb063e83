from __future__ import annotations

import asyncio

import pytest

from core.testing import ManualClock
from plugins.auth.sessions import COOKIE, csrf_token

from .house import ANOTHER, PASSWORD, Browser, House, OpenHouse, browser_of

LOGOUT = "/api/v1/auth/logout"


async def test_signing_in_answers_who_it_is_until_when_and_with_which_token(house: House) -> None:
    await house.make_user("ada", "operator")
    answer = await house.login("Ada")
    assert answer.status == 200
    assert answer.json["user"]["name"] == "ada"
    assert answer.json["user"]["signed_in_at"] == "2023-11-14T22:13:20.000Z"
    assert answer.json["expires_at"] == "2023-11-15T10:13:20.000Z"
    assert answer.json["idle_expires_at"] == "2023-11-14T22:43:20.000Z"
    assert answer.json["csrf_token"] == csrf_token(browser_of(answer).cookie)
    assert answer.headers["Cache-Control"] == "no-store"
    attributes = {part.strip().lower() for part in answer.headers["Set-Cookie"].split(";")[1:]}
    assert attributes == {"httponly", "samesite=strict", "path=/", "max-age=43200"}


async def test_behind_a_trusted_proxy_with_tls_the_cookie_is_sent_over_tls_alone(open_house: OpenHouse) -> None:
    house = await open_house(
        "http: {trusted_proxies: [127.0.0.1]}\nplugins: {auth: {password: {memory: 7168, iterations: 1}}}"
    )
    await house.make_user()
    assert "Secure" in (await house.login(headers={"X-Forwarded-Proto": "https"})).headers["Set-Cookie"]
    assert "Secure" not in (await house.login()).headers["Set-Cookie"]


async def test_me_tells_who_asks_by_session_and_by_key(house: House) -> None:
    await house.make_user("ada", "operator", scope={"plugins": ["bacnet"]})
    browser = await house.browser()
    me = (await house.by(browser, "GET", "/me")).json
    assert me == {
        "id": "user:ada", "kind": "user", "name": "ada", "role": "operator", "totp": False,
        "scope": {"plugins": ["bacnet"], "devices": [], "tags": []}, "csrf_token": browser.token,
        "expires_at": "2023-11-15T10:13:20.000Z", "idle_expires_at": "2023-11-14T22:43:20.000Z",
    }  # fmt: skip
    mine = (await house.admin("GET", "/me")).json
    assert (mine["kind"], mine["role"], mine["scope"], mine["csrf_token"]) == ("key", "admin", None, None)
    assert (await house.ask("GET", "/api/v1/auth/me")).status == 401


async def test_a_session_that_a_browser_brings_along_is_ended_and_never_adopted(house: House) -> None:
    await house.make_user("ada")
    await house.make_user("mallory")
    planted = await house.browser("mallory")
    answer = await house.login("ada", headers={"Cookie": f"{COOKIE}={planted.cookie}"})
    ours = browser_of(answer)
    assert ours.cookie != planted.cookie
    assert (await house.by(planted, "GET", "/me")).status == 401
    invented = "A" * 43
    answer = await house.login("ada", headers={"Cookie": f"{COOKIE}={invented}"})
    assert browser_of(answer).cookie != invented
    assert (await house.by(Browser(invented, csrf_token(invented)), "GET", "/me")).status == 401


async def test_a_failed_sign_in_ends_nothing(house: House) -> None:
    await house.make_user()
    browser = await house.browser()
    answer = await house.login("ada", "wrong", headers={"Cookie": f"{COOKIE}={browser.cookie}"})
    assert answer.status == 401
    assert "Set-Cookie" not in answer.headers
    assert (await house.by(browser, "GET", "/me")).status == 200


async def test_what_was_stolen_is_worth_nothing_after_signing_out(house: House) -> None:
    await house.make_user()
    browser, other = await house.browser(), await house.browser()
    answer = await house.by(browser, "POST", "/logout")
    assert answer.status == 204
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert (await house.by(browser, "GET", "/me")).status == 401
    assert (await house.by(other, "GET", "/me")).status == 200


async def test_signing_out_everywhere_ends_all_of_ones_own_sessions_and_nobody_elses(house: House) -> None:
    await house.make_user("ada")
    await house.make_user("bob")
    first, second, bobs = await house.browser(), await house.browser(), await house.browser("bob")
    assert (await house.by(first, "POST", "/logout-everywhere")).status == 204
    for each, status in ((first, 401), (second, 401), (bobs, 200)):
        assert (await house.by(each, "GET", "/me")).status == status


@pytest.mark.parametrize("path", ["/logout", "/logout-everywhere"])
async def test_a_key_has_no_session_to_end(house: House, path: str) -> None:
    await house.make_user()
    browser = await house.browser()
    answer = await house.ask("POST", f"/api/v1/auth{path}", headers={**browser.headers, "X-API-Key": house.key})
    assert answer.status == 204
    assert (await house.by(browser, "GET", "/me")).status == 200


CROSS_SITE = [
    {"X-CSRF-Token": ""},
    {"X-CSRF-Token": "0" * 64},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", CROSS_SITE)
async def test_a_request_that_another_site_made_the_browser_send_changes_nothing(
    house: House, headers: dict[str, str]
) -> None:
    await house.make_user("ada", "admin")
    browser = await house.browser()
    for method, path, body in (
        ("POST", LOGOUT, None),
        ("POST", "/api/v1/auth/api-keys", {"name": "x", "role": "admin"}),
        ("POST", "/api/v1/system/reload", None),
        ("DELETE", "/api/v1/auth/users/ada", None),
        ("PATCH", "/api/v1/auth/users/ada", {"disabled": True}),
        ("PUT", "/api/v1/points/x/value", {"value": 1}),
    ):
        answer = await house.ask(method, path, body, headers=browser.headers | headers)
        assert (answer.status, answer.json["code"]) == (403, "auth.csrf")
    assert (await house.by(browser, "GET", "/me")).status == 200
    assert len((await house.admin("GET", "/api-keys")).json["items"]) == 1


async def test_the_token_of_another_session_is_not_taken(house: House) -> None:
    await house.make_user()
    browser, other = await house.browser(), await house.browser()
    headers = {"Cookie": f"{COOKIE}={browser.cookie}", "X-CSRF-Token": other.token}
    assert (await house.ask("POST", LOGOUT, headers=headers)).status == 403


async def test_reading_needs_no_token_and_a_key_beside_a_cookie_needs_none_either(house: House) -> None:
    await house.make_user()
    browser = await house.browser()
    cookie = {"Cookie": f"{COOKIE}={browser.cookie}"}
    for method in ("GET", "HEAD"):
        assert (await house.ask(method, "/api/v1/devices", headers=cookie)).status == 200
    both = {**cookie, "X-API-Key": house.key}
    assert (
        await house.ask("POST", "/api/v1/auth/api-keys", {"name": "x", "role": "viewer"}, headers=both)
    ).status == 201
    for wrong in ({"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}):
        assert (await house.ask("GET", "/api/v1/devices", headers={**cookie, **wrong})).status == 401
    basic = {**cookie, "Authorization": "Basic cHJveHk6cHJveHk="}  # a proxy's own
    assert (await house.ask("GET", "/api/v1/devices", headers=basic)).status == 200


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_another_site_cannot_sign_a_browser_in(house: House, headers: dict[str, str]) -> None:
    await house.make_user()
    answer = await house.login(headers=headers)
    assert (answer.status, answer.json["code"]) == (403, "auth.csrf")
    assert "Set-Cookie" not in answer.headers


async def test_a_session_ends_when_it_is_not_used(house: House, clock: ManualClock) -> None:
    await house.make_user()
    browser = await house.browser()
    for _ in range(3):
        await clock.advance(1790)
        assert (await house.by(browser, "GET", "/me")).status == 200
    await clock.advance(1801)
    assert (await house.by(browser, "GET", "/me")).status == 401
    storage = house.running.kernel.storage

    async def gone() -> bool:
        await clock.advance(1)
        return await storage.read("SELECT id FROM auth_sessions") == []

    await house.running.until(gone)


async def test_a_session_ends_however_much_it_is_used(house: House, clock: ManualClock) -> None:
    await house.make_user()
    browser = await house.browser()
    for _ in range(29):
        await clock.advance(1489)
        assert (await house.by(browser, "GET", "/me")).status == 200
    await clock.advance(43_200 - 29 * 1489)
    assert (await house.by(browser, "GET", "/me")).status == 401


async def test_sessions_are_seen_and_ended_by_their_user_and_by_admins(house: House) -> None:
    await house.make_user("ada")
    await house.make_user("bob", "operator")
    await house.make_user("eve", "admin", scope={"tags": ["x"]})
    adas, bobs, eves = await house.browser("ada"), await house.browser("bob"), await house.browser("eve")
    (own,) = (await house.by(adas, "GET", "/sessions")).json["items"]
    assert (own["user"], own["current"], own["address"]) == ("ada", True, "127.0.0.1")
    everything = (await house.admin("GET", "/sessions?sort=-created_at&count=true")).json
    assert everything["total"] == 3
    assert {each["user"]: each["current"] for each in everything["items"]} == dict.fromkeys(
        ("ada", "bob", "eve"), False
    )
    assert len((await house.admin("GET", "/sessions?user=bob")).json["items"]) == 1
    for stranger in (bobs, eves):
        assert [each["user"] for each in (await house.by(stranger, "GET", "/sessions")).json["items"]] != ["ada"]
        answer = await house.by(stranger, "DELETE", f"/sessions/{own['id']}")
        assert (answer.status, answer.json["code"]) == (404, "auth.session_not_found")
    assert (await house.by(adas, "DELETE", f"/sessions/{own['id']}")).status == 204
    assert (await house.by(adas, "GET", "/me")).status == 401
    (bobs_id,) = [each["id"] for each in everything["items"] if each["user"] == "bob"]
    assert (await house.admin("DELETE", f"/sessions/{bobs_id}")).status == 204
    assert (await house.by(bobs, "GET", "/me")).status == 401


async def test_of_too_many_sessions_of_a_user_the_one_unused_for_longest_goes(
    open_house: OpenHouse, clock: ManualClock
) -> None:
    house = await open_house("plugins: {auth: {session: {per_user: 2}, password: {memory: 7168, iterations: 1}}}")
    await house.make_user()
    first, second = await house.browser(), await house.browser()
    await clock.advance(1)
    assert (await house.by(first, "GET", "/me")).status == 200
    third = await house.browser()
    statuses = [(await house.by(each, "GET", "/me")).status for each in (first, second, third)]
    assert statuses == [200, 401, 200]


async def test_changing_ones_password_takes_the_old_one_and_ends_all_sessions_but_a_new_one(house: House) -> None:
    await house.make_user()
    browser, other = await house.browser(), await house.browser()
    wrong = await house.by(browser, "POST", "/me/password", {"old_password": "x", "new_password": ANOTHER})
    assert (wrong.status, wrong.json["code"]) == (403, "auth.wrong_password")
    weak = await house.by(browser, "POST", "/me/password", {"old_password": PASSWORD, "new_password": "password1234"})
    assert (weak.status, weak.json["code"], weak.json["errors"][0]["field"]) == (
        422, "auth.password_unfit", "new_password",
    )  # fmt: skip
    changed = await house.by(browser, "POST", "/me/password", {"old_password": PASSWORD, "new_password": ANOTHER})
    assert changed.status == 200
    rotated = browser_of(changed)
    statuses = [(await house.by(each, "GET", "/me")).status for each in (browser, other, rotated)]
    assert statuses == [401, 401, 200]
    assert (await house.login("ada", PASSWORD)).status == 401
    assert (await house.login("ada", ANOTHER)).status == 200


async def test_a_program_has_no_password_to_change(house: House) -> None:
    for method, path, body in (
        ("POST", "/me/password", {"old_password": PASSWORD, "new_password": ANOTHER}),
        ("POST", "/me/totp", None),
        ("POST", "/me/totp/confirm", {"code": "123456"}),
        ("DELETE", "/me/totp", {"password": PASSWORD}),
    ):
        answer = await house.admin(method, path, body)
        assert (answer.status, answer.json["code"]) == (403, "auth.forbidden")


async def test_two_sign_ins_at_once_both_succeed_with_a_session_each(house: House) -> None:
    await house.make_user()
    answers = await asyncio.gather(*(house.login() for _ in range(4)))
    assert [answer.status for answer in answers] == [200] * 4
    assert len({browser_of(answer).cookie for answer in answers}) == 4
    for answer in answers:
        assert (await house.by(browser_of(answer), "GET", "/me")).status == 200


async def test_the_kernel_does_not_let_sessions_do_more_than_their_users_role(house: House) -> None:
    await house.make_user("ada", "viewer")
    browser = await house.browser()
    assert (await house.by(browser, "GET", "/users")).status == 403
    assert (await house.by(browser, "POST", "/api-keys", {"name": "x", "role": "viewer"})).status == 403
    await house.admin("PATCH", "/users/ada", {"role": "admin"})
    assert (await house.by(browser, "GET", "/users")).status == 200
    await house.admin("PATCH", "/users/ada", {"disabled": True})
    assert (await house.by(browser, "GET", "/users")).status == 401


async def test_sign_ins_are_logged_with_the_name_only_where_there_is_such_a_user(open_house: OpenHouse) -> None:
    house = await open_house()
    await house.make_user()
    await house.browser()
    await house.login("ada", "not this one")
    await house.login("my-secret-typed-here", "whatever")
    assert house.running.logged("sign_in", user="ada", address="127.0.0.1")
    assert [line["user"] for line in house.running.logged("sign_in_failed")] == ["ada", None]
    said = str(house.running.log)
    for secret in ("my-secret-typed-here", "not this one", PASSWORD):
        assert secret not in said
