from __future__ import annotations

import string

from hypothesis import assume, given
from hypothesis import strategies as st

from plugins.auth.keys import PREFIX, digest, id_in, new_id, new_key

KEYS = st.builds(new_key, st.builds(new_id))


@given(KEYS)
def test_a_key_is_told_by_its_form_and_names_its_id(key: str) -> None:
    key_id = key.split("_")[1]
    assert key.startswith(PREFIX)
    assert id_in(key) == key_id


@given(KEYS, st.data())
def test_any_single_wrong_character_is_found(key: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(key) - 1))
    other = data.draw(st.one_of(st.characters(), st.sampled_from(string.ascii_letters + string.digits)))
    assume(other != key[at])
    assert id_in(key[:at] + other + key[at + 1 :]) is None


@given(KEYS, st.integers(0, 60))
def test_a_key_that_was_cut_short_or_added_to_is_found(key: str, length: int) -> None:
    assume(length < len(key))
    assert id_in(key[:length]) is None
    assert id_in(key + key[:1]) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert id_in(text) is None
    assert len(digest(text)) == 32


def test_a_half_surrogate_that_a_header_can_bring_has_a_digest() -> None:
    assert digest("\udc80") != digest("\udc81")


def test_ids_and_keys_are_never_the_same_twice() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert len({new_key("0" * 12) for _ in range(1000)}) == 1000
