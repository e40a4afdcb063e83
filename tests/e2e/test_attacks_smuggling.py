"""Requests hidden in others: whatever two servers might read in two ways, this one refuses or reads in one."""

from __future__ import annotations

import contextlib

import pytest
from e2e.attacked import AS_ADMIN, House

pytestmark = pytest.mark.usefixtures("unharmed")

HIDDEN = (
    f"POST /api/v1/mill/marks/smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n{AS_ADMIN}\r\nContent-Length: 0\r\n\r\n"
).encode()
LAST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
LEAVE = "POST /api/v1/mill/marks/left HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked"
CHUNK = f"{len(HIDDEN):x}".encode()


def request(*lines: str, first: str = LEAVE, host: str = "Host: 127.0.0.1", key: str = AS_ADMIN) -> bytes:
    """Write the head of the admin's request that takes no body."""
    return "\r\n".join([first, host, key, *lines, "", ""]).encode("latin-1")


REFUSED_HEADS = {
    "content-length and transfer-encoding": ("Content-Length: 6", CHUNKED),
    "transfer-encoding and content-length": (CHUNKED, "Content-Length: 6"),
    "content-length 0 and transfer-encoding": ("Content-Length: 0", CHUNKED),
    "space before the colon": ("Transfer-Encoding : chunked",),
    "tab before the colon": ("Transfer-Encoding\t: chunked",),
    "space before the colon of content-length": ("Content-Length : 0",),
    "space before a name": ("X-A: b", " Transfer-Encoding: chunked"),
    "xchunked": ("Transfer-Encoding: xchunked",),
    "chunkedx": ("Transfer-Encoding: chunkedx",),
    "chunked in quotes": ('Transfer-Encoding: "chunked"',),
    "chunked and identity": ("Transfer-Encoding: chunked, identity",),
    "chunked behind a form feed": ("Transfer-Encoding: \x0cchunked",),
    "chunked behind a vertical tab": ("Transfer-Encoding: \x0bchunked",),
    "chunked twice": ("Transfer-Encoding: chunked, chunked",),
    "chunked in two lines": (CHUNKED, CHUNKED),
    "identity, then chunked, then identity": (CHUNKED, "Transfer-Encoding: identity"),
    "only identity": ("Transfer-Encoding: identity",),
    "only gzip": ("Transfer-Encoding: gzip",),
    "an empty coding": ("Transfer-Encoding: ",),
    "only a comma": ("Transfer-Encoding: ,",),
    "underscore beside a length": ("Transfer_Encoding: chunked", "Content-Length: 6", "Content-Length: 0"),
    "two lengths": ("Content-Length: 0", "Content-Length: 6"),
    "two lengths that agree": ("Content-Length: 6", "Content-Length: 6"),
    "a list of lengths": ("Content-Length: 0, 6",),
    "a list of lengths that agree": ("Content-Length: 6, 6",),
    "a length with a plus": ("Content-Length: +6",),
    "a length with a minus": ("Content-Length: -6",),
    "a length with a space within": ("Content-Length: 1 6",),
    "a length in hexadecimal": ("Content-Length: 0x6",),
    "a length with underscore": ("Content-Length: 1_6",),
    "a length in quotes": ('Content-Length: "6"',),
    "a length with a point": ("Content-Length: 6.0",),
    "a length with an exponent": ("Content-Length: 6e0",),
    "an empty length": ("Content-Length: ",),
    "a length in other digits": ("Content-Length: \xb2",),
    "a length beyond 64 bits": (f"Content-Length: {2**64 + 6}",),
    "a length of a hundred digits": (f"Content-Length: {'9' * 100}",),
    "no colon": ("Transfer-Encoding chunked",),
    "no name": (": chunked",),
    "a name with a space": ("Transfer Encoding: chunked",),
    "a name in brackets": ("[Content-Length]: 6",),
    "a name with a NUL": ("Content-Length\0: 6",),
    "a value with a NUL": ("X-A: b\0c",),
    "a value with a bare CR": ("X-A: b\rContent-Length: 6",),
    "a value with a bare LF": ("X-A: b\nContent-Length : 6",),
    "a folded value": ("X-A: b", " c"),
    "a folded coding": ("Transfer-Encoding:", " chunked"),
    "a folded length": ("Content-Length:", "\t6"),
    "two hosts": ("Host: evil.example",),
    "two hosts that agree": ("Host: 127.0.0.1",),
}


@pytest.mark.parametrize("lines", REFUSED_HEADS.values(), ids=REFUSED_HEADS)
@pytest.mark.parametrize("body", [HIDDEN, b"0\r\n\r\n" + HIDDEN], ids=["bare", "chunk"])
def test_a_head_that_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read(
    house: House, lines: tuple[str, ...], body: bytes
) -> None:
    answers = house.attack(request(*lines) + body + LAST)
    assert [answer.status for answer in answers] == [400]
    assert house.marks() == []


def test_a_coding_in_http_1_0_is_refused(house: House) -> None:
    for version in ("1.0", "0.9", "0.0"):
        answers = house.attack(request(CHUNKED, first=LEAVE.replace("1.1", version)) + b"0\r\n\r\n" + HIDDEN + LAST)
        assert [answer.status for answer in answers] == [400]
    assert house.marks() == []


FIRST_LINES = [
    f" {LEAVE}",
    f"\t{LEAVE}",
    LEAVE.replace(" ", "\t"),
    f"{LEAVE} ",
    f"{LEAVE} HTTP/1.1",
    LEAVE.replace("HTTP/1.1", "HTTP/1"),
    LEAVE.replace("HTTP/1.1", "HTTP/1.10"),
    LEAVE.replace("HTTP/1.1", "HTTP/1,1"),
    LEAVE.replace("HTTP/1.1", "HTTP/+1.1"),
    LEAVE.replace("HTTP/1.1", "HTTPS/1.1"),
    LEAVE.replace("HTTP/1.1", "http/1.1"),
    LEAVE.replace("HTTP/1.1", "ICE/1.0"),
    LEAVE.replace(" HTTP/1.1", ""),
    LEAVE.replace("/api", "api"),
    LEAVE.replace("/api", "\0/api"),
    LEAVE.replace("POST", "PO ST"),
    LEAVE.replace("POST", "PO(ST"),
    LEAVE.replace("POST", "P\xd6ST"),
    LEAVE.replace("left", "le ft"),
    LEAVE.replace("left", "le\rft"),
    LEAVE.replace("left", "le\x01ft"),
    "PRI * HTTP/2.0",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


@pytest.mark.parametrize("first", FIRST_LINES)
def test_a_first_line_that_is_none_is_refused(house: House, first: str) -> None:
    answers = house.attack(request("Content-Length: 0", first=first) + HIDDEN + LAST)
    assert [answer.status for answer in answers] == [400]
    assert house.marks() == []


BAD_CHUNKS = {
    "junk behind the size": b"0 junk\r\n\r\n",
    "a size with a minus": b"-1\r\n\r\n",
    "a size with a plus": b"+0\r\n\r\n",
    "a size with 0x": b"0x0\r\n\r\n",
    "a size with underscore": b"0_0\r\n\r\n",
    "no size": b"\r\n\r\n",
    "a size of words": b"zero\r\n\r\n",
    "a size beyond 64 bits": b"1" + b"0" * 16 + b"\r\n",
    "a size of a thousand digits": b"f" * 1000 + b"\r\n",
    "a size that wraps to nothing": b"10000000000000000\r\n\r\n",
    "a space before the size": b" 0\r\n\r\n",
    "a NUL behind the size": b"0\0\r\n\r\n",
    "a bare LF behind the size": b"0\n\n",
    "a bare CR behind the size": b"0\r\r",
    "a bare LF in an extension": b"0;a\nb\r\n\r\n",
    "a bare CR in an extension": b"0;a\rb\r\n\r\n",
    "data longer than its size": b"1\r\nxx\r\n0\r\n\r\n",
    "data without an end": b"1\r\nx0\r\n\r\n",
    "data that ends with a bare LF": b"1\r\nx\n0\r\n\r\n",
    "a trailer without a colon": b"0\r\nnone\r\n\r\n",
    "a trailer with a space before the colon": b"0\r\nX-A : b\r\n\r\n",
    "a trailer that is folded": b"0\r\nX-A: b\r\n c\r\n\r\n",
}


@pytest.mark.parametrize("chunk", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_chunks_that_are_none_end_the_connection(house: House, chunk: bytes) -> None:
    answers = house.attack(request(CHUNKED) + chunk + HIDDEN + LAST)
    assert [answer.status for answer in answers] in ([], [400])
    assert house.marks() == []


CHUNKS = [
    b"%s\r\n%s\r\n0\r\n\r\n",
    b"000000%s\r\n%s\r\n0000\r\n\r\n",
    b"%s;a=b\r\n%s\r\n0;c\r\n\r\n",
    b'%s;a="b;c"\r\n%s\r\n0\r\n\r\n',
    b"%s\r\n%s\r\n0\r\nContent-Length: 3\r\nHost: evil.example\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"%s\r\n%s\r\n0\r\n" + AS_ADMIN.encode() + b"\r\n\r\n",
]
LENGTH = f"Content-Length: {len(HIDDEN)}"
FRAMED = {
    **{f"chunks {number}": ((CHUNKED,), form % (CHUNK, HIDDEN)) for number, form in enumerate(CHUNKS)},
    "chunks with a size in capitals": ((CHUNKED,), CHUNKS[0] % (CHUNK.upper(), HIDDEN)),
    "chunked in capitals": (("Transfer-Encoding: CHUNKED",), CHUNKS[0] % (CHUNK, HIDDEN)),
    "chunked with a space behind": (("Transfer-Encoding: chunked ",), CHUNKS[0] % (CHUNK, HIDDEN)),
    "chunked with a tab before": (("Transfer-Encoding:\tchunked",), CHUNKS[0] % (CHUNK, HIDDEN)),
    "an octet a chunk": ((CHUNKED,), b"".join(b"1\r\n%c\r\n" % octet for octet in HIDDEN) + b"0\r\n\r\n"),
    "length": ((LENGTH,), HIDDEN),
    "length with zeros": ((f"Content-Length: {len(HIDDEN):030}",), HIDDEN),
    "length with spaces around": ((f"Content-Length: \t{len(HIDDEN)} \t",), HIDDEN),
    "length and an upgrade": ((LENGTH, "Connection: Upgrade", "Upgrade: websocket"), HIDDEN),
    "chunks and an upgrade": ((CHUNKED, "Connection: Upgrade", "Upgrade: h2c"), CHUNKS[0] % (CHUNK, HIDDEN)),
    "length and h2c": ((LENGTH, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"), HIDDEN),
    "length that is called hop by hop": ((LENGTH, "Connection: Content-Length"), HIDDEN),
    "chunks that are called hop by hop": (
        (CHUNKED, "Connection: Transfer-Encoding, keep-alive"),
        CHUNKS[0] % (CHUNK, HIDDEN),
    ),
    "a length of another name": ((LENGTH, "X-Content-Length: 0", "Content_Length: 0"), HIDDEN),
    "a method that others obey": ((LENGTH, "X-HTTP-Method-Override: GET", "X-HTTP-Method: GET"), HIDDEN),
}


@pytest.mark.parametrize(("lines", "body"), FRAMED.values(), ids=FRAMED)
@pytest.mark.parametrize("first", [LEAVE, "GET /api/v1 HTTP/1.1", "DELETE /api/v1 HTTP/1.1", "GET /x HTTP/1.1"])
def test_a_request_in_a_body_is_a_body(house: House, lines: tuple[str, ...], body: bytes, first: str) -> None:
    whole = request(*lines, first=first) + body + LAST
    statuses = [answer.status for answer in house.attack(whole)]
    assert statuses[0] in (400, 404, 405, 422)
    assert statuses[1:] == ([] if statuses[0] == 400 or "Upgrade: h2c" in lines else [200])
    pieces = [whole[at : at + 97] for at in range(0, len(whole), 97)]
    assert [answer.status for answer in house.attack(*pieces)] == statuses
    assert house.marks() == []


def test_credentials_behind_a_body_are_none(house: House) -> None:
    answers = house.attack(request(CHUNKED, key="X-Nothing: 1") + CHUNKS[-1] % (b"1", b"x") + LAST)
    assert [answer.status for answer in answers] == [401, 200]
    assert house.marks() == []


@pytest.mark.parametrize("separator", [" ", "  "])
def test_more_space_in_a_first_line_changes_nothing_of_what_is_asked(house: House, separator: str) -> None:
    first = LEAVE.replace(" ", separator)
    answers = house.attack(request(LENGTH, first=first) + HIDDEN + request("Content-Length: 0", first=first) + LAST)
    assert [answer.status for answer in answers] == [422, 200, 200]
    assert house.marks() == ["left"]


@pytest.mark.parametrize(
    "ends", [(b"\n", b"\n\n"), (b"\r\n", b"\n\n"), (b"\n", b"\r\n\r\n"), (b"\r", b"\r\r"), (b"\r\n", b"\r\n\n")]
)
def test_a_head_whose_lines_end_otherwise_is_refused(house: House, ends: tuple[bytes, bytes]) -> None:
    lines = request("Content-Length: 0").removesuffix(b"\r\n\r\n").replace(b"\r\n", ends[0]) + ends[1]
    assert [answer.status for answer in house.attack(lines + HIDDEN + LAST)] == [400]
    assert house.marks() == []


KNOWN = request(f"X-Long: {'x' * 100}", first="GET /api/v1/mill/marks HTTP/1.1")


def known(house: House) -> None:
    """Have the octets of a request be known by heart."""
    with contextlib.closing(house.attacker()) as attacker:
        for _ in range(3):
            attacker.send(KNOWN)
            attacker.one()


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("before", [b"", b"0\r\n", b"x"], ids=["nothing", "chunk", "x"])
def test_octets_of_a_known_request_in_a_body_are_a_body(house: House, split: bool, before: bytes) -> None:
    known(house)
    length = f"Content-Length: {len(before + KNOWN)}"
    head = request(length, "Expect: 100-continue") if split else request(length)
    for body in (KNOWN, HIDDEN.ljust(len(KNOWN))):
        with contextlib.closing(house.attacker()) as attacker:
            attacker.send(KNOWN)
            assert attacker.one().status == 200
            attacker.send(head + before)
            attacker.send(body)
            attacker.send(LAST)
            assert [answer.status for answer in attacker.answers()] == [422, 200]
    assert house.marks() == []


@pytest.mark.parametrize("cut", range(1, 120, 7))
def test_octets_of_a_known_request_behind_the_beginning_of_another_are_its_rest(house: House, cut: int) -> None:
    known(house)
    begun = request("X-Half: ")[:cut]
    with contextlib.closing(house.attacker()) as attacker:
        attacker.send(KNOWN + begun)
        assert attacker.one().status == 200
        attacker.send(KNOWN)
        attacker.send(LAST)
        assert attacker.answers()[0].status in (400, 401, 200)
    assert house.marks() == []


def test_hundreds_of_requests_in_one_piece_are_answered_in_their_order(house: House) -> None:
    asked = [request(f"X-Request-ID: n{number}", first="GET /api/v1/devices HTTP/1.1") for number in range(500)]
    answers = house.attack(b"".join(asked) + LAST)
    assert [answer.headers["X-Request-ID"] for answer in answers[:-1]] == [f"n{number}" for number in range(500)]
    assert {answer.status for answer in answers} == {200}


def test_what_is_none_among_hundreds_ends_them(house: House) -> None:
    asked = request(first="GET /api/v1/devices HTTP/1.1") * 200
    answers = house.attack(asked + request("Content-Length: x") + HIDDEN + asked + LAST)
    assert {answer.status for answer in answers[:-1]} <= {200}
    assert answers[-1].status == 400 and len(answers) <= 201
    assert house.marks() == []


@pytest.mark.parametrize("first", ["CONNECT 127.0.0.1:80 HTTP/1.1", "CONNECT /api/v1 HTTP/1.1", "CONNECT * HTTP/1.1"])
def test_no_tunnel_is_made(house: House, first: str) -> None:
    (answer,) = house.attack(request(first=first) + HIDDEN + LAST)
    assert answer.status in (400, 404, 405, 421)
    assert house.marks() == []
