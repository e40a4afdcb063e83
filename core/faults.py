"""The root of every error, and what an error says of itself for the error reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import attrs

FAULT_CODES: Mapping[str, str] = {
    "choice": "It is none of the values that the field takes; the message lists them.",
    "invalid": "It contradicts another field, or a check of the whole object; the message says which.",
    "length": "The text, list or header has too few or too many characters or items.",
    "missing": "The field is required, and was not sent.",
    "pattern": "The text does not match the regular expression in the message.",
    "range": "The number is below or above what the field takes.",
    "repeated": "The query parameter was given more than once, and may be given once only.",
    "request.invalid": "A driver cannot use the value, such as an address or a range that makes no sense.",
    "reused": "The Idempotency-Key was sent before with another request.",
    "type": "The value is of another JSON type, or its text does not read as one.",
    "unknown": "There is no such field, or nothing of the name that it gives; the message names what is near.",
    "value.not_suitable": "The value does not suit the point it was to be written to; the message says what would.",
}
"""What each `FieldFault.code` of ours means."""


@attrs.frozen
class FieldFault:
    """What is wrong with one field of a request: its dotted name, a stable code, a sentence."""

    field: str
    code: str
    message: str


@attrs.frozen
class Example:
    """What an answer says in real life beside what follows from its class; ``instance`` is the path that was asked."""

    detail: str
    instance: str | None = None
    errors: tuple[FieldFault, ...] = ()
    extra: Mapping[str, Any] = attrs.field(factory=dict)


def any_of(*causes: str) -> tuple[str, ...]:
    """List what an error may come from, the likeliest first."""
    return causes


class PlantroomError(Exception):
    """Something failed inside Plantroom; the log has the details under the request's id.

    ``detail`` says what to do next. ``extra`` are further members of the problem document.

    A class with a code of its own has its entry in the error reference: the first paragraph of its docstring is the
    meaning, ``causes`` are sentences, ``example`` is an answer (one of status 500 needs none: it shows no detail).
    What a class leaves out, its entry leaves out too; causes and examples are not inherited.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    causes: ClassVar[tuple[str, ...]] = any_of(
        "The code of a route or a driver raised: the log has the traceback beside `request_failed` or `write_failed`.",
        "On the command line: another Python package named `plugins` hides ours, or stopping took too long.",
    )
    remedy: ClassVar[str] = "Look the request id up in the log; report it if it happens again."
    example: ClassVar[Example | None] = None

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


def every_error(root: type[PlantroomError] = PlantroomError) -> Iterator[type[PlantroomError]]:
    """Walk the tree of errors that are imported now, plugins' own included, parents first."""
    yield root
    for child in root.__subclasses__():
        yield from every_error(child)
