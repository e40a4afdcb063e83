"""The limiter's options: what is taken, what it means, and what is said of mistakes."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.catalog import Catalog
from core.config import load
from core.errors import ConfigError
from core.plugin import PrincipalKind, Role, Work
from core.settings import read
from plugins.ratelimit.config import Budget, Cost, Counts, Match, Per, RatelimitConfig, Rule, parse_rate


def configured(folder: Path, yaml: str) -> RatelimitConfig:
    path = folder / "plantroom.yaml"
    path.write_text(f"plugins:\n  ratelimit:\n{textwrap.indent(textwrap.dedent(yaml), '    ')}\n", encoding="utf-8")
    [entry] = read(load([path]), Catalog(None)).plugins
    assert isinstance(entry.config, RatelimitConfig)
    return entry.config


def test_without_options_a_key_has_100_a_second_and_an_address_20_failures_a_minute(tmp_path: Path):
    config = configured(tmp_path, "")
    assert config == RatelimitConfig()
    assert (config.default, config.anonymous) == (Budget(100.0, 200), Budget(20.0, 40))
    assert (config.failed.rate * 60, config.failed.burst) == (pytest.approx(20), 20)


def test_every_option_is_taken(tmp_path: Path):
    config = configured(
        tmp_path,
        """
        default: {rate: 50/s, burst: 75}
        anonymous: {rate: 10/s}
        failed: {rate: 5/min, burst: 3}
        keys: {backup script: {rate: 1000/s, burst: 5000}}
        users: {ada: {rate: 30/s}}
        roles: {admin: {rate: 600/min, burst: 20}}
        cost: {read: 0, write: 2, scan: 10.5}
        limits:
          - name: exports
            match: {path: "/api/v1/points/*", methods: [GET], roles: [viewer], kinds: [key], names: [backup script]}
            per: key
            counts: cost
            rate: 5/day
          - {name: all, per: everyone, rate: 1000/h, burst: 10}
        """,
    )
    match = Match("/api/v1/points/*", ("GET",), (Role.VIEWER,), (PrincipalKind.KEY,), ("backup script",))
    assert config == RatelimitConfig(
        default=Budget(50.0, 75),
        anonymous=Budget(10.0, 10),
        failed=Budget(5 / 60, 3),
        keys={"backup script": Budget(1000.0, 5000)},
        users={"ada": Budget(30.0, 30)},
        roles={"admin": Budget(10.0, 20)},
        cost=Cost(0, 2, 10.5),
        limits=(
            Rule("exports", Budget(5 / 86_400, 5), match, Per.KEY, Counts.COST),
            Rule("all", Budget(1000 / 3600, 10), per=Per.EVERYONE),
        ),
    )


RATE = "expected a rate such as 100/s, 20/min, 1000/h or 5/day"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("default: {rate: 100}", f"plugins.ratelimit.default.rate: {RATE}, not 100"),
        ("default: {rate: 100/sec}", f"plugins.ratelimit.default.rate: {RATE}, not '100/sec'"),
        ("default: {rate: -1/s}", f"plugins.ratelimit.default.rate: {RATE}, not '-1/s'"),
        ("default: {rate: 0/s}", "plugins.ratelimit.default.rate: a rate must be more than 0, and 100000/s at most"),
        ("default: {rate: 200000/s}", "a rate must be more than 0, and 100000/s at most"),
        ("default: {burst: 5}", "plugins.ratelimit.default.rate: this option is missing; give it a value"),
        ("default: {rate: 1/s, burst: 0}", "plugins.ratelimit.default.burst: must be a whole number from 1 to"),
        ("default: {rate: 1/s, bursts: 5}", "plugins.ratelimit.default.bursts: unknown option; did you mean 'burst'?"),
        ("keys: {a: {rate: fast}}", f"plugins.ratelimit.keys.a.rate: {RATE}, not 'fast'"),
        ("roles: {boss: {rate: 1/s}}", "plugins.ratelimit.roles"),
        ("cost: {read: -1}", "plugins.ratelimit.cost.read: must be a number from 0 to"),
        ("limits: [{rate: 1/s}]", "plugins.ratelimit.limits[0].name: this option is missing; give it a value"),
        ("limits: [{name: A B, rate: 1/s}]", "a name is made of 1 to 40 of the characters a-z, 0-9, _ and -"),
        ("limits: [{name: failed, rate: 1/s}]", "'failed' is the name of a limit that is always there"),
        ("limits: [{name: a, rate: 1/s, per: house}]", "expected one of key, user, principal, address, everyone"),
        ("limits: [{name: a, rate: 1/s, match: {path: points}}]", "expected a route's path such as"),
        ("limits: [{name: a, rate: 1/s, match: {methods: [get]}}]", "expected one of GET, POST, PUT, PATCH, DELETE"),
        ("limits: [{name: a, rate: 1/s}, {name: a, rate: 2/s}]", "there are two limits named 'a'"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(tmp_path: Path, option: str, said: str):
    with pytest.raises(ConfigError, match=r"plantroom\.yaml:") as raised:
        configured(tmp_path, option)
    assert said in "\n".join(raised.value.problems)


@given(st.floats(0.001, 100_000), st.sampled_from(["s", "min", "h", "day"]))
def test_a_rate_is_read_as_it_is_written(count: float, unit: str):
    written = f"{count:.6f}/{unit}"
    assert parse_rate(written) == pytest.approx(count / {"s": 1, "min": 60, "h": 3600, "day": 86_400}[unit], rel=1e-3)


@given(st.text(max_size=12))
def test_any_text_is_a_rate_or_said_not_to_be_one(text: str):
    try:
        assert parse_rate(text) > 0
    except ValueError as error:
        assert "rate" in str(error)


def test_work_costs_by_its_kind_and_count():
    cost = Cost()
    assert [cost.of(work, 500) for work in Work] == [pytest.approx(50), 500, 25_000]
