from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.testing import ManualClock
from plugins.auth import lockout as module
from plugins.auth.errors import Locked
from plugins.auth.lockout import FREE_CODES, FREE_HERE, FREE_OF_ADDRESS, LONGEST_DELAY_S, Lockout, place

HOME, ATTACKER = "10.0.0.1", "192.0.2.66"


@pytest.fixture
def lockout(clock: ManualClock) -> Lockout:
    return Lockout(clock)


def wait_of(lockout: Lockout, name: str = "ada", address: str = HOME, *, known: bool = False) -> float:
    """How long an attempt is told to wait; it is not made."""
    try:
        lockout.take_back(lockout.begin(name, address, known=known))
    except Locked as locked:
        return float(locked.headers["Retry-After"])
    return 0.0


def fail(lockout: Lockout, times: int, *, name: str = "ada", address: str = ATTACKER, known: bool = False) -> None:
    for _ in range(times):
        lockout.begin(name, address, known=known)


async def test_the_delay_doubles_with_each_failure_up_to_a_quarter_of_an_hour(
    lockout: Lockout, clock: ManualClock
) -> None:
    fail(lockout, FREE_HERE)
    waits = []
    for _ in range(13):
        waits.append(wait_of(lockout, address=ATTACKER))
        await clock.advance(waits[-1])
        fail(lockout, 1)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]


def test_many_at_once_are_counted_one_by_one(lockout: Lockout) -> None:
    begun = 0
    for _ in range(64):
        try:
            lockout.begin("ada", HOME, known=False)
            begun += 1
        except Locked:
            continue
    assert begun == FREE_HERE


async def test_what_is_refused_does_not_count(lockout: Lockout, clock: ManualClock) -> None:
    fail(lockout, FREE_HERE)
    for _ in range(100):
        assert wait_of(lockout, address=ATTACKER) == 1
    await clock.advance(1)
    assert wait_of(lockout, address=ATTACKER) == 0


async def test_failures_are_forgotten_an_hour_after_the_last(lockout: Lockout, clock: ManualClock) -> None:
    fail(lockout, FREE_HERE - 1)
    await clock.advance(module.FORGOTTEN_AFTER_S - 1)
    fail(lockout, 1)
    assert wait_of(lockout, address=ATTACKER) == 1
    await clock.advance(module.FORGOTTEN_AFTER_S + 1)
    fail(lockout, FREE_HERE - 1)
    assert wait_of(lockout, address=ATTACKER) == 0


def test_success_forgets_the_failures_of_the_account_from_that_address_alone(lockout: Lockout) -> None:
    fail(lockout, FREE_HERE - 1)
    fail(lockout, FREE_HERE - 1, name="bob")
    lockout.succeeded(lockout.begin("ada", ATTACKER, known=False))
    fail(lockout, FREE_HERE - 1)
    assert wait_of(lockout, "ada", ATTACKER) == 0
    fail(lockout, 1, name="bob")
    assert wait_of(lockout, "bob", ATTACKER) == 1


async def attack(lockout: Lockout, clock: ManualClock, failures: int) -> None:
    """Guess ada's password from one address after the other."""
    for number in range(failures):
        lockout.begin("ada", f"198.51.100.{number}", known=False)
    await clock.advance(1)


async def test_nobody_is_locked_out_by_the_failures_of_others(lockout: Lockout, clock: ManualClock) -> None:
    await attack(lockout, clock, 200)
    fail(lockout, 1)
    assert wait_of(lockout, address=ATTACKER) > 0
    assert wait_of(lockout, address=HOME, known=True) == 0
    assert wait_of(lockout, address="10.0.0.2", known=False) == 0


async def test_an_address_that_is_known_keeps_its_own_budget_while_the_account_is_attacked(
    lockout: Lockout, clock: ManualClock
) -> None:
    await attack(lockout, clock, 200)
    fail(lockout, FREE_HERE - 1, address=HOME, known=True)
    assert wait_of(lockout, address=HOME, known=True) == 0


async def test_an_unknown_address_has_one_attempt_at_a_time_while_the_account_is_attacked(
    lockout: Lockout, clock: ManualClock
) -> None:
    await attack(lockout, clock, 200)
    fail(lockout, 1, address="10.0.0.2")
    assert wait_of(lockout, address="10.0.0.2") == LONGEST_DELAY_S


def test_an_address_that_tries_many_accounts_has_to_wait_whichever_it_tries(lockout: Lockout) -> None:
    for number in range(FREE_OF_ADDRESS):
        fail(lockout, 1, name=f"user{number}")
    assert wait_of(lockout, "another", ATTACKER) == 1
    assert wait_of(lockout, "another", HOME) == 0
    assert wait_of(lockout, "another", ATTACKER, known=True) == 0


def test_signing_in_to_ones_own_account_does_not_give_an_address_its_budget_back(lockout: Lockout) -> None:
    for number in range(FREE_OF_ADDRESS):
        fail(lockout, 1, name=f"user{number}")
        lockout.succeeded(lockout.begin("mallory", ATTACKER, known=number > 0))
    assert wait_of(lockout, "ada", ATTACKER) == 1
    lockout.succeeded(lockout.begin("mallory", ATTACKER, known=True))
    assert wait_of(lockout, "ada", ATTACKER) == 1


def test_an_attempt_that_could_not_be_looked_at_counts_nowhere(lockout: Lockout) -> None:
    for _ in range(100):
        lockout.take_back(lockout.begin("ada", HOME, known=False))
    assert wait_of(lockout) == 0


async def test_codes_behind_the_right_password_are_looked_at_ever_more_rarely(
    lockout: Lockout, clock: ManualClock
) -> None:
    for number in range(FREE_CODES):
        attempt = lockout.begin("ada", f"192.0.2.{number}", known=False)
        assert lockout.takes_code(attempt)
        lockout.code_failed(attempt)
    stranger, at_home = lockout.begin("ada", "192.0.2.99", known=False), lockout.begin("ada", HOME, known=True)
    assert not lockout.takes_code(stranger)
    assert lockout.takes_code(at_home)
    await clock.advance(1)
    assert lockout.takes_code(stranger)


async def test_a_new_password_forgives_what_failed_before_it(lockout: Lockout, clock: ManualClock) -> None:
    await attack(lockout, clock, 200)
    fail(lockout, 1)
    assert wait_of(lockout, address=ATTACKER) > 0
    lockout.forgive("ada")
    fail(lockout, FREE_HERE - 1)
    assert wait_of(lockout, address=ATTACKER) == 0


def test_ten_times_as_many_addresses_and_names_take_no_more_memory(
    lockout: Lockout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 100)
    for number in range(1000):
        lockout.begin(f"user{number}", f"10.0.{number // 256}.{number % 256}", known=False)
    assert len(lockout) <= 300


def test_an_ipv6_subscriber_is_one_address_and_ipv4_inside_ipv6_is_ipv4() -> None:
    assert place("2001:db8::1") == place("2001:db8::ffff:1") == "2001:db8::/64"
    assert place("2001:db8:0:1::1") != place("2001:db8::1")
    assert place("::ffff:10.0.0.1") == "10.0.0.1"
    assert place("fe80::1%eth0") == "fe80::/64"


@given(st.text())
def test_no_address_raises(text: str) -> None:
    place(text)
