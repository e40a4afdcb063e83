"""Too much of everything: each is refused or taken for what it costs, while others are served."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from collections.abc import Iterator

import pytest
from e2e.attacked import AS_ADMIN, KEY, House

pytestmark = pytest.mark.usefixtures("unharmed")

MIB = 1024 * 1024
HOST = ("Host: 127.0.0.1", AS_ADMIN, "Connection: close")
QUERY = "POST /api/v1/readings/query HTTP/1.1"


def head(*lines: str, first: str = "GET /api/v1/devices HTTP/1.1") -> bytes:
    return "\r\n".join([first, *HOST, *lines, "", ""]).encode("latin-1")


def posted(body: bytes, *lines: str, first: str = QUERY) -> bytes:
    return head("Content-Type: application/json", f"Content-Length: {len(body)}", *lines, first=first) + body


HEADS = {
    "a header of 100 KB": head(f"X-A: {'a' * 100_000}"),
    "a name of 100 KB": head(f"{'a' * 100_000}: b"),
    "20,000 headers": head(*(f"X-{number}: b" for number in range(20_000))),
    "20,000 headers of one name": head(*["X-A: b"] * 20_000),
    "20,000 empty headers": head(*["X:"] * 20_000),
    "a cookie of 100 KB": head(f"Cookie: {'a=b; ' * 20_000}"),
    "hosts of 100 KB": head(first=f"GET /api/v1/devices HTTP/1.1\r\nX-Forwarded-For: {'10.0.0.1, ' * 10_000}"),
    "a header without end": head()[:-2] + b"X-A: " + b"a" * MIB,
    "headers without end": head()[:-2] + b"X-A: b\r\n" * 100_000,
    "an address of 1 MB": head(first=f"GET /{'a' * MIB} HTTP/1.1"),
    "an address of 1 MB of escapes": head(first=f"GET /{'%41' * (MIB // 3)} HTTP/1.1"),
    "a method of 1 MB": head(first=f"{'A' * MIB} / HTTP/1.1"),
    "a version of 1 MB": head(first=f"GET / HTTP/{'1' * MIB}"),
    "a first line without end": b"GET /" + b"a" * MIB,
    "nothing but line ends": b"\r\n" * (MIB // 2),
    "nothing but zeros": bytes(MIB),
    "nothing but spaces": b" " * MIB,
    "nothing but letters": b"A" * MIB,
}


@pytest.mark.parametrize("raw", HEADS.values(), ids=HEADS)
def test_a_head_beyond_all_bounds_is_refused(house: House, raw: bytes) -> None:
    with contextlib.closing(house.attacker()) as attacker:
        attacker.send(raw)
        attacker.half_close()
        answers = attacker.answers()
    assert [answer.status for answer in answers] in ([400], [431], [414], [])  # one that still sends may miss it


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"devices?{'&'.join(f'a{number}=b' for number in range(1_000))}", 422),
        (f"devices?{'tag=a&' * 1_000}", 200),
        (f"devices?{'&' * 8_000}", 200),
        (f"devices?{'limit=1&' * 900}", 422),
        (f"devices?limit={'9' * 7_000}", 422),
        (f"devices?limit=-{'9' * 7_000}", 422),
        ("devices?limit=1e999999999", 422),
        (f"devices?cursor={'A' * 7_000}", 422),
        (f"devices?cursor={'A' * 3_999}", 400),
        (f"devices?q={'%F0%9F%9A%80' * 600}", 422),
        (f"devices?q={'(a*)*' * 1_000}b", 422),
        (f"devices/{'a' * 7_000}", 404),
        (f"devices/{'%2e' * 2_000}", 404),
        (f"{'a/' * 3_500}", 404),
        (f"{'/' * 7_000}", 404),
        (f"points/mill.stone.{'a' * 7_000}/value", 404),
        (f"errors/{'a.' * 3_500}", 404),
    ],
    ids=range(17),
)
def test_long_queries_and_paths_are_answered_as_short_ones(house: House, path: str, status: int) -> None:
    (answer,) = house.attack(head(first=f"GET /api/v1/{path} HTTP/1.1"))
    assert answer.status == status


def test_ten_thousand_parameters_are_refused(house: House) -> None:
    asked = "&".join(f"a{number}=b" for number in range(10_000))
    (answer,) = house.attack(head(first=f"GET /api/v1/devices?{asked} HTTP/1.1"))
    assert answer.status in (400, 414)


DEEP = 100_000
JSONS = {
    "deep lists": b"[" * DEEP,
    "deep lists that end": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep within a field": b'{"point_ids":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "digits": b'{"max_age":' + b"9" * DEEP + b"}",
    "digits behind a point": b'{"max_age":0.' + b"9" * DEEP + b"}",
    "digits in an exponent": b'{"max_age":1e' + b"9" * DEEP + b"}",
    "a huge exponent": b'{"max_age":1e400}',
    "a tiny exponent": b'{"max_age":-1e-400,"point_ids":[]}',
    "infinity": b'{"max_age":Infinity}',
    "not a number": b'{"max_age":NaN}',
    "hexadecimal": b'{"max_age":0x10}',
    "many names": b"{" + b",".join(b'"a%d":1' % number for number in range(60_000)) + b"}",
    "one name many times": b"{" + b'"point_ids":[],' * 50_000 + b'"point_ids":[]}',
    "many of a list": b'{"point_ids":[' + b'"mill.stone.speed",' * 40_000 + b'"a"]}',
    "many of another type": b'{"point_ids":[' + b"1," * 400_000 + b"1]}",
    "a string of 1 MB": b'{"point_ids":["' + b"a" * (MIB - 100) + b'"]}',
    "escapes": b'{"point_ids":["' + b"\\u0041" * 100_000 + b'"]}',
    "half a surrogate": b'{"point_ids":["\\ud800"]}',
    "half a surrogate as a name": b'{"\\udfff":1}',
    "a surrogate in UTF-8": b'{"point_ids":["\xed\xa0\x80"]}',
    "no UTF-8": b'{"point_ids":["\xff\xfe"]}',
    "overlong UTF-8": b'{"point_ids":["\xc0\xae"]}',
    "UTF-16": '{"point_ids":["a"]}'.encode("utf-16"),
    "UTF-32": '{"point_ids":["a"]}'.encode("utf-32"),
    "a byte order mark": b'\xef\xbb\xbf{"point_ids":["a"]}',
    "a NUL": b'{"point_ids":["a\0"]}',
    "an escaped NUL as a name": b'{"\\u0000":1}',
    "prototypes": b'{"__proto__":{"admin":true},"constructor":1,"__class__":{"__init__":1}}',
    "a comment": b'{/*a*/"point_ids":["a"]}',
    "two documents": b'{"point_ids":["a"]}{"point_ids":["a"]}',
    "one letter": b"a",
    "spaces": b" " * (MIB - 10),
}


@pytest.mark.parametrize("body", JSONS.values(), ids=JSONS)
@pytest.mark.parametrize(
    "first",
    [
        QUERY,
        "POST /api/v1/writes HTTP/1.1",
        "PATCH /api/v1/devices/mill.stone HTTP/1.1",
        "POST /api/v1/auth/login HTTP/1.1",
    ],
    ids=["query", "writes", "patch", "login"],
)
def test_json_that_is_too_much_or_none_is_refused(house: House, body: bytes, first: str) -> None:
    (answer,) = house.attack(posted(body, first=first))
    assert answer.status in (400, 422)
    assert len(answer.body) < 64 * 1024, "what takes a client little makes us say little"


@pytest.mark.parametrize("path", ["auth/login", "readings/query", "nowhere"])
@pytest.mark.parametrize("body", ["a string of 1 MB", "many names", "many of another type", "deep lists"])
def test_what_is_refused_again_and_again_is_not_kept(house: House, path: str, body: str) -> None:
    raw = posted(JSONS[body], first=f"POST /api/v1/{path} HTTP/1.1").replace(b"Connection: close\r\n", b"")
    before = house.memory()
    with contextlib.closing(house.attacker()) as attacker:
        for _ in range(60):
            attacker.send(raw)
            attacker.one()
    assert house.memory() - before < 40 * 1024


BIG = b'{"point_ids":["' + b"a" * (4 * MIB) + b'"]}'


def chunked(body: bytes, size: int) -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        posted(BIG),
        head("Content-Type: application/json", "Transfer-Encoding: chunked", first=QUERY) + chunked(BIG, 65_536),
        head("Content-Type: application/json", "Transfer-Encoding: chunked", first=QUERY)
        + chunked(BIG[-2 * MIB :], 64),
        posted(BIG, first="POST /api/v1/writes HTTP/1.1"),
    ],
    ids=["length", "chunks", "small chunks", "writes"],
)
def test_a_body_beyond_the_limit_is_refused_and_the_answer_arrives(house: House, raw: bytes) -> None:
    (answer,) = house.attack(raw)
    assert answer.status == 413


def test_a_body_that_is_announced_as_huge_is_not_waited_for(house: House) -> None:
    for length in (17 * MIB, 10**12, 2**63 - 1):
        with contextlib.closing(house.attacker()) as attacker:
            attacker.send(head("Content-Type: application/json", f"Content-Length: {length}", first=QUERY))
            attacker.half_close()
            assert [answer.status for answer in attacker.answers()] in ([], [400], [413])


def packed(window: int, count: int) -> bytes:
    """Write a list that is not closed behind so many MiB of spaces; ``window`` is zlib's number of a form."""
    packer = zlib.compressobj(9, wbits=window)
    return packer.compress(b"[") + b"".join(packer.compress(b" " * MIB) for _ in range(count)) + packer.flush()


BOMBS = {
    "gzip": packed(31, 128),
    "deflate": packed(15, 128),
    "gzip, gzip": gzip.compress(packed(31, 128)),
    "br": b"\x5b\xff\xff\xff" * 1000,
    "zstd": b"\x28\xb5\x2f\xfd\xa4" * 1000,
}


@pytest.mark.parametrize("coding", BOMBS)
@pytest.mark.parametrize(
    "first", [QUERY, "POST /api/v1/auth/login HTTP/1.1", "POST /api/v1/mill/marks/x HTTP/1.1", "POST /x HTTP/1.1"]
)
def test_a_body_that_unpacks_to_no_end_does_not(house: House, coding: str, first: str) -> None:
    answers = house.attack(posted(BOMBS[coding], f"Content-Encoding: {coding}", first=first))
    assert [answer.status for answer in answers] in ([400], [413], [415], [404], [422])
    assert house.memory("VmHWM") - house.memory() < 64 * 1024


@pytest.mark.parametrize("coding", ["gzip, gzip", "gzip", "x-gzip", "compress", "identity, gzip", "GZIP", "\xe9"])
def test_a_coding_that_is_not_so_is_refused(house: House, coding: str) -> None:
    answers = house.attack(posted(b'{"point_ids":["a"]}', f"Content-Encoding: {coding}"))
    assert [answer.status for answer in answers] in ([400], [415], [200])


def test_forms_are_not_taken(house: House) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="a"; filename="../../a"\r\n\r\nx\r\n'
    for body in (part * 10_000 + b"--b--", b"--b\r\n" * 100_000, part + b"x" * MIB):
        for kind in (
            "multipart/form-data; boundary=b",
            "multipart/mixed; boundary=b",
            "application/x-www-form-urlencoded",
        ):
            raw = head(f"Content-Type: {kind}", f"Content-Length: {len(body)}", first=QUERY) + body
            assert [answer.status for answer in house.attack(raw)] in ([415], [413])


@contextlib.contextmanager
def crowd(house: House, size: int, address: str = "127.0.0.1") -> Iterator[list[bool]]:
    """Connect so many times, and tell of each whether it was let in."""
    with contextlib.ExitStack() as stack:
        everyone = []
        for _ in range(size):
            attacker = house.attacker(address)
            stack.callback(attacker.close)
            attacker.send(head().replace(b"Connection: close\r\n", b""))
            everyone.append(attacker)
        let_in = []
        for attacker in everyone:
            try:
                let_in.append(attacker.one().status == 200)
            except (OSError, AssertionError):
                let_in.append(False)
        yield let_in


def test_an_address_that_connects_too_often_keeps_nobody_else_out(house: House) -> None:
    with crowd(house, 300) as let_in:
        assert let_in[:256] == [True] * 256 and not any(let_in[256:])
        with crowd(house, 20, "127.0.0.2") as others:
            assert all(others)
    with crowd(house, 200) as let_in:
        assert all(let_in)


def test_many_who_ask_for_a_bad_password_keep_nobody_waiting(house: House) -> None:
    body = json.dumps({"name": "admin", "password": "x" * 200}).encode()
    for _ in range(30):
        (answer,) = house.attack(posted(body, first="POST /api/v1/auth/login HTTP/1.1").replace(KEY.encode(), b"x"))
        assert answer.status in (401, 429)
