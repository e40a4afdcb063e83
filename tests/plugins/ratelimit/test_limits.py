"""How a limit is told: in structured fields, in whole seconds, in words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import ManualClock
from core.plugin import Allowance
from core.rate_limits import MemoryRateLimitStore
from plugins.ratelimit.config import Budget
from plugins.ratelimit.limits import REMAINING, Limit, retry_after_s
from plugins.ratelimit.plans import address_key

POLICY_ITEM = re.compile(r'"[a-z]+";q=\d{1,15};w=[1-9]\d{0,14}(;plantroom-rate=\d{1,12}\.\d{1,3})?')
LIMIT_ITEM = re.compile(r'"[a-z]+";r=\d{1,15};t=\d{1,15}')


@pytest.mark.parametrize(
    ("rate", "burst", "policy"),
    [
        (100.0, 200, '"default";q=200;w=2'),
        (20 / 60, 20, '"default";q=20;w=60'),
        (5 / 86_400, 5, '"default";q=5;w=86400'),
        (7.0, 10, '"default";q=10;w=2;plantroom-rate=7.000'),
        (1000.0, 10, '"default";q=10;w=1;plantroom-rate=1000.000'),
    ],
)
def test_a_policy_says_what_passes_at_once_and_when_again(rate: float, burst: int, policy: str):
    assert Limit("default", Budget(rate, burst)).policy == policy


@pytest.mark.parametrize(
    ("rate", "burst", "taken", "header"),
    [
        (100.0, 200, 1, '"default";r=199;t=1'),
        (100.0, 200, 0, '"default";r=200;t=0'),
        (100.0, 200, 200, '"default";r=0;t=1'),
        (20 / 60, 20, 20, '"default";r=0;t=3'),
        (5 / 86_400, 5, 4.5, '"default";r=0;t=8640'),
    ],
)
def test_what_is_left_is_told_with_the_seconds_until_there_is_more(rate: float, burst: int, taken: float, header: str):
    store, limit = MemoryRateLimitStore(ManualClock()), Limit("default", Budget(rate, burst))
    answer = store.take("key", rate=rate, burst=burst, cost=taken)
    assert limit.shown(answer) == (REMAINING, header)
    assert limit.shown(answer) == (REMAINING, header), "the same when it is rendered already"


@given(st.floats(1 / 86_400, 100_000), st.integers(1, 1_000_000), st.floats(0, 1))
def test_every_header_is_a_list_of_structured_fields_as_the_draft_has_them(rate: float, burst: int, share: float):
    limit = Limit("default", Budget(rate, burst))
    used = share * burst
    answer = Allowance(True, int(burst - used), 0.0, used / rate)
    assert POLICY_ITEM.fullmatch(limit.policy)
    name, value = limit.shown(answer)
    assert (name, bool(LIMIT_ITEM.fullmatch(value))) == (REMAINING, True)


@given(st.floats(0.01, 100), st.integers(1, 100), st.floats(0.1, 150))
def test_who_waits_as_long_as_told_gets_what_was_refused(rate: float, burst: int, cost: float):
    clock = ManualClock()
    store, limit = MemoryRateLimitStore(clock), Limit("default", Budget(rate, burst))
    store.take("key", rate=rate, burst=burst, cost=burst)
    refused = store.take("key", rate=rate, burst=burst, cost=cost)
    assert not refused.allowed
    assert limit.wait_s(refused, cost) == pytest.approx(refused.retry_after_s)
    assert limit.lacks(refused, cost)
    seconds = retry_after_s(refused.retry_after_s)
    later = max(0.0, refused.reset_after_s - seconds)
    assert not limit.lacks(Allowance(True, 0, 0.0, later), cost)


@pytest.mark.parametrize(
    ("rate", "words"), [(100.0, "100/s"), (20 / 60, "20/min"), (5 / 86_400, "5/day"), (1 / 7200, "12/day")]
)
def test_a_limit_is_told_in_a_unit_that_people_can_read(rate: float, words: str):
    assert str(Limit("default", Budget(rate, 3))) == f'"default" ({words}, 3 at once)'


@pytest.mark.parametrize(("seconds", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (1.0000000001, 1), (1.1, 2), (59.5, 60)])
def test_retry_after_is_whole_seconds_rounded_up(seconds: float, told: int):
    assert retry_after_s(seconds) == told


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.0.0.1", "@10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "@2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "@2001:db8:1:2::/64"),
        ("2001:db8:1:3::ffff", "@2001:db8:1:3::/64"),
        ("fe80::1%eth0", "@fe80::/64"),
        ("::ffff:10.0.0.1", "@10.0.0.1"),
        ("", "@"),
        ("what:ever", "@what:ever"),
    ],
)
def test_an_address_is_itself_and_for_ipv6_its_subscribers_network(address: str, key: str):
    assert address_key(address) == key
