"""What all lists of the API have in common: limit, cursor, sort, filters, text search and the envelope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import attrs

from core.cursors import Cursors, KeyT, Page, keyset
from core.serialize import dumps, field
from core.web import Answer

T = TypeVar("T")
NOT_PART_OF_A_LIST = ("limit", "cursor", "count")


@attrs.frozen(kw_only=True)
class ListQuery:
    """What every list takes."""

    limit: int = field(default=100, min=1, max=1000, description="How many items to answer at most.")
    cursor: str | None = field(default=None, max_length=4000, description="The next_cursor of the page before.")
    count: bool = field(default=False, description="Whether to answer `total`, the number of items that match.")
    q: str | None = field(default=None, max_length=200, description="Text to find in id, name or description.")


class Sorted(Protocol):
    """A list's query with its sort: a field's name, behind a minus for the other way round."""

    @property
    def limit(self) -> int: ...

    @property
    def cursor(self) -> str | None: ...

    @property
    def count(self) -> bool: ...

    @property
    def sort(self) -> str: ...


def page(
    cursors: Cursors, name: str, query: Sorted, *, keys: Sequence[KeyT], pick: Callable[[KeyT], T | None]
) -> Page[T]:
    """Take the page that the query asks for; ``keys`` are ascending in the query's sort, ``pick`` as in `keyset`.

    Raises InvalidCursor.
    """
    context = _context(name, query)
    after = cast("KeyT | None", None if query.cursor is None else cursors.read(query.cursor, context))
    descending = query.sort.startswith("-")
    rows, last = keyset(keys, pick, after=after, limit=query.limit, descending=descending)
    total = sum(pick(key) is not None for key in keys) if query.count else None
    return Page(rows, None if last is None else cursors.write(last, context), total)


def _context(name: str, query: object) -> bytes:
    """What a cursor is bound to: the list, its sort and its filters."""
    cls: Any = type(query)
    names = [attribute.name for attribute in attrs.fields(cls) if attribute.name not in NOT_PART_OF_A_LIST]
    return dumps([name, {each: getattr(query, each) for each in names}])


def envelope(page: Page[T], items: Sequence[object] | None = None) -> dict[str, object]:
    """Put a page of plain data into the list's envelope; ``items`` replace the page's rows."""
    answer: dict[str, object] = {"items": page.rows if items is None else items, "next_cursor": page.next_cursor}
    return answer if page.total is None else answer | {"total": page.total}


def spliced_envelope(page: Page[T], items: Sequence[tuple[bytes, bytes]]) -> Answer:
    """Put items that are JSON already, each with what its ETag is made of, into the list's envelope."""
    rest = dumps({key: value for key, value in envelope(page).items() if key != "items"})
    bodies, tags = b",".join([body for body, _tag in items]), b",".join([tag for _body, tag in items])
    return Answer(b'{"items":[' + bodies + b"]," + rest[1:], tag=tags + rest)


def found(text: str | None, *fields: str) -> bool:
    """Tell whether a search text is in one of the fields, whatever the case."""
    if text is None:
        return True
    wanted = text.casefold()
    return any(wanted in field.casefold() for field in fields)
