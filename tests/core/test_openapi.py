from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import attrs
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from core.api import described_routes
from core.cli import Installation, main
from core.description import describe
from core.errors import Invalid, PluginError, TooManyRequests
from core.json_schema import Schemas, example_of
from core.model import Kind
from core.openapi import Document
from core.routes import Link, Middleware, Phase, Role, Route
from core.serialize import UNSET, Unset, compile_body, field
from core.web import DOCUMENT, build_application

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")
ALWAYS = {"400", "405", "408", "413", "421", "422", "500", "503"}


async def nothing(_request: Any, **_arguments: Any) -> None:
    """What the routes of these tests do."""


@attrs.frozen
class Lamp:
    """What a lamp is told."""

    name: str = field(min_length=1, max_length=8, pattern="[a-z]+", example="hall")
    level: float = field(min=0, max=1, example=0.5)
    kind: Kind = field(default=Kind.NUMBER)
    scenes: tuple[int | str, ...] = field(default=(), min=0, pattern="[a-z]", max_items=2)
    mode: Literal["auto", "hand"] | None = field(default=None)
    fade: float | int | bool | str | None | Unset = field(default=UNSET)
    on: bool = field(default=True)
    retries: int | None = field(default=3, max=9)


@attrs.frozen
class Page(Generic[T]):
    """Some of many."""

    items: Sequence[T]
    more: bool | Unset = UNSET


@attrs.frozen
class Tree:
    """A thing with things below it."""

    at: dt.datetime = field(example="2026-01-31T12:00:00.000Z")
    leaves: tuple[Tree, ...] = ()
    notes: Mapping[str, float | None] = attrs.field(factory=dict)
    lamp: Annotated[dict[str, Any], Lamp] | None = None
    other: Any = None


def document(*routes: Route, owner: str = "weather", **options: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Document([(owner, route) for route in routes], **options).json)
    OpenAPIV31SpecValidator(data).validate()
    return data


def operations(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in data["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def validator(data: dict[str, Any], schema: Any) -> Draft202012Validator:
    return Draft202012Validator({"$id": "urn:document", "components": data["components"], "allOf": [schema]})


def resolved(data: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    name = response.get("$ref", "").removeprefix("#/components/responses/")
    found: dict[str, Any] = data["components"]["responses"][name] if name else response
    return found


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    """The document of the demo: the kernel's routes and those of every bundled plugin."""
    import asyncio

    settings = Installation((ROOT / "config/demo.yaml",), None).settings()[0]
    found, left_out = asyncio.run(describe(settings))
    assert left_out == {}
    data: dict[str, Any] = json.loads(found.json)
    return data


# what the demo's document must be


def test_the_document_is_valid_openapi_3_1(demo: dict[str, Any]) -> None:
    assert demo["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(demo).validate()


def test_every_route_of_the_kernel_is_in_it_but_the_page_that_shows_it(demo: dict[str, Any]) -> None:
    app = build_application([("core", route) for route in described_routes()], [])
    served = {
        f"{route.method} {route.resource.canonical}"
        for route in app.handle.router.routes()
        if route.method not in ("HEAD", "*") and not route.resource.canonical.startswith("/api/docs")
    }
    assert served == {
        name
        for name, _operation in operations(demo)
        if not re.search("/api/v1/((auth|bacnet|cache|logging|simulator)(/|$)|history$)", name)
    }


def missing_in(data: dict[str, Any]) -> Iterator[str]:
    """Tell what is not described, has no example, or tells no errors."""
    for name, operation in operations(data):
        if operation["description"] in ("", operation["summary"]):
            yield f"{name}: description"
        for parameter in operation["parameters"]:
            if " " not in parameter["description"]:
                yield f"{name}: description of {parameter['name']}"
            if parameter.get("example", parameter["schema"].get("examples")) is None:
                yield f"{name}: example of {parameter['name']}"
        for what, content in contents_of(data, operation):
            if not all(media.get("example", media.get("examples")) for media in content.values()):
                yield f"{name}: example of {what}"
        if not operation["responses"].keys() >= ALWAYS:
            yield f"{name}: errors"


def contents_of(data: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What an operation takes as its body, and answers."""
    if "requestBody" in operation:
        yield "body", operation["requestBody"]["content"]
    for status, response in operation["responses"].items():
        if status not in ("204", "304"):
            yield status, resolved(data, response)["content"]


def test_every_route_has_a_description_errors_and_an_example_of_all_that_it_takes_and_answers(
    demo: dict[str, Any],
) -> None:
    assert list(missing_in(demo)) == []


def test_what_is_missing_would_be_noticed() -> None:
    @attrs.frozen(kw_only=True)
    class Bare:
        """Says little."""

        level: float = field(default=1.0)
        words: str = field()

    bare = document(Route("GET", "/bare/{id}", nothing, "Bare", query=Bare))
    assert set(missing_in(bare)) == {
        "GET /bare/{id}: description",
        "GET /bare/{id}: description of id", "GET /bare/{id}: example of id",
        "GET /bare/{id}: description of level", "GET /bare/{id}: example of level",
        "GET /bare/{id}: description of words", "GET /bare/{id}: example of words",
        "GET /bare/{id}: example of 200",
    }  # fmt: skip


def test_every_example_is_one(demo: dict[str, Any]) -> None:
    checked = 0
    for _name, operation in operations(demo):
        examples = [
            (parameter["schema"], example)
            for parameter in operation["parameters"]
            for example in [parameter.get("example"), *parameter["schema"].get("examples", [])]
            if example is not None
        ]
        for _what, content in contents_of(demo, operation):
            for media in content.values():
                named = [each["value"] for each in media.get("examples", {}).values()]
                given = [media["example"]] if "example" in media else named
                examples += [(media["schema"], example) for example in given]
        for schema, example in examples:
            validator(demo, schema).validate(example)
            checked += 1
    assert checked > 100


def test_every_link_leads_to_an_operation_and_names_its_parameters(demo: dict[str, Any]) -> None:
    takes = {
        operation["operationId"]: {parameter["name"] for parameter in operation["parameters"]}
        for _name, operation in operations(demo)
    }
    links = [
        link
        for _name, operation in operations(demo)
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    ]
    assert len(links) >= 20
    for link in links:
        assert link["parameters"].keys() <= takes[link["operationId"]]
    assert len(takes) == len(list(operations(demo)))


def test_it_declares_no_security_without_an_auth_plugin() -> None:
    open_house = document(Route("GET", "/here", nothing, "Here"))
    assert "security" not in open_house
    assert "securitySchemes" not in open_house["components"]
    assert not any("security" in operation for _name, operation in operations(open_house))


def test_it_says_of_each_route_what_it_takes_to_use_it_and_which_are_public(demo: dict[str, Any]) -> None:
    assert demo["components"]["securitySchemes"].keys() == {"key", "bearer", "session"}
    public = {name for name, operation in operations(demo) if operation["security"] == []}
    assert public == {
        "GET /healthz", "GET /readyz", "GET /api/v1/openapi.json", "GET /api/v1/errors", "GET /api/v1/errors/{code}",
        "POST /api/v1/auth/login",
    }  # fmt: skip


def test_it_is_the_same_each_time() -> None:
    routes = [("core", route) for route in described_routes()]
    assert Document(routes).json == Document([("core", route) for route in described_routes()]).json


def test_the_command_prints_it(demo: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["openapi", "--config", str(ROOT / "config/demo.yaml")]) == 0
    assert json.loads(capsys.readouterr().out) == demo


def test_the_command_names_the_plugins_that_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "custom_plugins").mkdir()
    (tmp_path / "custom_plugins" / "broken.py").write_text(
        "from core.plugin import Plugin, hookimpl\n\n\nclass Broken(Plugin):\n    @hookimpl\n"
        "    def register_routes(self):\n        raise RuntimeError('no luck')\n"
    )
    (tmp_path / "site.yaml").write_text("plugins: {broken: }\n")

    assert main(["openapi", "--config", str(tmp_path / "site.yaml")]) == 1

    out, err = capsys.readouterr()
    assert "plugin 'broken' is left out" in err and "no luck" in err
    assert "/api/v1/devices" in json.loads(out)["paths"]


# what it makes of routes


def test_a_route_that_says_nothing_more_is_described_all_the_same() -> None:
    data = document(
        Route("GET", "/api/v1/weather/now", nothing, "Tell the weather"),
        Route("POST", "/api/v1/weather/files/{path:.+}", nothing, "Take a file", status=201),
    )
    get, post = data["paths"]["/api/v1/weather/now"]["get"], data["paths"]["/api/v1/weather/files/{path}"]["post"]
    assert (get["tags"], get["operationId"], get["description"]) == (["weather"], "get_weather_now", "Tell the weather")
    assert get["responses"]["200"]["content"] == {"application/json": {"schema": {}}}
    assert [parameter["name"] for parameter in get["parameters"]] == ["If-None-Match"]
    assert get["responses"]["304"]["headers"].keys() == {"X-Request-ID", "ETag"}
    assert post["operationId"] == "post_weather_files_by_path"
    assert post["parameters"][0] | {"description": ""} == {
        "name": "path", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}, "description": "",
    }  # fmt: skip
    assert "404" in post["responses"] and "304" not in post["responses"]


def test_each_operation_has_a_name_of_its_own() -> None:
    paths = ("/api/v1/weather/a-b", "/api/v1/weather/a_b", "/api/v1/weather/a/b")
    data = document(*(Route("GET", path, nothing, "Tell") for path in paths))
    names = [operation["operationId"] for _name, operation in operations(data)]
    assert names == ["get_weather_a_b", "get_weather_a_b__2", "get_weather_a_b__3"]


def test_a_link_to_what_is_not_there_is_left_out() -> None:
    there, elsewhere = Link("GET", "/there", {"q": "$response.body#/id"}), Link("GET", "/elsewhere", {})
    data = document(
        Route("GET", "/here", nothing, "Here", links=(there, elsewhere)), Route("GET", "/there", nothing, "There")
    )
    links = data["paths"]["/here"]["get"]["responses"]["200"]["links"]
    assert links == {"get_there": {"operationId": "get_there", "parameters": {"q": "$response.body#/id"}}}


def test_errors_of_one_status_are_one_response_that_lists_their_codes() -> None:
    class Rainy(Invalid):
        """It rains."""

        code = "weather.rainy"

    data = document(Route("PUT", "/here", nothing, "Here", body=Lamp, errors=(Rainy, Rainy)))
    responses = data["paths"]["/here"]["put"]["responses"]
    found = resolved(data, responses["422"])
    media = found["content"]["application/problem+json"]
    assert media["schema"]["properties"]["code"] == {"enum": ["request.invalid", "weather.rainy"]}
    assert media["examples"].keys() == {"request.invalid", "weather.rainy"}
    assert "`weather.rainy`: It rains." in found["description"]
    assert {"400", "405", "408", "413", "415", "421", "422", "500", "503"} == responses.keys() - {"200"}
    assert "Allow" in resolved(data, responses["405"])["headers"]
    assert "Retry-After" in resolved(data, responses["503"])["headers"]


def test_what_a_middleware_may_answer_is_an_error_of_every_route() -> None:
    limiter = Middleware(Phase.RATE_LIMIT, lambda _route, handler: handler, errors=(TooManyRequests,))
    app = build_application([("core", Route("GET", "/here", nothing, "Here"))], [limiter])
    assert "429" in json.loads(app.handle[DOCUMENT].json)["paths"]["/here"]["get"]["responses"]


def test_with_credentials_every_route_but_public_ones_asks_for_them_and_names_the_role() -> None:
    routes = [
        Route("GET", "/open", nothing, "Open", role=None),
        Route("DELETE", "/shut", nothing, "Shut", role=Role.ADMIN, status=204),
    ]
    data = document(*routes, secured=True)
    opened, shut = data["paths"]["/open"]["get"], data["paths"]["/shut"]["delete"]
    assert {scheme.get("name") for scheme in data["components"]["securitySchemes"].values()} >= {"X-API-Key"}
    assert opened["security"] == []
    assert shut["security"] == [{name: ["admin"]} for name in data["components"]["securitySchemes"]]
    assert {"401", "403"} <= shut["responses"].keys()
    assert not {"401", "403"} & opened["responses"].keys()


def test_two_classes_with_one_name_are_refused_with_both_named() -> None:
    def answer() -> type:
        @attrs.frozen
        class Forecast:
            """What is to come."""

        return Forecast

    first, second = answer(), answer()
    second.__module__ = "weather.hourly"
    routes = [Route("GET", f"/{each}", nothing, "Tell", answer=cls) for each, cls in enumerate((first, second))]

    with pytest.raises(PluginError) as caught:
        document(*routes)

    assert "weather's route GET /1" in str(caught.value)
    assert "weather.hourly." in str(caught.value) and first.__module__ in str(caught.value)


def test_what_two_plugins_call_the_same_is_kept_apart() -> None:
    @attrs.frozen
    class Forecast:
        """What is to come."""

    routes = [(owner, Route("GET", f"/{owner}", nothing, "Tell", answer=Forecast)) for owner in ("weather", "campus")]
    assert {"weather.Forecast", "campus.Forecast"} <= json.loads(Document(routes).json)["components"]["schemas"].keys()


def test_a_class_that_is_taken_and_answered_is_described_as_both() -> None:
    data = document(Route("PUT", "/lamp", nothing, "Tell a lamp", body=Lamp, answer=Lamp))
    answered, taken = (data["components"]["schemas"][name] for name in ("weather.Lamp", "weather.Lamp.body"))
    assert taken["additionalProperties"] is False and taken["required"] == ["name", "level"]
    assert (
        "additionalProperties" not in answered and "on" in answered["required"] and "fade" not in answered["required"]
    )
    assert taken["properties"]["retries"]["default"] == 3 and "default" not in answered["properties"]["retries"]


def test_parameters_that_are_lists_may_be_repeated_and_null_is_none_that_is_given() -> None:
    @attrs.frozen(kw_only=True)
    class Query:
        """Which."""

        tag: tuple[str, ...] = field(default=(), example="a")
        after: int | None = field(default=None, min=1)
        near: float = field()

    tag, after, near, _etag = document(Route("GET", "/", nothing, "Tell", query=Query))["paths"]["/"]["get"][
        "parameters"
    ]
    assert tag["schema"] == {"type": "array", "items": {"type": "string"}, "examples": [["a"]]}
    assert after["schema"] == {"type": "integer", "minimum": 1}
    assert (after["required"], near["required"]) == (False, True)


# schemas


def schema_of(hint: Any, *, taken: bool = False) -> tuple[Any, dict[str, Any]]:
    schemas = Schemas()
    return schemas.of(hint, owner="core", taken=taken), schemas.components


@pytest.mark.parametrize(
    "sent",
    [
        {"name": "hall", "level": 0.5},
        {"name": "hall", "level": 1},
        {"name": "hall", "level": True},
        {"name": "Hall", "level": 0.5},
        {"name": "hall1", "level": 0.5},
        {"name": "", "level": 0.5},
        {"name": "hallhallhall", "level": 0.5},
        {"name": "hall", "level": 1.5},
        {"name": "hall"},
        {"name": "hall", "level": 0, "colour": "red"},
        {"name": "hall", "level": 0, "kind": "enum"},
        {"name": "hall", "level": 0, "kind": "lamp"},
        {"name": "hall", "level": 0, "kind": None},
        {"name": "hall", "level": 0, "scenes": [1, "a"]},
        {"name": "hall", "level": 0, "scenes": [2.0]},
        {"name": "hall", "level": 0, "scenes": [2.5]},
        {"name": "hall", "level": 0, "scenes": [-1]},
        {"name": "hall", "level": 0, "scenes": ["ab"]},
        {"name": "hall", "level": 0, "scenes": [1, 2, 3]},
        {"name": "hall", "level": 0, "scenes": 1},
        {"name": "hall", "level": 0, "mode": "hand"},
        {"name": "hall", "level": 0, "mode": None},
        {"name": "hall", "level": 0, "mode": "off"},
        {"name": "hall", "level": 0, "fade": None},
        {"name": "hall", "level": 0, "fade": "slow"},
        {"name": "hall", "level": 0, "fade": []},
        {"name": "hall", "level": 0, "on": 1},
        {"name": "hall", "level": 0, "retries": 9.0},
        {"name": "hall", "level": 0, "retries": 10},
        {"name": "hall", "level": 0, "retries": "3"},
        [],
    ],
)
def test_the_schema_takes_what_the_check_takes(sent: Any) -> None:
    schema, components = schema_of(Lamp, taken=True)
    valid = validator({"components": {"schemas": components}}, schema).is_valid(sent)
    try:
        compile_body(Lamp)(sent)
    except Invalid:
        assert not valid
    else:
        assert valid


def test_a_class_may_hold_itself_and_whatever_else_is_described_as_far_as_it_is_known() -> None:
    schema, components = schema_of(Tree)
    assert schema == {"$ref": "#/components/schemas/Tree"}
    assert components["Tree"]["properties"] == {
        "at": {"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00.000Z"]},
        "leaves": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
        "notes": {"type": "object", "additionalProperties": {"type": ["number", "null"]}},
        "lamp": {"anyOf": [{"$ref": "#/components/schemas/Lamp"}, {"type": "null"}]},
        "other": {},
    }


def test_a_generic_class_is_described_with_what_it_holds() -> None:
    schema, components = schema_of(Page[Lamp] | None)
    assert schema == {"anyOf": [{"$ref": "#/components/schemas/LampPage"}, {"type": "null"}]}
    assert components["LampPage"]["properties"]["items"]["items"] == {"$ref": "#/components/schemas/Lamp"}
    assert components["LampPage"]["required"] == ["items"]
    assert schema_of(Page[int])[1]["intPage"]["properties"]["items"] == {"type": "array", "items": {"type": "integer"}}


@pytest.mark.parametrize(
    ("hint", "example"),
    [
        (Lamp, {"name": "hall", "level": 0.5, "kind": "number", "scenes": [], "mode": None, "on": True, "retries": 3}),
        (Page[Kind], {"items": ["number"]}),
        (Lamp | None, {"name": "hall", "level": 0.5, "kind": "number", "scenes": [], "mode": None, "on": True,
                       "retries": 3}),
        (Literal["a", "b"], "a"),
        (tuple[str, ...], []),
        (Annotated[str, Kind], "number"),
        (int, UNSET),
    ],
)  # fmt: skip
def test_an_example_is_made_of_those_of_the_fields(hint: Any, example: Any) -> None:
    assert example_of(hint) == example


def test_a_class_that_cannot_be_read_fails_its_route_with_its_owner_named() -> None:
    cls = attrs.make_class("Odd", {"value": attrs.field(type="NoSuchType")})  # type: ignore[call-overload]
    with pytest.raises(PluginError, match=r"weather's route GET /odd cannot be described: .*NoSuchType"):
        document(Route("GET", "/odd", nothing, "Odd", answer=cls))
