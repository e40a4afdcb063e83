"""Describes one route after the other in OpenAPI's words: what it takes, what it answers, and how it fails."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

import attrs

from core import problem
from core.errors import (
    BodyTooLarge,
    CredentialsRequired,
    FieldFault,
    Invalid,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    PermissionDenied,
    PlantroomError,
    PluginError,
    RequestError,
    Unavailable,
    UnsupportedMediaType,
)
from core.json_schema import Schemas, default_of, example_of, fields_of
from core.problem import Misdirected, Overdue, RequestTimedOut
from core.reference import entry_of
from core.routes import Header, Link, Media, Route
from core.serialize import UNSET, Unset, all_optional, field
from core.structure import FieldInfo, info_of

KERNEL = "core"
PREFIX = "/api/v1/"

ErrorType: TypeAlias = type[PlantroomError]

_ANYWHERE: tuple[ErrorType, ...] = (
    RequestError, MethodNotAllowed, RequestTimedOut, BodyTooLarge, Misdirected, Invalid,
    PlantroomError, PluginError, Unavailable,
)  # fmt: skip
_REQUEST_ID = Header(
    "X-Request-ID", FieldInfo(description="The caller's id of the request, or a new one.", example="7b0c6c1f2a9d4e58")
)
_ETAG = Header("ETag", FieldInfo(description="What the answer holds, weakly compared.", example='W/"5d1c2e8f90ab34cd"'))
_IF_NONE_MATCH = Header(
    "If-None-Match",
    FieldInfo(description="An ETag: an answer that still is the same comes as 304.", example='W/"5d1c2e8f90ab34cd"'),
)
_ALLOW = Header("Allow", FieldInfo(description="The methods that the address takes.", example="GET, HEAD"))
_RETRY_AFTER = Header("Retry-After", FieldInfo(description="Seconds to wait.", example=2, min=0), int)
_SENT_WITH = {405: (_ALLOW,), 429: (_RETRY_AFTER,), 503: (_RETRY_AFTER,)}


@attrs.frozen(kw_only=True)
class Problem:
    """What went wrong (RFC 9457); some errors have further members."""

    type: str = field(description="The address of its entry in the error reference.", example="/api/v1/errors/internal")
    title: str = field(description="What it is, in a few words.", example="Internal error")
    status: int = field(description="The HTTP status.", example=500, min=400, max=599)
    detail: str = field(description="What happened, and what to do next.", example="Look the request id up in the log.")
    code: str = field(description="What a program looks at: stable and dotted.", example="internal")
    errors: tuple[FieldFault, ...] | Unset = field(default=UNSET, description="The fields at fault.")
    instance: str | Unset = field(default=UNSET, description="The path that was asked.", example="/api/v1/devices")
    request_id: str | Unset = field(default=UNSET, description="As in the header.", example="7b0c6c1f2a9d4e58")


ProblemDocument: TypeAlias = Annotated[Mapping[str, Any], Problem]
"""A problem as `core.problem` writes it."""


class Operations:
    """The operations of some routes, given with their owners, and the schemas and responses that they refer to.

    ``errors`` are those of every route beside the chain's own; ``schemes`` name the ways to bring credentials, none
    where none are asked for. Raises PluginError, naming the owner, where two classes would have one name, and where an
    annotation cannot be read.
    """

    def __init__(
        self, routes: Sequence[tuple[str, Route]], *, errors: Iterable[ErrorType], schemes: Iterable[str]
    ) -> None:
        self.schemas = Schemas()
        self.responses: dict[str, Any] = {}
        self._schemes = tuple(schemes)
        self._errors = (*_ANYWHERE, *errors)
        self._guard: tuple[ErrorType, ...] = (CredentialsRequired, PermissionDenied) if self._schemes else ()
        self._ids = _operation_ids(route for _owner, route in routes)
        self.all = [(route, self._checked(owner, route)) for owner, route in routes]

    def _checked(self, owner: str, route: Route) -> dict[str, Any]:
        try:
            return self._operation(owner, route)
        except (TypeError, ValueError, NameError) as error:
            raise PluginError(f"{owner}'s route {route.method} {route.path} cannot be described: {error}") from error

    def _operation(self, owner: str, route: Route) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "tags": [tag_of(owner, route)],
            "operationId": self._ids[route.method, route.path],
            "summary": route.summary,
            "description": _description(route),
            "parameters": self._parameters(owner, route),
            "responses": self._answers(owner, route),
        }
        if route.body is not None:
            content = self._content(owner, route.body, taken=True) | _as_text(route.takes_also)
            operation["requestBody"] = {"required": not all_optional(route.body), "content": content}
        if self._schemes:
            operation["security"] = [] if route.role is None else [{name: [route.role]} for name in self._schemes]
        return operation

    def _parameters(self, owner: str, route: Route) -> list[dict[str, Any]]:
        parameters: list[dict[str, Any]] = []
        for name in _names_in(route.path):
            info = attrs.evolve(route.parameters.get(name, FieldInfo()), min_length=1)
            parameters.append(self._parameter("path", name, str, info, owner, required=True))
        for attribute in fields_of(route.query).values() if route.query is not None else ():
            hint, info, required = _given(attribute.type), info_of(attribute), attribute.default is attrs.NOTHING
            parameter = self._parameter("query", attribute.name, hint, info, owner, required=required)
            default = default_of(attribute)
            if default not in (None, UNSET, []):
                parameter["schema"]["default"] = default
            parameters.append(parameter)
        headers = (*route.takes, _IF_NONE_MATCH) if _is_read(route) else route.takes
        return parameters + [self._parameter("header", each.name, each.type, each.info, owner) for each in headers]

    def _parameter(
        self, place: str, name: str, hint: Any, info: FieldInfo, owner: str, *, required: bool = False
    ) -> dict[str, Any]:
        """Describe a parameter; one that may be left out has its example where no page fills it in by itself."""
        parameter: dict[str, Any] = {"name": name, "in": place, "required": required}
        parameter["description"] = name.replace("_", " ").capitalize() + "."
        parameter |= self._described(hint, info, owner, taken=True)
        if not required and "example" in parameter:
            parameter["schema"]["examples"] = [parameter.pop("example")]
        return parameter

    def _described(self, hint: Any, info: FieldInfo, owner: str, *, taken: bool) -> dict[str, Any]:
        """Describe a parameter or header."""
        schema = self.schemas.of(hint, attrs.evolve(info, description=""), owner=owner, taken=taken)
        described: dict[str, Any] = {"description": info.description} if info.description else {}
        example = example_of(hint, info)
        return described | {"schema": schema} | ({} if example is UNSET else {"example": example})

    def _content(self, owner: str, hint: Any, *, taken: bool) -> dict[str, Any]:
        schema = self.schemas.of(hint, owner=owner, taken=taken)
        return {"application/json": {"schema": schema, "example": example_of(hint)}}

    # its answers

    def _answers(self, owner: str, route: Route) -> dict[str, Any]:
        always = (_REQUEST_ID, _ETAG) if _is_read(route) else (_REQUEST_ID,)
        done: dict[str, Any] = {
            "description": HTTPStatus(route.status).phrase,
            "headers": self._headers((*always, *route.sends), owner),
        }
        if route.status != HTTPStatus.NO_CONTENT:
            done["content"] = self._answer_content(owner, route)
        links = {self._ids[_key(link)]: self._link(link) for link in route.links if _key(link) in self._ids}
        if links:
            done["links"] = links
        answers = {str(route.status): done}
        if _is_read(route):
            unchanged = "What If-None-Match names is still so."
            answers["304"] = {"description": unchanged, "headers": done["headers"]}
        return answers | self._failures(owner, route)

    def _answer_content(self, owner: str, route: Route) -> dict[str, Any]:
        if route.answer is not None:
            return self._content(owner, route.answer, taken=False) | _as_text(route.answers_also)
        schema = {} if route.media_type == "application/json" else {"type": "string"}
        return {route.media_type: {"schema": schema} | ({} if route.example is None else {"example": route.example})}

    def _link(self, link: Link) -> dict[str, Any]:
        return {"operationId": self._ids[_key(link)], "parameters": dict(link.parameters)}

    def _headers(self, headers: Sequence[Header], owner: str) -> dict[str, Any]:
        return {each.name: self._described(each.type, each.info, owner, taken=False) for each in headers}

    def _failures(self, owner: str, route: Route) -> dict[str, Any]:
        """Refer to the errors of a route, those of one status together."""
        errors = [*self._errors, *route.errors]
        if route.body is not None:
            errors += [MalformedBody, UnsupportedMediaType]
        if route.timeout_s is not None:
            errors.append(Overdue)
        if _names_in(route.path):
            errors.append(NotFound)
        if route.role is not None:
            errors += self._guard
        by_status: dict[int, dict[str, ErrorType]] = {}
        for error in errors:
            by_status.setdefault(error.status, {}).setdefault(error.code, error)
        answers = {}
        for status, by_code in sorted(by_status.items()):
            name = "-".join(sorted(by_code))
            if name not in self.responses:
                self.responses[name] = self._failure(owner, status, [by_code[code] for code in sorted(by_code)])
            answers[str(status)] = {"$ref": f"#/components/responses/{name}"}
        return answers

    def _failure(self, owner: str, status: int, errors: Sequence[ErrorType]) -> dict[str, Any]:
        entries = [entry_of(error) for error in errors]
        codes = [entry.code for entry in entries]
        schema = self.schemas.of(Problem, owner=KERNEL, taken=False) | {
            "properties": {"status": {"const": status}, "code": {"enum": codes}},
            "required": ["instance", "request_id"],
        }
        examples = {
            entry.code: {"summary": entry.title, "value": entry.example or problem.describe(error, entry.remedy)}
            for entry, error in zip(entries, errors, strict=True)
        }
        lines = [f"`{entry.code}`: {entry.meaning}" for entry in entries]
        return {
            "description": lines[0] if len(lines) == 1 else "\n".join(f"- {line}" for line in lines),
            "headers": self._headers((_REQUEST_ID, *_SENT_WITH.get(status, ())), owner),
            "content": {problem.CONTENT_TYPE: {"schema": schema, "examples": examples}},
        }


def _as_text(media: Iterable[Media]) -> dict[str, Any]:
    """Describe media types of which a schema says nothing."""
    return {each.type: {"schema": {"type": "string"}, "example": each.example} for each in media}


def _is_read(route: Route) -> bool:
    """Tell whether answers have an ETag."""
    return route.method == "GET" and route.status == HTTPStatus.OK and route.media_type == "application/json"


def _given(hint: Any) -> Any:
    """The type of a query parameter that is given; null is one that is not."""
    members = tuple(each for each in get_args(hint) if each is not type(None))
    return Union[members] if get_origin(hint) in (Union, types.UnionType) else hint  # noqa: UP007  # made of a tuple


def _key(link: Link) -> tuple[str, str]:
    return link.method, link.path


def _names_in(path: str) -> list[str]:
    return re.findall(r"{([a-zA-Z_]\w*)[^}]*}", path)


def tag_of(owner: str, route: Route) -> str:
    """Sort a route: by its plugin, or by the kernel's resource."""
    if owner != KERNEL:
        return owner
    resource = route.path.removeprefix(PREFIX).partition("/")[0] if route.path.startswith(PREFIX) else ""
    return resource if resource.isidentifier() else "system"


def _description(route: Route) -> str:
    """Say what a route does, and what it takes less or more of than others."""
    text = route.description or route.summary
    if route.max_body_bytes is None:
        return text
    return f"{text.rstrip('.')}. The body may have {route.max_body_bytes:,} bytes."


def _operation_ids(routes: Iterable[Route]) -> dict[tuple[str, str], str]:
    """Name each operation once; of several with the same words the later ones are numbered."""
    ids: dict[tuple[str, str], str] = {}
    for route in routes:
        words = _operation_id(route)
        more = sum(name == words or name.startswith(f"{words}__") for name in ids.values())
        ids[route.method, route.path] = f"{words}__{more + 1}" if more else words
    return ids


def _operation_id(route: Route) -> str:
    """Name an operation: ``get_points_by_point_id_value``."""
    path = re.sub(r"{(\w+)[^}]*}", r"by_\1", route.path.removeprefix(PREFIX))
    return "_".join([route.method.lower(), *re.findall(r"\w+", path)])
