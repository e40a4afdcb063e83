from __future__ import annotations

import copy
import enum
import json
import logging
import pickle
from pathlib import Path

import attrs
import orjson
import pytest

from core.security import Secret, is_sensitive, mask, redact, redacted_json


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Holder:
    key: Secret


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret("hunter2")
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>20}", "%s %r" % (secret, secret), repr(Holder(secret))]  # noqa: UP031
    shown.append(logging.LogRecord("x", 10, "f", 1, "%s", (secret,), None).getMessage())
    shown.append(json.dumps(attrs.asdict(Holder(secret)), default=str))
    assert "hunter2" not in "".join(shown)
    assert secret.reveal() == "hunter2"


def test_a_secret_cannot_be_serialised_by_accident() -> None:
    with pytest.raises(TypeError, match="reveal"):
        pickle.dumps(Secret("hunter2"))
    with pytest.raises(TypeError):
        orjson.dumps({"key": Secret("hunter2")})
    with pytest.raises(TypeError):
        vars(Secret("hunter2"))


def test_secrets_are_equal_by_what_they_hold_and_to_nothing_else() -> None:
    assert Secret("ä") == Secret("ä")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    secret = Secret("a")
    assert copy.copy(secret) is copy.deepcopy(secret) is secret


@pytest.mark.parametrize(
    "key",
    ["password", "db_password", "API-Key", "apikey", "X-Auth-Token", "Set-Cookie", "Authorization", "private_key"],
)
def test_names_of_secrets_are_known(key: str) -> None:
    assert is_sensitive(key)


@pytest.mark.parametrize("key", ["name", "max_tokens", "keyboard", "password_file", "author", 5, None])
def test_other_names_are_not(key: object) -> None:
    assert not is_sensitive(key)


def test_values_are_blacked_out_however_deep_they_are() -> None:
    value = {
        "a": [Secret("x"), ("y", {"password": 1234, "token": None, "cookie": True})],
        "url": "redis://me:pw@host:1/0",
    }
    assert redact(value) == {
        "a": ["***", ["y", {"password": "***", "token": None, "cookie": True}]],
        "url": "redis://***@host:1/0",
    }


def test_a_value_that_holds_itself_comes_to_an_end() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert "..." in repr(redact(endless))


def test_a_section_becomes_plain_json() -> None:
    value = {1: Path("x"), "colour": Colour.RED, "set": {"a"}, "none": None, "holder": Holder(Secret("x")), "n": 1.5}
    assert redacted_json(value) == {
        "1": "x",
        "colour": "red",
        "set": ["a"],
        "none": None,
        "holder": "Holder(key=***)",
        "n": 1.5,
    }


def test_texts_made_from_secrets_are_masked() -> None:
    assert mask("cannot read 'hunter2'", {"a": [Secret("hunter2")], "b": Secret("c")}) == "cannot read '***'"
