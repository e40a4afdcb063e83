"""What becomes of requests, with the policies run as the kernel does."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from core.errors import DeviceTimeout, PermissionDenied
from core.plugin import (
    Allowance,
    CredentialsRequired,
    Health,
    Phase,
    PrincipalKind,
    Role,
    Work,
    call_of,
)
from plugins.ratelimit.plans import PLANS_KEPT
from plugins.ratelimit.refusals import SPELLS_MOST

from .conftest import LOGIN, MakeDoor, principal, route
from .shared_store import SqliteStore

VALUE = route()
WRITE = route("PUT")
DOCS = route("GET", "/api/docs", role=None)
HEALTH = route("GET", "/healthz", role=None)
READY = route("GET", "/readyz", role=None)
KEY = principal()
USER = principal("ada", PrincipalKind.USER, Role.ADMIN)
NOBODY = CredentialsRequired(CredentialsRequired.remedy)


async def test_a_key_has_its_burst_and_then_its_rate_and_every_answer_says_what_is_left(door: MakeDoor):
    limiter = door()
    first = await limiter.ask(VALUE, KEY)
    assert first.headers == {"RateLimit-Policy": '"default";q=200;w=2', "RateLimit": '"default";r=199;t=1'}
    assert await limiter.count(VALUE, KEY, of=300) == 199
    refused = await limiter.ask(VALUE, KEY)
    assert refused.error is not None
    assert (refused.status, refused.limit) == (429, "default 0 1")
    assert refused.error.headers["Retry-After"] == "1"
    assert refused.error.detail == (
        'This is more than the limit "default" (100/s, 200 at once) allows; try again in 1 s.'
    )
    await limiter.clock.advance(0.5)
    assert await limiter.count(VALUE, KEY, of=100) == 50
    assert await limiter.count(VALUE, principal("other"), of=201) == 200, "another key has its own"


async def test_a_request_that_was_counted_leaves_nothing_for_the_garbage_collector(door: MakeDoor):
    kept: list[weakref.ref[Any]] = []

    async def do(call: Any) -> None:
        await asyncio.sleep(0)
        kept.append(weakref.ref(call))

    limiter = door()
    gc.collect()
    gc.disable()
    try:
        await limiter.ask(VALUE, KEY, do=do)
        assert [each() for each in kept] == [None]
    finally:
        gc.enable()


async def test_a_key_a_user_and_a_role_can_have_more_or_less_than_others(door: MakeDoor):
    limiter = door("""
        default: {rate: 1/s, burst: 3}
        keys: {backup: {rate: 1/s, burst: 7}}
        users: {backup: {rate: 1/s, burst: 5}}
        roles: {operator: {rate: 1/s, burst: 4}}
    """)
    backup_operator = principal("backup", role=Role.OPERATOR)
    assert await limiter.count(VALUE, backup_operator, of=20) == 7, "the key's own is nearer than its role's"
    assert (await limiter.ask(VALUE, backup_operator)).limit == "key 0 1"
    assert await limiter.count(VALUE, principal("backup", PrincipalKind.USER), of=20) == 5
    assert await limiter.count(VALUE, principal("x", PrincipalKind.TOKEN, Role.OPERATOR), of=20) == 4
    assert await limiter.count(VALUE, principal("x"), of=20) == 3


async def test_a_principal_whose_role_changes_has_another_limit_from_then_on(door: MakeDoor):
    limiter = door("roles: {operator: {rate: 1/s, burst: 4}}")
    assert (await limiter.ask(VALUE, principal("x"))).limit == "default 199 1"
    assert (await limiter.ask(VALUE, principal("x", role=Role.OPERATOR))).limit == "role 3 1"


async def test_without_credentials_each_address_has_its_own_budget_and_ipv6_one_for_64_bits(door: MakeDoor):
    limiter = door("anonymous: {rate: 1/min, burst: 5}")
    assert await limiter.count(DOCS, of=10) == 5
    assert (await limiter.ask(DOCS)).limit == "anonymous 0 60"
    assert await limiter.count(DOCS, of=10, peer="10.0.0.2") == 5
    passed = [await limiter.count(DOCS, of=1, peer=f"2001:db8:0:1::{index:x}") for index in range(10)]
    assert sum(passed) == 5
    assert await limiter.count(DOCS, of=10, peer="2001:db8:0:2::1") == 5


async def test_supervisors_are_never_refused_and_take_nothing(door: MakeDoor):
    limiter = door("anonymous: {rate: 1/min, burst: 5}")
    for probe in (HEALTH, READY):
        assert await limiter.count(probe, of=50) == 50
        assert (await limiter.ask(probe)).limit == "anonymous 5 0"
    assert await limiter.count(DOCS, of=10) == 5
    assert (await limiter.ask(HEALTH)).status == 200


async def test_a_plugins_route_of_a_supervisors_name_is_none(door: MakeDoor):
    limiter = door("default: {rate: 1/s, burst: 2}")
    assert await limiter.count(route("GET", "/api/v1/mine/healthz"), KEY, of=5) == 2


async def test_what_is_at_no_address_is_counted_too(door: MakeDoor):
    limiter = door("default: {rate: 1/s, burst: 3}")
    assert await limiter.count(None, KEY, of=5) == 3


class TestFailedAuthentication:
    async def test_an_address_may_fail_20_times_a_minute(self, door: MakeDoor):
        limiter = door()
        outcomes = [await limiter.ask(VALUE, refuse=NOBODY) for _ in range(30)]
        assert [each.status for each in outcomes] == [401] * 20 + [429] * 10
        assert (outcomes[0].limit, outcomes[19].limit, outcomes[20].limit) == (
            "failed 19 3",
            "failed 0 3",
            "failed 0 3",
        )
        assert outcomes[0].headers["RateLimit-Policy"] == '"failed";q=20;w=60'
        assert outcomes[20].error is not None
        assert outcomes[20].error.headers["Retry-After"] == "3"
        await limiter.clock.advance(3.0)
        assert (await limiter.ask(VALUE, refuse=NOBODY)).status == 401
        assert (await limiter.ask(VALUE, refuse=NOBODY)).status == 429

    async def test_a_valid_key_from_the_same_address_is_not_refused_for_it(self, door: MakeDoor):
        limiter = door()
        await limiter.count(VALUE, of=50, refuse=NOBODY)
        assert await limiter.count(VALUE, KEY, of=50) == 50
        assert (await limiter.ask(VALUE, refuse=NOBODY, peer="10.0.0.9")).status == 401, "nor is another address"

    async def test_a_sign_in_is_refused_before_anything_is_spent_on_it(self, door: MakeDoor):
        limiter = door("failed: {rate: 1/min, burst: 3}")
        checked: list[int] = []
        outcomes = [await limiter.ask(LOGIN, fail=NOBODY, do=lambda _call: checked.append(1)) for _ in range(6)]
        assert [each.status for each in outcomes] == [401, 401, 401, 429, 429, 429]
        assert len(checked) == 3
        assert outcomes[0].limit == "failed 2 60"
        assert outcomes[3].limit == "failed 0 60"
        assert outcomes[3].error is not None
        assert outcomes[3].error.headers["Retry-After"] == "60"

    async def test_a_sign_in_that_succeeds_takes_no_failure(self, door: MakeDoor):
        limiter = door("failed: {rate: 1/min, burst: 3}")
        assert await limiter.count(LOGIN, of=20) == 20
        assert (await limiter.ask(LOGIN)).limit == "anonymous 19 1"

    async def test_failures_of_sign_ins_and_of_keys_are_counted_together(self, door: MakeDoor):
        limiter = door("failed: {rate: 1/min, burst: 3}")
        for where in (VALUE, LOGIN, None):
            assert (await limiter.ask(where, fail=NOBODY)).status == 401
        assert (await limiter.ask(LOGIN)).status == 429


async def test_what_is_forbidden_is_counted_as_any_request(door: MakeDoor):
    limiter = door("default: {rate: 1/s, burst: 3}")
    forbidden = PermissionDenied("This takes the role operator.")
    outcomes = [await limiter.ask(WRITE, KEY, refuse=forbidden) for _ in range(5)]
    assert [each.status for each in outcomes] == [403, 403, 403, 429, 429]
    assert outcomes[0].limit == "default 2 1"


async def test_an_error_of_the_handler_is_counted_once(door: MakeDoor):
    limiter = door("default: {rate: 1/s, burst: 10}")
    outcomes = [await limiter.ask(VALUE, KEY, fail=DeviceTimeout("silent")) for _ in range(3)]
    assert [each.status for each in outcomes] == [504] * 3
    assert outcomes[-1].limit == "default 7 1"


async def test_what_came_no_further_than_to_be_answered_says_what_is_left_and_is_counted(door: MakeDoor):
    limiter = door("anonymous: {rate: 1/min, burst: 2}")
    for left in (1, 0, 0):
        assert limiter.answered(call_of(peer="10.0.0.1")).limit == f"anonymous {left} 60"
    assert (await limiter.ask(DOCS)).status == 429


class TestRules:
    @pytest.mark.parametrize(
        ("match", "concerned", "free"),
        [
            ('{path: "/api/v1/points/*"}', VALUE, route(path="/api/v1/devices")),
            ('{path: "/api/v1/points/*/value"}', VALUE, route(path="/api/v1/points/{point_id}")),
            ('{path: "/api/v1/points"}', route(path="/api/v1/points"), VALUE),
            ("{methods: [PUT, DELETE]}", WRITE, VALUE),
        ],
    )
    async def test_a_rule_is_about_the_routes_that_it_matches(
        self, door: MakeDoor, match: str, concerned: Any, free: Any
    ):
        limiter = door(f"limits: [{{name: few, rate: 1/s, burst: 2, match: {match}}}]")
        assert await limiter.count(concerned, KEY, of=5) == 2
        assert await limiter.count(free, KEY, of=5) == 5
        assert (await limiter.ask(concerned, KEY)).limit == "few 0 1"

    @pytest.mark.parametrize(
        ("match", "concerned", "free"),
        [
            ("{roles: [admin]}", USER, KEY),
            ("{kinds: [key]}", KEY, USER),
            ("{kinds: [anonymous]}", None, KEY),
            ("{names: [backup]}", KEY, USER),
            ("{names: [backup], roles: [viewer]}", KEY, principal("backup", role=Role.ADMIN)),
        ],
    )
    async def test_a_rule_is_about_those_whom_it_matches(self, door: MakeDoor, match: str, concerned: Any, free: Any):
        limiter = door(f"limits: [{{name: few, rate: 1/s, burst: 2, match: {match}}}]")
        assert await limiter.count(VALUE, concerned, of=5) == 2
        assert await limiter.count(VALUE, free, of=5) == 5

    async def test_roles_and_names_are_nobodys_who_did_not_sign_in(self, door: MakeDoor):
        limiter = door("limits: [{name: few, rate: 1/s, burst: 2, match: {roles: [viewer, operator, admin]}}]")
        assert await limiter.count(DOCS, of=5) == 5

    @pytest.mark.parametrize(
        ("per", "passed"),
        [
            ("key", [2, 2, 5, 5]),
            ("user", [5, 5, 2, 5]),
            ("principal", [2, 2, 2, 2]),
            ("address", [2, 0, 0, 0]),
            ("everyone", [2, 0, 0, 0]),
        ],
    )
    async def test_the_budget_of_a_rule_is_for_each_or_for_all(self, door: MakeDoor, per: str, passed: list[int]):
        limiter = door(f"limits: [{{name: few, rate: 1/s, burst: 2, per: {per}}}]")
        askers = [KEY, principal("other"), USER, None]
        assert [await limiter.count(VALUE, who, of=5) for who in askers] == passed
        again = await limiter.count(VALUE, KEY, of=5, peer="10.0.0.2")
        assert again == {"address": 2, "user": 5}.get(per, 0)

    async def test_every_rule_that_matches_applies_and_the_tightest_is_told(self, door: MakeDoor):
        limiter = door("""
            limits:
              - {name: slow, rate: 5/day, match: {methods: [PUT]}}
              - {name: house, rate: 1000/s, per: everyone}
        """)
        told = await limiter.ask(WRITE, KEY)
        assert told.headers["RateLimit-Policy"] == ('"default";q=200;w=2, "slow";q=5;w=86400, "house";q=1000;w=1')
        assert told.limit == "slow 4 17280"
        assert (await limiter.ask(VALUE, KEY)).limit == "default 198 1"

    async def test_who_is_refused_by_one_limit_takes_from_none(self, door: MakeDoor):
        limiter = door("""
            default: {rate: 1/s, burst: 8}
            limits:
              - {name: slow, rate: 5/day, match: {methods: [PUT]}}
              - {name: house, rate: 10/min, burst: 20, per: everyone}
        """)
        assert await limiter.count(WRITE, KEY, of=50) == 5
        assert (await limiter.ask(VALUE, KEY)).limit == "default 2 1", "5 writes and this"
        assert await limiter.count(VALUE, KEY, of=50) == 2
        await limiter.clock.advance(0.0)
        assert (await limiter.ask(VALUE, principal("other"))).limit == "default 7 1"
        assert await limiter.count(VALUE, principal("third"), of=50) == 8
        assert await limiter.count(VALUE, principal("fourth"), of=50) == 20 - 5 - 3 - 1 - 8

    def test_a_rule_that_no_route_matches_is_told_in_the_plugins_health(self, door: MakeDoor):
        limiter = door('limits: [{name: typo, rate: 1/s, match: {path: "/api/v2/*"}}, {name: all, rate: 1/s}]')
        [_store, limits] = limiter.plugin.register_health_checks()
        assert limits.check()[0] is Health.OK, "nothing is served yet"
        limiter.steps(Phase.RATE_LIMIT, VALUE)
        assert limits.check() == (Health.DEGRADED, "no route matches typo: see `match` in the configuration")


class TestWork:
    @staticmethod
    def works(*work: tuple[Work, int]) -> Any:
        async def do(call: Any) -> None:
            for kind, count in work:
                pending = call.meter(call, kind, count)
                if pending is not None:
                    await pending

        return do

    async def test_a_request_costs_what_it_makes_the_field_bus_do(self, door: MakeDoor):
        limiter = door()
        outcome = await limiter.ask(VALUE, KEY, do=self.works((Work.READ, 500)))
        assert outcome.limit == "default 149 1"
        outcome = await limiter.ask(VALUE, KEY, do=self.works((Work.SCAN, 1), (Work.WRITE, 3)))
        assert outcome.limit == "default 95 1"
        outcomes = [await limiter.ask(VALUE, KEY, do=self.works((Work.SCAN, 1))) for _ in range(3)]
        assert [each.status for each in outcomes] == [200, 429, 429]
        assert outcomes[1].error is not None
        assert outcomes[1].error.headers["Retry-After"] == "1"
        assert outcomes[1].limit == "default 43 1", "it took 1 for itself"

    async def test_what_costs_more_than_a_burst_is_possible_but_alone(self, door: MakeDoor):
        limiter = door()
        big = self.works((Work.WRITE, 600), (Work.WRITE, 400))
        assert (await limiter.ask(VALUE, KEY, do=big)).limit == "default 0 1"
        await limiter.clock.advance(1.0)
        assert (await limiter.ask(VALUE, KEY, do=big)).status == 429
        await limiter.clock.advance(2.0)
        assert (await limiter.ask(VALUE, KEY, do=big)).status == 200

    async def test_what_is_refused_was_not_charged_for_the_work(self, door: MakeDoor):
        limiter = door("default: {rate: 1/min, burst: 60}")
        await limiter.count(VALUE, KEY, of=15)
        refused = await limiter.ask(VALUE, KEY, do=self.works((Work.SCAN, 1)))
        assert (refused.status, refused.limit) == (429, "default 44 60")
        assert refused.error is not None
        assert refused.error.headers["Retry-After"] == "360", "six more are needed"

    async def test_a_rule_counts_requests_or_their_cost(self, door: MakeDoor):
        limiter = door("""
            limits:
              - {name: scans, rate: 5/day, match: {path: "/api/v1/scans"}}
              - {name: bus, rate: 10/s, burst: 120, per: everyone, counts: cost, match: {path: "/api/v1/scans"}}
        """)
        scans = route("POST", "/api/v1/scans")
        first = await limiter.ask(scans, KEY, do=self.works((Work.SCAN, 1)))
        assert first.limit == "scans 4 17280"
        outcomes = [await limiter.ask(scans, principal("other"), do=self.works((Work.SCAN, 1))) for _ in range(2)]
        assert [each.status for each in outcomes] == [200, 429]
        assert outcomes[1].limit == "bus 17 1"

    async def test_work_may_be_free_and_address_budgets_pay_for_it_too(self, door: MakeDoor):
        limiter = door("cost: {read: 0, write: 5}")
        assert (await limiter.ask(VALUE, KEY, do=self.works((Work.READ, 1000)))).limit == "default 199 1"
        assert (await limiter.ask(DOCS, do=self.works((Work.WRITE, 2)))).limit == "anonymous 29 1"


async def test_10_000_addresses_leave_memory_bounded(door: MakeDoor):
    limiter = door()
    store: Any = limiter.context.services.rate_limit_store
    for index in range(10_000):
        peer = f"10.{index >> 8}.{index & 255}.7"
        assert (await limiter.ask(VALUE, refuse=NOBODY, peer=peer)).status == 401
        assert (await limiter.ask(DOCS, peer=peer)).status == 200
        await limiter.clock.advance(0.01)
    assert len(store) < 1000, "a failure is forgotten after 3 s, which 300 addresses had since"
    kept = [len(plans._kept) for plans in limiter.plugin.limits._plans.values()]
    assert max(kept) <= PLANS_KEPT


class TestRefusals:
    @pytest.fixture
    def log(self) -> Iterator[list[Any]]:
        with capture_logs() as lines:
            yield lines

    async def test_being_refused_is_logged_when_it_begins_and_when_it_is_over_and_counted(
        self, door: MakeDoor, log: list[Any]
    ):
        limiter = door("default: {rate: 1/s, burst: 2}")
        [metric] = limiter.plugin.register_metrics()
        async with limiter.plugin.lifespan():
            for _ in range(2):
                assert await limiter.count(VALUE, KEY, of=10) <= 2
                await limiter.clock.advance(1.0)
            assert [line["event"] for line in log] == ["rate_limited"]
            assert (log[0]["limit"], log[0]["client"]) == ("default", "key:backup")
            await limiter.clock.advance(50.0)
            assert len(log) == 1
            await limiter.clock.advance(30.0)
            assert [(line["event"], line.get("refused")) for line in log[1:]] == [("rate_limit_over", 17)]
            assert await limiter.count(VALUE, KEY, of=10) == 2
            assert log[-1]["event"] == "rate_limited"
        assert log[-1]["event"] == "rate_limit_over", "nothing is refused by a plugin that has stopped"
        counts = {labels["limit"]: value for labels, value in metric.collect()}
        assert (counts["default"], counts["failed"]) == (25.0, 0.0)

    async def test_no_more_clients_than_a_thousand_are_logged_at_a_time(self, door: MakeDoor, log: list[Any]):
        limiter = door("anonymous: {rate: 1/day, burst: 1}")
        for index in range(SPELLS_MOST + 100):
            assert await limiter.count(DOCS, of=2, peer=f"10.{index >> 8}.{index & 255}.7") == 1
        assert len(log) == SPELLS_MOST


class TestAnotherStore:
    async def test_a_store_that_is_awaited_is_as_exact(self, door: MakeDoor, tmp_path: Any):
        limiter = door("default: {rate: 1/day, burst: 40}", store=SqliteStore(tmp_path / "limits.sqlite"))
        outcomes = await asyncio.gather(*(limiter.ask(VALUE, KEY) for _ in range(64)))
        assert sum(each.status == 200 for each in outcomes) == 40
        assert sorted(int(each.limit.split()[1]) for each in outcomes if each.status == 200) == list(range(40))

    async def test_with_several_budgets_who_is_refused_takes_from_none(self, door: MakeDoor, tmp_path: Any):
        options = "limits: [{name: slow, rate: 5/day}]\ndefault: {rate: 1/day, burst: 8}"
        limiter = door(options, store=SqliteStore(tmp_path / "limits.sqlite"))
        assert await limiter.count(VALUE, KEY, of=20) == 5
        store = SqliteStore(tmp_path / "limits.sqlite")
        assert (await store.take("ratelimit.default|key:backup", rate=1e-6, burst=8, cost=0)).remaining == 3

    async def test_failures_are_counted_here_and_told_to_the_store(self, door: MakeDoor, tmp_path: Any):
        path = tmp_path / "limits.sqlite"
        limiter = door("failed: {rate: 1/day, burst: 5}", store=SqliteStore(path))
        async with limiter.plugin.lifespan():
            assert await limiter.count(VALUE, of=5, refuse=NOBODY) == 5
            assert (await limiter.ask(VALUE, refuse=NOBODY)).status == 429
            while limiter.plugin.store.pending:
                await asyncio.wait(limiter.plugin.store.pending)
        other = door("failed: {rate: 1/day, burst: 5}", store=SqliteStore(path))
        assert (await other.ask(LOGIN)).status == 429, "another process knows of them when somebody signs in"

    async def test_a_store_that_fails_is_stood_in_for(self, door: MakeDoor):
        with capture_logs() as log:
            failing = Failing()
            limiter = door("default: {rate: 1/day, burst: 5}", store=failing)
            [health, _limits] = limiter.plugin.register_health_checks()
            failing.error = OSError("connection refused")
            assert await limiter.count(VALUE, KEY, of=20) == 5
            assert failing.asked == 1, "it is not asked again for a while"
            assert health.check()[0] is Health.DEGRADED
            assert "connection refused" in health.check()[1]
            await limiter.clock.advance(5.0)
            assert (await limiter.ask(VALUE, KEY)).status == 429
            assert failing.asked == 2
            failing.error = None
            await limiter.clock.advance(5.0)
            assert (await limiter.ask(VALUE, KEY)).limit == "default 3 86400"
            assert health.check() == (Health.OK, "it counts")
        events = [line["event"] for line in log if line["event"].startswith("rate_limit_store")]
        assert events == ["rate_limit_store_failed", "rate_limit_store_recovered"]

    async def test_a_store_that_does_not_answer_is_not_waited_for(self, door: MakeDoor):
        limiter = door("default: {rate: 1/day, burst: 5}", store=Silent())
        limiter.plugin.store.timeout_s = 0.01
        assert await limiter.count(VALUE, KEY, of=20) == 5
        assert limiter.plugin.store.problem == "it did not answer within 0.01 s"


class Failing:
    """A store that raises what it is told to, before or after it is awaited."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    def take(self, _key: str, *, rate: float, burst: float, cost: float = 1.0) -> Any:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Allowance(True, 3, 0.0, 2 / rate)


class Silent:
    """A store that never answers."""

    async def take(self, _key: str, **_limit: float) -> Any:
        await asyncio.Event().wait()
