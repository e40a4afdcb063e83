"""The error reference: every error as data, and as the page ``docs/errors.md``."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from core import problem
from core.errors import Example, PlantroomError, every_error
from core.faults import FAULT_CODES
from core.serialize import dumps, field

PACKAGES = ("core", "plugins")
_REQUEST_ID = "7b0c6c1f2a9d4e58"

_INTRODUCTION = """\
# Errors

Every error is answered as `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)). `code` is
stable, and what a program should look at; `detail` is for people and says what to do next; `type` is the address of
the entry below on the installation itself (`GET /api/v1/errors/{code}`); `request_id` is also in the log and in the
header `X-Request-ID`. A plugin's own errors begin with its name and are listed while it is loaded. Answers of status
500 show no internals: their detail is the remedy, and the log has the rest.

This page is written from the code by `script/docs`.
"""
_FAULTS = """\
## Fields at fault

Where fields are at fault, `errors` has one entry for each: `field` is its dotted name (`writes.3.value`; for a header
the header's), `message` a sentence that goes on where the name ends, and `code` one of these:

| code | what is wrong |
|---|---|
"""


@attrs.frozen(kw_only=True)
class ErrorEntry:
    """What the reference says about one error."""

    code: str = field(description="Stable and dotted; what a program looks at.", example="point.not_found")
    status: int = field(description="The HTTP status that goes with it.", example=404)
    title: str = field(description="What it is, in a few words.", example="Unknown point")
    meaning: str = field(description="What it means.", example="No point has this id.")
    causes: tuple[str, ...] = field(
        description="What it may come from, the likeliest first; empty where its plugin names none.",
        example=["The id is misspelt."],
    )
    remedy: str = field(description="What to do about it.", example="GET /api/v1/points lists the points.")
    example: Mapping[str, Any] | None = field(
        description="An answer with this error; null where its plugin gives none.",
        example={
            "type": "/api/v1/errors/point.not_found",
            "title": "Unknown point",
            "status": 404,
            "detail": "No point has the id 'bacnet.2001.analog-input.99'; GET /api/v1/points lists them.",
            "code": "point.not_found",
        },
    )


def entries() -> dict[str, ErrorEntry]:
    """Explain every error that is imported now, by code and in its order.

    Where a subclass kept its parent's code, the parent explains it.
    """
    errors: dict[str, type[PlantroomError]] = {}
    for error in every_error():
        errors.setdefault(error.code, error)
    return {code: entry_of(errors[code]) for code in sorted(errors)}


def entry_of(error: type[PlantroomError]) -> ErrorEntry:
    """Explain one error by what its class says, and by no more than that."""
    own = vars(error)
    meaning = inspect.cleandoc(error.__doc__ or error.title).partition("\n\n")[0].replace("\n", " ")
    return ErrorEntry(
        code=error.code,
        status=error.status,
        title=error.title,
        meaning=meaning.replace("``", "`"),
        causes=tuple(own.get("causes", ())),
        remedy=error.remedy,
        example=_answer(error, own.get("example")),
    )


def _answer(error: type[PlantroomError], example: Example | None) -> Mapping[str, Any] | None:
    """Write an example as the problem document that it would be, as plain data."""
    if example is None and error.status != problem.INTERNAL:
        return None
    shown = example or Example(error.remedy, "/api/v1/devices")
    document = problem.describe(error, shown.detail, errors=shown.errors, extra=shown.extra)
    if shown.instance is not None:
        document |= {"instance": shown.instance, "request_id": _REQUEST_ID}
    answer: Mapping[str, Any] = json.loads(dumps(document))
    return answer


def page(listed: Iterable[ErrorEntry]) -> str:
    """Write the reference as a page of Markdown."""
    listed = tuple(listed)
    index = "".join(f"| [`{each.code}`](#{_anchor(each.code)}) | {each.status} | {each.title} |\n" for each in listed)
    faults = "".join(f"| `{code}` | {meaning} |\n" for code, meaning in FAULT_CODES.items())
    parts = [
        _INTRODUCTION,
        f"| code | status | title |\n|---|---|---|\n{index}",
        _FAULTS + faults,
        *(_section(each) for each in listed),
    ]
    return "\n".join(parts)


def _section(entry: ErrorEntry) -> str:
    lines = [f"## {entry.code}", "", f"**{entry.status} {entry.title}.** {entry.meaning}", ""]
    if entry.causes:
        lines += ["It may come from this:", "", *(f"- {cause}" for cause in entry.causes), ""]
    lines += [f"What to do: {entry.remedy}", ""]
    if entry.example is not None:
        lines += ["```json", json.dumps(entry.example, indent=2, ensure_ascii=False), "```", ""]
    return "\n".join(lines)


def _anchor(heading: str) -> str:
    """Name a heading the way Markdown's readers do in addresses."""
    return "".join(character for character in heading if character.isalnum() or character in "-_")


def import_all(packages: Iterable[str] = PACKAGES) -> None:
    """Import every module, so that every error is known; raises ImportError."""
    for name in packages:
        for module in _modules(name):
            importlib.import_module(module)


def _modules(package: str) -> Iterator[str]:
    yield package
    places = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(places, f"{package}."):
        if not module.name.endswith(".__main__"):
            yield module.name


if __name__ == "__main__":
    import_all()
    sys.stdout.write(page(entries().values()))
