"""Who may ask what: every operation of the API document of the running demo, with each kind of credentials."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from e2e.door import COOKIE, GUARDED, PASSWORD, Browser, Door, opened
from e2e.program import ROOT, StartProgram, free_port, until

PUBLIC, VIEWER, OPERATOR, ADMIN = "public", "viewer", "operator", "admin"
RANKS = {VIEWER: 1, OPERATOR: 2, ADMIN: 3}

HOUSE = "house"  # what concerns the whole house is for nobody who has a scope
OWN = "own"  # answers and does what is within the scope alone
ITEM = "item"  # a device or point that the path names
BACNET, CACHE, HISTORY, LOGGING, SIMULATOR = "bacnet", "cache", "history", "logging", "simulator"  # all of a plugin

TABLE: Mapping[str, tuple[str, str]] = {
    "GET /healthz": (PUBLIC, OWN),
    "GET /readyz": (PUBLIC, OWN),
    "GET /metrics": (VIEWER, HOUSE),
    "GET /api/v1": (VIEWER, OWN),
    "GET /api/v1/openapi.json": (PUBLIC, OWN),
    "GET /api/v1/errors": (PUBLIC, OWN),
    "GET /api/v1/errors/{code}": (PUBLIC, OWN),
    "GET /api/v1/plugins": (VIEWER, HOUSE),
    "GET /api/v1/plugins/{name}": (VIEWER, HOUSE),
    "POST /api/v1/system/reload": (ADMIN, HOUSE),
    "GET /api/v1/devices": (VIEWER, OWN),
    "GET /api/v1/devices/{device_id}": (VIEWER, ITEM),
    "PATCH /api/v1/devices/{device_id}": (ADMIN, ITEM),
    "DELETE /api/v1/devices/{device_id}": (ADMIN, ITEM),
    "GET /api/v1/points": (VIEWER, OWN),
    "GET /api/v1/points/{point_id}": (VIEWER, ITEM),
    "PATCH /api/v1/points/{point_id}": (ADMIN, ITEM),
    "GET /api/v1/points/{point_id}/value": (VIEWER, ITEM),
    "PUT /api/v1/points/{point_id}/value": (OPERATOR, ITEM),
    "DELETE /api/v1/points/{point_id}/value": (OPERATOR, ITEM),
    "GET /api/v1/points/{point_id}/priorities": (VIEWER, ITEM),
    "GET /api/v1/points/{point_id}/history": (VIEWER, ITEM),
    "POST /api/v1/points/{point_id}/history": (ADMIN, ITEM),
    "GET /api/v1/points/{point_id}/history/latest": (VIEWER, ITEM),
    "POST /api/v1/history/query": (VIEWER, OWN),
    "POST /api/v1/history/latest": (VIEWER, OWN),
    "POST /api/v1/readings/query": (VIEWER, OWN),
    "POST /api/v1/writes": (OPERATOR, OWN),
    "POST /api/v1/scans": (OPERATOR, HOUSE),
    "GET /api/v1/jobs": (VIEWER, HOUSE),
    "GET /api/v1/jobs/{job_id}": (VIEWER, HOUSE),
    "DELETE /api/v1/jobs/{job_id}": (OPERATOR, HOUSE),
    "GET /api/v1/sinks": (VIEWER, HOUSE),
    "POST /api/v1/auth/login": (PUBLIC, OWN),
    "POST /api/v1/auth/logout": (VIEWER, OWN),
    "POST /api/v1/auth/logout-everywhere": (VIEWER, OWN),
    "GET /api/v1/auth/sessions": (VIEWER, OWN),
    "DELETE /api/v1/auth/sessions/{session_id}": (VIEWER, OWN),
    "GET /api/v1/auth/me": (VIEWER, OWN),
    "POST /api/v1/auth/me/password": (VIEWER, OWN),
    "POST /api/v1/auth/me/totp": (VIEWER, OWN),
    "DELETE /api/v1/auth/me/totp": (VIEWER, OWN),
    "POST /api/v1/auth/me/totp/confirm": (VIEWER, OWN),
    "GET /api/v1/auth/users": (ADMIN, HOUSE),
    "POST /api/v1/auth/users": (ADMIN, HOUSE),
    "GET /api/v1/auth/users/{user_id}": (ADMIN, HOUSE),
    "PATCH /api/v1/auth/users/{user_id}": (ADMIN, HOUSE),
    "DELETE /api/v1/auth/users/{user_id}": (ADMIN, HOUSE),
    "DELETE /api/v1/auth/users/{user_id}/totp": (ADMIN, HOUSE),
    "GET /api/v1/auth/api-keys": (ADMIN, HOUSE),
    "POST /api/v1/auth/api-keys": (ADMIN, HOUSE),
    "GET /api/v1/auth/api-keys/{key_id}": (ADMIN, HOUSE),
    "PATCH /api/v1/auth/api-keys/{key_id}": (ADMIN, HOUSE),
    "DELETE /api/v1/auth/api-keys/{key_id}": (ADMIN, HOUSE),
    "POST /api/v1/auth/api-keys/{key_id}/rotate": (ADMIN, HOUSE),
    "GET /api/v1/simulator/devices": (VIEWER, SIMULATOR),
    "GET /api/v1/simulator/faults": (VIEWER, SIMULATOR),
    "POST /api/v1/simulator/faults": (OPERATOR, SIMULATOR),
    "GET /api/v1/simulator/faults/{fault_id}": (VIEWER, SIMULATOR),
    "DELETE /api/v1/simulator/faults/{fault_id}": (OPERATOR, SIMULATOR),
    "POST /api/v1/simulator/faults/reset": (OPERATOR, SIMULATOR),
    "POST /api/v1/simulator/devices/{instance}/reboot": (OPERATOR, SIMULATOR),
    "GET /api/v1/bacnet/devices/{instance}/profile": (VIEWER, BACNET),
    "POST /api/v1/bacnet/devices/{instance}/profile/reset": (OPERATOR, BACNET),
    "GET /api/v1/bacnet/devices/{instance}/objects": (VIEWER, BACNET),
    "GET /api/v1/bacnet/devices/{instance}/objects/{object_id}": (VIEWER, BACNET),
    "GET /api/v1/bacnet/devices/{instance}/objects/{object_id}/properties/{property}": (VIEWER, BACNET),
    "PUT /api/v1/bacnet/devices/{instance}/objects/{object_id}/properties/{property}": (OPERATOR, BACNET),
    "POST /api/v1/bacnet/properties/query": (VIEWER, BACNET),
    "GET /api/v1/bacnet/subscriptions": (VIEWER, BACNET),
    "GET /api/v1/bacnet/networks": (VIEWER, BACNET),
    "POST /api/v1/bacnet/networks/search": (OPERATOR, BACNET),
    "GET /api/v1/bacnet/duplicates": (VIEWER, BACNET),
    "POST /api/v1/bacnet/who-is": (OPERATOR, BACNET),
    "POST /api/v1/bacnet/who-has": (OPERATOR, BACNET),
    "GET /api/v1/bacnet/bbmds/{address}": (OPERATOR, BACNET),
    "PUT /api/v1/bacnet/bbmds/{address}/bdt": (ADMIN, BACNET),
    "POST /api/v1/bacnet/bbmds/{address}/fdt/remove": (ADMIN, BACNET),
    "GET /api/v1/cache/figures": (VIEWER, CACHE),
    "POST /api/v1/cache/clear": (ADMIN, CACHE),
    "GET /api/v1/history": (OPERATOR, HISTORY),
    "GET /api/v1/logging": (OPERATOR, LOGGING),
    "PATCH /api/v1/logging/levels": (ADMIN, LOGGING),
}
"""Each operation: the least role that may ask it, and what it takes to ask it with a scope."""

PATIENT = """\
plugins:
  auth: {password: {memory: 7168, iterations: 1, parallelism: 1}}
  ratelimit:  # what is asked here is more than anybody may ask
    default: {rate: 100000/s}
    anonymous: {rate: 100000/s}
    failed: {rate: 100000/s}
"""
SAFE = ("GET", "HEAD")
NONSENSE = "nonsense=1"  # no operation takes it: whoever is let in is told so, and nothing is done
INSIDE, OUTSIDE, UNKNOWN = "bacnet.2001", "bacnet.2002", "bacnet.4194302"
OBJECT = "analog-value.1"


@attrs.frozen
class Comer:
    """Somebody who asks; ``role`` is empty for who is not known, ``within`` the devices that a scope leaves them."""

    name: str
    headers: Mapping[str, str]
    role: str = ""
    plugin: str = ""
    within: frozenset[str] | None = None
    without_token: bool = False

    def due(self, method: str, operation: str, item: str) -> int | None:
        """Tell which refusal is due, None for none."""
        least, reach = TABLE[operation]
        if least == PUBLIC:
            return None
        if not self.role:
            return 401
        if self.without_token and method not in SAFE:
            return 403
        if RANKS[self.role] < RANKS[least]:
            return 403
        if self.within is None or reach == OWN:
            return None
        if reach == ITEM:
            return None if item in self.within else 403
        return None if reach == self.plugin else 403


@pytest.fixture
async def house(start: StartProgram, tmp_path: Path) -> AsyncIterator[Door]:
    """Run what stands at the door alone."""
    async with opened(start, tmp_path, GUARDED) as guarded:
        yield guarded


@pytest.fixture
async def demo(start: StartProgram, tmp_path: Path) -> AsyncIterator[Door]:
    ports = {"PLANTROOM_BACNET_PORT": str(free_port()), "PLANTROOM_SIMULATOR_PORT": str(free_port())}
    async with opened(start, tmp_path, ROOT / "config/demo.yaml", PATIENT, env=ports) as door:
        await until(
            lambda: door.admin("GET", f"/api/v1/points/{OUTSIDE}.{OBJECT}"), lambda answer: answer.json.get("reading")
        )
        tagged = await door.admin("PATCH", f"/api/v1/devices/{INSIDE}", {"tags": ["comfort"]})
        assert tagged.status == 200
        yield door


async def strangers(door: Door) -> list[Comer]:
    """Those whom nobody is to let in anywhere."""
    revoked, disabled, expired, elsewhere, rotated = [await door.make_key(ADMIN) for _ in range(5)]
    at = "/api/v1/auth/api-keys"
    assert (await door.admin("DELETE", f"{at}/{revoked['id']}")).status == 204
    assert (await door.admin("PATCH", f"{at}/{disabled['id']}", {"enabled": False})).status == 200
    assert (await door.admin("PATCH", f"{at}/{expired['id']}", {"expires_at": "2020-01-01T00:00:00Z"})).status == 200
    assert (await door.admin("PATCH", f"{at}/{elsewhere['id']}", {"networks": ["10.9.8.0/24"]})).status == 200
    assert (await door.admin("POST", f"{at}/{rotated['id']}/rotate", {})).status == 200
    keys = {"revoked": revoked, "disabled": disabled, "expired": expired, "elsewhere": elsewhere, "rotated": rotated}
    return [
        Comer("nobody", {}),
        Comer("a wrong key", {"X-API-Key": "wrong"}),
        Comer("a wrong bearer token", {"Authorization": "Bearer wrong"}),
        Comer("a name and a password", {"Authorization": "Basic YWRtaW46YWRtaW4="}),
        Comer("a forged cookie", {"Cookie": f"{COOKIE}={'A' * 43}", "X-CSRF-Token": "0" * 64}),
        *(Comer(f"a key that is {name}", {"X-API-Key": key["key"]}) for name, key in keys.items()),
    ]


async def key_holders(door: Door) -> list[Comer]:
    """Programs of each role, and of each sort of scope."""
    comers = []
    for role in RANKS:
        made = await door.make_key(role)
        comers.append(Comer(f"a key of {role}", {"Authorization": f"Bearer {made['key']}"}, role))
    every = frozenset({INSIDE, OUTSIDE})
    for scope, plugin, within in (
        ({"plugins": ["bacnet"]}, BACNET, every),
        ({"plugins": ["simulator"]}, SIMULATOR, frozenset[str]()),
        ({"plugins": ["auth"]}, "auth", frozenset[str]()),
        ({"plugins": ["core"]}, "core", frozenset[str]()),
        ({"devices": [f"{INSIDE}*"]}, "", frozenset({INSIDE})),
        ({"tags": ["comfort"]}, "", frozenset({INSIDE})),
        ({"plugins": ["bacnet"], "tags": ["comfort"]}, "", frozenset({INSIDE})),
    ):
        made = await door.make_key(ADMIN, scope=scope)
        comers.append(Comer(f"an admin's key for {scope}", {"X-API-Key": made["key"]}, ADMIN, plugin, within))
    return comers


async def people(door: Door) -> list[Comer]:
    """Users of each role, with the token of their session and without."""
    comers = []
    for role in RANKS:
        await door.make_user(f"the-{role}", role)
        session = await door.browser(f"the-{role}")
        comers.append(Comer(f"the session of {role}", session.headers, role))
        comers.append(Comer(f"the session of {role} without token", session.without_token, role, without_token=True))
    return comers


async def operations(door: Door) -> list[tuple[str, str, Any]]:
    """All operations of the document, each with method, path and what it says."""
    document = (await door.ask("GET", "/api/v1/openapi.json")).json
    return [
        (method.upper(), path, said) for path, methods in document["paths"].items() for method, said in methods.items()
    ]


def addresses(path: str) -> Iterator[tuple[str, str]]:
    """Put something in the place of a path's parameters: with which device it is about, if any."""
    if "{device_id}" in path or "{point_id}" in path:
        for device in (INSIDE, OUTSIDE, UNKNOWN):
            yield path.replace("{device_id}", device).replace("{point_id}", f"{device}.{OBJECT}"), device
    else:
        yield re.sub(r"{\w+}", "4194302", path), ""


async def test_every_operation_is_in_the_table_and_lets_in_whom_it_says_and_nobody_else(demo: Door) -> None:
    described = await operations(demo)
    assert {f"{method} {path}" for method, path, _said in described} == TABLE.keys()
    public = {f"{method} {path}" for method, path, said in described if said.get("security") == []}
    assert public == {operation for operation, (role, _reach) in TABLE.items() if role == PUBLIC}
    comers = [*await strangers(demo), *await key_holders(demo), *await people(demo)]
    assert await wrongly_refused_or_let_in(demo, described, comers) == []
    assert await wrongly_answered(demo, described, comers) == []


async def wrongly_refused_or_let_in(
    door: Door, described: list[tuple[str, str, Any]], comers: list[Comer]
) -> list[str]:
    """Ask every operation what it cannot do: 401 and 403 come before 404 and 422, and only where they are due."""
    faults: list[str] = []
    for method, path, said in described:
        body = b'{"nonsense": 1}' if "requestBody" in said else None
        kind = {"Content-Type": "application/json"} if body else {}
        for address, item in addresses(path):
            asked = [
                door.ask(method, f"{address}?{NONSENSE}", data=body, headers={**comer.headers, **kind})
                for comer in comers
            ]
            for comer, answer in zip(comers, await asyncio.gather(*asked), strict=True):
                due = comer.due(method, f"{method} {path}", item)
                if answer.status != (due or 422) or (due == 401 and "WWW-Authenticate" not in answer.headers):
                    faults.append(f"{comer.name}: {method} {address}: {answer.status}, due was {due or 422}")
    return faults


async def wrongly_answered(door: Door, described: list[tuple[str, str, Any]], comers: list[Comer]) -> list[str]:
    """Ask all that can be asked without doing anything: whoever may is answered, and HEAD is guarded as GET is."""
    faults: list[str] = []
    for method, path, _said in described:
        if method != "GET" or re.search(r"{(?!device_id|point_id)", path):
            continue
        for address, item in addresses(path):
            pairs = [(comer, asked) for comer in comers for asked in SAFE]
            answers = await asyncio.gather(*(door.ask(asked, address, headers=comer.headers) for comer, asked in pairs))
            for (comer, asked), answer in zip(pairs, answers, strict=True):
                due = comer.due(method, f"{method} {path}", item) or (404 if item == UNKNOWN else 200)
                if answer.status != due or (asked == "HEAD" and answer.text):
                    faults.append(f"{comer.name}: {asked} {address}: {answer.status}, due was {due}")
    return faults


async def test_what_does_not_exist_is_told_to_nobody_who_is_not_known(house: Door) -> None:
    viewer = (await house.make_key())["key"]
    for method, path, due in (
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/nothing", 404),
        ("DELETE", "/api/v1/devices", 405),
        ("TRACE", "/api/v1/devices", 405),
    ):
        assert (await house.ask(method, path)).status == 401, path
        assert (await house.ask(method, path, headers={"X-API-Key": "wrong"})).status == 401, path
        assert (await house.ask(method, path, headers={"X-API-Key": viewer})).status == due, path


async def test_an_admin_of_one_plugin_cannot_become_an_admin_of_the_house(house: Door) -> None:
    scope = {"plugins": ["auth"]}
    key = (await house.make_key(ADMIN, scope=scope))["key"]
    await house.make_user("grace", ADMIN, scope=scope)
    browser = await house.browser("grace")
    for headers in ({"X-API-Key": key}, browser.headers):
        for path, body in (
            ("/api-keys", {"name": "more", "role": ADMIN}),
            ("/users", {"name": "more", "role": ADMIN, "password": PASSWORD}),
        ):
            answer = await house.ask("POST", f"/api/v1/auth{path}", body, headers=headers)
            assert (answer.status, answer.json["code"]) == (403, "auth.forbidden"), answer.text
        patched = await house.ask("PATCH", "/api/v1/auth/users/grace", {"scope": None}, headers=headers)
        assert patched.status == 403


SCOPES = (
    ({"devices": [f"{INSIDE}"]}, {INSIDE}),
    ({"tags": ["comfort"]}, {INSIDE}),
    ({"plugins": ["simulator"]}, set[str]()),
)


async def test_lists_and_batches_show_nothing_beyond_the_scope(demo: Door) -> None:
    for scope, devices in SCOPES:
        headers = {"X-API-Key": (await demo.make_key(OPERATOR, scope=scope))["key"]}
        await lists(demo, headers, devices)
        inside, outside, unknown = (f"{device}.{OBJECT}" for device in (INSIDE, OUTSIDE, UNKNOWN))
        await batches(demo, headers, inside=inside if devices else None, beyond=(outside, unknown))
        await histories(demo, headers, inside=inside if devices else None, beyond=(outside, unknown))
    await pages_follow_the_tags(demo)


async def lists(door: Door, headers: Mapping[str, str], devices: set[str]) -> None:
    """See that lists of all sorts, their totals and their pages have these devices and their points alone."""

    async def listed(path: str) -> Any:
        """Ask as the admin first: what is kept ready for one must not be given to the other."""
        await door.admin("GET", path)
        answer = await door.ask("GET", path, headers=headers)
        assert answer.status == 200, answer.text
        return answer.json

    known = await listed("/api/v1/devices?limit=1000&count=true")
    assert ({item["id"] for item in known["items"]}, known["total"]) == (devices, len(devices))
    for query in ("", "&sort=-name", "&device_id=bacnet.2002&device_id=bacnet.2001", "&q=temp", "&quality=good"):
        points = await listed(f"/api/v1/points?limit=1000&count=true{query}")
        assert {item["device_id"] for item in points["items"]} == devices
        assert points["total"] == len(points["items"])
    assert (await listed(f"/api/v1/points?device_id={OUTSIDE}&count=true"))["total"] == 0
    page = await listed("/api/v1/points?limit=7")
    while page["next_cursor"]:
        page = await listed(f"/api/v1/points?limit=7&cursor={page['next_cursor']}")
        assert {item["device_id"] for item in page["items"]} <= devices


async def batches(door: Door, headers: Mapping[str, str], *, inside: str | None, beyond: tuple[str, ...]) -> None:
    """Read and write points within and beyond the scope in one request each."""
    ids = [*beyond, *([inside] if inside else [])]
    before = (await door.admin("GET", f"/api/v1/points/{beyond[0]}/value")).json
    read = await door.ask("POST", "/api/v1/readings/query", {"point_ids": ids, "max_age": 0}, headers=headers)
    writes = [{"point_id": each, "value": 19.5, "priority": 10} for each in ids]
    wrote = await door.ask("POST", "/api/v1/writes", {"writes": writes}, headers=headers)
    for answer in (read, wrote):
        assert answer.status == 200, answer.text
        refused = answer.json["items"][: len(beyond)]
        assert [item["error"]["status"] for item in refused] == [403] * len(beyond)
        assert len({item["error"]["detail"] for item in refused}) == 1, "what is not there is told apart"
        assert all(item.get("reading") is None for item in refused)
        assert [item["reading"] is not None for item in answer.json["items"][len(beyond) :]] == [True] * bool(inside)
    after = (await door.admin("GET", f"/api/v1/points/{beyond[0]}/value?max_age=0")).json
    assert after["value"] == before["value"]


async def histories(door: Door, headers: Mapping[str, str], *, inside: str | None, beyond: tuple[str, ...]) -> None:
    """Ask for the past of points within and beyond the scope in one request each."""
    ids = [*beyond, *([inside] if inside else [])]
    latest = await door.ask("POST", "/api/v1/history/latest", {"point_ids": ids}, headers=headers)
    assert [item["error"]["status"] for item in latest.json["items"][: len(beyond)]] == [403] * len(beyond)
    past = await door.ask("POST", "/api/v1/history/query", {"point_ids": ids}, headers=headers)
    assert past.status == 200, past.text
    assert {item["point_id"] for item in past.json["items"]} <= {inside}
    assert [(each["point_id"], each["error"]["status"]) for each in past.json["errors"]] == [
        (each, 403) for each in beyond
    ]
    assert len({each["error"]["detail"] for each in past.json["errors"]}) == 1, "what is not there is told apart"
    whole = {**headers, "Accept": "text/csv"}
    streamed = await door.ask("POST", "/api/v1/history/query", {"point_ids": ids}, headers=whole)
    assert streamed.status == 403


async def pages_follow_the_tags(door: Door) -> None:
    """See that pages that were kept ready show what a tag lets them, as tags come and go."""
    headers = {"X-API-Key": (await door.make_key(scope={"tags": ["comfort"]}))["key"]}

    async def seen() -> set[str]:
        page = (await door.ask("GET", "/api/v1/points?limit=1000", headers=headers)).json
        return {item["device_id"] for item in page["items"]}

    assert await seen() == await seen() == {INSIDE}
    for device, tags in ((OUTSIDE, ["comfort"]), (INSIDE, [])):
        assert (await door.admin("PATCH", f"/api/v1/devices/{device}", {"tags": tags})).status == 200
    assert await seen() == {OUTSIDE}
    assert (await door.ask("GET", f"/api/v1/points/{INSIDE}.{OBJECT}/value", headers=headers)).status == 403


async def test_a_role_and_a_scope_that_are_taken_away_end_with_the_request_that_takes_them(house: Door) -> None:
    made = await house.make_key(ADMIN)
    headers = {"X-API-Key": made["key"]}
    await house.make_user("grace", ADMIN)
    browser: Browser = await house.browser("grace")
    for path, theirs in ((f"api-keys/{made['id']}", headers), ("users/grace", browser.headers)):
        assert (await house.ask("GET", "/api/v1/auth/users", headers=theirs)).status == 200
        assert (await house.admin("PATCH", f"/api/v1/auth/{path}", {"role": VIEWER})).status == 200
        assert (await house.ask("GET", "/api/v1/auth/users", headers=theirs)).status == 403
        assert (await house.ask("GET", "/api/v1/jobs", headers=theirs)).status == 200
        assert (await house.admin("PATCH", f"/api/v1/auth/{path}", {"scope": {"devices": ["x.1"]}})).status == 200
        assert (await house.ask("GET", "/api/v1/jobs", headers=theirs)).status == 403
