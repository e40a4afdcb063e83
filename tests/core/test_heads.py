from __future__ import annotations

import gc
from collections import Counter

import pytest
from wire import application, get, hello, post, serving, wire_to

from core import heads
from core.replies import Answer
from core.routes import Route
from core.server import Server


async def word(_request: object) -> str:
    return "word"


async def ready(_request: object) -> str:
    return "ready"


APP = application(
    Route("GET", "/hello", hello, ""),
    Route("GET", "/word", word, ""),
    Route("GET", "/ready", ready, "", at_once=lambda: Answer(b'"ready"')),
)
HELLO, READY = get("/hello"), get("/ready")


async def known(server: Server, *raws: bytes) -> None:
    """Have requests in the server's memory; the first one makes the host known."""
    async with wire_to(server) as wire:
        for raw in (raws[0], *raws):
            assert (await wire.ask(raw)).status == 200
    for raw in raws:
        assert server.heads.find(raw) is not None


async def test_a_request_is_read_once_and_answered_alike_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()
    head_of = heads.head_of

    def counted(message: object, payload: object) -> heads.Head | None:
        head = head_of(message, payload)  # type: ignore[arg-type]
        read[head.path if head is not None else ""] += 1
        return head

    monkeypatch.setattr("core.connection.head_of", counted)
    async with serving(APP) as server, wire_to(server) as one, wire_to(server) as other:
        answers = [await wire.ask(raw) for raw in (HELLO, READY) for wire in (one, other, one, other)]
    assert [answer.json for answer in answers] == ["hello"] * 4 + ["ready"] * 4
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == 8
    assert read == {"/hello": 1, "/ready": 1}


@pytest.mark.parametrize("inner", [HELLO, READY])
async def test_octets_of_a_known_request_in_a_body_are_a_body(inner: bytes) -> None:
    async with serving(APP) as server:
        await known(server, HELLO, READY)
        async with wire_to(server) as wire:
            assert (await wire.ask(HELLO)).json == "hello"
            head, body = post("/hello", inner).split(b"\r\n\r\n", 1)
            wire.writer.write(head + b"\r\n\r\n")
            await wire.writer.drain()
            refused = await wire.ask(body)
            assert refused.status == 405
            assert (await wire.ask(get("/word"))).json == "word"


@pytest.mark.parametrize("first", [HELLO, READY])
async def test_octets_of_a_known_request_behind_half_a_header_are_the_rest_of_it(first: bytes) -> None:
    async with serving(APP) as server:
        await known(server, HELLO, READY)
        async with wire_to(server) as wire:
            assert (await wire.ask(first + b"GET /word HTTP/1.1\r\nHost: localhost\r\nX-Half: ")).status == 200
            wire.writer.write(READY.replace(b"Host", b"X-Host"))
            assert (await wire.answer()).json == "word"
            wire.writer.write(b"GET /word HTTP/1.1\r\nHost: localhost\r\nX-Half: ")
            await wire.writer.drain()
            rest = READY.replace(b"Host", b"X-Host")
            assert (await wire.ask(rest)).json == "word"


async def test_requests_in_one_segment_are_not_kept_as_one() -> None:
    async with serving(APP) as server:
        await known(server, HELLO)
        async with wire_to(server) as wire:
            for _ in range(3):
                wire.writer.write(READY + HELLO)
                assert [(await wire.answer()).json for _ in range(2)] == ["ready", "hello"]
        assert server.heads.find(READY + HELLO) is None


@pytest.mark.parametrize(
    "raw",
    [
        get("/hello", version="1.0"),
        get("/hello", "Connection: close"),
        get("/hello", "Connection: Upgrade", "Upgrade: websocket"),
        get("/hello", "Expect: 100-continue"),
        get("/hello", "Content-Length: 3"),
        get("http://localhost/hello"),
    ],
)
async def test_what_aiohttp_is_to_treat_is_not_kept(raw: bytes) -> None:
    async with serving(APP) as server:
        await known(server, HELLO)
        async with wire_to(server) as wire:
            wire.writer.write(raw + b"abc" * (b"Content-Length" in raw))
            await wire.answer()
        assert server.heads.find(raw) is None


async def test_a_known_request_that_names_another_host_is_misdirected() -> None:
    async with serving(APP) as server, wire_to(server) as wire:
        for _ in range(3):
            assert (await wire.ask(READY.replace(b"localhost", b"evil.example"))).status == 421


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "KEPT", 10)
    async with serving(APP) as server, wire_to(server) as wire:
        raws = [get("/ready", f"X-Number: {number}") for number in range(31)]
        assert [(await wire.ask(raw)).status for raw in raws] == [200] * 31
        assert 0 < sum(server.heads.find(raw) is not None for raw in raws) <= 10
        long = get("/ready", "X-Long: " + "x" * heads.LONGEST_KEPT)
        assert (await wire.ask(long)).status == 200
        assert server.heads.find(long) is None


@pytest.mark.parametrize("raw", [HELLO, READY, get("/nowhere")])
async def test_a_request_leaves_nothing_for_the_garbage_collector(raw: bytes) -> None:
    async with serving(APP) as server, wire_to(server) as wire:
        for _ in range(3):
            await wire.ask(raw)
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                await wire.ask(raw)
            found = gc.collect()
        finally:
            gc.enable()
    assert found < 50
