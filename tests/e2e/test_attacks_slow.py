"""Clients that take their time: each kind is closed at its deadline, while others are served."""

from __future__ import annotations

import contextlib

import pytest
from e2e.attacked import AS_ADMIN, PLUGINS, House, eventually
from e2e.slow_clients import EACH, close_those_that_do_not_read, octets, slowly, still_open

pytestmark = pytest.mark.usefixtures("unharmed")

DEADLINE_S = 1.0
CONFIGURATION = f"""
http:
  deadlines: {{header_s: {DEADLINE_S}, body_s: {DEADLINE_S}, idle_s: {DEADLINE_S}, unread_answer_s: {DEADLINE_S}}}
plugins: {{{PLUGINS}}}
"""
LATEST_S = 6 * DEADLINE_S
"""When the last of them is closed at the latest; a busy machine takes its time too."""

GET = f"GET /api/v1/devices HTTP/1.1\r\nHost: 127.0.0.1\r\n{AS_ADMIN}\r\n\r\n".encode()
HEAD = GET[:-2]
TAKING = f"Host: 127.0.0.1\r\n{AS_ADMIN}\r\nContent-Type: application/json\r\n"
POST = f"POST /api/v1/readings/query HTTP/1.1\r\n{TAKING}".encode()
LONG = b"Content-Length: 100000\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

NOBODYS = POST.replace(AS_ADMIN.encode(), b"X-Nobody: 1")
NOT_TAKEN = POST.replace(b"POST /api/v1/readings/query", b"GET /api/v1")
PACKED = b"a\r\n\x1f\x8b\x08\0\0\0\0\0\0\3\r\n"

KINDS = {
    "silent": lambda: slowly(b""), "silent after a line end": lambda: slowly(b"\r\n"),
    "line ends for ever": lambda: slowly(b"\r\n", b"\r\n"), "silent after an answer": lambda: slowly(GET),
    "a header that stops": lambda: slowly(HEAD), "a first line by octets": lambda: slowly(b"GET /", b"a"),
    "a header by octets": lambda: slowly(HEAD + b"X-A: ", b"a"),
    "headers for ever": lambda: slowly(HEAD, b"X-A: a\r\n"), "a whole request by octets": lambda: octets(GET),
    "a second header by octets": lambda: slowly(GET + HEAD + b"X-A: ", b"a"),
    "a body that does not come": lambda: slowly(POST + LONG),
    "a body that waits to be invited": lambda: slowly(POST + b"Expect: 100-continue\r\n" + LONG),
    "a body by octets": lambda: slowly(POST + LONG, b" "),
    "chunks by octets": lambda: slowly(POST + CHUNKED, b"1\r\n \r\n"),
    "one chunk by octets": lambda: slowly(POST + CHUNKED + b"ffff\r\n", b" "),
    "the size of a chunk by octets": lambda: slowly(POST + CHUNKED, b"0"),
    "an extension of a chunk by octets": lambda: slowly(POST + CHUNKED + b"1;", b"a"),
    "trailers by octets": lambda: slowly(POST + CHUNKED + b"0\r\nX-A: ", b"a"),
    "trailers for ever": lambda: slowly(POST + CHUNKED + b"0\r\n", b"X-A: a\r\n"),
    "a body for nobody": lambda: slowly(POST.replace(b"readings/query", b"nowhere") + LONG, b" "),
    "a body that is not taken": lambda: slowly(NOT_TAKEN + LONG, b" "),
    "a body of nobody": lambda: slowly(NOBODYS + LONG, b" "),
    "a body that is packed": lambda: slowly(POST + b"Content-Encoding: gzip\r\n" + CHUNKED + PACKED),
    "TLS": lambda: slowly(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0"),
    "zeros": lambda: slowly(b"\0", b"\0"),
}  # fmt: skip


def test_slow_clients_of_each_kind_are_closed_at_their_deadlines(house: House) -> None:
    assert still_open(house, KINDS, seconds=LATEST_S) == set()


def test_clients_that_do_not_read_are_closed(house: House) -> None:
    close_those_that_do_not_read(house, GET.replace(b"/devices", b"/openapi.json"), seconds=LATEST_S)


WHOLE = POST + b'Content-Length: 30\r\n\r\n{"point_ids": ["mill.stone.a"]}'[:-1] + b"}"
CUTS = [
    0,
    1,
    10,
    len(POST) // 2,
    len(POST),
    len(WHOLE) - 31,
    len(WHOLE) - 30,
    len(WHOLE) - 10,
    len(WHOLE) - 1,
    len(WHOLE),
]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("before", [b"", GET], ids=["new", "used"])
def test_who_breaks_off_in_the_middle_is_forgotten(house: House, before: bytes, cut: int) -> None:
    for _ in range(EACH):
        attacker = house.attacker()
        attacker.send(before + WHOLE[:cut])
        attacker.reset()
        with contextlib.closing(house.attacker()) as attacker:
            attacker.send(before + WHOLE[:cut])
            attacker.half_close()
            assert {answer.status for answer in attacker.answers(seconds=LATEST_S)} <= {200, 400, 408, 422}


def test_a_thousand_who_come_and_go_leave_nothing(house: House) -> None:
    for _ in range(1_000):
        attacker = house.attacker()
        attacker.send(HEAD)
        attacker.reset()
    assert eventually(lambda: len(house.sockets()) < 30)
