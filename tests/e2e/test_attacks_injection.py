"""Line breaks and other characters that steer: they forge no line of the log, no header, no metric."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from e2e.attacked import AS_ADMIN, House
from e2e.bystander import BYSTANDER
from wire import Received

pytestmark = pytest.mark.usefixtures("unharmed")

FORGED = '{"event":"request","path":"/smuggled","status":200,"level":"error"}'
POISONS = {
    "CR LF": f"\r\nX-Injected: yes\r\n{FORGED}\r\n",
    "CR LF CR LF": "\r\n\r\n<script>injected</script>",
    "LF": f"a\n{FORGED}\n",
    "CR": f"a\r{FORGED}\r",
    "NUL": "a\0injected",
    "ESC": "a\x1b[2J\x1b]0;injected\x07",
    "C1": "a\x85b\x9b31mc",
    "backspaces": "a\b\b\b\x7f",
    "vertical tab, form feed": "a\x0bb\x0cc",
    "line separator": "a\u2028b\u2029c",
    "bidi": "a\u202eb\u2066c\u200fd",
    "byte order mark": "\ufeffa",
    "quotes": '"},{"event":"injected","a":"',
    "escapes": "\\u000ainjected\\n\\r",
    "braces": "{injected} %s %(injected)s {0} ${jndi:ldap://injected}",
    "markup": "<b onmouseover=injected()>",
    "encoded": "%0d%0aX-Injected:%20yes%0d%0a",
    "double": "%250d%250aX-Injected:%2520yes",
    "wide": "\u560d\u560aX-Injected: yes",
    "emoji": "\U0001f4a9" * 20,
    "long": "a" * 4_000,
}
STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
EXPECTED = {
    "accept-encoding", "age", "allow", "cache-control", "cache-status", "connection", "content-length",
    "content-security-policy", "content-type", "cross-origin-opener-policy", "cross-origin-resource-policy", "date",
    "etag", "location", "permissions-policy", "ratelimit", "ratelimit-policy", "referrer-policy", "retry-after",
    "server", "vary", "www-authenticate", "x-content-type-options", "x-frame-options", "x-request-id",
}  # fmt: skip

poisoned = pytest.mark.parametrize("poison", POISONS.values(), ids=POISONS)
numbers = itertools.count()


def asked(house: House, method: str, path: str, *lines: bytes, body: Any = None, key: str = AS_ADMIN) -> Received:
    """Ask with an id of its own, and see that it is in the log as one line, and that the answer is as any other."""
    number = f"n{next(numbers)}"
    content = b"" if body is None else json.dumps(body).encode()
    head = [
        f"{method} {path} HTTP/1.1".encode(), b"Host: 127.0.0.1", key.encode(), f"X-Request-ID: {number}".encode(),
        b"Content-Type: application/json", f"Content-Length: {len(content)}".encode(), b"Connection: close", *lines,
    ]  # fmt: skip
    house.new_lines()
    (answer,) = house.attack(b"\r\n".join([*head, b"", content]))
    house.marks()
    logged = [line for line in house.new_lines() if line["event"] == "request" and not of_others(line)]
    assert [line["status"] for line in logged] == [answer.status]
    assert {name.lower() for name in answer.headers} <= EXPECTED
    if answer.status != 400:
        assert answer.headers["X-Request-ID"] == logged[0]["request_id"] == number
    if answer.headers.get("Content-Type", "").endswith("json"):
        json.loads(answer.body)
    return answer


def of_others(line: dict[str, Any]) -> bool:
    """Tell whether a line is about the bystander, or about what the house itself was asked."""
    return line["client"] == BYSTANDER or line["path"] == "/api/v1/mill/marks"


@poisoned
def test_in_a_path_or_a_query(house: House, poison: str) -> None:
    text = quote(poison, safe="")
    assert asked(house, "GET", f"/api/v1/devices/{text}").status == 404
    assert asked(house, "GET", f"/{text}").status == 404
    assert asked(house, "GET", f"/api/v1/devices?q={text}").status in (200, 422)
    assert asked(house, "GET", f"/api/v1/devices?{text}=1").status == 422
    assert asked(house, "GET", f"/api/v1/errors/{text}", key="X-Nobody: 1").status == 404


@poisoned
def test_in_a_path_as_it_is(house: House, poison: str) -> None:
    raw = poison.encode()
    (answer, *_more) = house.attack(b"GET /" + raw + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    assert answer.status in (400, 401)
    assert {name.lower() for name in answer.headers} <= EXPECTED


HEADERS = (
    "User-Agent",
    "Referer",
    "X-Request-ID",
    "X-Forwarded-For",
    "Accept",
    "Origin",
    "If-None-Match",
    "Idempotency-Key",
    "Cookie",
    "Authorization",
)


@poisoned
@pytest.mark.parametrize("name", HEADERS)
def test_in_a_header(house: House, name: str, poison: str) -> None:
    clean = poison.encode().replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b" ")
    if name == "X-Request-ID":
        (answer,) = house.attack(
            b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Request-ID: " + clean + b"\r\n\r\n"
        )
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-ID"])
    else:
        answer = asked(house, "GET", "/api/v1/devices", name.encode() + b": " + clean)
    assert answer.status in (200, 400, 401)
    assert not any("njected" in value for value in answer.headers.values())


@poisoned
def test_in_the_names_and_values_of_a_body(house: House, poison: str) -> None:
    for path, body in (
        ("/api/v1/readings/query", {poison: 1}),
        ("/api/v1/readings/query", {"point_ids": [poison]}),
        ("/api/v1/writes", {"writes": [{"point_id": poison, "value": poison, poison: poison}]}),
        ("/api/v1/scans", {"plugin": poison}),
        ("/api/v1/auth/login", {"name": poison, "password": poison}),
    ):
        assert asked(house, "POST", path, body=body).status in (200, 401, 404, 409, 422)


@poisoned
def test_in_what_things_are_called(house: House, poison: str) -> None:
    for path in ("/api/v1/devices/mill.stone", "/api/v1/points/mill.stone.speed"):
        for body in ({"name": poison}, {"tags": [poison]}):
            answer = asked(house, "PATCH", path, body=body)
            assert answer.status in (200, 422)
        assert asked(house, "GET", path).status == 200
    metrics = asked(house, "GET", "/metrics")
    assert metrics.status == 200
    assert not STEERING.search(metrics.body.decode())
    assert not [line for line in metrics.body.decode().split("\n") if line.startswith(("X-Injected", "{", "a\\n"))]
    for path in ("/api/v1/devices", "/api/v1/points", "/api/v1/devices?q=a&sort=name"):
        assert asked(house, "GET", path).status == 200
    asked(house, "PATCH", "/api/v1/devices/mill.stone", body={"name": "Stone", "tags": []})
    asked(house, "PATCH", "/api/v1/points/mill.stone.speed", body={"name": "Speed", "tags": []})


@poisoned
def test_in_the_name_of_a_key(house: House, poison: str) -> None:
    made = asked(house, "POST", "/api/v1/auth/api-keys", body={"name": poison, "role": "viewer"})
    assert made.status in (201, 422)
    if made.status == 201:
        assert asked(house, "GET", "/api/v1/devices", key=f"X-API-Key: {made.json['key']}").status == 200
        assert asked(house, "GET", "/api/v1/auth/me", key=f"X-API-Key: {made.json['key']}").status == 200
        assert asked(house, "DELETE", f"/api/v1/auth/api-keys/{made.json['id']}").status in (200, 204)


@poisoned
def test_in_the_name_of_a_user(house: House, poison: str) -> None:
    body = {"name": poison[:40], "password": "grey-Otter_lends 7 ladders", "role": "viewer"}
    made = asked(house, "POST", "/api/v1/auth/users", body=body)
    assert made.status in (201, 422)
    if made.status == 201:
        assert asked(house, "DELETE", f"/api/v1/auth/users/{made.json['id']}").status in (200, 204)


def test_nothing_of_all_this_steers_who_reads_the_log(house: House) -> None:
    for poison in POISONS.values():
        asked(house, "POST", "/api/v1/auth/login", body={"name": poison, "password": "x"})
        asked(house, "GET", f"/{quote(poison, safe='')}")
    assert not STEERING.search(house.log_file.read_bytes().decode())
    for line in house.kept_log():
        assert json.loads(line)["level"] in ("info", "warning")
        assert not STEERING.search(line)
