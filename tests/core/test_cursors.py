from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cursors import Cursors, keyset
from core.errors import InvalidCursor

CURSORS = Cursors(b"the secret")
positions = st.text(st.characters(codec="utf-8"), min_size=0) | st.tuples(
    st.floats(allow_nan=False, allow_infinity=False), st.text(st.characters(codec="utf-8"))
)


@given(positions, st.binary())
def test_a_cursor_comes_back_as_its_position(position: str | tuple[float, str], context: bytes) -> None:
    cursor = CURSORS.write(position, context)
    assert cursor.isascii() and "=" not in cursor
    assert CURSORS.read(cursor, context) == position


@given(positions, st.binary(), st.data())
def test_a_changed_cursor_is_refused(position: str | tuple[float, str], context: bytes, data: st.DataObject) -> None:
    cursor = CURSORS.write(position, context)
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda each: each != cursor[at]))
    with pytest.raises(InvalidCursor):
        CURSORS.read(cursor[:at] + other + cursor[at + 1 :], context)


@given(st.text(max_size=80))
def test_no_text_is_taken_for_a_cursor(text: str) -> None:
    with pytest.raises(InvalidCursor):
        CURSORS.read(text, b"list")


def test_a_cursor_of_another_list_or_another_installation_is_refused() -> None:
    cursor = CURSORS.write("a", b"list")
    with pytest.raises(InvalidCursor):
        CURSORS.read(cursor, b"other")
    with pytest.raises(InvalidCursor):
        Cursors(b"another secret").read(cursor, b"list")


@given(st.sets(st.text(max_size=3)), st.integers(1, 5), st.booleans(), st.data())
def test_pages_show_every_row_once_whatever_is_added(
    names: set[str], limit: int, descending: bool, data: st.DataObject
) -> None:
    keys, seen, after = sorted(names), [], None
    while True:
        rows, after = keyset(keys, lambda key: key, after=after, limit=limit, descending=descending)
        seen += rows
        assert len(rows) <= limit
        if after is None:
            break
        keys = sorted({*keys, data.draw(st.text(max_size=3))})
    assert seen == sorted(set(seen), reverse=descending)
    assert names <= set(seen)


def test_rows_that_a_filter_leaves_out_make_no_empty_page_at_the_end() -> None:
    keys = ["a", "b", "c", "d"]
    rows, after = keyset(keys, lambda key: key if key < "c" else None, after=None, limit=2, descending=False)
    assert (rows, after) == (("a", "b"), None)
