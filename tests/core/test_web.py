from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Literal

import aiohttp
import attrs
import pytest
import structlog
from aiohttp import web
from structlog.testing import capture_logs

from core.callers import REQUEST_ID
from core.errors import Conflict, PluginError
from core.replies import Answer
from core.routes import Handler, Middleware, Phase, Route, from_aiohttp
from core.serialize import field
from core.server import Server
from core.settings import Http
from core.web import build_application

Serve = Callable[..., Awaitable[aiohttp.ClientSession]]


@attrs.frozen
class Query:
    limit: int = field(default=100, min=1, max=1000)
    tag: tuple[str, ...] = ()
    deep: bool = False
    age: float | None = field(default=None, min=0)
    sort: Literal["id", "-id"] = "id"


@attrs.frozen
class Body:
    name: str = field(min_length=1)
    level: int = field(default=1, min=1, max=16)


@attrs.frozen
class OptionalBody:
    name: str | None = None


async def show_query(_request: web.Request, *, query: Query) -> Query:
    return query


async def show_body(_request: web.Request, *, body: Body) -> Body:
    return body


async def show_optional(_request: web.Request, *, body: OptionalBody) -> OptionalBody:
    return body


async def show_id(_request: web.Request, *, point_id: str) -> dict[str, str]:
    return {"id": point_id}


async def plain(_request: web.Request) -> dict[str, str]:
    return {"hello": "world"}


@attrs.frozen
class Text:
    text: str


ROUTES = [
    Route("GET", "/query", show_query, "", query=Query),
    Route("POST", "/body", show_body, "", body=Body),
    Route("POST", "/optional", show_optional, "", body=OptionalBody),
    Route("GET", "/points/{point_id}", show_id, ""),
    Route("GET", "/plain", plain, ""),
    Route("DELETE", "/plain", plain, "", status=204),
]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[Server] = []
    clients: list[aiohttp.ClientSession] = []

    async def start(
        routes: Sequence[Route] = ROUTES, middlewares: Sequence[Middleware] = (), **options: Any
    ) -> aiohttp.ClientSession:
        server = Server(Http(port=0))
        servers.append(server)
        await server.start()
        await server.swap(build_application([("core", route) for route in routes], middlewares, **options))
        clients.append(aiohttp.ClientSession(server.url))
        return clients[-1]

    yield start
    for client in clients:
        await client.close()
    for server in servers:
        await server.stop()


async def problem_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    assert answer.content_type == "application/problem+json"
    problem: dict[str, Any] = json.loads(await answer.read())
    assert problem["status"] == answer.status
    assert problem["type"] == f"/api/v1/errors/{problem['code']}"
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert problem["title"] and problem["detail"] and problem["instance"]
    return problem


async def test_an_answer_is_json_with_an_id_and_tells_nothing_of_the_software(serve: Serve) -> None:
    client = await serve()
    async with client.get("/plain") as answer:
        assert await answer.json() == {"hello": "world"}
        assert len(answer.headers["X-Request-ID"]) == 16
        assert answer.headers["Server"] == "plantroom"


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1.2_Z", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("ä", False), ("", False)],
)
async def test_a_sane_request_id_of_the_caller_is_kept(serve: Serve, given: str, kept: bool) -> None:
    client = await serve()
    async with client.get("/plain", headers={"X-Request-ID": given}) as answer:
        assert (answer.headers["X-Request-ID"] == given) is kept


async def test_each_request_is_logged_once_with_its_id(serve: Serve) -> None:
    async def speak(_request: web.Request) -> None:
        structlog.get_logger().info("spoken", **structlog.contextvars.get_contextvars())

    client = await serve([Route("GET", "/speak", speak, "")])
    with capture_logs() as lines:
        async with client.get("/speak", headers={"X-Request-ID": "mine"}) as answer:
            assert answer.status == 200
        async with client.get("/speak?secret=1") as answer:
            assert answer.status == 422
    spoken, request, refused = lines
    assert refused["path"] == "/speak"
    assert spoken["request_id"] == "mine"
    assert request["event"] == "request"
    assert (request["method"], request["path"], request["status"]) == ("GET", "/speak", 200)
    assert request["duration_ms"] >= 0


async def test_query_parameters_are_structured(serve: Serve) -> None:
    client = await serve()
    async with client.get("/query?limit=5&tag=a&tag=b&deep=true&age=1.5&sort=-id") as answer:
        assert await answer.json() == {"limit": 5, "tag": ["a", "b"], "deep": True, "age": 1.5, "sort": "-id"}


async def test_every_wrong_parameter_is_named_at_once(serve: Serve) -> None:
    client = await serve()
    async with client.get("/query?limit=0&deep=yes&age=nan&sort=up&limt=3&limit=7") as answer:
        problem = await problem_of(answer)
    assert answer.status == 422
    assert {fault["field"]: fault["code"] for fault in problem["errors"]} == {
        "limit": "repeated",
        "deep": "type",
        "age": "type",
        "sort": "choice",
        "limt": "unknown",
    }
    assert "did you mean 'limit'" in str(problem["errors"])


async def test_a_route_without_parameters_takes_none(serve: Serve) -> None:
    client = await serve()
    async with client.get("/plain?x=1") as answer:
        assert (await problem_of(answer))["errors"][0]["field"] == "x"
        assert answer.status == 422


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"name": "x"}', "application/json", 200),
        (b'{"name": "x"}', "application/json; charset=UTF-8", 200),
        (b'{"name": "x"}', "application/json; charset=latin-1", 415),
        (b'{"name": "x"}', "text/plain", 415),
        (b'{"name": "x"}', None, 415),
        (b'{"name": "x"', "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"name": NaN}', "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"name": ""}', "application/json", 422),
        (b'{"name": "x", "level": true}', "application/json", 422),
        (b'{"name": "x", "level": 4.0}', "application/json", 200),
        (b'{"name": "x", "level": "4"}', "application/json", 422),
        (b'{"name": "x", "level": 123456789012345678901234567890}', "application/json", 422),
    ],
)
async def test_a_body_is_checked(serve: Serve, body: bytes, content_type: str | None, status: int) -> None:
    client = await serve()
    headers = {} if content_type is None else {"Content-Type": content_type}
    skip = ["Content-Type"] if content_type is None else None
    async with client.post("/body", data=body, headers=headers, skip_auto_headers=skip) as answer:
        assert answer.status == status
        if status != 200:
            problem = await problem_of(answer)
            assert ("errors" in problem) is (status == 422)


async def test_a_body_that_may_be_left_out_may_be_left_out(serve: Serve) -> None:
    client = await serve()
    async with client.post("/optional") as answer:
        assert await answer.json() == {"name": None}
    async with client.post("/optional", json={"name": "x"}) as answer:
        assert await answer.json() == {"name": "x"}


async def test_a_body_where_none_is_taken_is_refused(serve: Serve) -> None:
    client = await serve()
    async with client.delete("/plain", data=b"{}") as answer:
        assert answer.status == 422
    async with client.delete("/plain", data=b"") as answer:
        assert answer.status == 204


async def _chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(65536)


async def test_a_body_over_the_limit_is_drained_and_refused_and_the_connection_lives(serve: Serve) -> None:
    client = await serve()
    headers = {"Content-Type": "application/json"}
    for data in (io.BytesIO(bytes(3_000_000)), _chunks(48)):
        async with client.post("/body", data=data, headers=headers) as answer:
            assert answer.status == 413
            assert (await problem_of(answer))["code"] == "request.too_large"
            assert answer.headers.get("Connection") != "close"


async def test_a_route_may_take_more_or_less_than_others(serve: Serve) -> None:
    async def size(_request: web.Request, *, body: Text) -> int:
        return len(body.text)

    routes = [Route("POST", f"/{most}", size, "", body=Text, max_body_bytes=most) for most in (100, 5_000)]
    client = await serve([*routes, Route("POST", "/usual", size, "", body=Text)], max_body_bytes=1_000)
    for path, length, status in (("100", 50, 200), ("100", 150, 413), ("5000", 4_900, 200), ("5000", 5_001, 413)):
        async with client.post(f"/{path}", json={"text": "x" * length}) as answer:
            assert answer.status == status
    async with client.post("/usual", json={"text": "x" * 2_000}) as answer:
        assert answer.status == 413
        assert (await problem_of(answer))["code"] == "request.too_large"


async def test_a_handler_has_the_time_that_its_route_gives_it_and_is_cancelled_then(serve: Serve) -> None:
    ended: list[BaseException] = []

    async def never(_request: web.Request) -> None:
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            ended.append(error)
            raise

    async def own(_request: web.Request) -> None:
        raise TimeoutError("its own affair")

    late = [
        Route("GET", f"/{each.__name__}", each, "", timeout_s=0.02 if each is never else 9.0) for each in (never, own)
    ]
    client = await serve(late)
    async with client.get("/never") as answer:
        assert (answer.status, (await problem_of(answer))["code"]) == (503, "request.overdue")
        assert int(answer.headers["Retry-After"]) > 0
    assert isinstance(ended[0], asyncio.CancelledError)
    async with client.get("/own") as answer:
        assert (await problem_of(answer))["code"] == "internal"


async def test_a_body_beyond_all_bounds_ends_the_connection(serve: Serve) -> None:
    client = await serve(max_body_bytes=1000)
    bomb = gzip.compress(bytes(40 * 1024 * 1024))
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with client.post("/body", data=bomb, headers=headers) as answer:
        assert answer.status == 413
        assert answer.headers["Connection"] == "close"


async def test_a_body_that_is_not_what_its_encoding_says_is_malformed(serve: Serve) -> None:
    client = await serve()
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with client.post("/body", data=b"this is no gzip", headers=headers) as answer:
        assert answer.status == 400
        await problem_of(answer)


async def test_an_unknown_address_and_an_unknown_method_are_told_apart(serve: Serve) -> None:
    client = await serve()
    async with client.get("/nowhere") as answer:
        assert answer.status == 404
        assert (await problem_of(answer))["code"] == "route.not_found"
    async with client.put("/plain") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "DELETE, GET, HEAD"
        await problem_of(answer)


async def test_head_is_get_without_its_body(serve: Serve) -> None:
    client = await serve()
    async with client.head("/plain") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Length"] == "17"
        assert answer.headers["ETag"]
        assert await answer.read() == b""


@pytest.mark.parametrize("encoded", ["a.b.analog-input.1", "a%2Fb%2F..%2Fc", "a%20b%25", "%C3%A9"])
async def test_an_id_in_the_path_is_decoded(serve: Serve, encoded: str) -> None:
    from urllib.parse import unquote

    from yarl import URL

    client = await serve()
    async with client.get(URL(f"/points/{encoded}", encoded=True)) as answer:
        assert await answer.json() == {"id": unquote(encoded)}


async def test_what_did_not_change_is_not_sent_again(serve: Serve) -> None:
    async def reading(_request: web.Request) -> Answer:
        return Answer(b'{"value":1,"time":2}', tag=b'{"value":1}', headers={"Age": "3"})

    client = await serve([*ROUTES, Route("GET", "/reading", reading, "")])
    for path, age in (("/plain", None), ("/reading", "3")):
        async with client.get(path) as answer:
            etag = answer.headers["ETag"]
            assert etag.startswith('W/"')
        for match, status in ((etag, 304), (f'"other", {etag}', 304), ("*", 304), ('W/"other"', 200), ("junk", 200)):
            async with client.get(path, headers={"If-None-Match": match}) as answer:
                assert answer.status == status
                assert answer.headers["ETag"] == etag
                assert answer.headers["X-Request-ID"]
                assert answer.headers.get("Age") == age


async def test_a_handler_that_raises_shows_no_internals_but_logs_them(serve: Serve) -> None:
    async def fail(_request: web.Request) -> None:
        raise RuntimeError("the password is 1234")

    async def misuse(_request: web.Request) -> object:
        return object()

    async def kernel(_request: web.Request) -> None:
        raise PluginError("inner words")

    routes = [Route("GET", f"/{handler.__name__}", handler, "") for handler in (fail, misuse, kernel)]
    client = await serve(routes)
    for route in routes:
        with capture_logs() as lines:
            async with client.get(route.path) as answer:
                assert answer.status == 500
                problem = await problem_of(answer)
        assert "1234" not in str(problem) and "inner words" not in str(problem)
        assert [line["event"] for line in lines] == ["request_failed", "request"]
        assert lines[0]["exc_info"]


async def test_our_errors_and_aiohttps_have_one_form(serve: Serve) -> None:
    raised: list[Exception] = [
        Conflict("taken", extra={"by": "me"}),
        web.HTTPConflict(text="also taken"),
        web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"}),
        web.HTTPServiceUnavailable(headers={"Retry-After": "7"}),
        web.HTTPGone(),
        web.HTTPBadGateway(text="inside"),
    ]

    async def fail(_request: web.Request, *, point_id: str) -> None:
        raise raised[int(point_id)]

    client = await serve([Route("GET", "/{point_id}", fail, "")])
    seen = []
    for index in range(len(raised)):
        async with client.get(f"/{index}") as answer:
            problem = await problem_of(answer)
            seen.append((answer.status, problem["code"]))
            if index == 0:
                assert problem["by"] == "me"
            if index == 2:
                assert answer.headers["WWW-Authenticate"] == "Bearer"
            if index == 3:
                assert answer.headers["Retry-After"] == "7"
    assert seen == [
        (409, "request.conflict"),
        (409, "request.conflict"),
        (401, "auth.required"),
        (503, "system.unavailable"),
        (410, "request.bad"),
        (502, "internal"),
    ]


async def test_a_redirect_is_no_error(serve: Serve) -> None:
    async def move(_request: web.Request) -> None:
        raise web.HTTPFound("/plain")

    client = await serve([*ROUTES, Route("GET", "/old", move, "")])
    with capture_logs() as lines:
        async with client.get("/old", allow_redirects=False) as answer:
            assert answer.status == 302
            assert answer.headers["X-Request-ID"]
    assert lines[-1]["status"] == 302


async def test_middlewares_stand_in_the_order_of_their_phases_and_see_unrouted_requests(serve: Serve) -> None:
    seen: list[str] = []

    def watching(phase: Phase) -> Middleware:
        async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
            seen.append(phase.name)
            return await handler(request)

        return from_aiohttp(phase, watch)

    wrapped: list[Route | None] = []

    def note(route: Route | None, handler: Handler) -> Handler:
        wrapped.append(route)
        return handler

    phases = [Phase.CACHE, Phase.HEADERS, Phase.AUTH, Phase.METRICS, Phase.ERRORS, Phase.RATE_LIMIT, Phase.CORS]
    client = await serve(ROUTES[-1:], [*map(watching, phases), Middleware(Phase.AUTH, note)])
    async with client.get("/nowhere") as answer:
        assert answer.status == 404
    assert seen == ["METRICS", "HEADERS", "CORS", "ERRORS", "AUTH", "RATE_LIMIT", "CACHE"]
    assert wrapped == [ROUTES[-1], None]


async def test_what_fails_outside_the_error_phase_is_a_problem_too(serve: Serve) -> None:
    def fail(_route: Route | None, _handler: Handler) -> Handler:
        async def call(request: web.Request) -> web.StreamResponse:
            raise {"/plain": RuntimeError("secret"), "/busy": web.HTTPTooManyRequests()}[request.path]

        return call

    client = await serve(ROUTES, [Middleware(Phase.HEADERS, fail)])
    for path, status in (("/plain", 500), ("/busy", 429)):
        with capture_logs() as lines:
            async with client.get(path, headers={"X-Request-ID": "known"}) as answer:
                assert answer.status == status
                assert "secret" not in str(await problem_of(answer))
                assert answer.headers["X-Request-ID"] == "known"
        assert [line["event"] for line in lines].count("request") == 1


async def test_an_answer_that_breaks_off_is_cut_and_not_mended(serve: Serve) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        raise RuntimeError("lost")

    client = await serve([Route("GET", "/stream", stream, "")])
    with pytest.raises(aiohttp.ClientPayloadError):
        async with client.get("/stream") as answer:
            assert answer.headers["X-Request-ID"]
            await answer.read()


async def test_a_handler_can_answer_by_itself(serve: Serve) -> None:
    async def own(request: web.Request) -> web.Response:
        return web.Response(text=request[REQUEST_ID], status=203)

    client = await serve([Route("GET", "/own", own, "")])
    async with client.get("/own") as answer:
        assert (answer.status, await answer.text()) == (203, answer.headers["X-Request-ID"])


async def test_a_body_that_comes_too_slowly_is_given_up(serve: Serve) -> None:
    client = await serve(body_timeout_s=0.05)
    never = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    async with client.post("/body", data=slowly(), headers={"Content-Type": "application/json"}) as answer:
        assert answer.status == 408
        assert (await problem_of(answer))["code"] == "request.timeout"
        assert answer.headers["Connection"] == "close"
    never.set()


async def test_two_routes_at_one_address_are_refused_with_both_owners_named() -> None:
    routes = [("one", Route("GET", "/a/{x}", plain, "")), ("two", Route("GET", "/a/{y}", plain, ""))]
    with pytest.raises(PluginError, match=r"one and two both answer GET /a/\{y\}"):
        build_application(routes, [])


@pytest.mark.parametrize(
    "route",
    [Route("GET", "no-slash", plain, ""), Route("POST", "/a", plain, "", body=int), Route("GET", "/{", plain, "")],
)
async def test_a_route_that_cannot_be_used_is_refused_with_its_owner_named(route: Route) -> None:
    with pytest.raises(PluginError, match="campus's route"):
        build_application([("campus", route)], [])
