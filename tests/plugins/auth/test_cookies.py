from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.plugin import call_of
from plugins.auth.csrf import insist_on_own_site, insist_on_token
from plugins.auth.errors import CsrfRefused
from plugins.auth.sessions import COOKIE, csrf_token, value_in

VALUE = "Zq3v0-8Jm_1xK2yW4bT6nR9sD5fG7hL0pC3uE1iO-aB"
OTHER = "Aq3v0-8Jm_1xK2yW4bT6nR9sD5fG7hL0pC3uE1iO-aB"


@given(st.text())
def test_no_header_raises(header: str) -> None:
    value_in(header)


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.from_regex(r"[!-:<-~]{0,20}", fullmatch=True))),
    st.integers(0, 5),
)
def test_the_session_is_found_among_other_cookies(others: list[tuple[str, str]], at: int) -> None:
    cookies = [f"{name}={value}" for name, value in others]
    cookies.insert(at, f"{COOKIE}={VALUE}")
    assert value_in("; ".join(cookies)) == VALUE


@pytest.mark.parametrize(
    "header",
    [
        "",
        COOKIE,
        f"{COOKIE}=",
        f"{COOKIE}={VALUE[:-1]}",
        f"{COOKIE}={VALUE}A",
        f"x{COOKIE}={VALUE}",
        f"{COOKIE.upper()}={VALUE}",
        f'{COOKIE}="{VALUE}"',
        f"{COOKIE}={VALUE}; {COOKIE}={OTHER}",
        f"{COOKIE}={OTHER}; {COOKIE}=x",
    ],
)
def test_what_is_no_session_or_may_be_either_of_two_is_none(header: str) -> None:
    assert value_in(header) is None


def test_a_token_belongs_to_one_session() -> None:
    assert csrf_token(VALUE) == csrf_token(VALUE) != csrf_token(OTHER)
    assert VALUE not in csrf_token(VALUE)


@pytest.mark.parametrize("token", ["", csrf_token(OTHER), csrf_token(VALUE)[:-1], csrf_token(VALUE).upper(), "\udcff"])
def test_another_token_is_refused(token: str) -> None:
    with pytest.raises(CsrfRefused):
        insist_on_token(call_of("POST", headers={"X-CSRF-Token": token}), VALUE)


def test_a_missing_token_is_refused_and_the_right_one_is_not() -> None:
    with pytest.raises(CsrfRefused):
        insist_on_token(call_of("POST"), VALUE)
    insist_on_token(call_of("POST", headers={"X-CSRF-Token": csrf_token(VALUE)}), VALUE)


HOST = {"Host": "10.0.0.5:8080"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://10.0.0.5:8080"},
        {"Origin": "HTTP://10.0.0.5:8080"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://bms.example"},  # a proxy passes another Host on
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://named.example"},
    ],
)
def test_our_own_pages_and_programs_are_let_in(headers: dict[str, str]) -> None:
    insist_on_own_site(call_of("POST", headers=HOST | headers), ["https://named.example"])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://10.0.0.5:8081"},
        {"Origin": "http://10.0.0.5:8080.evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://10.0.0.5:8080"},
    ],
)
def test_other_sites_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(CsrfRefused):
        insist_on_own_site(call_of("POST", headers=HOST | headers), ["https://named.example"])
