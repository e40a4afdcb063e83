"""Paths and methods that mean something else to somebody else: here each means what the table of routes says."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from e2e.attacked import AS_ADMIN, KEY, House
from wire import Received

pytestmark = pytest.mark.usefixtures("unharmed")

HOST = "Host: 127.0.0.1"


def request(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", HOST, *lines, "Connection: close", "", ""]).encode("latin-1")


def asked(house: House, method: str, path: str, *lines: str) -> Received:
    (answer,) = house.attack(request(method, path, *lines))
    return answer


@pytest.fixture(scope="module")
def viewer(house: House) -> str:
    """Make a key that may read and no more, as a header."""
    return f"X-API-Key: {house.make_key('viewer')}"


MARK = "/api/v1/mill/marks/left"
SAME = [
    "/api/v1/mill/%6darks/left",
    "/api/v1/mill/%6D%61%72%6B%73/left",
    "/%61%70%69/%76%31/%6d%69%6c%6c/marks/left",
    "/api/v1/mill/marks/le%66t",
    "/api/v1/mill/marks/left?mark=other",
    "/api/v1/mill/marks/..",
    "/api/v1/mill/marks/%2e%2e",
    "/api/v1/mill/marks/..%2f..%2fdevices",
    "/api/v1/mill/marks/%2f",
    "/api/v1/mill/marks/%00",
    "/api/v1/mill/marks/%0d%0aX:%20y",
    "/api/v1/mill/marks/%252e",
    "/api/v1/mill/marks/left;a=b",
    "/api/v1/mill/marks/left.",
    "/api/v1/mill/marks/left%20",
    "/api/v1/mill/marks/%c0%ae",
    "/api/v1/mill/marks/%ff",
    "/api/v1/mill/marks/\\..\\x",
    "/api/v1/mill/marks/left#/healthz",
    f"http://127.0.0.1{MARK}",
    f"http://localhost:1{MARK}",
]
OTHER = [
    "/api/v1/mill/marks",
    "/api/v1/mill/marks/",
    "/api/v1/mill/marks/left/",
    "/api/v1/mill/marks//left",
    "/api/v1//mill/marks/left",
    "//api/v1/mill/marks/left",
    "///api/v1/mill/marks/left",
    "/./api/v1/mill/marks/left",
    "/api/./v1/mill/marks/left",
    "/healthz/../api/v1/mill/marks/left",
    "/healthz/%2e%2e/api/v1/mill/marks/left",
    "/healthz%2f..%2fapi/v1/mill/marks/left",
    "/healthz;/../api/v1/mill/marks/left",
    "/healthz?/../api/v1/mill/marks/left",
    "/healthz#/../api/v1/mill/marks/left",
    "/api/v1/mill/x/../marks/left",
    "/api%2fv1%2fmill%2fmarks%2fleft",
    "/api/v1/mill%2fmarks/left",
    "/api/v1/mill%252fmarks/left",
    "/api/v1/mill/%256darks/left",
    "/api/v1/mill/marks%00/left",
    "/api/v1/mill/marks%20/left",
    "/api/v1/mill/marks%0a/left",
    "/api/v1/mill/marks./left",
    "/api/v1/mill/marks;a=b/left",
    "/api;a/v1/mill/marks/left",
    "/api\\v1\\mill\\marks\\left",
    "/api/v1/mill\\..\\mill/marks/left",
    "/api/v1/mill/%c0%aemarks/left",
    "/api/v1/mill%c0%afmarks/left",
    "/api/v1/mill/%e0%80%afmarks/left",
    "/api/v1/mill/%u006darks/left",
    "/api/v1/mill/%ef%bd%8darks/left",
    "/API/v1/mill/marks/left",
    "/api/V1/mill/marks/left",
    "/api/v1/MILL/marks/left",
    "/api/v1/mill/Marks/left",
    "/api/v1/mill/mar%C5%BFs/left",
    "/%2fapi/v1/mill/marks/left",
    "/%5capi/v1/mill/marks/left",
    "/..;/api/v1/mill/marks/left",
    "/.%2e/api/v1/mill/marks/left",
    "/x/..%2f../api/v1/mill/marks/left",
    "http://127.0.0.1/healthz/../api/v1/mill/marks/left",
    "http://127.0.0.1//api/v1/mill/marks/left",
]


@pytest.mark.parametrize("path", SAME)
def test_a_route_of_the_admins_is_theirs_however_it_is_written(house: House, viewer: str, path: str) -> None:
    assert asked(house, "POST", path).status == 401
    assert asked(house, "POST", path, viewer).status == 403
    assert house.marks() == []
    assert asked(house, "POST", path, AS_ADMIN).status in (200, 422)


@pytest.mark.parametrize("path", OTHER)
def test_what_only_looks_like_a_route_is_none(house: House, viewer: str, path: str) -> None:
    for lines in ((), (viewer,), (AS_ADMIN,)):
        assert asked(house, "POST", path, *lines).status in (400, 401, 404, 405)
    assert house.marks() == []


FORBIDDEN = [
    "/api/v1/plugins",
    "/metrics",
    "/api/v1/auth/users",
    "/api/v1/auth/api-keys",
    "/api/v1/jobs",
    "/api/v1/cache/figures",
]
DISGUISES = [
    "{}/", "{}//", "{}.", "{}%20", "{}%00", "{}%2f", "{};a=b", "{}?a=b", "{}#a", "{}.json", "{}.css", "{}/.", "{}/..;/",
    "/{}", "/.{}", "/healthz/..{}", "/healthz/..;{}", "/healthz%2f..{}", "/healthz%23{}", "/healthz%3f{}",
    "/api/docs/..{}", "/api/docs/%2e%2e/%2e%2e{}", "/api/v1/errors/..%2f..{}", "{}%23", "{}%3f", "{}\\", "{}%5c",
    "{}%c0%af", "{}~",
]  # fmt: skip


@pytest.mark.parametrize("disguise", DISGUISES)
def test_nothing_is_shown_to_nobody_under_another_name(house: House, disguise: str) -> None:
    for path in FORBIDDEN:
        for method in ("GET", "HEAD"):
            raw = request(method, disguise.format(path), "X-Original-URL: /healthz", "X-Rewrite-URL: /healthz")
            first = house.status_of(raw)
            assert first in (400, 401, 404, 422)


FILES = ["etc/passwd", "proc/self/environ", "plantroom.yaml", "data/admin-key", ".git/config", "windows/win.ini"]
CLIMBS = [
    "/../",
    "/..%2f",
    "/%2e%2e/",
    "/%2e%2e%2f",
    "/..%5c",
    "/..\\",
    "/%252e%252e%252f",
    "/..%c0%af",
    "/....//",
    "/%c0%ae%c0%ae/",
    "/.%00./",
]


@pytest.mark.parametrize("climb", CLIMBS)
@pytest.mark.parametrize("base", ["", "/api/docs", "/api/v1", "/api/v1/errors", "/api/v1/devices", "/.well-known"])
def test_no_file_is_to_be_had(house: House, base: str, climb: str) -> None:
    for file in FILES:
        answer = asked(house, "GET", f"{base}{climb * 8}{file}", AS_ADMIN)
        assert answer.status in (400, 404)
        assert b"root:" not in answer.body and KEY.encode() not in answer.body


IDS = [
    "%00", "mill.stone%00", "mill.stone%0a", "%0d%0a", "%1b%5b2J", "%7f", "%ff%fe", "%ed%a0%80", "%e2%80%ae",
    "%e2%80%a8", "%2e", "%2e%2e", "..", ".", "%2f", "mill%2estone%2f", "mill.stone%20", "%20mill.stone", "MILL.STONE",
    "mill.stone.", "mill..stone", "mill.stone;a", "mill.stone'", "mill.stone%22%20or%201=1--", "mill.*", "mill.%25",
    "%25s%25n", "$%7b7*7%7d", "%7b%7b7*7%7d%7d", "a" * 7_000, "%41" * 2_000, "%F0%9F%92%A9" * 500, "-1", "0", "null",
    "NaN", "__class__", "{device_id}",
]  # fmt: skip


@pytest.mark.parametrize("given", IDS, ids=range(len(IDS)))
def test_an_id_that_nothing_has_is_of_nothing(house: House, given: str) -> None:
    for method, path, body in (
        ("GET", "/api/v1/devices/{}", ""),
        ("PATCH", "/api/v1/devices/{}", '{"name": "x"}'),
        ("DELETE", "/api/v1/devices/{}", ""),
        ("GET", "/api/v1/points/{}/value", ""),
        ("PUT", "/api/v1/points/{}/value", '{"value": 1}'),
        ("GET", "/api/v1/plugins/{}", ""),
        ("GET", "/api/v1/jobs/{}", ""),
        ("GET", "/api/v1/errors/{}", ""),
        ("DELETE", "/api/v1/auth/users/{}", ""),
        ("DELETE", "/api/v1/auth/api-keys/{}", ""),
    ):
        lines = ("Content-Type: application/json", f"Content-Length: {len(body)}") if body else ()
        raw = request(method, path.replace("{}", given), AS_ADMIN, *lines) + body.encode()
        (answer,) = house.attack(raw)
        assert answer.status in (404, 405), (method, path)
        assert len(answer.body) < 32 * 1024
    assert house.ask("GET", "/api/v1/devices/mill.stone").json["name"] == "Stone"


METHODS = (
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "COPY", "MOVE", "LOCK",
    "MKCOL", "PURGE", "SEARCH", "REPORT", "NOTIFY", "SUBSCRIBE", "LINK", "SOURCE", "QUERY",
)  # fmt: skip


def table(house: House) -> Mapping[str, set[str]]:
    """Return the methods that the API document names, by path."""
    paths = house.ask("GET", "/api/v1/openapi.json").json["paths"]
    return {path: {method.upper() for method in item if method != "parameters"} for path, item in paths.items()}


def test_a_method_that_a_path_does_not_take_is_told_and_no_other(house: House) -> None:
    for path, taken in table(house).items():
        offered = taken | ({"HEAD"} if "GET" in taken else set())
        for method in METHODS:
            if method not in offered and not (method == "CONNECT" and "{" in path):
                answer = house.status_of(request(method, path.replace("{", "%7B").replace("}", "%7D"), AS_ADMIN))
                assert answer in (405, 400), (method, path)


@pytest.mark.parametrize(
    "method", ["FOO", "get", "GeT", "G", "GETT", "POST1", "HTTP/1.1", "BREW", "JEFF", "DEBUG", "TRACK", "A" * 100]
)
def test_a_method_that_nobody_knows_is_refused(house: House, method: str) -> None:
    assert asked(house, method, "/api/v1/devices", AS_ADMIN).status == 400


def test_a_trace_shows_nobody_what_it_brought(house: House) -> None:
    answer = asked(house, "TRACE", "/api/v1/devices", AS_ADMIN, "Cookie: plantroom_session=precious")
    assert answer.status == 405
    assert KEY.encode() not in answer.body and b"precious" not in answer.body


@pytest.mark.parametrize("method", ["OPTIONS", "GET", "POST", "DELETE", "TRACE"])
def test_a_star_is_no_path(house: House, method: str) -> None:
    for lines in ((), (AS_ADMIN,)):
        assert asked(house, method, "*", *lines).status in (400, 401, 404, 405)


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"])
def test_no_header_makes_one_method_of_another(house: House, header: str) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        assert house.status_of(request(method, MARK, AS_ADMIN, f"{header}: POST")) == 405
    assert house.marks() == []


@pytest.mark.parametrize(
    "line",
    ["X-Original-URL: {}", "X-Rewrite-URL: {}", "X-Forwarded-Path: {}", "X-Forwarded-Prefix: {}", "Forwarded: path={}"],
)
def test_no_header_makes_one_path_of_another(house: House, viewer: str, line: str) -> None:
    answer = asked(house, "GET", "/healthz", viewer, line.format("/api/v1/auth/users"))
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    assert asked(house, "GET", "/api/v1/auth/users", viewer, line.format("/healthz")).status == 403
