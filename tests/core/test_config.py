from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.config import MAX_BYTES, Source, load
from core.errors import ConfigError
from core.security import Secret
from core.source import raise_for

ENVIRONMENT = {"PORT": "47809", "NAME": "campus", "EMPTY": "", "TRUE": "true", "LIST": "[1, 2", "HUGE": "9" * 5000}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(**files: str) -> Source:
    """Write files (``a`` is ``a.yaml``) and load the first with all overlays named ``over...``."""
    for name, text in files.items():
        path = Path(name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    paths = [Path(f"{name}.yaml") for index, name in enumerate(files) if index == 0 or name.startswith("over")]
    return load(paths, environ=ENVIRONMENT)


def problems(**files: str) -> list[str]:
    return [str(fault) for fault in written(**files).faults]


def test_values_are_what_yaml_1_2_says_they_are() -> None:
    numbers = "1, -2, 0x1f, 0o17, 1.5, 1e3, .inf, true, False, null, ~"
    texts = "no, on, 12:30, 2024-01-01, 1_000, '1', !!str 5, !!int '7'"
    assert written(a=f"v: [{numbers}, {texts}]").data["v"] == [
        *(1, -2, 31, 15, 1.5, 1000.0, float("inf"), True, False, None, None),
        *("no", "on", "12:30", "2024-01-01", "1_000", "1", "5", 7),
    ]


def test_every_value_knows_its_file_and_line() -> None:
    source = written(a="http:\n  port: 1\nlist:\n  - x\n  - {y: 2}\n")
    assert [source.where(path) for path in ("http", "http.port", ("list", 1), ("list", 1, "y"))] == [
        *("a.yaml:1", "a.yaml:2", "a.yaml:5", "a.yaml:5")
    ]


def test_a_value_that_is_missing_has_the_place_of_what_should_hold_it() -> None:
    assert written(a="x: 1\nhttp:\n  port: 1\n").where("http.host") == "a.yaml:2"


def test_a_later_file_overlays_mappings_deeply_and_replaces_everything_else() -> None:
    source = written(
        a="http: {host: a, port: 1}\nlist: [1, 2]\nplugins:\n  b: {x: 1}\n",
        over="\nhttp:\n  port: 2\nlist: [3]\nplugins:\n  c:\n",
    )
    assert source.data == {"http": {"host": "a", "port": 2}, "list": [3], "plugins": {"b": {"x": 1}, "c": None}}
    assert source.where("http.port") == "over.yaml:3"
    assert source.where("http.host") == "a.yaml:1"
    assert source.where(("list", 0)) == "over.yaml:4"


def test_nothing_is_left_of_the_marks_of_what_was_replaced() -> None:
    source = written(a="list:\n  - {x: 1}\n", over="list: []\n")
    assert source.where(("list", 0, "x")) == "over.yaml:1"


def test_an_empty_file_says_nothing() -> None:
    source = written(a="# only a comment\n")
    assert (source.data, source.faults) == ({}, ())


def test_a_file_that_is_no_mapping_is_told() -> None:
    assert problems(a="- 1\n- 2\n") == ["a.yaml:1: the file must be a mapping (`key: value` lines), such as `plugins:`"]


def test_a_key_given_twice_is_reported_at_its_second_place() -> None:
    source = written(a="plugins:\n  b: {x: 1}\n  c:\n  b: {x: 2}\n")
    assert [str(fault) for fault in source.faults] == [
        "a.yaml:4: plugins.b: this key is given twice; the first is in line 2"
    ]
    assert source.data == {"plugins": {"b": {"x": 1}, "c": None}}


def test_a_syntax_error_has_its_line_and_stops_only_its_own_file() -> None:
    found = problems(a="x: !include b.yaml\ny: !include c.yaml\nz: 1\nz: 2\n", b="p: 1\nq: [\n", c="\tp: 1\n")
    assert found[0].startswith("b.yaml:3: this is no valid YAML: ")
    assert found[1:] == [
        "c.yaml:1: a tab stands here; indent with spaces",
        "a.yaml:4: z: this key is given twice; the first is in line 3",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: 1\nb: [\x07]\n", 2), ("a: 1\n\nb: *nobody\n", 3), ("a: 1\n---\nb: 2\n", 2), ("a: b: c\n", 1)],
)
def test_every_kind_of_broken_yaml_has_its_line(text: str, line: int) -> None:
    (found,) = problems(a=text)
    assert found.startswith(f"a.yaml:{line}: ")


def test_a_file_that_is_not_utf_8_is_told_with_its_line() -> None:
    Path("a.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    assert [str(fault) for fault in load([Path("a.yaml")]).faults] == [
        "a.yaml:2: this is not UTF-8 text; save the file as UTF-8"
    ]


def test_a_byte_order_mark_is_no_mistake() -> None:
    Path("a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load([Path("a.yaml")]).data == {"a": 1}


def test_a_file_that_is_far_too_long_is_not_read() -> None:
    Path("a.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    assert "longer than 4 MiB" in str(load([Path("a.yaml")]).faults[0])


def test_missing_and_unreadable_files_are_told() -> None:
    Path("folder").mkdir()
    found = [str(fault) for fault in load([Path("no.yaml"), Path("folder")]).faults]
    assert found == [
        "no.yaml:1: cannot read no.yaml: there is no such file",
        "folder:1: cannot read folder: Is a directory",
    ]


@pytest.mark.parametrize(
    "tag",
    ["!!python/object:os.system", "!!python/name:os.system", "!!binary", "!!set", "!!timestamp", "!mine", "!env [x]"],
)
def test_tags_that_would_construct_objects_are_refused(tag: str) -> None:
    value = tag if tag.endswith("]") else f"{tag} x"
    (found,) = problems(a=f"a: 1\nb: {value}\n")
    assert found.startswith("a.yaml:2: b: the tag ")
    assert "is not allowed here; there are !include FILE, !secret NAME and !env NAME default" in found


def test_aliases_and_merges_work() -> None:
    source = written(a="base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\ntwo: {<<: [*b, {z: 4}]}\nthree: *b\n")
    assert source.data == {
        "base": {"x": 1, "y": 2},
        "one": {"x": 1, "y": 3},
        "two": {"x": 1, "y": 2, "z": 4},
        "three": {"x": 1, "y": 2},
    }
    assert problems(a="a: {<<: 3}\n") == ["a.yaml:1: a: `<<` merges mappings only; give it an alias of one"]


def test_an_alias_inside_of_what_it_stands_for_is_refused() -> None:
    assert problems(a="a: &a\n  b: *a\n") == [
        "a.yaml:1: a.b: this alias stands inside what it stands for; write it out"
    ]


def test_a_billion_laughs_are_cut_short() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (found,) = problems(a="\n".join(lines))
    assert "more than 100000 values" in found


def test_deep_nesting_is_refused_however_it_comes_about() -> None:
    assert "nested more than 50 deep" in problems(a="a: " + "[" * 2000)[0]
    chain = "\n".join(["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: *a{n - 1}}}" for n in range(1, 300))])
    assert "nested more than 100 deep" in problems(a=chain)[0]


def test_an_included_file_is_found_beside_the_one_that_includes_it() -> None:
    source = written(
        a="plugins:\n  b: !include parts/b.yaml\n",
        parts__b="x: 1\nlist: !include list.yaml\n",
        parts__list="- 1\n- 2\n",
    )
    assert source.data == {"plugins": {"b": {"x": 1, "list": [1, 2]}}}
    assert source.where("plugins.b.x") == "parts/b.yaml:1"
    assert source.where(("plugins", "b", "list", 1)) == "parts/list.yaml:2"


def test_includes_in_a_circle_are_refused() -> None:
    (found,) = problems(a="x: !include b.yaml\n", b="\ny: !include a.yaml\n")
    assert found == (
        "b.yaml:2: x.y: these files include each other in a circle: a.yaml -> b.yaml -> a.yaml; remove one !include"
    )


def test_a_missing_include_is_told_where_it_is_asked_for() -> None:
    assert problems(a="x: 1\ny: !include b.yaml\n") == ["a.yaml:2: y: cannot read b.yaml: there is no such file"]


def test_a_secret_is_read_from_the_file_beside() -> None:
    source = written(
        a="p: !include parts/b.yaml\n",
        parts__b="key: !secret key\npin: !secret pin\n",
        parts__secrets="key: abc\npin: 12\n",
    )
    assert source.data["p"] == {"key": Secret("abc"), "pin": Secret("12")}
    assert "abc" not in repr(source)


def test_missing_secrets_are_told_and_never_shown() -> None:
    assert problems(a="x: !secret key\n") == [
        "a.yaml:1: x: secrets.yaml does not exist; make it, with a line `name: value` for each secret"
    ]
    found = problems(a="x: !secret kez\ny: !secret list\n", secrets="key: hunter2\nlist: [hunter2]\n")
    assert found == [
        "a.yaml:1: x: secrets.yaml has no secret 'kez'; did you mean 'key'?",
        "a.yaml:2: y: the secret 'list' must be text: write list: \"...\" in secrets.yaml",
    ]


@pytest.mark.parametrize("text", ["key: *hunter2", "key: !hunter2 x", "hunter2", "key: [hunter2", "key: !hunter2 [x]"])
def test_mistakes_in_the_secrets_file_do_not_show_its_text(text: str) -> None:
    found = problems(a="x: !secret key\ny: !secret key\n", secrets=text + "\n")
    assert found[0].startswith("secrets.yaml:")
    assert "hunter2" not in "".join(found)


def test_environment_variables_are_read_as_yaml_writes_values() -> None:
    source = written(
        a="a: !env PORT 1\nb: !env NONE 2\nc: !env TRUE\nd: !env NAME\ne: !env EMPTY 5\nf: !env LIST\n"
        "g: !env NONE '6'\nh: !env NONE \"\"\n"
    )
    assert source.data == {"a": 47809, "b": 2, "c": True, "d": "campus", "e": 5, "f": "[1, 2", "g": "6", "h": ""}


def test_environment_variables_stand_inside_text() -> None:
    source = written(a='a: !env "127.0.0.1:${PORT:1}"\nb: !env "${NONE:x}-${NAME}-${EMPTY:}"\nc: !env ${PORT}\n')
    assert source.data == {"a": "127.0.0.1:47809", "b": "x-campus-", "c": "47809"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("!env NONE", "environment variable NONE is not set; set it, or give a default behind its name"),
        ('!env "x${NONE}"', "environment variable NONE is not set; set it, or give a default behind its name"),
        ("!env 9X", "'9X' is no name of an environment variable; write NAME and perhaps a default"),
        ("!env HUGE", "this cannot be read as a whole number of sane length"),
        ("!!bool maybe", "this cannot be read as true or false"),
        ("!!float x", "this cannot be read as a number"),
    ],
)
def test_values_that_cannot_be_had_are_told(value: str, expected: str) -> None:
    assert problems(a=f"x: 1\ny: {value}\n") == [f"a.yaml:2: y: {expected}"]


def test_keys_are_scalars() -> None:
    assert written(a="1: a\nx: b\n").data == {1: "a", "x": "b"}
    assert problems(a="[1, 2]: a\n") == ["a.yaml:1: a key must be plain text or a number"]
    assert problems(a="!!bool x: a\n") == ["a.yaml:1: this cannot be read as true or false"]
    assert problems(a="!secret x: a\n") == ["a.yaml:1: a key must be plain text or a number"]


def test_the_process_s_environment_is_used_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTROOM_TEST_VALUE", "42")
    Path("a.yaml").write_text("x: !env PLANTROOM_TEST_VALUE\n", encoding="utf-8")
    assert load([Path("a.yaml")]).data == {"x": 42}


# schemas

SCHEMA = {
    vol.Required("name"): str,
    vol.Optional("interval"): vol.All(vol.Any(int, float), vol.Range(min=1)),
    vol.Optional("networks"): [{vol.Required("address"): str, vol.Optional("targets"): [str]}],
    vol.Optional("flag"): bool,
    vol.Optional("inner"): vol.Maybe({"depth": int}),
    vol.Optional("any"): {str: {"x": int}},
}


def test_every_mistake_is_told_with_file_line_path_and_remedy() -> None:
    source = written(
        a=(
            "intervall: 3\ninterval: 0\nnetworks:\n  - address: 5\n  - adress: x\n    targets: y\nflag: yes\n"
            "inner: {dept: 1}\nany: {k: {y: 1}}\nzzz: 1\n"
        )
    )
    assert source.problems(SCHEMA) == [
        "a.yaml:1: intervall: unknown option; did you mean 'interval'?",
        "a.yaml:2: interval: value must be at least 1",
        "a.yaml:4: networks[0].address: expected text, not 5",
        "a.yaml:5: networks[1].adress: unknown option; did you mean 'address'?",
        "a.yaml:6: networks[1].targets: expected a list (`- item` lines), not 'y'",
        "a.yaml:5: networks[1].address: this option is missing; give it a value",
        "a.yaml:7: flag: expected true or false, not 'yes'",
        "a.yaml:8: inner.dept: unknown option; did you mean 'depth'?",
        "a.yaml:9: any.k.y: unknown option; options are x",
        "a.yaml:10: zzz: unknown option; options are any, flag, inner, interval, name, networks",
        "a.yaml:1: name: this option is missing; give it a value",
    ]


def test_check_returns_what_the_schema_makes_or_raises_every_mistake_in_order() -> None:
    source = written(a="part: {name: x}\nother: {nam: y}\n")
    assert source.check(SCHEMA, ("part",)) == {"name": "x"}
    with pytest.raises(ConfigError) as caught:
        source.check(SCHEMA, ("other",))
    assert caught.value.problems == (
        "a.yaml:2: other.nam: unknown option; did you mean 'name'?",
        "a.yaml:2: other.name: this option is missing; give it a value",
    )


def test_keys_that_are_the_kernel_s_are_left_out_and_yet_suggested() -> None:
    source = written(a="part: {use: x, enabld: false}\n")
    assert source.problems({}, ("part",), without=("use", "enabled")) == [
        "a.yaml:1: part.enabld: unknown option; did you mean 'enabled'?"
    ]


def test_an_absent_part_is_an_empty_mapping() -> None:
    assert written(a="x:\n").check({vol.Optional("y", default=3): int}, ("x",)) == {"y": 3}


def test_what_was_reported_already_is_not_reported_again() -> None:
    source = written(a="name: !secret no\nnetworks:\n  - !include no.yaml\n  - {address: !env NONE}\n")
    assert len(source.faults) == 3
    assert source.problems(SCHEMA) == []


def test_nothing_is_called_missing_where_a_whole_file_was_lost() -> None:
    source = written(a="name: [\n", over="interval: 0\n")
    assert source.problems(SCHEMA) == ["over.yaml:1: interval: value must be at least 1"]


def test_a_secret_is_revealed_to_an_option_that_takes_plain_text() -> None:
    source = written(a="name: !secret key\nkey: !secret key\n", secrets="key: hunter2\n")
    assert source.check({"name": str, "key": Secret}) == {"name": "hunter2", "key": Secret("hunter2")}


def test_a_secret_that_does_not_suit_is_not_shown() -> None:
    def contrary(value: Any) -> Any:
        raise vol.Invalid(f"expected something else than {value}")

    source = written(a="flag: !secret key\nname: !secret key\nn: [!secret key]\n", secrets="key: hunter2\n")
    found = source.problems({"flag": bool, "name": contrary, "n": [contrary]})
    assert len(found) == 3
    assert "hunter2" not in "".join(found)


def test_a_validator_that_raises_is_a_mistake_of_its_section() -> None:
    def careless(value: Any) -> Any:
        return value.no_such_thing

    assert written(a="x: {y: 1}\n").problems({"y": careless}, ("x",)) == [
        "a.yaml:1: x: the check of this section failed: AttributeError: 'int' object has no attribute 'no_such_thing'"
    ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(max_size=200),
        st.text(alphabet="abc:-[]{},&*!<>|'\"#%@`?~ \n\t0123456789.", max_size=200),
        st.lists(
            st.sampled_from(
                [
                    "a: ",
                    "- ",
                    "&x ",
                    "*x",
                    "<<: ",
                    "[",
                    "]",
                    "{",
                    "}",
                    "\n",
                    "  ",
                    "!env A",
                    "!secret b",
                    "!include a.yaml",
                ]
            ),
            max_size=30,
        ).map("".join),
    )
)
def test_arbitrary_text_raises_nothing_but_a_config_error(text: str) -> None:
    Path("a.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    source = load([Path("a.yaml")], environ={})
    try:
        raise_for(source.faults)
        source.check({"plugins": dict, "list": [int]})
    except ConfigError as error:
        assert all(problem.startswith("a.yaml:") for problem in error.problems)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100))
def test_arbitrary_bytes_raise_nothing_but_a_config_error(data: bytes) -> None:
    Path("a.yaml").write_bytes(data)
    assert load([Path("a.yaml")], environ=dict(os.environ)).where("x").startswith("a.yaml:")
