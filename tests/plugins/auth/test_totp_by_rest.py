from __future__ import annotations

import pyotp

from core.testing import ManualClock
from plugins.auth.totp import STEP_S

from .house import PASSWORD, Browser, House


def code_of(secret: str, clock: ManualClock, *, off: int = 0) -> str:
    return pyotp.TOTP(secret).generate_otp(int(clock.utc() // STEP_S) + off)


async def switched_on(house: House, browser: Browser, clock: ManualClock) -> tuple[str, list[str]]:
    begun = await house.by(browser, "POST", "/me/totp")
    assert begun.status == 200
    assert pyotp.parse_uri(begun.json["uri"]).secret == begun.json["secret"]
    confirmed = await house.by(browser, "POST", "/me/totp/confirm", {"code": code_of(begun.json["secret"], clock)})
    assert confirmed.status == 200, confirmed.text
    for answer in (begun, confirmed):
        assert answer.headers["Cache-Control"] == "no-store"
    return begun.json["secret"], confirmed.json["recovery_codes"]


async def test_a_second_factor_is_on_once_it_was_confirmed(house: House, clock: ManualClock) -> None:
    await house.make_user()
    browser = await house.browser()
    early = await house.by(browser, "POST", "/me/totp/confirm", {"code": "123456"})
    assert (early.status, early.json["code"]) == (409, "auth.totp_conflict")
    begun = (await house.by(browser, "POST", "/me/totp")).json
    assert (await house.login()).status == 200
    wrong = await house.by(browser, "POST", "/me/totp/confirm", {"code": "123456x"})
    assert (wrong.status, wrong.json["errors"][0]["field"]) == (422, "code")
    secret, codes = await switched_on(house, browser, clock)
    assert secret != begun["secret"]
    assert len(codes) == 10
    assert (await house.by(browser, "GET", "/me")).json["totp"] is True
    assert (await house.login()).status == 401
    assert (await house.login(code=code_of(secret, clock))).status == 401  # it was used to confirm
    assert (await house.login(code=code_of(secret, clock, off=1))).status == 200
    assert (await house.login(code=codes[0])).status == 200
    assert (await house.login(code=codes[0])).status == 401
    assert (await house.admin("GET", "/users/ada")).json["totp"] is True


async def test_a_second_factor_is_taken_off_by_the_password(house: House, clock: ManualClock) -> None:
    await house.make_user()
    browser = await house.browser()
    off = await house.by(browser, "DELETE", "/me/totp", {"password": PASSWORD})
    assert (off.status, off.json["code"]) == (409, "auth.totp_conflict")
    _secret, codes = await switched_on(house, browser, clock)
    again = await house.by(browser, "POST", "/me/totp")
    assert (again.status, again.json["code"]) == (409, "auth.totp_conflict")
    wrong = await house.by(browser, "DELETE", "/me/totp", {"password": "wrong"})
    assert (wrong.status, wrong.json["code"]) == (403, "auth.wrong_password")
    assert (await house.by(browser, "DELETE", "/me/totp", {"password": PASSWORD})).status == 204
    assert (await house.login()).status == 200
    rows = await house.running.kernel.storage.read("SELECT * FROM auth_recovery_codes")
    assert rows == []
    assert codes


async def test_an_admin_takes_a_lost_second_factor_off(house: House, clock: ManualClock) -> None:
    await house.make_user()
    await switched_on(house, await house.browser(), clock)
    assert (await house.admin("DELETE", "/users/ada/totp")).status == 204
    assert (await house.admin("GET", "/users/ada")).json["totp"] is False
    assert (await house.admin("DELETE", "/users/eve/totp")).status == 404
    assert (await house.login()).status == 200


async def test_wrong_codes_and_passwords_in_a_session_count_as_guesses(house: House, clock: ManualClock) -> None:
    await house.make_user()
    browser = await house.browser()
    await house.by(browser, "POST", "/me/totp")
    statuses = [(await house.by(browser, "POST", "/me/totp/confirm", {"code": "x"})).status for _ in range(6)]
    assert statuses == [422] * 5 + [429]
    answer = await house.by(browser, "POST", "/me/password", {"old_password": PASSWORD, "new_password": "x"})
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert (await house.by(browser, "GET", "/me")).status == 200


async def test_only_the_second_factor_that_was_begun_last_can_be_confirmed(house: House, clock: ManualClock) -> None:
    await house.make_user()
    browser = await house.browser()
    first = (await house.by(browser, "POST", "/me/totp")).json["secret"]
    await house.by(browser, "POST", "/me/totp")
    answer = await house.by(browser, "POST", "/me/totp/confirm", {"code": code_of(first, clock)})
    assert answer.status == 422
