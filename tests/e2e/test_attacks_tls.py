"""Attacks on a house that speaks TLS, answers to its names only and takes small bodies: the bounds of its file hold."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from authority import Authority
from e2e.attacked import AS_ADMIN, PLUGINS, House
from e2e.attacker import Attacker, parsed
from e2e.program import free_port
from e2e.slow_clients import close_those_that_do_not_read, octets, slowly, still_open

pytestmark = pytest.mark.usefixtures("unharmed")

AUTHORITY = Authority()
REDIRECT = free_port()
CONFIGURATION = f"""
http:
  tls: {{certificate: certificate.pem, key: key.pem}}
  redirect_port: {REDIRECT}
  hosts: [127.0.0.1, bms.example, "*.plant.example"]
  max_body: 65536
  connections_per_address: 50
  deadlines: {{handshake_s: 1, header_s: 1, body_s: 1, idle_s: 1, unread_answer_s: 1}}
plugins: {{{PLUGINS}}}
"""
LATEST_S = 8.0

GET = f"GET /api/v1/devices HTTP/1.1\r\nHost: 127.0.0.1\r\n{AS_ADMIN}\r\n\r\n".encode()
POST = GET[:-2].replace(b"GET /api/v1/devices", b"POST /api/v1/readings/query") + b"Content-Type: application/json\r\n"
HELLO = bytes.fromhex("160301003a010000360303") + bytes(32) + bytes.fromhex("0000021301010000") + b"\0\x0b" + bytes(11)


def asked(house: House, *lines: str, first: str = "GET /api/v1 HTTP/1.1") -> int:
    (answer,) = house.attack("\r\n".join([first, AS_ADMIN, "Connection: close", *lines, "", ""]).encode("latin-1"))
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=") or answer.status == 400
    return answer.status


BEFORE = {
    "silent": lambda: slowly(b""), "zeros": lambda: slowly(b"\0", b"\0"), "plain HTTP": lambda: slowly(GET, GET),
    "plain HTTP by octets": lambda: octets(GET), "half a hello": lambda: slowly(HELLO[:20]),
    "a hello by octets": lambda: octets(HELLO), "a hello, and then nothing": lambda: slowly(HELLO),
    "hellos for ever": lambda: slowly(HELLO, HELLO),
    "a record of the greatest length by octets": lambda: slowly(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc", b"\0"),
    "a record that is too long": lambda: slowly(b"\x16\x03\x01\xff\xff", b"\0" * 1000),
    "alerts for ever": lambda: slowly(b"\x15\x03\x01\0\2\1\0", b"\x15\x03\x01\0\2\1\0"),
    "a heartbeat": lambda: slowly(b"\x18\x03\x02\0\3\1\x40\0"),
    "a hello of SSL 2": lambda: slowly(b"\x80\x2e\1\0\2\0\x15\0\0\0\x10", b"\0"),
    "a hello of SSL 3": lambda: slowly(HELLO.replace(b"\3\1", b"\3\0", 1).replace(b"\3\3", b"\3\0", 1)),
}  # fmt: skip
BEHIND = {
    "silent": lambda: slowly(b""), "silent after an answer": lambda: slowly(GET),
    "a header by octets": lambda: slowly(GET[:-2] + b"X-A: ", b"a"),
    "a body by octets": lambda: slowly(POST + b"Content-Length: 5000\r\n\r\n", b" "),
    "chunks by octets": lambda: slowly(POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "zeros": lambda: slowly(b"\0", b"\0"),
}  # fmt: skip


@pytest.mark.parametrize(("kinds", "encrypted"), [(BEFORE, False), (BEHIND, True)], ids=["before", "behind"])
def test_who_takes_too_long_is_closed(house: House, kinds: dict[str, object], encrypted: bool) -> None:
    assert still_open(house, kinds, seconds=LATEST_S, encrypted=encrypted) == set()


def test_clients_that_do_not_read_are_closed(house: House) -> None:
    close_those_that_do_not_read(house, GET.replace(b"/devices", b"/openapi.json"), seconds=LATEST_S)


def test_connections_without_a_handshake_count_for_their_address_alone(house: House) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            stack.callback(house.attacker("127.0.0.3", encrypted=False).close)
        with contextlib.closing(house.attacker("127.0.0.3", encrypted=False)) as attacker:
            assert attacker.received() == b""
        with contextlib.closing(house.attacker("127.0.0.4")) as attacker:
            attacker.send(GET)
            assert attacker.one().status == 200


def test_plain_http_is_told_where_to_ask_and_gets_nothing_in(house: House) -> None:
    hidden = GET.replace(b"GET /api/v1/devices", b"POST /api/v1/mill/marks/smuggled")
    with contextlib.closing(house.attacker(encrypted=False)) as attacker:
        attacker.send(hidden * 3)
        assert [answer.status for answer in attacker.answers()] == [400]
    assert house.marks() == []


def test_what_is_sent_before_the_handshake_ends_is_no_request(house: House) -> None:
    hidden = GET.replace(b"GET /api/v1/devices", b"POST /api/v1/mill/marks/smuggled")
    for begun in (HELLO, HELLO[:30], b"\x17\x03\x03" + len(hidden).to_bytes(2, "big"), b"\x14\x03\x03\0\1\1"):
        with contextlib.closing(house.attacker(encrypted=False)) as attacker:
            attacker.send(begun + hidden)
            attacker.received(seconds=LATEST_S)
    assert house.marks() == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "bms.example", "BMS.example:443", "bms.example.", "a.plant.example", "a.b.plant.example"]
)
def test_its_names_are_answered(house: House, host: str) -> None:
    assert asked(house, f"Host: {host}") == 200


NOT_ITS_NAMES = [
    "localhost", "127.0.0.2", "[::1]", "a.bms.example", "plant.example", "xplant.example",
    ".plant.example.evil.example", "bms.example.evil.example", "evilbms.example", "bms.example@evil.example",
    "bms-example", "bms.example,evil.example", "evil.example#.plant.example", "evil.example/.plant.example",
    "evil.example?.plant.example", "evil.example\\.plant.example",
]  # fmt: skip


@pytest.mark.parametrize("host", NOT_ITS_NAMES)
def test_no_other_names_are(house: House, host: str) -> None:
    assert asked(house, f"Host: {host}", "X-Forwarded-Host: bms.example") in (400, 421)
    assert asked(house, "Host: bms.example", first=f"GET https://{host}/api/v1 HTTP/1.1") in (400, 421)


@pytest.mark.parametrize(
    "line", ["X-Forwarded-Proto: http", "Forwarded: proto=http", "X-Forwarded-Ssl: off", "Front-End-Https: off"]
)
def test_nobody_can_say_that_it_was_not_encrypted(house: House, line: str) -> None:
    assert asked(house, "Host: 127.0.0.1", line) == 200


def test_the_file_says_how_much_a_body_may_be(house: House) -> None:
    for size, status in ((65_000, 422), (65_537, 413), (5_000_000, 413)):
        body = b'{"point_ids":["' + b"a" * (size - 18) + b'"]}'
        whole = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        assert [answer.status for answer in house.attack(whole)] == [status]


TARGETS = [
    "/", "//evil.example/", "/\\evil.example", "/%0d%0aX-Injected:%20yes", "/%2f%2fevil.example", "/..//evil.example",
    "/a?b=//evil.example", "http://evil.example/", "http://127.0.0.1/", "/@evil.example", "/:443@evil.example/", "*",
    "/\t", "/#//evil.example",
]  # fmt: skip
HOSTS = [
    "127.0.0.1",
    "bms.example",
    "evil.example",
    "127.0.0.1:80@evil.example",
    "bms.example:99",
    "a.plant.example",
    "evil.example#.plant.example",
]


@pytest.mark.parametrize(("target", "host"), [*itertools.product(TARGETS, HOSTS)])
def test_nobody_is_sent_on_to_another_house(house: House, target: str, host: str) -> None:
    with contextlib.closing(Attacker(REDIRECT)) as attacker:
        attacker.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        (answer,) = parsed(attacker.received())
    assert answer.status in (308, 400, 404, 421)
    if answer.status == 308:
        ours = [f"https://{name}:{house.port}/" for name in ("127.0.0.1", "bms.example", "a.plant.example")]
        assert answer.headers["Location"].startswith(tuple(ours))
    assert "X-Injected" not in answer.headers
