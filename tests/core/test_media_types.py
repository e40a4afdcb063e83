from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.media_types import preferred

OFFERED = ("application/json", "text/csv", "text/plain")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ([], "application/json"),
        ([""], "application/json"),
        (["*/*"], "application/json"),
        (["text/*"], "text/csv"),
        (["TEXT/CSV"], "text/csv"),
        (["text/plain;q=0.9, text/csv;q=0.8"], "text/plain"),
        (["text/plain", "text/csv"], "text/csv"),
        (["text/*;q=0.5, text/csv;q=0.1, */*;q=0.2"], "text/plain"),
        (["*/*, application/json;q=0"], "text/csv"),
        (["text/csv;charset=utf-8;q=1.000"], "text/csv"),
        (["text/csv;q=much"], "text/csv"),
        (["text/csv;q=nan, text/plain"], "text/plain"),
        (["text/csv; q = 0.1, text/plain;q=0.2"], "text/plain"),
        (["image/png"], None),
        (["application/json;q=0"], None),
    ],
)
def test_what_is_liked_best_of_what_is_offered_is_chosen(accept: list[str], chosen: str | None) -> None:
    assert preferred(accept, OFFERED) == chosen


@settings(max_examples=100, deadline=None)
@given(accept=st.lists(st.text(alphabet="*/;,=q.01 textcsvjonapli-", max_size=40), max_size=3))
def test_any_header_is_read(accept: list[str]) -> None:
    assert preferred(accept, OFFERED) in (*OFFERED, None)
