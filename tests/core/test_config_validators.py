from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from core import validators
from core.security import Secret

EVERY_CHECK = [
    *(validators.boolean, validators.text, validators.secret, validators.number(min=0), validators.integer(max=9)),
    *(validators.seconds, validators.seconds_or_zero, validators.port, validators.port_or_any, validators.ip_address),
    *(validators.host, validators.host_and_port, validators.glob, validators.one_of("a", "b"), validators.file_path),
]


@pytest.mark.parametrize(
    ("check", "value", "expected"),
    [
        (validators.boolean, True, True),
        (validators.text, "x", "x"),
        (validators.secret, "x", Secret("x")),
        (validators.secret, Secret("x"), Secret("x")),
        (validators.number(min=1, max=2), 1.5, 1.5),
        (validators.number(), -3, -3),
        (validators.integer(min=1), 3, 3),
        (validators.seconds, 0.5, 0.5),
        (validators.seconds_or_zero, 0, 0),
        (validators.port, 47808, 47808),
        (validators.port_or_any, 0, 0),
        (validators.ip_address, "::1", "::1"),
        (validators.ip_address, "10.0.0.1", "10.0.0.1"),
        (validators.host, "plant-room.example", "plant-room.example"),
        (validators.host, "127.0.0.1", "127.0.0.1"),
        (validators.host_and_port, "10.0.0.1:47808", "10.0.0.1:47808"),
        (validators.host_and_port, "[::1]:80", "[::1]:80"),
        (validators.glob, "bacnet.2001.*", "bacnet.2001.*"),
        (validators.one_of("a", "b"), "a", "a"),
        (validators.file_path, "x/y", Path("x/y")),
        (validators.file_path, "~/y", Path.home() / "y"),
    ],
)
def test_what_is_right_is_taken(check: Callable[[Any], Any], value: Any, expected: Any) -> None:
    assert check(value) == expected


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (validators.boolean, "yes", "write true or false: yes is plain text in YAML 1.2"),
        (validators.boolean, 1, "expected true or false"),
        (validators.text, "  ", "give it a text, it is empty"),
        (validators.text, 5, "expected text, in quotes"),
        (validators.text, [], "expected text"),
        (validators.number(min=1, max=2), 3, "must be a number from 1 to 2, not 3"),
        (validators.number(min=1), "3", "expected a number of 1 or more"),
        (validators.number(max=1), float("nan"), "expected a number up to 1"),
        (validators.number(), True, "expected a number"),
        (validators.integer(min=1, max=2), 1.5, "expected a whole number from 1 to 2"),
        (validators.integer(min=1, max=2), 0, "must be a whole number from 1 to 2, not 0"),
        (validators.seconds, 0, "must be a number of seconds, more than 0, not 0"),
        (validators.seconds, "10s", "expected a number of seconds, without a unit"),
        (validators.seconds, None, "expected a number of seconds, more than 0"),
        (validators.seconds_or_zero, -1, "must be a number of seconds, 0 or more, not -1"),
        (validators.port, 0, "must be a whole number from 1 to 65535, not 0"),
        (validators.ip_address, "10.0.0.256", "expected an IP address such as 192.168.1.10"),
        (validators.host, "10.0.0.256", "expected an IP address or a host name, without a port"),
        (validators.host, "a b", "expected an IP address or a host name, without a port"),
        (validators.host_and_port, "10.0.0.1", 'expected "host:port" such as "10.0.0.1:47808"'),
        (validators.host_and_port, "10.0.0.1:99999", "must be a whole number from 1 to 65535, not 99999"),
        (validators.glob, "a b", "expected a pattern of an id such as bacnet.2001.*, without spaces"),
        (validators.one_of("a", "b"), "c", "expected one of a, b"),
        (validators.one_of("a", "b"), [], "expected one of a, b"),
        (validators.file_path, "~nobody-of-this-name/x", "expected a path; there is no home directory for its ~"),
    ],
)
def test_what_is_wrong_is_told_with_what_is_allowed(check: Callable[[Any], Any], value: Any, message: str) -> None:
    with pytest.raises(vol.Invalid) as caught:
        check(value)
    assert caught.value.error_message == message


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.builds(Secret, st.text()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(ANYTHING, st.sampled_from(EVERY_CHECK))
def test_a_check_raises_nothing_but_invalid(value: Any, check: Callable[[Any], Any]) -> None:
    try:
        check(value)
    except vol.Invalid as invalid:
        assert invalid.error_message


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_address_with_a_port_is_taken(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    text = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    assert validators.host_and_port(text) == text
    assert validators.host(str(address)) == str(address)
