"""What the parts do when something goes wrong, runs out, or comes from elsewhere."""

from __future__ import annotations

import asyncio
import builtins
import time
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import pytest
import voluptuous as vol

from core.cli import main
from core.errors import PlantroomError
from core.plugin import Context, PrincipalKind, Role, Route, call_of
from core.storage import Storage
from core.testing import ManualClock
from plugins.auth.accounts import LOOK_EVERY_S, SAVE_EVERY_S
from plugins.auth.authentication import REMEMBERED, KeyAuthenticator, MetricsAuthenticator
from plugins.auth.config import SCHEMA, VARIABLE, AuthConfig, MetricsOptions, SessionOptions
from plugins.auth.errors import ExtraMissing, KeyNotFound, PasswordUnfit, SignInBusy
from plugins.auth.key_table import fresh
from plugins.auth.ledger import Ledger
from plugins.auth.passwords import WAITING_MOST, Passwords
from plugins.auth.sessions import Sessions
from plugins.auth.tables import REVISED

from .house import CHEAP, PASSWORD, House, OpenHouse, Parts


async def a_key(parts: Parts, **fields: Any) -> tuple[str, str]:
    key = fresh("test", Role.VIEWER, now=parts.ctx.clock.utc(), created_by="test", **fields)
    key, text = await parts.accounts.keys.make(parts.accounts.ledger, key)
    return key.id, text


class Failing:
    """A store whose writes fail, or break off after they were carried out."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.fails: BaseException | None = None

    async def read(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return await self._storage.read(sql, parameters)

    async def write(self, *statements: Any) -> None:
        await self._storage.write(*statements)
        if self.fails is not None:
            raise self.fails


async def test_a_revocation_that_broke_off_after_it_was_written_is_a_revocation(ctx: Context, storage: Storage) -> None:
    store = Failing(storage)
    parts = Parts(attrs.evolve(ctx, store=store), AuthConfig(password=CHEAP))
    key_id, text = await a_key(parts)
    store.fails = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await parts.accounts.keys.revoke(parts.accounts.ledger, key_id)
    store.fails = None
    await parts.accounts.ledger.catch_up()
    assert parts.accounts.keys.find(text) is None


async def test_keeping_says_once_that_it_fails_and_goes_on_when_it_can(
    ctx: Context, storage: Storage, clock: ManualClock, capfd: pytest.CaptureFixture[str]
) -> None:
    store = Failing(storage)
    parts = Parts(attrs.evolve(ctx, store=store), AuthConfig(password=CHEAP))
    key_id, text = await a_key(parts)
    keeping = asyncio.create_task(parts.accounts.keep())
    by_key = KeyAuthenticator(parts.accounts.keys, clock, Counter())
    store.fails = PlantroomError("the disk is full")
    for _ in range(3):
        assert by_key.authenticate(call_of(headers={"X-API-Key": text})) is not None
        await ticking(clock, SAVE_EVERY_S + LOOK_EVERY_S)
    store.fails = None
    assert by_key.authenticate(call_of(headers={"X-API-Key": text})) is not None
    await ticking(clock, SAVE_EVERY_S + LOOK_EVERY_S)
    keeping.cancel()
    said = capfd.readouterr().out
    assert (said.count("accounts_not_kept"), said.count("accounts_kept")) == (1, 1)
    ((used_at,),) = await storage.read("SELECT used_at FROM auth_keys WHERE id = ?", (key_id,))
    assert used_at > 1_700_000_000 + 3 * SAVE_EVERY_S


async def ticking(clock: ManualClock, seconds: float) -> None:
    """Let a task that sleeps on the clock and reads a database have each of its turns."""
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        await clock.advance(LOOK_EVERY_S)
        async with asyncio.timeout(5):
            while not clock._sleepers or all(future.done() for _at, future in clock._sleepers):
                await asyncio.sleep(0)


async def test_what_another_process_changed_is_read_before_the_next_change(parts: Parts, storage: Storage) -> None:
    key_id, text = await a_key(parts)
    await storage.write(("DELETE FROM auth_keys WHERE id = ?", [(key_id,)]), REVISED)
    assert parts.accounts.keys.find(text) is not None
    with pytest.raises(KeyNotFound):
        await parts.accounts.keys.change(parts.accounts.ledger, key_id, {"name": "x"})
    assert parts.accounts.keys.find(text) is None


async def test_a_ledger_reads_only_what_has_changed(storage: Storage) -> None:
    loaded: list[object] = []

    async def load(store: object) -> None:
        loaded.append(store)

    ledger = Ledger(storage, [load])
    for _ in range(3):
        await ledger.catch_up()
    assert len(loaded) == 1
    await storage.write(REVISED)
    await ledger.catch_up()
    assert len(loaded) == 2


async def test_when_sessions_were_used_is_not_lost_as_another_process_changes_something(
    parts: Parts, storage: Storage, clock: ManualClock
) -> None:
    await parts.user()
    signed_in = await parts.signed_in()
    await clock.advance(100)
    parts.accounts.sessions.used(signed_in.session)
    await storage.write(REVISED)
    await parts.accounts.ledger.catch_up()
    session = parts.accounts.sessions.find(signed_in.value)
    assert session is not None
    assert session.used_at == clock.utc()


async def test_there_are_no_more_sessions_than_there_may_be(parts: Parts, clock: ManualClock) -> None:
    sessions = Sessions(clock, SessionOptions(per_user=2), most=4)
    values = []
    for number in range(6):
        await parts.user(f"user{number}")
        _session, value = await sessions.begin(
            parts.accounts.ledger, f"user{number}", address="10.0.0.1", agent="", still=lambda: None
        )
        values.append(value)
        await clock.advance(1)
    assert [sessions.find(value) is not None for value in values] == [False, False, True, True, True, True]
    assert len(await parts.ctx.store.read("SELECT id FROM auth_sessions")) == 4


async def test_a_known_key_costs_a_look_into_a_dictionary(parts: Parts) -> None:
    """Nothing is hashed or looked up again."""
    _id, text = await a_key(parts)
    by_key = KeyAuthenticator(parts.accounts.keys, parts.ctx.clock, Counter())
    call = call_of(headers={"X-API-Key": text})
    assert by_key.authenticate(call) is by_key.authenticate(call)
    found: list[str] = []
    parts.accounts.keys.find = found.append  # type: ignore[method-assign,assignment]
    assert by_key.authenticate(call) is not None
    assert found == []


async def test_headers_that_spell_one_key_differently_take_bounded_memory(parts: Parts) -> None:
    _id, text = await a_key(parts)
    by_key = KeyAuthenticator(parts.accounts.keys, parts.ctx.clock, Counter())
    for spaces in range(REMEMBERED + 10):
        call = call_of(headers={"Authorization": f"Bearer {' ' * spaces}{text}"})
        assert by_key.authenticate(call) is not None
    assert len(by_key._by_bearer) <= REMEMBERED


async def test_keys_that_are_wrong_are_not_remembered(parts: Parts) -> None:
    failures = Counter[str]()
    by_key = KeyAuthenticator(parts.accounts.keys, parts.ctx.clock, failures)
    for number in range(1000):
        assert by_key.authenticate(call_of(headers={"X-API-Key": f"plr_wrong{number}"})) is None
    assert by_key._by_key == {}
    assert failures["key"] == 1000


@pytest.mark.parametrize(
    ("path", "method", "peer", "known"),
    [
        ("/metrics", "GET", "10.1.2.3", True),
        ("/metrics", "HEAD", "10.1.2.3", True),
        ("/metrics", "GET", "192.0.2.1", False),
        ("/metrics", "POST", "10.1.2.3", False),
        ("/api/v1/devices", "GET", "10.1.2.3", False),
    ],
)
def test_figures_and_nothing_else_are_read_from_networks_that_are_named(
    path: str, method: str, peer: str, known: bool
) -> None:
    async def handler(_request: object) -> None: ...

    call = call_of(method, path, peer=peer)
    call.route = Route("GET", path, handler, "It")
    networks = MetricsOptions(("10.0.0.0/8",)).parsed
    principal = MetricsAuthenticator(networks).authenticate(call)
    assert (principal is not None) is known
    if principal is not None:
        assert (principal.kind, principal.role) == (PrincipalKind.NETWORK, Role.VIEWER)


async def test_the_figures_are_read_without_a_key_from_there(open_house: OpenHouse) -> None:
    house = await open_house("plugins: {auth: {metrics: {networks: [127.0.0.0/8]}}}")
    assert (await house.ask("GET", "/metrics")).status == 200
    assert (await house.ask("GET", "/api/v1/devices")).status == 401


async def test_more_passwords_than_can_wait_are_turned_away() -> None:
    passwords = Passwords(CHEAP)
    outcomes = await asyncio.gather(*(passwords.hash("x") for _ in range(WAITING_MOST + 5)), return_exceptions=True)
    assert sum(isinstance(each, SignInBusy) for each in outcomes) == 5
    assert sum(isinstance(each, str) for each in outcomes) == WAITING_MOST
    passwords.close()
    passwords.close()


async def test_what_could_not_be_compared_does_not_count_as_wrong(parts: Parts) -> None:
    async def busy(_password: str, _hashed: str | None) -> bool:
        raise SignInBusy("Too many.")

    parts.plugin.passwords.is_right = busy  # type: ignore[method-assign]
    for _ in range(50):
        with pytest.raises(SignInBusy):
            await parts.signed_in()


@pytest.fixture
def _without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Python not find what the extra installs."""
    find = builtins.__import__

    def hide(name: str, *arguments: Any, **named: Any) -> Any:
        if name.partition(".")[0] in ("argon2", "pyotp", "zxcvbn"):
            raise ImportError(f"No module named {name!r}")
        return find(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", hide)


@pytest.mark.usefixtures("_without_libraries")
async def test_keys_work_without_the_extra_and_for_users_it_is_named(open_house: OpenHouse) -> None:
    house = await open_house()
    assert (await house.make_key())["key"]
    for answer in (
        await house.admin("POST", "/users", {"name": "ada", "password": PASSWORD, "role": "viewer"}),
        await house.login(),
    ):
        assert (answer.status, answer.json["code"]) == (503, "auth.extra_missing")
        assert "pip install 'plantroom[auth]'" in answer.json["detail"]
        assert answer.headers["Retry-After"] == "3600"


@pytest.mark.usefixtures("_without_libraries")
def test_the_parts_name_the_extra() -> None:
    from plugins.auth import totp

    passwords = Passwords(CHEAP)
    for work in (
        lambda: passwords.hash_now("x"),
        lambda: passwords.judge_now(PASSWORD, "ada"),
        totp.new_secret,
        lambda: totp.step_of("x", "1", 0, after=0),
    ):
        with pytest.raises(ExtraMissing):
            work()


def test_a_password_is_judged_within_bounded_time() -> None:
    began = time.perf_counter()
    for password in ("ab1c" * 64, "aA1!" * 64, "a" * 256):
        try:
            Passwords(CHEAP).judge_now(password, "ada")
        except PasswordUnfit as unfit:
            assert password not in str(unfit.errors)
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"session": {"idle": 0}}, "more than 0"),
        ({"session": {"per_user": 0}}, "1"),
        ({"password": {"min_length": 7}}, "8"),
        ({"password": {"memory": 1024}}, "7168"),
        ({"metrics": {"networks": ["10.0.0.1/8"]}}, "expected a network"),
        ({"origins": ["bms.example"]}, "expected an origin"),
        ({"origins": ["https://bms.example/"]}, "expected an origin"),
        ({"bootstrap": "x"}, "extra keys"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(vol.Invalid, match=says):
        vol.Schema(SCHEMA)(options)


def test_origins_are_compared_in_lower_case() -> None:
    assert vol.Schema(SCHEMA)({"origins": ["HTTPS://BMS.example:8443"]}) == {"origins": ["https://bms.example:8443"]}


def test_a_key_of_the_environment_that_is_too_short_is_a_mistake_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, "too-short")
    (tmp_path / "a.yaml").write_text("plugins:\n  auth:\n", encoding="utf-8")
    assert main(["check", "--config", str(tmp_path / "a.yaml")]) == 2
    said = capsys.readouterr().err
    assert f"a.yaml:2: plugins.auth: {VARIABLE} in the environment has 9 characters" in said
    assert "too-short" not in said


async def test_a_reload_with_other_options_keeps_everybody_signed_in(open_house: OpenHouse) -> None:
    house: House = await open_house()
    await house.make_user()
    browser = await house.browser()
    await house.running.reload(
        "plugins: {auth: {session: {idle: 60}, password: {memory: 7168, iterations: 1, parallelism: 1}}}"
    )
    me = await house.by(browser, "GET", "/me")
    assert (me.status, me.json["idle_expires_at"]) == (200, "2023-11-14T22:14:20.000Z")
    assert await house.with_key(house.key) == 200
