from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any

import pytest
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpResponseParser
from hypothesis import example, given, settings, strategies
from multidict import CIMultiDict
from structlog.testing import capture_logs
from wire import application, get, hello, serving, wire_to

from core.policies import Policy, Steps, call_of
from core.replies import OTHERS_KNOWN, Answer, Fixed, Reply, response_of, written
from core.routes import Phase, Route
from core.web import written_reply

NO_HEADERS = Fixed({})
NAMES = strategies.text("abcXYZ-09", min_size=1, max_size=12).map(lambda text: f"X-{text}")
VALUES = strategies.text(strategies.characters(blacklist_categories=("Cs", "Cc")), max_size=30).map(str.strip)
HEADERS = strategies.lists(strategies.tuples(NAMES, VALUES), max_size=6)
STATUSES = strategies.sampled_from([int(status) for status in HTTPStatus if status >= 200] + [299, 599])


def read(data: bytes, method: str = "GET") -> tuple[Any, bytes, bytes]:
    """Have aiohttp's client read an answer: its head, its body, and what it takes to be more than that."""

    async def parse() -> tuple[Any, bytes, bytes]:
        loop = asyncio.get_running_loop()
        protocol = BaseProtocol(loop)
        parser = HttpResponseParser(
            protocol, loop, 2**16, response_with_body=method != "HEAD", read_until_eof=True, auto_decompress=False,
            max_field_size=2**20, max_line_size=2**16,
        )  # fmt: skip
        protocol._parser = parser
        messages, _upgraded, tail = parser.feed_data(data)
        ((head, payload),) = messages
        if not payload.is_eof():
            parser.feed_eof()
        return head, await payload.read(), tail

    return asyncio.run(parse())


@settings(max_examples=300, deadline=None)
@given(
    status=STATUSES, body=strategies.binary(max_size=200), headers=HEADERS, more=HEADERS,
    version=strategies.sampled_from([HttpVersion10, HttpVersion11]), keep_alive=strategies.booleans(),
    method=strategies.sampled_from(["GET", "HEAD"]), typed=strategies.booleans(),
)  # fmt: skip
@example(204, b"x", [], [], HttpVersion11, True, "GET", False)
@example(304, b"x", [], [], HttpVersion11, True, "GET", True)
def test_what_is_written_is_read_as_it_was_meant(
    status: int, body: bytes, headers: Any, more: Any, version: Any, keep_alive: bool, method: str, typed: bool
) -> None:
    reply = Reply(status, body, "application/json" if typed else None, headers)
    data = written(
        reply,
        more,
        Fixed({"X-Fixed": "1"}),
        request_id="r1",
        version=version,
        keep_alive=keep_alive,
        head=method == "HEAD",
    )
    head, read_body, tail = read(data, method)
    assert (head.code, head.version, tail) == (status, version, b"")
    assert head.should_close is not keep_alive
    bodiless = status in {204, 304} or method == "HEAD"
    assert read_body == (b"" if bodiless else body)
    assert head.headers.get("Content-Length") == (None if status in {204, 304} else str(len(body)))
    assert head.headers.get("Content-Type") == ("application/json" if typed else None)
    expected: CIMultiDict[str] = CIMultiDict([*headers, *more])
    for name in expected:
        assert head.headers.getall(name) == expected.getall(name)
    assert (head.headers["X-Request-ID"], head.headers["Server"]) == ("r1", "plantroom")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", head.headers["Date"])
    assert head.headers.get("X-Fixed") == expected.get("X-Fixed", "1")


@pytest.mark.parametrize(
    ("version", "keep_alive", "connection"),
    [(HttpVersion11, True, None), (HttpVersion11, False, "close"), (HttpVersion10, True, "keep-alive"),
     (HttpVersion10, False, None)],
)  # fmt: skip
def test_whether_the_connection_stays_is_said_where_it_is_not_understood(
    version: Any, keep_alive: bool, connection: str | None
) -> None:
    data = written(Reply(200), (), NO_HEADERS, request_id="r", version=version, keep_alive=keep_alive, head=False)
    assert read(data)[0].headers.get("Connection") == connection


async def test_an_http_1_0_client_that_asks_to_stay_may_stay() -> None:
    async with serving(application(Route("GET", "/hello", hello, ""))) as server, wire_to(server) as wire:
        for _ in range(2):
            answer = await wire.ask(get("/hello", "Connection: keep-alive", version="1.0"))
            assert (answer.status, answer.headers["Connection"]) == (200, "keep-alive")
        answer = await wire.ask(get("/hello", version="1.0"))
        assert (answer.status, answer.headers.get("Connection")) == (200, None)
        assert await wire.closed() == b""


BREAKING = ["a\r\nSet-Cookie: stolen=1", "a\nb", "a\rb", "\r\n\r\n<html>", "a\0b", "\ud800"]


@pytest.mark.parametrize("bad", BREAKING)
@pytest.mark.parametrize("where", ["value", "name"])
def test_a_header_that_would_break_the_answer_is_never_written(bad: str, where: str) -> None:
    header = ("X-A", bad) if where == "value" else (bad, "a")
    for reply, more in ((Reply(200, headers=(header,)), ()), (Reply(200), (header,))):
        with pytest.raises(ValueError):
            written(reply, more, NO_HEADERS, request_id="r", version=HttpVersion11, keep_alive=True, head=False)
    with pytest.raises(ValueError):
        Fixed(dict([header]))


@settings(max_examples=300, deadline=None)
@given(value=strategies.text(max_size=20), name=strategies.text(min_size=1, max_size=8))
@example("\x85x", "X-A")
@example("\u2028x", "X-A")
def test_any_header_is_refused_or_read_as_one_line(value: str, name: str) -> None:
    try:
        data = written(
            Reply(200, headers=((name, value),)), (), NO_HEADERS,
            request_id="r", version=HttpVersion11, keep_alive=True, head=False,
        )  # fmt: skip
    except ValueError:
        return
    assert data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r") == 7
    assert b"\0" not in data


@pytest.mark.parametrize("bad", BREAKING[:-1])
@pytest.mark.parametrize(
    ("way", "known"),
    [("answer", False), ("answer", True), ("policy", False), ("policy", True), ("at once", True), ("response", False),
     ("response", True)],
)  # fmt: skip
async def test_a_header_that_would_break_the_answer_becomes_a_500_that_is_logged(
    bad: str, way: str, known: bool
) -> None:
    async def handler(_request: web.Request) -> object:
        if way == "response":
            return web.Response(headers={"X-A": bad})
        return Answer(b"{}", headers={"X-A": bad} if way == "answer" else {})

    parts = [Policy(Phase.CACHE, lambda _route: Steps(before=lambda call: call.answer_headers.append(("X-A", bad))))]
    route = Route(
        "GET", "/a", handler, "", at_once=(lambda: Answer(b"{}", headers={"X-A": bad})) if way == "at once" else None
    )
    app = application(route, Route("GET", "/hello", hello, ""), parts=parts if way == "policy" else [])
    async with serving(app) as server, wire_to(server) as wire:
        if known:
            assert (await wire.ask(get("/hello"))).status == (500 if way == "policy" else 200)
        with capture_logs() as lines:
            answer = await wire.ask(get("/a"))
        assert answer.status == 500
        assert answer.json["code"] == "internal"
        assert "stolen" not in str(answer.headers) + answer.body.decode()
        assert [line["event"] for line in lines if line["log_level"] == "error"] == ["request_failed"]
        if way == "response":
            assert (answer.headers["Connection"], await wire.closed()) == ("close", b"")
        elif way != "policy":
            assert (await wire.ask(get("/hello"))).status == 200


@pytest.mark.parametrize("name", ["x-frame-options", "X-FRAME-OPTIONS", "X-Frame-Options"])
def test_a_header_of_the_answers_own_goes_before_a_fixed_one_in_any_case(name: str) -> None:
    fixed = Fixed({"X-Frame-Options": "DENY", "X-Other": "1"})
    reply = Reply(200, headers=((name, "SAMEORIGIN"),))
    for more in ((), (("x-a", "b"),)):
        data = written(reply, more, fixed, request_id="r", version=HttpVersion11, keep_alive=True, head=False)
        headers = read(data)[0].headers
        assert headers.getall("X-Frame-Options") == ["SAMEORIGIN"]
        assert headers.getall("X-Other") == ["1"]


def test_what_is_remembered_of_header_names_is_bounded_and_changes_nothing() -> None:
    fixed = Fixed({"X-One": "1"})
    for number in range(OTHERS_KNOWN * 2):
        for _ in range(2):
            assert fixed.lines(((f"X-{number}", ""),)) == "X-One: 1\r\n"
            assert fixed.lines(((f"X-{number}", ""), ("x-one", "2"))) == ""
    assert len(fixed._others) == OTHERS_KNOWN


def test_fixed_headers_of_one_name_in_two_cases_are_one() -> None:
    assert Fixed({"X-A": "outer", "x-a": "inner"}).lines(()) == "x-a: inner\r\n"


async def test_head_and_304_and_204_have_no_body_and_the_next_answer_is_where_it_should_be() -> None:
    async def nothing(_request: web.Request) -> None:
        return None

    app = application(Route("GET", "/hello", hello, ""), Route("DELETE", "/hello", nothing, "", status=204))
    async with serving(app) as server, wire_to(server) as wire:
        whole = await wire.ask(get("/hello"))
        head = await wire.ask(get("/hello", method="HEAD"), head=True)
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(whole.body)))
        assert head.headers["ETag"] == whole.headers["ETag"]
        same = await wire.ask(get("/hello", f"If-None-Match: {whole.headers['ETag']}"))
        assert (same.status, same.body, same.headers.get("Content-Length")) == (304, b"", None)
        assert same.headers["ETag"] == whole.headers["ETag"]
        gone = await wire.ask(get("/hello", method="DELETE"))
        assert (gone.status, gone.headers.get("Content-Length"), gone.headers.get("Content-Type")) == (204, None, None)
        missing = await wire.ask(get("/nowhere", method="HEAD"), head=True)
        assert (missing.status, int(missing.headers["Content-Length"]) > 0) == (404, True)
        assert (await wire.ask(get("/hello"))).body == whole.body


def test_a_500_in_the_place_of_a_broken_answer_keeps_to_head() -> None:
    call = call_of("HEAD", "/a")
    reply = Reply(200, b"x", "text/plain", (("X-A", "\n"),))
    with capture_logs() as lines:
        data = written_reply(reply, call, NO_HEADERS, version=HttpVersion11, keep_alive=True)
    head, body, tail = read(data, "HEAD")
    assert (head.code, body, tail) == (500, b"", b"")
    assert [line["event"] for line in lines] == ["request_failed"]


def test_a_reply_as_aiohttps_object_says_the_same() -> None:
    reply = Reply(200, b"{}", "application/json", (("X-A", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")))
    response = response_of(reply)
    assert (response.status, response.body, response.content_type) == (200, b"{}", "application/json")
    assert response.headers.getall("Set-Cookie") == ["a=1", "b=2"]
    empty = response_of(Reply(204))
    assert (empty.status, "Content-Type" in empty.headers) == (204, False)
    assert response_of(Reply(200)).status == 200
