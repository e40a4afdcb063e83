from __future__ import annotations

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.auth.totp import STEP_S, new_recovery_codes, new_secret, recovery_digest, step_of, uri_of

RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238, appendix B: 12345678901234567890


@pytest.mark.parametrize(("now", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_the_codes_are_those_of_the_rfc(now: int, code: str) -> None:
    assert step_of(RFC_SECRET, code, now, after=0) == now // STEP_S


@pytest.mark.parametrize(("steps", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_of_the_step_before_or_behind_is_taken_and_no_other(steps: int, taken: bool) -> None:
    secret, now = new_secret(), 1_700_000_000.0
    code = pyotp.TOTP(secret).generate_otp(int(now // STEP_S) + steps)
    assert (step_of(secret, code, now, after=0) is not None) is taken


def test_a_code_is_not_taken_twice_nor_is_an_earlier_one() -> None:
    secret, now = new_secret(), 1_700_000_000.0
    step = int(now // STEP_S)
    codes = {each: pyotp.TOTP(secret).generate_otp(each) for each in (step - 1, step, step + 1)}
    assert step_of(secret, codes[step], now, after=step) is None
    assert step_of(secret, codes[step - 1], now, after=step) is None
    assert step_of(secret, codes[step + 1], now, after=step) == step + 1


def test_spaces_do_not_count() -> None:
    code = pyotp.TOTP(RFC_SECRET).generate_otp(1)
    assert step_of(RFC_SECRET, f" {code[:3]} {code[3:]} ", 59, after=0) == 1


@given(st.text())
def test_no_code_raises(code: str) -> None:
    step_of(RFC_SECRET, code, 59, after=2)
    recovery_digest(code)


def test_recovery_codes_are_ten_different_ones_and_read_as_people_write_them() -> None:
    codes = new_recovery_codes()
    assert len(set(codes)) == 10
    for code in codes:
        assert recovery_digest(code) == recovery_digest(f" {code.upper().replace('-', ' ')} ")


def test_the_uri_is_what_authenticators_take() -> None:
    parsed = pyotp.parse_uri(uri_of(RFC_SECRET, "ada"))
    assert (parsed.secret, parsed.name, parsed.issuer) == (RFC_SECRET, "ada", "Plantroom")
