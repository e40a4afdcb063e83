from __future__ import annotations

import asyncio
import itertools
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiohttp.web_urldispatcher import UrlDispatcher
from hypothesis import example, given, settings, strategies
from wire import application, hello
from yarl import URL

from core.policies import call_of
from core.routes import Route
from core.routing import Routing
from core.web import LONGEST_REMEMBERED, PATHS_REMEMBERED

METHODS = ("GET", "PUT", "DELETE")
SEGMENTS = ("a", "b", "", "{x}", "{y}", r"{n:\d+}", "v{n:[12]}", "{x}.csv", "{x}-{y}")
ASKED = ("a", "b", "", "7", "v1", "v3", "a.csv", "p-q", "ä", "p/q", "a b", "%", "..", "%2F", "+", "a;b")


def routing_of(*paths: str, method: str = "GET") -> Routing[str]:
    routing: Routing[str] = Routing()
    for path in paths:
        routing.add(method, path, path)
    return routing


def found(routing: Routing[str], path: str, method: str = "GET") -> tuple[str, dict[str, str]] | None:
    match = routing.find(method, path)
    return None if match is None else (match[0], dict(match[1]))


@strategies.composite
def tables(draw: strategies.DrawFn) -> list[tuple[str, str]]:
    """Draw routes of which no two have the same place."""
    every = draw(
        strategies.lists(
            strategies.tuples(
                strategies.sampled_from(METHODS),
                strategies.lists(strategies.sampled_from(SEGMENTS), min_size=1, max_size=3),
            ),
            max_size=8,
        )
    )
    table: dict[tuple[str, tuple[str, ...]], str] = {}
    for method, segments in every:
        names = itertools.count()
        numbered = [
            segment.replace("{x", f"{{x{next(names)}").replace("{y", f"{{y{next(names)}") for segment in segments
        ]
        numbered = [segment.replace("{n", f"{{n{next(names)}") for segment in numbered]
        shape = tuple("{}" if segment in {"{x}", "{y}"} else segment for segment in segments)
        table.setdefault((method, shape), "/" + "/".join(numbered))
    return [(method, path) for (method, _shape), path in table.items()]


PATHS = strategies.lists(strategies.sampled_from(ASKED), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(quote(part, safe=";+") for part in parts)
)


def by_aiohttp(table: list[tuple[str, str]], method: str, path: str) -> tuple[str, dict[str, str]] | set[str]:
    """Ask aiohttp's own router: the route and its arguments, or the methods that the path takes."""
    router = UrlDispatcher()

    async def handler(_request: web.Request) -> web.StreamResponse:
        raise NotImplementedError

    names = {id(router.add_route(each, place, handler)): place for each, place in table}
    request = make_mocked_request(method, "/").clone(rel_url=URL.build(path=path, encoded=True))
    info = asyncio.run(router.resolve(request))
    if info.http_exception is None:
        return names[id(info.route)], dict(info)
    return set(getattr(info.http_exception, "allowed_methods", ()))


def of_equal_rank(table: list[tuple[str, str]], method: str, path: str) -> set[str]:
    """Name the routes of a table that aiohttp finds at a path where each is alone."""
    return {place for each, place in table if not isinstance(by_aiohttp([(each, place)], method, path), set)}


@settings(max_examples=400, deadline=None)
@given(table=tables(), method=strategies.sampled_from((*METHODS, "HEAD")), path=PATHS)
@example([("GET", "/{x0}/a"), ("GET", "/a/{x0}")], "GET", "/a/a")
@example([("GET", "/{x0}.csv")], "GET", "/p%2Fq.csv")
@example([("GET", "/{x0}.csv")], "GET", "/a%2520b.csv")
@example([("GET", "/")], "GET", "//")
def test_what_is_found_is_what_aiohttp_finds(table: list[tuple[str, str]], method: str, path: str) -> None:
    routing: Routing[str] = Routing()
    for each, place in table:
        routing.add(each, place, place)
    theirs, ours = by_aiohttp(table, method, path), found(routing, path, method)
    if isinstance(theirs, set):
        assert ours is None
        assert routing.methods(path) == theirs
        return
    assert ours is not None
    if ours[0] != theirs[0]:  # several routes match: aiohttp goes by the longest fixed beginning, then by registration
        assert {ours[0], theirs[0]} <= of_equal_rank(table, method, path)
        theirs = by_aiohttp([(method, ours[0])], method, path)
    assert ours == theirs
    assert method in routing.methods(path)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/points/export", "/points/export"),
        ("/points/7", "/points/{point_id}"),
        ("/points/export/value", "/points/{point_id}/value"),
        ("/points/x.csv", "/points/{point_id}"),
        ("/files/x.csv", r"/files/{name:.+\.csv}"),
        ("/files/a/b.csv", r"/files/{name:.+\.csv}"),
    ],
)
def test_a_literal_goes_before_a_parameter_and_both_before_an_expression_in_whatever_order_they_are_entered(
    path: str, place: str, order: int
) -> None:
    places = (
        "/points/{point_id}",
        "/points/export",
        "/points/{point_id}/value",
        r"/{all:points/.*}",
        r"/files/{name:.+\.csv}",
    )
    match = found(routing_of(*places[::order]), path)
    assert match is not None
    assert match[0] == place


def test_a_literal_that_leads_nowhere_gives_way_to_a_parameter() -> None:
    routing = routing_of("/a/b/c", "/a/{x}/d", "/{y}/b/e")
    assert found(routing, "/a/b/d") == ("/a/{x}/d", {"x": "b"})
    assert found(routing, "/a/b/e") == ("/{y}/b/e", {"y": "a"})
    assert found(routing, "/a/b/f") is None


def test_a_method_that_the_literal_has_not_is_the_parameters() -> None:
    routing: Routing[str] = Routing()
    routing.add("GET", "/a/export", "export")
    routing.add("PUT", "/a/{x}", "put")
    routing.add("DELETE", r"/a/{x:[a-z]+}", "delete")
    assert found(routing, "/a/export", "PUT") == ("put", {"x": "export"})
    assert found(routing, "/a/export", "DELETE") == ("delete", {"x": "export"})
    assert routing.methods("/a/export") == {"GET", "PUT", "DELETE"}
    assert routing.methods("/a/7") == {"PUT"}
    assert routing.methods("/b") == set()


@pytest.mark.parametrize(
    ("path", "point_id"),
    [
        ("/p/a.b%2Fc", "a.b/c"),
        ("/p/%C3%A9", "é"),
        ("/p/a%2520b", "a%20b"),
        ("/p/a+b", "a+b"),
        ("/p/..", ".."),
        ("/p/%2E%2E", ".."),
        ("/p/%00", "\0"),
        ("/p/%zz", "%zz"),
    ],
)
def test_an_argument_is_decoded_once(path: str, point_id: str) -> None:
    assert found(routing_of("/p/{point_id}"), path) == ("/p/{point_id}", {"point_id": point_id})


def test_an_id_may_have_braces_which_aiohttp_has_in_none() -> None:
    assert found(routing_of("/p/{x}"), "/p/%7B7%7D") == ("/p/{x}", {"x": "{7}"})
    assert by_aiohttp([("GET", "/p/{x}")], "GET", "/p/%7B7%7D") == set()


def test_what_is_no_utf_8_is_an_argument_with_signs_of_replacement_where_aiohttp_keeps_the_escapes() -> None:
    assert found(routing_of("/p/{x}"), "/p/a%FF") == ("/p/{x}", {"x": "a\ufffd"})
    assert by_aiohttp([("GET", "/p/{x}")], "GET", "/p/a%FF") == ("/p/{x}", {"x": "a%FF"})


@pytest.mark.parametrize("path", ["", "*", "a", "api/x", "localhost:80", "xa", "?/a", "\\a"])
def test_what_is_no_path_is_nowhere(path: str) -> None:
    routing = routing_of("/", "/a", "/{x}", r"/{all:.*}", "/pi/{x}")
    assert found(routing, path) is None
    assert routing.methods(path) == set()


@settings(max_examples=500, deadline=None)
@given(path=strategies.text(max_size=60), slash=strategies.booleans())
def test_no_text_makes_it_raise(path: str, slash: bool) -> None:
    routing = routing_of("/", "/{x}", "/a/{x}", r"/b/{y:\d+}", "/{x}.{y}", "/c/{z:.*}")
    asked = ("/" if slash else "") + path
    match = routing.find("GET", asked)
    assert (match is not None) is ("GET" in routing.methods(asked))


@pytest.mark.parametrize(
    "path",
    ["", "a", "/{", "/}", "/{}", "/a{x", "/{x}/{x}", "/{x:(}", "/{x:a}/{x:b}", "/{1}", "/{x y}", "/{x}}", r"/{x:\d{2}"],
)
def test_what_is_no_route_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        routing_of(path)


def test_an_expression_may_have_braces_and_slashes() -> None:
    routing = routing_of(r"/y/{year:\d{4}}", r"/f/{rest:.*}/end")
    assert found(routing, "/y/2024") == (r"/y/{year:\d{4}}", {"year": "2024"})
    assert found(routing, "/y/20245") is None
    assert found(routing, "/f/a/b/end") == (r"/f/{rest:.*}/end", {"rest": "a/b"})


def test_the_first_target_at_a_place_stays() -> None:
    routing: Routing[str] = Routing()
    for target in ("first", "second"):
        routing.add("GET", "/a/{x}", target)
        routing.add("GET", r"/b/{x:\d}", target)
    assert found(routing, "/a/1") == found(routing, "/b/1") == ("first", {"x": "1"})


def test_what_an_application_remembers_of_paths_is_bounded() -> None:
    app = application(Route("GET", "/p/{x}", hello, ""))
    for number in range(PATHS_REMEMBERED + 10):
        app.chain_of(call_of(path=f"/p/{number}"))
        assert len(app._found) <= PATHS_REMEMBERED
    before = len(app._found)
    app.chain_of(call_of(path="/p/" + "x" * LONGEST_REMEMBERED))
    app.chain_of(call_of(path="/nowhere"))
    app.chain_of(call_of("FOO", "/p/new"))
    assert len(app._found) == before
    again = call_of(path=f"/p/{number}")
    assert app.chain_of(again).route is again.route
    assert again.arguments == {"x": str(number)}


def test_a_path_decodes_as_its_address_does() -> None:
    routing = routing_of("/p/{x}")
    for text in ("a/b", "a?b", "a#b", "ä ö", "100%", "%41"):
        path = URL.build(path="/p/" + quote(text, safe=""), encoded=True).raw_path
        assert found(routing, path) == ("/p/{x}", {"x": text})
