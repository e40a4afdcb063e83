from __future__ import annotations

import pytest

from .house import ANOTHER, PASSWORD, House


async def test_a_user_is_made_shown_listed_changed_and_removed(house: House) -> None:
    made = await house.make_user("Ada.Lovelace", "operator", scope={"tags": ["comfort"]})
    assert (made["id"], made["name"], made["role"], made["totp"]) == ("ada.lovelace", "ada.lovelace", "operator", False)
    assert "password" not in {name for name in made if name != "password_changed_at"}
    assert (await house.admin("GET", "/users/ada.lovelace")).json == made
    assert (await house.admin("GET", "/users?q=LOVE&role=operator&disabled=false&count=true")).json == {
        "items": [made], "next_cursor": None, "total": 1,
    }  # fmt: skip
    assert (await house.admin("GET", "/users?disabled=true&sort=-created_at")).json["items"] == []
    changed = await house.admin("PATCH", "/users/ada.lovelace", {"role": "viewer", "scope": None})
    assert (changed.json["role"], changed.json["scope"]) == ("viewer", None)
    assert (await house.admin("DELETE", "/users/ada.lovelace")).status == 204
    for method in ("GET", "DELETE", "PATCH"):
        answer = await house.admin(method, "/users/ada.lovelace", {} if method == "PATCH" else None)
        assert (answer.status, answer.json["code"]) == (404, "auth.user_not_found")


async def test_a_made_user_says_where_it_is(house: House) -> None:
    answer = await house.admin("POST", "/users", {"name": "ada", "password": PASSWORD, "role": "viewer"})
    assert answer.headers["Location"] == "/api/v1/auth/users/ada"


async def test_a_name_is_taken_whatever_its_capital_letters(house: House) -> None:
    await house.make_user("ada")
    answer = await house.admin("POST", "/users", {"name": "ADA", "password": PASSWORD, "role": "viewer"})
    assert (answer.status, answer.json["code"]) == (409, "auth.name_taken")


@pytest.mark.parametrize("name", ["", ".", "..", "-x", "a b", "a/b", "\u00e4da", "x" * 65, "ada\n"])
async def test_a_name_that_does_not_fit_is_refused(house: House, name: str) -> None:
    answer = await house.admin("POST", "/users", {"name": name, "password": PASSWORD, "role": "viewer"})
    assert answer.status == 422
    assert answer.json["errors"][0]["field"] == "name"


@pytest.mark.parametrize("password", ["short", "passwordpassword", "ada.lovelace1815", "plantroomadmin", "a" * 40])
async def test_a_password_that_is_soon_guessed_is_refused(house: House, password: str) -> None:
    answer = await house.admin("POST", "/users", {"name": "ada.lovelace", "password": password, "role": "viewer"})
    assert (answer.status, answer.json["code"]) == (422, "auth.password_unfit")
    assert answer.json["errors"][0]["field"] == "password"
    assert password not in answer.text


async def test_a_password_of_the_longest_kind_is_taken(house: House) -> None:
    password = (PASSWORD * 10)[:256]
    await house.admin("POST", "/users", {"name": "ada", "password": password, "role": "viewer"})
    assert (await house.login("ada", password)).status == 200
    assert (await house.login("ada", password[:-1])).status == 401


async def test_an_admin_sets_a_password_and_all_sessions_end(house: House) -> None:
    await house.make_user()
    browser = await house.browser()
    assert (await house.admin("PATCH", "/users/ada", {"password": ANOTHER})).status == 200
    assert (await house.by(browser, "GET", "/me")).status == 401
    assert (await house.login("ada", PASSWORD)).status == 401
    assert (await house.login("ada", ANOTHER)).status == 200


async def test_a_removed_user_is_signed_out_and_a_new_one_of_that_name_is_another(house: House) -> None:
    await house.make_user()
    browser = await house.browser()
    await house.admin("DELETE", "/users/ada")
    assert (await house.by(browser, "GET", "/me")).status == 401
    await house.make_user()
    assert (await house.by(browser, "GET", "/me")).status == 401


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("DELETE", None),
        ("PATCH", {"role": "operator"}),
        ("PATCH", {"disabled": True}),
        ("PATCH", {"scope": {"plugins": ["x"]}}),
    ],
)
async def test_the_last_admin_stays_one_where_no_admins_key_works(house: House, method: str, body: object) -> None:
    await house.make_user("ada", "admin")
    browser = await house.browser()
    assert (await house.by(browser, method, "/users/ada", body)).status in (200, 204)  # the key is there still
    await house.admin("DELETE", "/users/ada")
    await house.make_user("ada", "admin")
    browser = await house.browser()
    for key in (await house.admin("GET", "/api-keys")).json["items"]:
        assert (await house.by(browser, "DELETE", f"/api-keys/{key['id']}")).status == 204
    answer = await house.by(browser, method, "/users/ada", body)
    assert (answer.status, answer.json["code"]) == (409, "auth.last_admin")
    assert (await house.by(browser, "PATCH", "/users/ada", {"role": "admin"})).status == 200
    made = await house.by(browser, "POST", "/users", {"name": "bob", "password": PASSWORD, "role": "admin"})
    assert made.status == 201
    assert (await house.by(browser, method, "/users/ada", body)).status in (200, 204)
