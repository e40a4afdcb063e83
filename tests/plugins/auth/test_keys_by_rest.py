from __future__ import annotations

import asyncio

import pytest

from core.testing import ManualClock
from plugins.auth.keys import digest, id_in

from .house import House, OpenHouse

DEVICES = "/api/v1/devices"


async def test_a_key_is_answered_once_and_only_a_digest_of_it_is_kept(house: House) -> None:
    made = await house.make_key("viewer")
    assert id_in(made["key"]) == made["id"]
    shown = (await house.admin("GET", f"/api-keys/{made['id']}")).json
    listed = (await house.admin("GET", "/api-keys")).text
    assert shown == {name: value for name, value in made.items() if name != "key"}
    assert made["key"] not in listed
    rows = await house.running.kernel.storage.read("SELECT digest FROM auth_secrets WHERE key_id = ?", (made["id"],))
    assert rows == [(digest(made["key"]),)]
    for file in house.folder.iterdir():
        assert file.name == "admin-key" or made["key"].encode() not in file.read_bytes()


async def test_an_answer_with_a_key_says_where_it_is_and_is_not_to_be_stored(house: House) -> None:
    answer = await house.admin("POST", "/api-keys", {"name": "x", "role": "viewer"})
    assert answer.headers["Location"] == f"/api/v1/auth/api-keys/{answer.json['id']}"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_key_is_taken_by_either_header_and_nothing_else(house: House) -> None:
    key = (await house.make_key())["key"]
    for headers in (
        {"X-API-Key": key},
        {"Authorization": f"Bearer {key}"},
        {"authorization": f"bearer {key}"},
        {"Authorization": f"BEARER   {key}"},
    ):
        assert (await house.ask("GET", DEVICES, headers=headers)).status == 200
        assert (await house.ask("GET", DEVICES, headers=headers)).status == 200  # and once more, as it is remembered
    for headers in (
        {"Authorization": key},
        {"Authorization": f"Basic {key}"},
        {"X-API-Key": f"Bearer {key}"},
        {"Cookie": f"plantroom_session={key}"},
        {},
    ):
        assert (await house.ask("GET", DEVICES, headers=headers)).status == 401
    assert (await house.ask("GET", f"{DEVICES}?api_key={key}")).status == 401


async def test_all_that_is_wrong_with_a_key_is_answered_alike(house: House) -> None:
    made = await house.make_key()
    key = made["key"]
    revoked = await house.make_key()
    await house.admin("DELETE", f"/api-keys/{revoked['id']}")
    elsewhere = await house.make_key(networks=["192.0.2.0/24"])
    expired = await house.make_key(expires_at="2001-01-01T00:00:00Z")
    off = await house.make_key()
    await house.admin("PATCH", f"/api-keys/{off['id']}", {"enabled": False})
    wrong = [key[:-1], key + "a", key.swapcase(), "x", "x" * 64, "", "\u00fc" * 40]
    wrong += [each["key"] for each in (revoked, elsewhere, expired, off)]
    answers = [await house.ask("GET", DEVICES, headers={"X-API-Key": each}) for each in wrong]
    for answer in answers:
        assert answer.status == 401
        assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert len({(a.json["code"], a.json["detail"], len(a.headers)) for a in answers}) == 1


async def test_roles_are_those_of_the_key(house: House) -> None:
    scans, reload = "/api/v1/scans", "/api/v1/system/reload?dry_run=true"
    for role, statuses in (("viewer", (200, 403, 403)), ("operator", (200, 503, 403)), ("admin", (200, 503, 200))):
        key = {"X-API-Key": (await house.make_key(role))["key"]}
        asked = (
            await house.ask("GET", DEVICES, headers=key),
            await house.ask("POST", scans, {}, headers=key),
            await house.ask("POST", reload, headers=key),
        )
        assert tuple(answer.status for answer in asked) == statuses


async def test_a_key_that_is_not_an_admins_of_the_whole_house_manages_nothing(house: House) -> None:
    limited = await house.make_key("admin", scope={"plugins": ["bacnet"]})
    operator = await house.make_key("operator")
    for key in (limited["key"], operator["key"]):
        for path in ("users", "api-keys", f"api-keys/{limited['id']}"):
            assert await house.with_key(key, f"/api/v1/auth/{path}") == 403
        body = {"name": "x", "role": "viewer"}
        answer = await house.ask("POST", "/api/v1/auth/api-keys", body, headers={"X-API-Key": key})
        assert answer.status == 403


async def test_revocation_is_effective_at_once_while_requests_fly(house: House) -> None:
    made = await house.make_key()
    stop, statuses = asyncio.Event(), list[int]()

    async def fly() -> None:
        while not stop.is_set():
            statuses.append(await house.with_key(made["key"]))

    flying = [asyncio.create_task(fly()) for _ in range(4)]
    await house.running.until(lambda: statuses.count(200) >= 20)
    assert (await house.admin("DELETE", f"/api-keys/{made['id']}")).status == 204
    assert await house.with_key(made["key"]) == 401
    stop.set()
    await asyncio.gather(*flying)
    assert set(statuses) <= {200, 401}
    assert (await house.admin("DELETE", f"/api-keys/{made['id']}")).status == 404


async def test_a_key_ends_to_work_at_its_expiry(house: House, clock: ManualClock) -> None:
    made = await house.make_key(expires_at="2023-11-14T22:13:30.500+00:00")  # ten and a half seconds from now
    assert await house.with_key(made["key"]) == 200
    await clock.advance(10.4)
    assert await house.with_key(made["key"]) == 200
    await clock.advance(0.2)
    assert await house.with_key(made["key"]) == 401
    await house.admin("PATCH", f"/api-keys/{made['id']}", {"expires_at": None})
    assert await house.with_key(made["key"]) == 200


async def test_rotation_overlaps_for_as_long_as_asked(house: House, clock: ManualClock) -> None:
    made = await house.make_key()
    rotated = await house.admin("POST", f"/api-keys/{made['id']}/rotate", {"overlap_s": 60})
    assert rotated.status == 200
    assert rotated.json["id"] == made["id"]
    assert rotated.json["rotated_away_until"] == "2023-11-14T22:14:20.000Z"
    assert await house.with_key(made["key"]) == await house.with_key(rotated.json["key"]) == 200
    await clock.advance(60)
    assert await house.with_key(made["key"]) == 401
    assert await house.with_key(rotated.json["key"]) == 200
    again = await house.admin("POST", f"/api-keys/{made['id']}/rotate", {})
    assert await house.with_key(rotated.json["key"]) == 401
    assert await house.with_key(again.json["key"]) == 200


async def test_a_value_that_was_rotated_away_does_not_live_longer_by_another_rotation(
    house: House, clock: ManualClock
) -> None:
    made = await house.make_key()
    await house.admin("POST", f"/api-keys/{made['id']}/rotate", {"overlap_s": 60})
    await house.admin("POST", f"/api-keys/{made['id']}/rotate", {"overlap_s": 604_800})
    assert await house.with_key(made["key"]) == 200
    await clock.advance(61)
    assert await house.with_key(made["key"]) == 401


async def test_changes_of_role_scope_and_networks_are_effective_at_once(house: House) -> None:
    made = await house.make_key("operator")
    at = f"/api-keys/{made['id']}"
    assert await house.with_key(made["key"], "/api/v1/plugins") == 200
    await house.admin("PATCH", at, {"scope": {"devices": ["nothing.*"]}})
    assert await house.with_key(made["key"], "/api/v1/plugins/auth") == 403
    await house.admin("PATCH", at, {"scope": None, "networks": ["192.0.2.0/24", "192.0.2.0/24"]})
    assert await house.with_key(made["key"], "/api/v1/plugins") == 401
    changed = await house.admin(
        "PATCH", at, {"networks": ["127.0.0.1", "::1/128"], "name": "renamed", "role": "viewer"}
    )
    assert changed.json["networks"] == ["127.0.0.1/32", "::1/128"]
    assert (changed.json["name"], changed.json["role"], changed.json["scope"]) == ("renamed", "viewer", None)
    assert await house.with_key(made["key"], "/api/v1/plugins") == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "", "role": "viewer"}, "name"),
        ({"name": "x" * 101, "role": "viewer"}, "name"),
        ({"name": "x"}, "role"),
        ({"name": "x", "role": "king"}, "role"),
        ({"name": "x", "role": "viewer", "networks": ["10.0.0.0/8", "10.0.0.1/8"]}, "networks.1"),
        ({"name": "x", "role": "viewer", "networks": ["nowhere"]}, "networks.0"),
        ({"name": "x", "role": "viewer", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "x", "role": "viewer", "expires_at": "2027-01-31T12:00:00"}, "expires_at"),
        ({"name": "x", "role": "viewer", "scope": {"rooms": ["1"]}}, "scope.rooms"),
    ],
)
async def test_what_is_wrong_with_a_new_key_is_named(house: House, body: object, field: str) -> None:
    answer = await house.admin("POST", "/api-keys", body)
    assert answer.status == 422
    assert [fault["field"] for fault in answer.json["errors"]] == [field]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2027-01-31t12:00:00z", "2027-01-31T12:00:00.000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000Z"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.000Z"),
    ],
)
async def test_every_time_that_the_standard_can_write_is_taken(house: House, given: str, shown: str) -> None:
    assert (await house.make_key(expires_at=given))["expires_at"] == shown


async def test_when_and_from_where_a_key_was_last_used_is_written_in_batches(house: House, clock: ManualClock) -> None:
    made = await house.make_key()
    assert made["last_used_at"] is None
    for _ in range(3):
        await house.with_key(made["key"])
    shown = (await house.admin("GET", f"/api-keys/{made['id']}")).json
    assert (shown["last_used_at"], shown["last_used_from"]) == ("2023-11-14T22:13:00.000Z", "127.0.0.1")
    storage = house.running.kernel.storage
    used = ("SELECT used_at FROM auth_keys WHERE id = ?", (made["id"],))
    assert await storage.read(*used) == [(None,)]
    await clock.advance(58)
    assert await storage.read(*used) == [(None,)]

    async def written() -> bool:
        await clock.advance(1)
        return await storage.read(*used) == [(1_700_000_000.0,)]

    await house.running.until(written)


async def test_keys_are_listed_in_pages_sorted_filtered_and_searched(house: House) -> None:
    for name, role in (("b", "viewer"), ("A", "operator"), ("c", "viewer"), ("C", "admin")):
        await house.admin("POST", "/api-keys", {"name": name, "role": role})
    first = (await house.admin("GET", "/api-keys?sort=name&limit=2&count=true")).json
    assert [key["name"] for key in first["items"]] == ["A", "admin"]
    assert first["total"] == 5
    rest = (await house.admin("GET", f"/api-keys?sort=name&limit=9&cursor={first['next_cursor']}")).json
    assert sorted(key["name"].casefold() for key in rest["items"]) == ["b", "c", "c"]
    viewers = (await house.admin("GET", "/api-keys?role=viewer&role=operator&sort=-created_at")).json["items"]
    assert {key["name"] for key in viewers} == {"A", "b", "c"}
    assert len((await house.admin("GET", "/api-keys?q=C")).json["items"]) >= 2
    assert (await house.admin("GET", f"/api-keys?cursor={first['next_cursor']}")).status == 400


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_unknown_key_is_not_found(house: House, method: str) -> None:
    answer = await house.admin(method, "/api-keys/k7f3", {} if method == "PATCH" else None)
    assert (answer.status, answer.json["code"]) == (404, "auth.key_not_found")


async def test_what_happens_to_keys_is_logged_without_their_values(open_house: OpenHouse) -> None:
    house = await open_house()
    made = await house.make_key()
    rotated = await house.admin("POST", f"/api-keys/{made['id']}/rotate", {})
    await house.admin("PATCH", f"/api-keys/{made['id']}", {"name": "other"})
    await house.admin("DELETE", f"/api-keys/{made['id']}")
    for event in ("key_made", "key_rotated", "key_changed", "key_revoked"):
        (line,) = house.running.logged(event, key=made["id"])
        assert line["by"].startswith("key:")
    said = str(house.running.log)
    for key in (made["key"], rotated.json["key"], house.key):
        assert key not in said


async def test_refusals_are_counted(house: House) -> None:
    await house.with_key("plr_nonsense")
    figures = (await house.ask("GET", "/metrics", headers={"X-API-Key": house.key})).text
    assert 'plantroom_auth_failures_total{plugin="auth",reason="key"} 1' in figures
    assert 'plantroom_auth_keys{plugin="auth"} 1' in figures
