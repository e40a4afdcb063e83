"""Names and origins that are not ours: no page of another name, and nobody who speaks for others, is believed."""

from __future__ import annotations

import pytest
from e2e.attacked import AS_ADMIN, PLUGINS, House
from wire import Received

pytestmark = pytest.mark.usefixtures("unharmed")

CONFIGURATION = f"""
plugins: {{{PLUGINS}, cors: {{origins: ["https://panel.example", "http://localhost:5173"]}}}}
"""


def asked(house: House, *lines: str, first: str = "GET /api/v1 HTTP/1.1", key: str = AS_ADMIN) -> list[Received]:
    return house.attack("\r\n".join([first, key, "Connection: close", *lines, "", ""]).encode("latin-1"))


OURS = [
    "127.0.0.1",
    "127.0.0.1:80",
    "127.0.0.1:65535",
    "localhost",
    "LOCALHOST:1",
    "localhost.",
    "a.localhost",
    "127.1.2.3",
    "[::1]",
    "[::1]:8080",
    "[0:0:0:0:0:0:0:1]",
]
OTHERS = [
    "evil.example", "evil.example:80", "127.0.0.1.evil.example", "127.0.0.1.nip.io", "localhost.evil.example",
    "localhostevil.example", "evil-localhost", "localhost.localdomain", "notlocalhost", "10.0.0.1", "0.0.0.0",
    "192.168.1.1:8080", "169.254.169.254", "[::]", "[fe80::1]", "[::ffff:10.0.0.1]", "[2001:db8::1]",
    "evil.example#127.0.0.1", "evil.example?127.0.0.1", "evil.example/127.0.0.1", "127.0.0.1@evil.example",
    "127.0.0.1:80@evil.example", "a:b@evil.example", "evil.example\\127.0.0.1", "evil.example,127.0.0.1",
    "127.0.0.1,evil.example", "evil.example 127.0.0.1", "127.0.0.1 evil.example", "[::1", "::1]", "[", "]",
    "%31%32%37.0.0.1.evil.example", "xn--localhost-9za.example", "l\xf6calhost", "\xff", ".", "..", "-", "a" * 7_000,
]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
def test_our_own_names_are_answered(house: House, host: str) -> None:
    assert [answer.status for answer in asked(house, f"Host: {host}")] == [200]


@pytest.mark.parametrize("host", OTHERS, ids=range(len(OTHERS)))
@pytest.mark.parametrize("key", [AS_ADMIN, "X-Nobody: 1"], ids=["admin", "nobody"])
def test_names_of_others_are_not(house: House, host: str, key: str) -> None:
    for first in (
        "GET /api/v1 HTTP/1.1",
        "POST /api/v1/mill/marks/smuggled HTTP/1.1",
        "GET /healthz HTTP/1.1",
        "GET /healthz HTTP/1.0",
    ):
        (answer,) = asked(house, f"Host: {host}", first=first.replace("smuggled", "left"), key=key)
        assert answer.status in (400, 421)
        assert answer.headers.get("Access-Control-Allow-Origin") is None
        assert b"evil.example" not in answer.body
    assert house.marks() == []


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Host: 127.0.0.1", "Host: 127.0.0.1"),
        ("Host: 127.0.0.1", "Host: evil.example"),
        ("Host: evil.example", "Host: 127.0.0.1"),
        ("host: 127.0.0.1", "HOST: evil.example"),
        ("Host: 127.0.0.1", " Host: evil.example"),
        ("Host : 127.0.0.1",),
        ("X-Host: 127.0.0.1",),
        ("X-Forwarded-Host: 127.0.0.1",),
    ],
)
def test_one_host_is_named(house: House, lines: tuple[str, ...]) -> None:
    assert [answer.status for answer in asked(house, *lines)] == [400]


@pytest.mark.parametrize("lines", [("Host:",), ("Host: ",), ("Host: evil.example", "X-Forwarded-Host: 127.0.0.1")])
def test_a_host_that_is_empty_or_stands_elsewhere_is_not_ours(house: House, lines: tuple[str, ...]) -> None:
    assert [answer.status for answer in asked(house, *lines)] in ([400], [421])


TARGETS = {
    "http://evil.example/api/v1": 421,
    "http://evil.example:80/api/v1": 421,
    "https://evil.example/api/v1": 421,
    "http://127.0.0.1@evil.example/api/v1": 421,
    "http://127.0.0.1.evil.example/api/v1": 421,
    "http://localhost/api/v1": 200,
    "http://127.0.0.1:1/api/v1": 200,
    "HTTP://LOCALHOST/api/v1": 200,
    "http://[::1]/api/v1": 200,
}


@pytest.mark.parametrize(("target", "status"), TARGETS.items(), ids=TARGETS)
def test_a_target_with_a_host_counts_beside_the_header(house: House, target: str, status: int) -> None:
    answers = asked(house, "Host: 127.0.0.1", first=f"GET {target} HTTP/1.1")
    assert [answer.status for answer in answers] == [status]
    answers = asked(house, "Host: evil.example", first=f"GET {target} HTTP/1.1")
    assert [answer.status for answer in answers] == [421]


STRANGE = [
    "http:///api/v1", "http:/api/v1", "http:api/v1", "http://", "//evil.example/api/v1", "ftp://127.0.0.1/api/v1",
    "file:///etc/passwd", "javascript:alert(1)", "127.0.0.1/api/v1", "evil.example", "evil.example:80",
    "http://evil.example", "http://[::1/api/v1", "http://127.0.0.1:99999/api/v1", "http://127.0.0.1:-1/api/v1",
    "http://127.0.0.1:a/api/v1", "gopher://127.0.0.1/", "?a", "#a", "@", "http://\xff/",
    "http://127.0.0.1\\@evil.example/api/v1", "data:,a", "*/api/v1",
]  # fmt: skip


@pytest.mark.parametrize("target", STRANGE)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "CONNECT"])
def test_a_target_that_is_none_of_ours_leads_nowhere(house: House, target: str, method: str) -> None:
    (answer,) = asked(house, "Host: 127.0.0.1", first=f"{method} {target} HTTP/1.1")
    assert answer.status in (400, 404, 405, 421)


BELIEVED_BY_OTHERS = (
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 666",
    "X-Forwarded-Server: evil.example",
    "X-Host: evil.example",
    "X-Real-IP: 6.6.6.6",
    "X-Client-IP: 6.6.6.6",
    "True-Client-IP: 6.6.6.6",
    "CF-Connecting-IP: 6.6.6.6",
    "Forwarded: for=6.6.6.6;host=evil.example;proto=https",
    "Via: 1.1 evil.example",
    "Referer: http://evil.example/",
    "X-Remote-User: admin",
    "Remote-User: admin",
    "X-Forwarded-User: admin",
    "X-Forwarded-Client-Cert: Subject=admin",
    "X-Authenticated-User: admin",
)


@pytest.mark.parametrize("line", BELIEVED_BY_OTHERS)
def test_nobody_is_believed_about_others(house: House, line: str) -> None:
    for path in ("/api/v1", "/api/v1/openapi.json", "/api/docs", "/api/v1/errors", "/api/v1/auth/me"):
        (answer,) = asked(house, "Host: 127.0.0.1", line, first=f"GET {path} HTTP/1.1")
        assert answer.status == 200
        assert b"evil.example" not in answer.body
        assert "Strict-Transport-Security" not in answer.headers
        (nobody,) = asked(house, "Host: 127.0.0.1", line, first="GET /api/v1/auth/me HTTP/1.1", key="X-Nobody: 1")
        assert nobody.status == 401
    house.marks()
    assert [entry for entry in house.new_lines() if "6.6.6.6" in str(entry)] == []


ORIGINS = ["https://panel.example", "http://localhost:5173"]
NOT_LISTED = [
    "null", "*", "", "https://panel.example.evil.example", "https://evil.example", "https://evilpanel.example",
    "https://panel.example.", "https://panel.example:443", "https://panel.example:8443", "http://panel.example",
    "https://PANEL.example", "HTTPS://panel.example", "https://sub.panel.example", "https://panel.example/",
    "https://panel.example/x", "https://panel.example@evil.example", "https://a:b@panel.example",
    "https://panel.example https://evil.example", "https://panel.example,https://evil.example", "https://panel-example",
    "https://panelxexample", "https://panel.example%00", "https://panel.example%2eevil.example",
    "https://panel.example#", "https://panel.example?", "https://panel.example\\.evil.example", "//panel.example",
    "panel.example", "http://localhost", "http://localhost:51730", "http://localhost:5173.evil.example",
    "http://127.0.0.1:5173", "https://localhost:5173", "file://", "chrome-extension://abc", "https://p\xe4nel.example",
]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_listed_origin_may_read(house: House, origin: str) -> None:
    (answer,) = asked(house, "Host: 127.0.0.1", f"Origin: {origin}")
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
    assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize("origin", NOT_LISTED)
def test_an_origin_that_is_not_listed_may_not(house: House, origin: str) -> None:
    preflight = ("Access-Control-Request-Method: DELETE", "Access-Control-Request-Headers: X-API-Key")
    for first, more in (
        ("GET /api/v1 HTTP/1.1", ()),
        ("GET /nowhere HTTP/1.1", ()),
        ("OPTIONS /api/v1/devices/mill.stone HTTP/1.1", preflight),
        ("OPTIONS /nowhere HTTP/1.1", (*preflight, "Access-Control-Request-Private-Network: true")),
    ):
        for lines in (
            (f"Origin: {origin}",),
            (f"Origin: {origin}", f"X-Origin: {ORIGINS[0]}", f"Referer: {ORIGINS[0]}/"),
        ):
            (answer,) = asked(house, "Host: 127.0.0.1", *lines, *more, first=first)
            assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
            assert "Origin" in answer.headers.get("Vary", "")
            assert answer.status in (200, 403, 404, 405)


def test_two_origins_are_none(house: House) -> None:
    for pair in ((ORIGINS[0], "https://evil.example"), ("https://evil.example", ORIGINS[0]), (ORIGINS[0], ORIGINS[1])):
        (answer,) = asked(house, "Host: 127.0.0.1", *(f"Origin: {origin}" for origin in pair))
        assert answer.headers.get("Access-Control-Allow-Origin") in (None, pair[0])
        assert answer.headers.get("Access-Control-Allow-Origin") != "https://evil.example"


@pytest.mark.parametrize(
    "line",
    [
        "Access-Control-Request-Method: A\tB",
        "Access-Control-Request-Method: " + "A" * 1000,
        "Access-Control-Request-Method: *",
    ],
)
def test_a_preflight_shows_nothing_of_what_it_brought(house: House, line: str) -> None:
    lines = (
        "Host: 127.0.0.1",
        f"Origin: {ORIGINS[0]}",
        line,
        "Access-Control-Request-Headers: X-Evil, *, Authorization",
    )
    (answer,) = asked(house, *lines, first="OPTIONS /api/v1/devices HTTP/1.1", key="X-Nobody: 1")
    assert answer.status in (204, 400, 401, 403, 405)
    assert not any("Evil" in value or "AAA" in value for value in answer.headers.values())
