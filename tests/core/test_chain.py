from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from wire import Received, application, get, hello, leaving_nothing, post, serving, until, wire_to

from core.errors import Conflict, CredentialsRequired, NotFound, PlantroomError, PluginError, TooManyRequests
from core.policies import Call, Policy, Steps
from core.replies import Answer, Reply
from core.routes import Handler, Middleware, Phase, Route, from_aiohttp

PHASES = tuple(Phase)
OUTCOMES: dict[str, Callable[[], BaseException] | None] = {
    "well": None,
    "refused": lambda: Conflict("taken"),
    "http": web.HTTPGone,
    "raises": lambda: RuntimeError("inner words"),
    "moved": lambda: web.HTTPFound("/hello"),
}
STATUSES = {"well": 200, "refused": 409, "http": 410, "raises": 500, "moved": 302}


@attrs.frozen
class Nothing:
    """A body that may be anything that is empty."""


class Watch:
    """Notes what happens around a handler, and makes the parts that note it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def policy(self, name: str, phase: Phase, *, raising: Callable[[], BaseException] | None = None) -> Policy:
        def before(_call: Call) -> None:
            self.seen.append(f"{name} before")
            if raising is not None:
                raise raising()

        def refused(_call: Call, error: PlantroomError) -> PlantroomError:
            self.seen.append(f"{name} refused")
            return error

        def after(_call: Call, status: int) -> None:
            self.seen.append(f"{name} after {status}")

        return Policy(phase, lambda _route: Steps(before, refused, after, {f"X-{name}": "1"}))

    def middleware(self, name: str, phase: Phase, *, raising: Callable[[], BaseException] | None = None) -> Middleware:
        async def wrap(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.seen.append(f"{name} in")
            if raising is not None:
                raise raising()
            try:
                response = await handler(request)
            except BaseException as error:
                self.seen.append(f"{name} {type(error).__name__}")
                raise
            self.seen.append(f"{name} out {response.status}")
            response.headers[f"X-{name}"] = "1"
            return response

        return from_aiohttp(phase, wrap)

    def route(self, outcome: str, path: str = "/a") -> Route:
        async def handler(_request: web.Request) -> str:
            self.seen.append("handler")
            raising = OUTCOMES[outcome]
            if raising is not None:
                raise raising()
            return "a"

        return Route("GET", path, handler, "")


def expected(parts: list[tuple[str, Phase, bool]], outcome: str) -> list[str]:
    """Say what is to be seen of parts, each a name, a phase, and whether it is a policy; outermost first."""
    status, way_in, way_out = STATUSES[outcome], ["handler"], list[str]()
    raised = OUTCOMES[outcome] is not None
    name_of = {"refused": "Conflict", "http": "HTTPGone", "raises": "RuntimeError", "moved": "HTTPFound"}.get(outcome)
    stretch: list[str] = []
    for at, (name, phase, is_policy) in reversed([*enumerate(parts)]):
        walled = any(not each[2] and each[1] >= Phase.ERRORS for each in parts[:at])
        if is_policy:
            way_in.insert(0, f"{name} before")
            if raised and outcome != "moved" and not (walled and outcome == "raises"):
                way_out.append(f"{name} refused")
            stretch.append(f"{name} after {status}")
        else:
            way_in.insert(0, f"{name} in")
            way_out += stretch
            stretch = []
            if phase < Phase.ERRORS:
                raised = False
            way_out.append(f"{name} {name_of}" if raised else f"{name} out {status}")
    return [*way_in, *way_out, *stretch]


def in_order(*parts: tuple[str, Phase, bool]) -> list[tuple[str, Phase, bool]]:
    return sorted(parts, key=lambda part: part[1])


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_at_every_pair_of_phases_steps_are_taken_from_outside_in_and_back(outcome: str) -> None:
    """Before from outer to inner, refused and after from inner to outer, ordinary middleware standing between."""
    watch = Watch()
    for one, other, kinds in itertools.product(PHASES, PHASES, [(True, True), (True, False), (False, True)]):
        asked = (("A", one, kinds[0]), ("B", other, kinds[1]))
        parts = [(watch.policy if policy else watch.middleware)(name, phase) for name, phase, policy in asked]
        app = application(watch.route(outcome), parts=parts)
        async with serving(app) as server, wire_to(server) as wire:
            for _ in range(2):  # the first is aiohttp's to begin, the second begins where it is read
                watch.seen.clear()
                with capture_logs() as lines:
                    answer = await wire.ask(get("/a"))
                assert watch.seen == expected(in_order(*asked), outcome), asked
                assert answer.status == STATUSES[outcome]
                assert [answer.headers.get("X-A"), answer.headers.get("X-B")] == ["1", "1"] or outcome != "well"
                assert [line["event"] for line in lines].count("request_failed") == (outcome == "raises")


@pytest.mark.parametrize("outcome", ["refused", "http", "raises"])
async def test_three_parts_stand_in_order_too(outcome: str) -> None:
    watch = Watch()
    for phases in itertools.product((Phase.LOG, Phase.ERRORS, Phase.AUTH), repeat=3):
        for kinds in itertools.product((True, False), repeat=3):
            asked = tuple(zip("ABC", phases, kinds, strict=True))
            parts = [(watch.policy if policy else watch.middleware)(name, phase) for name, phase, policy in asked]
            watch.seen.clear()
            with capture_logs() as lines:
                (answer,) = await ask_cold(application(watch.route(outcome), parts=parts), get("/a"))
            assert watch.seen == expected(in_order(*asked), outcome), asked
            assert answer.status == STATUSES[outcome]
            assert [line["event"] for line in lines].count("request_failed") == (outcome == "raises")


async def ask_cold(app: Any, *raw: bytes) -> list[Received]:
    async with serving(app) as server, wire_to(server) as wire:
        return [await wire.ask(each) for each in raw]


async def asked_twice(app: Any, raw: bytes) -> list[Received]:
    """Ask by aiohttp's way, then by the way at once."""
    return await ask_cold(app, raw, raw)


@pytest.mark.parametrize(
    ("raising", "status"), [(lambda: Conflict("no"), 409), (lambda: RuntimeError("x"), 500), (web.HTTPGone, 410)]
)
async def test_what_a_policy_raises_is_shown_to_those_outside_of_it_only(raising: Any, status: int) -> None:
    for kind in ("flat", "wall"):
        watch = Watch()
        parts = [
            watch.policy("Outer", Phase.HEADERS), watch.policy("Middle", Phase.AUTH, raising=raising),
            watch.policy("Inner", Phase.CACHE),
        ]  # fmt: skip
        if kind == "wall":
            parts.append(watch.middleware("Wall", Phase.RATE_LIMIT))
        for answer in await asked_twice(application(watch.route("well"), parts=parts), get("/a")):
            assert answer.status == status
        once = ["Outer before", "Middle before", "Outer refused"]
        inner = [] if kind == "wall" else [f"Inner after {status}"]
        assert watch.seen == [*once, *inner, f"Middle after {status}", f"Outer after {status}"] * 2


async def test_what_ordinary_middleware_raises_is_shown_to_those_outside_of_it_only() -> None:
    watch = Watch()
    parts = [
        watch.policy("Outer", Phase.METRICS), watch.policy("Auth", Phase.AUTH), watch.policy("Inner", Phase.CACHE),
        watch.middleware("Wall", Phase.RATE_LIMIT, raising=lambda: TooManyRequests("wait")),
    ]  # fmt: skip
    for answer in await asked_twice(application(watch.route("well"), parts=parts), get("/a")):
        assert answer.status == 429
    assert watch.seen == [
        "Outer before", "Auth before", "Wall in", "Auth refused", "Outer refused", "Auth after 429", "Outer after 429",
    ] * 2  # fmt: skip


async def test_a_policy_answers_another_error_in_the_place_of_one() -> None:
    seen: list[type[PlantroomError]] = []

    def veil(_call: Call, error: PlantroomError) -> PlantroomError:
        seen.append(type(error))
        return NotFound("nothing here", headers={"X-Veiled": "1"})

    def note(_call: Call, error: PlantroomError) -> PlantroomError:
        seen.append(type(error))
        return error

    parts = [
        Policy(Phase.CACHE, lambda _route: Steps(refused=veil)),
        Policy(Phase.LOG, lambda _route: Steps(refused=note)),
    ]
    for answer in await asked_twice(application(Watch().route("refused"), parts=parts), get("/a")):
        assert (answer.status, answer.headers["X-Veiled"]) == (404, "1")
    assert seen == [Conflict, NotFound] * 2


def everywhere() -> list[Policy]:
    def before(call: Call) -> None:
        call.answer_headers.append(("X-Answer", "1"))

    return [
        Policy(Phase.HEADERS, lambda _route: Steps(headers={"X-Fixed": "1"})),
        Policy(Phase.LOG, lambda _route: Steps(before=before)),
    ]


async def test_headers_are_on_every_answer() -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "2"})
        await response.prepare(request)
        await response.write(b"ok")
        return response

    async def take(_request: web.Request, *, body: Nothing) -> Nothing:
        return body

    def guard(call: Call) -> None:
        if "X-Key" in call.headers:
            raise {"401": CredentialsRequired, "429": TooManyRequests}[call.headers["X-Key"]]("no")

    watch = Watch()
    routes = [
        watch.route("raises", "/raises"), watch.route("moved", "/moved"), Route("GET", "/hello", hello, ""),
        Route("GET", "/stream", stream, ""), Route("POST", "/take", take, "", body=Nothing),
    ]  # fmt: skip
    parts = [*everywhere(), Policy(Phase.AUTH, lambda _route: Steps(before=guard))]
    large = b'{"a": "' + b"x" * 2000 + b'"}'
    asked = {
        get("/hello"): 200, get("/hello", "If-None-Match: *"): 304, get("/hello", "X-Key: 401"): 401,
        get("/nowhere"): 404,
        get("/hello", method="PUT"): 405, post("/take", large): 413, post("/take", b"[]"): 422,
        get("/hello", "X-Key: 429"): 429, get("/raises"): 500, get("/stream"): 200, get("/moved"): 302,
        get("/hello", method="HEAD"): 200,
    }  # fmt: skip
    async with serving(application(*routes, parts=parts, max_body_bytes=1000)) as server, wire_to(server) as wire:
        for _ in range(2):
            for raw, status in asked.items():
                answer = await wire.ask(raw, head=raw.startswith(b"HEAD"))
                assert answer.status == status, raw
                assert answer.headers.getall("X-Fixed") == ["1"]
                assert answer.headers.getall("X-Answer") == ["1"]
                assert answer.headers.getall("X-Request-ID")
        for raw, status in {
            b"this is no http\r\n\r\n": 400,
            get("/hello").replace(b"localhost", b"evil.example"): 421,
            get("/hello").replace(b"Host: localhost\r\n", b""): 400,
            get("/hello", "Expect: the-unexpected"): 417,
        }.items():
            async with wire_to(server) as other:
                answer = await other.ask(raw)
                assert (answer.status, answer.headers["X-Fixed"]) == (status, "1")


async def test_policies_up_to_the_phase_of_headers_are_told_of_answers_that_no_chain_gave() -> None:
    watch = Watch()
    parts = [watch.policy(phase.name, phase) for phase in PHASES]
    raws = [b"this is no http\r\n\r\n", get("/a").replace(b"localhost", b"evil.example"), get("/a", "Expect: more")]
    async with serving(application(watch.route("well"), parts=parts)) as server:
        for raw, status in zip(raws, (400, 421, 417), strict=True):
            watch.seen.clear()
            async with wire_to(server) as wire:
                assert (await wire.ask(raw)).status == status
            assert watch.seen == [f"{name} after {status}" for name in ("HEADERS", "METRICS", "LOG")]


def exiting(*_: Any) -> Any:
    raise SystemExit(3)


def failing(*_: Any) -> Any:
    raise RuntimeError("inner words")


@pytest.mark.parametrize("fault", [exiting, failing])
@pytest.mark.parametrize("step", ["before", "refused", "after"])
@pytest.mark.parametrize("outcome", ["well", "refused"])
async def test_a_step_that_fails_harms_nobody_but_its_request(fault: Any, step: str, outcome: str) -> None:
    watch = Watch()

    def compiled(route: Route | None) -> Steps | None:
        return Steps(**{step: fault}) if route is not None and route.path == "/a" else None

    parts = [watch.policy("Outer", Phase.LOG), Policy(Phase.AUTH, compiled), watch.policy("Inner", Phase.CACHE)]
    app = application(watch.route(outcome), Route("GET", "/hello", hello, ""), parts=parts)
    status = 500 if step == "before" or (step == "refused" and outcome == "refused") else STATUSES[outcome]
    async with serving(app) as server, wire_to(server) as wire:
        for _ in range(2):
            watch.seen.clear()
            with capture_logs() as lines:
                answer = await wire.ask(get("/a"))
            assert answer.status == status
            assert "inner words" not in answer.body.decode()
            assert watch.seen[-2:] == [f"Inner after {status}", f"Outer after {status}"]
            failed = [line["event"] for line in lines if line["log_level"] == "error"]
            assert failed == (["policy_failed"] if step == "after" else ["request_failed"] if status == 500 else [])
        assert (await wire.ask(get("/hello"))).status == 200


async def test_a_policy_that_answers_no_error_in_the_place_of_one_is_a_fault_of_its_own() -> None:
    nothing: Any = lambda _call, _error: None  # noqa: E731
    parts = [Policy(Phase.CACHE, lambda _route: Steps(refused=nothing)), Watch().policy("Outer", Phase.LOG)]
    with capture_logs() as lines:
        for answer in await asked_twice(application(Watch().route("refused"), parts=parts), get("/nowhere")):
            assert answer.status == 500
    assert [line["event"] for line in lines].count("request_failed") == 2


class Gate:
    """A policy that has to be waited for."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.came = asyncio.Event()
        self.calls = self.passed = 0

    def before(self, _call: Call) -> Awaitable[None]:
        self.calls += 1
        return self._wait()

    async def _wait(self) -> None:
        self.came.set()
        await self.open.wait()
        self.passed += 1

    def policy(self, phase: Phase = Phase.AUTH) -> Policy:
        return Policy(phase, lambda route: Steps(before=self.before) if route is None or route.path == "/a" else None)


async def test_where_a_step_is_waited_for_nothing_happens_twice() -> None:
    watch, gate, other = Watch(), Gate(), Gate()
    parts = [
        watch.policy("Outer", Phase.LOG),
        gate.policy(),
        other.policy(Phase.RATE_LIMIT),
        watch.policy("Inner", Phase.CACHE),
    ]
    gate.open.set()
    other.open.set()
    count = 0

    def ready() -> Answer:
        nonlocal count
        count += 1
        return Answer(b'"ready"')

    route = attrs.evolve(watch.route("well"), at_once=ready)
    once = ["Outer before", "Inner before", "handler", "Inner after 200", "Outer after 200"]
    async with serving(application(route, parts=parts)) as server, wire_to(server) as wire:
        for number in range(1, 5):
            watch.seen.clear()
            assert (await wire.ask(get("/a"))).status == 200
            assert watch.seen == once
            assert (gate.calls, gate.passed, other.calls, other.passed) == (number,) * 4
    assert count == 0  # what has been waited for is the handler's to answer


async def test_where_nothing_is_waited_for_what_is_ready_is_answered_and_no_handler_called() -> None:
    watch = Watch()
    answers: list[Answer | None] = [Answer(b'"ready"'), None]
    route = attrs.evolve(watch.route("well"), at_once=lambda: answers[0])
    async with serving(application(route, parts=[watch.policy("Outer", Phase.LOG)])) as server, wire_to(server) as wire:
        assert (await wire.ask(get("/a"))).body == b'"a"'  # its host is not known yet
        watch.seen.clear()
        assert (await wire.ask(get("/a"))).body == b'"ready"'
        assert watch.seen == ["Outer before", "Outer after 200"]
        watch.seen.clear()
        assert (await wire.ask(get("/a?x=1"))).status == 422
        answers.reverse()
        watch.seen.clear()
        assert (await wire.ask(get("/a"))).body == b'"a"'
        assert watch.seen == ["Outer before", "handler", "Outer after 200"]


async def test_ordinary_middleware_sees_what_would_be_ready_too() -> None:
    watch = Watch()
    route = attrs.evolve(watch.route("well"), at_once=lambda: Answer(b'"ready"'))
    app = application(route, parts=[watch.middleware("Wall", Phase.CACHE)])
    for answer in await asked_twice(app, get("/a")):
        assert (answer.body, answer.headers["X-Wall"]) == (b'"a"', "1")


@pytest.mark.parametrize("cold", [True, False])
async def test_a_step_that_never_ends_ends_with_the_server_where_the_client_has_gone(cold: bool) -> None:
    watch, gate = Watch(), Gate()
    app = application(
        watch.route("well"), Route("GET", "/hello", hello, ""), parts=[watch.policy("Outer", Phase.LOG), gate.policy()]
    )
    async with leaving_nothing(), serving(app) as server:
        async with wire_to(server) as wire:
            if not cold:
                await wire.ask(get("/hello"))
            wire.writer.write(get("/a"))
            await asyncio.wait_for(gate.came.wait(), 5)
        await until(lambda: not server.connections)
        async with wire_to(server) as wire:
            assert (await wire.ask(get("/hello"))).status == 200
    assert (gate.calls, gate.passed) == (1, 0)
    assert watch.seen[-1] == "Outer after 499"


async def test_an_answer_that_breaks_off_is_told_as_one_whose_client_has_gone() -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        raise RuntimeError("lost")

    for phase in (None, Phase.CACHE, Phase.LOG):
        watch = Watch()
        parts: list[Any] = [watch.policy("Outer", Phase.METRICS)]
        if phase is not None:
            parts.append(watch.middleware("Wall", phase))
        app = application(Route("GET", "/a", stream, ""), parts=parts)
        async with serving(app) as server:
            with capture_logs() as lines:
                for _ in range(2):
                    async with wire_to(server) as wire:
                        wire.writer.write(get("/a"))
                        assert (await wire.closed()).endswith(b"first\r\n")
            assert [seen for seen in watch.seen if seen.startswith("Outer after")] == ["Outer after 499"] * 2
            assert [line["event"] for line in lines].count("request_failed") == 2


@pytest.mark.parametrize("error", [ConnectionRefusedError, ConnectionResetError, BrokenPipeError, TimeoutError])
async def test_a_connection_of_the_handlers_own_that_fails_is_no_client_that_has_gone(
    error: type[BaseException],
) -> None:
    async def handler(_request: web.Request) -> None:
        raise error

    watch = Watch()
    app = application(Route("GET", "/a", handler, ""), parts=[watch.policy("Outer", Phase.LOG)])
    for answer in await asked_twice(app, get("/a")):
        assert answer.status == 500
    assert watch.seen == ["Outer before", "Outer refused", "Outer after 500"] * 2


async def test_an_http_exception_that_is_returned_is_as_good_as_raised() -> None:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.HTTPNotFound()

    async def wall(_request: web.Request, _handler: Handler) -> web.StreamResponse:
        return web.HTTPNotFound()

    for parts in ([], [from_aiohttp(Phase.CACHE, wall)], [from_aiohttp(Phase.METRICS, wall)]):
        watch = Watch()
        app = application(Route("GET", "/a", handler, ""), parts=[watch.policy("Outer", Phase.LOG), *parts])
        with capture_logs() as lines:
            for answer in await asked_twice(app, get("/a")):
                assert (answer.status, answer.json["code"]) == (404, "route.not_found")
                assert answer.headers["Content-Type"] == "application/problem+json"
        assert watch.seen == ["Outer before", "Outer refused", "Outer after 404"] * 2
        assert [line["event"] for line in lines].count("request") == 2


async def test_what_is_inside_of_ordinary_middleware_keeps_its_status() -> None:
    watch = Watch()
    parts = [watch.policy("Inner", Phase.CACHE), watch.middleware("Wall", Phase.AUTH)]
    for answer in await asked_twice(application(watch.route("http"), parts=parts), get("/a")):
        assert answer.status == 410


async def test_a_failure_that_is_ours_is_logged_once_however_many_parts_it_passes() -> None:
    async def handler(_request: web.Request) -> None:
        raise PluginError("inner words")

    watch = Watch()
    parts = [watch.policy("Inner", Phase.CACHE), watch.middleware("Wall", Phase.AUTH), watch.policy("Outer", Phase.LOG)]
    app = application(Route("GET", "/a", handler, ""), parts=parts)
    with capture_logs() as lines:
        (answer,) = await ask_cold(app, get("/a"))
    assert answer.status == 500
    assert [line["event"] for line in lines].count("request_failed") == 1


async def test_middleware_that_leaves_a_route_as_it_is_costs_it_the_way_at_once_no_more_than_a_policy_that_does() -> (
    None
):
    route = attrs.evolve(Watch().route("well"), at_once=lambda: Answer(b'"ready"'))
    parts = [Middleware(Phase.AUTH, lambda _route, handler: handler), Policy(Phase.LOG, lambda _route: None)]
    assert [answer.body for answer in await asked_twice(application(route, parts=parts), get("/a"))] == [
        b'"a"',
        b'"ready"',
    ]


class Keeper:
    """A policy that answers what it was told to, and notes what it is shown."""

    def __init__(self, phase: Phase = Phase.CACHE, *, waits: bool = False) -> None:
        self.answers: Reply | None = None
        self.shown: list[Reply] = []
        self.waits = waits
        self.part = Policy(phase, lambda _route: Steps(before=self.before, replied=self.replied))

    def before(self, _call: Call) -> Reply | Awaitable[Reply | None] | None:
        return self.later() if self.waits else self.answers

    async def later(self) -> Reply | None:
        await asyncio.sleep(0)
        return self.answers

    def replied(self, _call: Call, reply: Reply) -> None:
        self.shown.append(reply)


KEPT = Reply(200, b'"kept"', "application/json", (("ETag", 'W/"k"'),))


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
async def test_a_policy_can_answer_in_the_place_of_what_is_further_inside(at_once: bool, waits: bool) -> None:
    watch, keeper, outer = Watch(), Keeper(waits=waits), Keeper(Phase.CORS)
    route = watch.route("well")
    if at_once:
        route = attrs.evolve(route, at_once=lambda: Answer(b'"ready"'))
    parts = [watch.policy("A", Phase.LOG), outer.part, keeper.part, watch.policy("Z", Phase.CACHE)]
    async with serving(application(route, parts=parts)) as server, wire_to(server) as wire:
        made = [await wire.ask(get("/a")) for _ in range(2)]
        assert made[1].json == ("ready" if at_once and not waits else "a")
        assert len(keeper.shown) == len(outer.shown) == 2
        keeper.answers = KEPT
        watch.seen.clear()
        answer = await wire.ask(get("/a?x=1"))
        assert (answer.json, answer.headers["X-A"]) == ("kept", "1")
        assert watch.seen == ["A before", "Z after 200", "A after 200"]
        assert (outer.shown[-1], len(keeper.shown)) == (KEPT, 2), "it is not shown its own"
        assert (await wire.ask(get("/a", 'If-None-Match: W/"k"'))).status == 304
        assert outer.shown[-1] is KEPT
        assert (await wire.ask(get("/a", method="HEAD"), head=True)).headers["Content-Length"] == "6"


async def test_what_a_policy_is_shown_is_whole_whatever_the_client_has_already() -> None:
    keeper = Keeper()
    async with serving(application(Watch().route("well"), parts=[keeper.part])) as server, wire_to(server) as wire:
        tag = (await wire.ask(get("/a"))).headers["ETag"]
        assert (await wire.ask(get("/a", f"If-None-Match: {tag}"))).status == 304
    assert [(reply.status, reply.body) for reply in keeper.shown] == [(200, b'"a"')] * 2


async def test_a_policy_that_fails_when_it_is_shown_a_reply_harms_nobody() -> None:
    def fail(_call: Call, _reply: Reply) -> None:
        raise RuntimeError("I cannot look")

    part = Policy(Phase.CACHE, lambda _route: Steps(replied=fail))
    async with serving(application(Watch().route("well"), parts=[part])) as server, wire_to(server) as wire:
        with capture_logs() as lines:
            assert [(await wire.ask(get("/a"))).json for _ in range(2)] == ["a", "a"]
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["policy_failed"] * 2


async def test_a_policy_that_awaits_something_else_than_a_reply_is_answered_500() -> None:
    async def later() -> str:
        return "no reply"

    part = Policy(Phase.CACHE, lambda _route: Steps(before=lambda _call: later()))  # type: ignore[arg-type,return-value]
    async with serving(application(Watch().route("well"), parts=[part])) as server, wire_to(server) as wire:
        with capture_logs():
            assert [(await wire.ask(get("/a"))).status for _ in range(2)] == [500, 500]
