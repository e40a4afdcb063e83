"""Signing in, part by part: what tells nothing, what is counted, and what happens at once."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import attrs
import pyotp
import pytest

from core.plugin import Role, call_of
from plugins.auth import totp, users
from plugins.auth.config import AuthConfig, PasswordOptions
from plugins.auth.errors import Locked, SignInFailed
from plugins.auth.lockout import FREE_CODES, FREE_HERE
from plugins.auth.sessions import COOKIE

from .house import ANOTHER, PASSWORD, House, Parts


async def refused(parts: Parts, *how: str | None, peer: str = "10.0.0.9") -> None:
    with pytest.raises(SignInFailed):
        await parts.signed_in(*how, call=call_of("POST", peer=peer))


async def with_totp(parts: Parts, *codes: str) -> str:
    """Put a second factor on, and return its secret."""
    secret = totp.new_secret()
    await parts.accounts.users.change(parts.accounts.ledger, "ada", {"totp_begun": secret})
    digests = frozenset(map(totp.recovery_digest, codes))
    await parts.accounts.switch_totp_on("ada", secret=secret, step=0, codes=digests)
    return secret


def code_of(parts: Parts, secret: str, *, off: int = 0) -> str:
    return pyotp.TOTP(secret).generate_otp(int(parts.ctx.clock.utc() // totp.STEP_S) + off)


async def test_unknown_user_wrong_password_disabled_user_and_wrong_code_are_one_answer(house: House) -> None:
    for name in ("ada", "off", "with-code"):
        await house.make_user(name)
    await house.admin("PATCH", "/users/off", {"disabled": True})
    secret = totp.new_secret()
    accounts = house.plugin.accounts
    await accounts.users.change(accounts.ledger, "with-code", {"totp_secret": secret})
    answers = [
        await house.login("ada", "not the password"),
        await house.login("nobody", PASSWORD),
        await house.login("off"),
        await house.login("with-code"),
        await house.login("with-code", code="000000x"),
        await house.login("\u00e4da"),
        await house.login(""),
    ]
    assert {answer.status for answer in answers} == {401}
    bodies = [{name: value for name, value in answer.json.items() if name != "request_id"} for answer in answers]
    assert bodies == [bodies[0]] * len(bodies)
    assert bodies[0]["code"] == "auth.sign_in_failed"
    headers = [{n: v for n, v in a.headers.items() if n not in ("X-Request-ID", "Date")} for a in answers]
    assert headers == [headers[0]] * len(headers)


async def test_every_refusal_takes_one_comparison_of_a_password(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bool] = []
    is_right = parts.plugin.passwords.is_right

    async def counted(password: str, hashed: str | None) -> bool:
        compared.append(hashed is not None)
        return await is_right(password, hashed)

    monkeypatch.setattr(parts.plugin.passwords, "is_right", counted)
    await parts.user()
    await refused(parts, "ada", "wrong")
    await refused(parts, "nobody", "wrong")
    await parts.accounts.users.change(parts.accounts.ledger, "ada", {"disabled": True})
    await refused(parts, "ada", PASSWORD)
    assert compared == [True, False, True]


async def test_an_unknown_user_takes_the_time_of_a_wrong_password(parts: Parts) -> None:
    await parts.user()
    passwords, hashed = parts.plugin.passwords, parts.accounts.users.get("ada").password_hash
    await passwords.prepare()

    async def seconds(hashed: str | None) -> float:
        began = time.perf_counter()
        assert not await passwords.is_right("wrong", hashed)
        return time.perf_counter() - began

    known, unknown = [], []
    for _ in range(15):
        known.append(await seconds(hashed))
        unknown.append(await seconds(None))
    assert 0.5 < statistics.median(known) / statistics.median(unknown) < 2


async def test_a_code_is_needed_and_good_once(parts: Parts) -> None:
    await parts.user()
    secret = await with_totp(parts)
    await refused(parts, "ada", PASSWORD)
    await parts.signed_in(code=code_of(parts, secret))
    await refused(parts, "ada", PASSWORD, code_of(parts, secret))
    await refused(parts, "ada", PASSWORD, code_of(parts, secret, off=-1))
    await parts.signed_in(code=code_of(parts, secret, off=1))


async def test_two_sign_ins_at_once_with_one_code_are_one_sign_in(parts: Parts) -> None:
    await parts.user()
    secret = await with_totp(parts, "aaaa-bbbb-cccc-dddd")
    for code in (code_of(parts, secret), "aaaa-bbbb-cccc-dddd"):
        outcomes = await asyncio.gather(*(parts.signed_in(code=code) for _ in range(3)), return_exceptions=True)
        assert sum(isinstance(each, SignInFailed) for each in outcomes) == 2
    assert len(parts.accounts.sessions) == 2


async def test_a_recovery_code_is_good_once_and_stays_used_over_a_restart(parts: Parts) -> None:
    await parts.user()
    await with_totp(parts, "aaaa-bbbb-cccc-dddd", "eeee-ffff-gggg-hhhh")
    await parts.signed_in(code="AAAA BBBB CCCC DDDD")
    await refused(parts, "ada", PASSWORD, "aaaa-bbbb-cccc-dddd")
    again = Parts(parts.ctx, AuthConfig(password=parts.plugin.config.password))
    await again.accounts.ledger.catch_up()
    await refused(again, "ada", PASSWORD, "aaaa-bbbb-cccc-dddd")
    await again.signed_in(code="eeee-ffff-gggg-hhhh")
    again.plugin.passwords.close()


async def test_codes_tried_from_ever_new_addresses_are_not_looked_at_but_at_home_they_are(parts: Parts) -> None:
    await parts.user()
    secret = await with_totp(parts)
    home = call_of("POST", peer="10.0.0.1")
    await parts.signed_in(code=code_of(parts, secret, off=-1), call=home)
    for number in range(FREE_CODES):
        await refused(parts, "ada", PASSWORD, "000000x", peer=f"192.0.2.{number}")
    await refused(parts, "ada", PASSWORD, code_of(parts, secret), peer="192.0.2.99")
    await parts.signed_in(code=code_of(parts, secret), call=home)


async def test_the_right_password_is_refused_while_it_is_locked(parts: Parts) -> None:
    await parts.user()
    for _ in range(FREE_HERE):
        await refused(parts, "ada", "wrong")
    with pytest.raises(Locked):
        await parts.signed_in(call=call_of("POST", peer="10.0.0.9"))
    assert parts.plugin.failures["locked"] == 1
    await parts.signed_in(call=call_of("POST", peer="10.0.0.8"))


@pytest.mark.parametrize("name", ["ada", "nobody"])
async def test_a_name_that_nobody_has_is_locked_like_one_that_somebody_has(parts: Parts, name: str) -> None:
    await parts.user()
    for each in (name, name.upper(), name.title(), name, name):
        await refused(parts, each, "wrong")
    with pytest.raises(Locked) as locked:
        await parts.signed_in(name, call=call_of("POST", peer="10.0.0.9"))
    assert locked.value.headers["Retry-After"] == "1"


async def test_an_address_from_which_one_signed_in_is_known_over_a_restart(parts: Parts) -> None:
    await parts.user()
    await parts.signed_in(call=call_of("POST", peer="2001:db8::1"))
    again = Parts(parts.ctx, AuthConfig())
    await again.accounts.ledger.catch_up()
    assert again.accounts.addresses.has("ada", "2001:db8::2")
    assert not again.accounts.addresses.has("ada", "10.0.0.1")
    assert not again.accounts.addresses.has("nobody", "2001:db8::1")


async def test_of_a_users_addresses_the_last_are_remembered(parts: Parts) -> None:
    await parts.user()
    addresses = parts.accounts.addresses
    for number in range(40):
        await addresses.add(parts.accounts.ledger, "ada", f"10.0.0.{number}")
        await parts.ctx.clock.advance(1)  # type: ignore[attr-defined]
    assert [addresses.has("ada", f"10.0.0.{number}") for number in (0, 7, 8, 39)] == [False, False, True, True]
    rows = await parts.ctx.store.read("SELECT count(*) FROM auth_addresses")
    assert rows == [(32,)]


async def test_nobody_signs_in_by_a_password_that_was_changed_while_it_was_compared(parts: Parts) -> None:
    user = await parts.user()
    is_right = parts.plugin.passwords.is_right

    async def changed() -> None:
        await parts.accounts.set_password("ada", user.password_hash)

    async def disabled() -> None:
        await parts.accounts.change_user("ada", {"disabled": True})

    async def removed() -> None:
        await parts.accounts.remove_user("ada")

    meanwhile: list[Callable[[], Awaitable[None]]] = [changed, disabled, removed]

    async def slowly(password: str, hashed: str | None) -> bool:
        right = await is_right(password, hashed)
        await parts.ctx.clock.advance(1)  # type: ignore[attr-defined]
        await meanwhile.pop(0)()
        return right

    parts.plugin.passwords.is_right = slowly  # type: ignore[method-assign]
    while meanwhile:
        await refused(parts, "ada", PASSWORD)
    assert len(parts.accounts.sessions) == 0


async def test_a_password_is_hashed_anew_at_sign_in_where_its_cost_has_changed(parts: Parts) -> None:
    await parts.user()
    before = parts.accounts.users.get("ada").password_hash
    dearer = PasswordOptions(memory=8192, iterations=1, parallelism=1)
    again = Parts(parts.ctx, AuthConfig(password=dearer))
    await again.accounts.ledger.catch_up()
    await asyncio.gather(again.signed_in(), again.signed_in())
    after = again.accounts.users.get("ada")
    assert "m=8192" in after.password_hash != before
    assert after.password_set == parts.accounts.users.get("ada").password_set
    await again.signed_in()
    assert again.accounts.users.get("ada").password_hash == after.password_hash
    again.plugin.passwords.close()


async def test_the_session_that_came_along_ends_whoevers_it_was(parts: Parts) -> None:
    await parts.user("ada")
    await parts.user("bob")
    bobs = await parts.signed_in("bob")
    brought = call_of("POST", peer="10.0.0.1", headers={"Cookie": f"{COOKIE}={bobs.value}", "User-Agent": "x" * 999})
    adas = await parts.signed_in("ada", call=brought)
    assert parts.accounts.sessions.find(bobs.value) is None
    assert parts.accounts.sessions.find(adas.value) is adas.session
    assert len(adas.session.agent) == 200


async def test_a_user_who_was_removed_as_the_session_began_leaves_nothing_behind(parts: Parts) -> None:
    await parts.accounts.note_sign_in("nobody", "10.0.0.1")
    await parts.accounts.replace_hash("nobody", before="x", after="y")
    with pytest.raises(SignInFailed):
        await parts.accounts.spend_code("nobody", step=1, recovery=None)
    with pytest.raises(SignInFailed):
        parts.accounts.insist(users.fresh("nobody", Role.VIEWER, password_hash="x", now=0, created_by="test"))
    assert await parts.ctx.store.read("SELECT * FROM auth_addresses") == []


async def test_a_password_that_is_long_and_odd_is_compared_as_it_was_typed(parts: Parts) -> None:
    composed, decomposed = "caf\u00e9 " * 3, "cafe\u0301 " * 3
    user = await parts.user(password=composed)
    assert await parts.plugin.passwords.is_right(decomposed, user.password_hash)
    assert not await parts.plugin.passwords.is_right("cafe " * 3, user.password_hash)
    assert not await parts.plugin.passwords.is_right("\ud800", user.password_hash)
    assert not await parts.plugin.passwords.is_right(ANOTHER, "not a hash")
    assert attrs.evolve(user).password_hash not in repr(user)
