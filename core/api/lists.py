"""What all lists of the API have in common: limit, cursor, sort, filters, text search and the envelope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

import attrs

from core.cursors import Cursors, KeyT, Page, keyset
from core.serialize import UNSET, Unset, dumps, field

T = TypeVar("T")
SORT = "What it is sorted by; behind a minus, the other way round."
NOT_PART_OF_A_LIST = ("limit", "cursor", "count")


@attrs.frozen(kw_only=True)
class ListQuery:
    """What every list takes."""

    limit: int = field(default=100, min=1, max=1000, description="How many items to answer at most.", example=100)
    cursor: str | None = field(
        default=None, max_length=4000, format="cursor",
        description="The `next_cursor` of the page before, with the same sort and filters.",
        example="Zkc0NXhPQlZ4cjJ5c1hBbyJhYXVs",
    )  # fmt: skip
    count: bool = field(
        default=False, description="Whether to answer `total`, the number of items that match.", example=True
    )
    q: str | None = field(
        default=None, max_length=200, description="Text to find in id, name or description.", example="a"
    )


@attrs.frozen(kw_only=True)
class ListAnswer(Generic[T]):
    """One page of a list."""

    items: Sequence[T] = field(description="What was asked for, in the order of `sort`.")
    next_cursor: str | None = field(description="What brings the next page as `cursor`; null on the last one.")
    total: int | Unset = field(
        default=UNSET, description="How many items match, where `count` asks for it.", example=1, min=0
    )


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


def envelope(page: Page[Any], items: Sequence[T] | None = None) -> ListAnswer[T]:
    """Put a page into the list's envelope; ``items`` are what its rows became."""
    total = UNSET if page.total is None else page.total
    return ListAnswer(items=page.rows if items is None else items, next_cursor=page.next_cursor, total=total)


def envelope_around(page: Page[Any]) -> tuple[bytes, bytes]:
    """Write what comes before and behind a page's items in the list's envelope, where they are JSON already."""
    items = b'{"items":['
    return items, dumps(envelope(page, ())).removeprefix(items)


def found(text: str | None, *fields: str) -> bool:
    """Tell whether a search text is in one of the fields, whatever the case."""
    if text is None:
        return True
    wanted = text.casefold()
    return any(wanted in field.casefold() for field in fields)
