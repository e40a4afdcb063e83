from __future__ import annotations

import contextlib
import enum
import gc
import json
import math
import types
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from core.errors import Invalid, MalformedBody, PlantroomError
from core.serialize import UNSET, FieldInfo, Unset, compile_body, compile_query, dumps, field, info_of, loads


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Leaf:
    size: float = field(min=0)
    name: str = field(default="", max_length=3, pattern="[a-z]*")


@attrs.frozen
class Tree:
    leaves: tuple[Leaf, ...] = field(min_items=1, max_items=3)
    colour: Colour = Colour.RED
    mode: Literal["on", "off"] = "on"
    value: float | int | bool | str | None = None
    number: int | None = None
    instance: int | str = 0
    note: str | None | Unset = field(default=UNSET, min_length=1, description="A note.")
    free: Any = None

    def __attrs_post_init__(self) -> None:
        if self.number == 13:
            raise ValueError("13 brings bad luck")


@attrs.frozen
class Search:
    limit: int = field(default=10, min=1, max=20)
    near: float | None = None
    deep: bool = False
    tag: tuple[str, ...] = ()
    colour: tuple[Colour, ...] = ()


parse_tree = compile_body(Tree)
parse_search = compile_query(Search)
LEAF = {"size": 1}


def faults(parse: Any, data: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        parse(data)
    return {fault.field: fault.code for fault in caught.value.errors}


def test_a_body_becomes_its_class() -> None:
    body = {
        "leaves": [{"size": 1, "name": "a"}],
        "colour": "blue",
        "mode": "off",
        "value": "x",
        "number": 4.0,
        "free": [1],
    }
    tree = parse_tree(body)
    assert tree == Tree((Leaf(1.0, "a"),), Colour.BLUE, "off", "x", 4, free=[1])
    assert type(tree.leaves[0].size) is float
    assert type(tree.number) is int
    assert tree.note is UNSET
    assert parse_tree({"leaves": [LEAF], "note": None}).note is None


@pytest.mark.parametrize("value", [1, 1.5, True, "x", None])
def test_a_value_keeps_its_type(value: Any) -> None:
    kept = parse_tree({"leaves": [LEAF], "value": value}).value
    assert kept == value
    assert type(kept) is type(value)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"leaves": "missing"}),
        ([], {"body": "type"}),
        (None, {"body": "type"}),
        ({"leaves": []}, {"leaves": "length"}),
        ({"leaves": [LEAF] * 4}, {"leaves": "length"}),
        ({"leaves": {}}, {"leaves": "type"}),
        ({"leaves": [LEAF, {"size": -1, "name": "A"}, {"siz": 1}]},
         {"leaves.1.size": "range", "leaves.1.name": "pattern", "leaves.2.siz": "unknown", "leaves.2.size": "missing"}),
        ({"leaves": [{"size": True, "name": "long"}]}, {"leaves.0.size": "type", "leaves.0.name": "length"}),
        ({"leaves": [LEAF], "colour": "green", "mode": 1}, {"colour": "choice", "mode": "choice"}),
        ({"leaves": [LEAF], "value": [1], "instance": 1.5}, {"value": "type", "instance": "type"}),
        ({"leaves": [LEAF], "value": {}, "instance": True}, {"value": "type", "instance": "type"}),
        ({"leaves": [LEAF], "number": 13}, {"body": "invalid"}),
        ({"leaves": [LEAF], "number": 1.5, "note": ""}, {"number": "type", "note": "length"}),
        ({"leaves": [LEAF], "number": "4"}, {"number": "type"}),
        ({"leaves": [LEAF], "colour": None}, {"colour": "choice"}),
    ],
)  # fmt: skip
def test_every_fault_is_named(body: Any, expected: dict[str, str]) -> None:
    assert faults(parse_tree, body) == expected


def test_the_message_names_the_first_fields_and_counts_the_others() -> None:
    with pytest.raises(Invalid, match=r"Correct these: leaves.0.size, .* and 1 more\."):
        parse_tree({"leaves": [{"size": "x", "name": 1}, {}], "value": [], "number": "", "instance": []})


@pytest.mark.parametrize(
    "body",
    [
        {f"a{number}": 1 for number in range(50_000)},
        {"leaves": [{f"a{number}": 1 for number in range(20_000)}] * 3},
        {"leaves": [LEAF], **{f"{number}{'a' * 100_000}": 1 for number in range(300)}},
    ],
    ids=["fields", "items", "names"],
)
def test_of_countless_faults_the_first_hundred_are_told_briefly(body: Any) -> None:
    with pytest.raises(Invalid, match=r"Correct these: .* and many more\.") as caught:
        parse_tree(body)
    assert len(caught.value.errors) == 100
    assert len(dumps(caught.value.errors)) < 40_000


@pytest.mark.parametrize(
    "body",
    [{"leaves": [LEAF], "value": []}, {"a": 1}, {"leaves": [{"a": 1}, {"size": ""}]}, {"leaves": [LEAF], "number": 13}],
)
def test_a_body_that_is_refused_leaves_nothing_for_the_garbage_collector(body: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            with contextlib.suppress(Invalid):
                parse_tree(body)
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("text", ["1.0", "+1", " 1", "1 ", "0x1", "", "1_0", "²", "1" * 19])
def test_a_whole_number_in_a_query_is_digits(text: str) -> None:
    assert faults(parse_search, MultiDict(limit=text)) == {"limit": "type"}


@pytest.mark.parametrize(("text", "number"), [("1", 1.0), ("-1.5", -1.5), ("1e3", 1000.0), ("0.25E-1", 0.025)])
def test_a_number_in_a_query_is_a_decimal(text: str, number: float) -> None:
    assert parse_search(MultiDict(near=text)).near == number


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "1.", ".5", "1,5", "", "1_0", "٣"])
def test_what_is_no_decimal_is_no_number(text: str) -> None:
    assert faults(parse_search, MultiDict(near=text)) == {"near": "type"}


def test_a_query_becomes_its_class_and_lists_repeat() -> None:
    query = MultiDict([("tag", "a"), ("tag", "b"), ("deep", "true"), ("colour", "red"), ("limit", "20")])
    assert parse_search(query) == Search(20, None, True, ("a", "b"), (Colour.RED,))
    assert parse_search(MultiDict()) is parse_search(MultiDict())


def test_faults_of_a_query_are_named_by_parameter() -> None:
    query = MultiDict(
        [("limit", "1"), ("limit", "1"), ("near", "1"), ("near", "2"), ("deep", "True"), ("colour", "x"), ("lmit", "1")]
    )
    expected = {"limit": "repeated", "near": "repeated", "deep": "type", "colour": "choice", "lmit": "unknown"}
    assert faults(parse_search, query) == expected


@attrs.frozen
class Required:
    start: int = field(min=0)
    stop: int = field(max=9)


def test_a_required_parameter_is_missed_and_open_limits_are_told() -> None:
    parse = compile_query(Required)
    assert faults(parse, MultiDict()) == {"start": "missing", "stop": "missing"}
    with pytest.raises(Invalid) as caught:
        parse(MultiDict(start="-1", stop="10", x=""))
    assert [fault.message for fault in caught.value.errors] == [
        "must be at least 0", "must be at most 9", "is not known here; known are start, stop",
    ]  # fmt: skip


@attrs.frozen
class Strange:
    what: dict[str, int]


@attrs.frozen
class Choosing:
    what: int | str = 0


def test_a_class_that_a_request_cannot_carry_is_refused_when_it_is_compiled() -> None:
    with pytest.raises(TypeError, match="cannot carry"):
        compile_body(Strange)
    with pytest.raises(TypeError, match="cannot carry a choice"):
        compile_query(Choosing)


def test_what_was_declared_of_a_field_can_be_asked() -> None:
    fields = attrs.fields_dict(Tree)
    assert info_of(fields["note"]) == FieldInfo(min_length=1, description="A note.")
    assert info_of(fields["mode"]) == FieldInfo()


def test_answers_are_plain_data_or_attrs_objects() -> None:
    value = {"leaf": Leaf(1.0), "colour": Colour.RED, "map": types.MappingProxyType({"a": (1, 2)}), "nan": math.nan}
    assert json.loads(dumps(value)) == {
        "leaf": {"size": 1.0, "name": ""},
        "colour": "red",
        "map": {"a": [1, 2]},
        "nan": None,
    }
    with pytest.raises(TypeError, match="not JSON serializable"):
        dumps(object())


@pytest.mark.parametrize("raw", [b"", b"{", b"NaN", b"1e999", b'"\\ud800"', b"\xff", b"[" * 5000])
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedBody, match="not valid JSON"):
        loads(raw)


json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["leaves", "size", "name", "value", "number", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_data)
def test_no_json_breaks_the_structuring(data: Any) -> None:
    try:
        assert isinstance(parse_tree(data), Tree)
    except PlantroomError as error:
        assert error.errors


@given(st.lists(st.tuples(st.sampled_from(["limit", "near", "deep", "tag", "x"]), st.text(max_size=6)), max_size=5))
def test_no_query_breaks_the_structuring(pairs: list[tuple[str, str]]) -> None:
    try:
        assert isinstance(parse_search(MultiDict(pairs)), Search)
    except PlantroomError as error:
        assert error.errors


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reading(raw: bytes) -> None:
    with contextlib.suppress(MalformedBody):
        dumps(loads(raw))
