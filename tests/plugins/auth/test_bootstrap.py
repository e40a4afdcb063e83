"""The first key: made where nobody could come in otherwise, and the environment's."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from core.plugin import Context, Role
from core.security import Secret
from core.storage import FILE_NAME
from core.testing import ManualClock, StartPlantroom, running
from plugins.auth import bootstrap
from plugins.auth.bootstrap import keep_private, see_to_an_admin, write_privately
from plugins.auth.config import VARIABLE, AuthConfig, bootstrap_key
from plugins.auth.errors import KeyOfEnvironment
from plugins.auth.keys import id_in

from .house import CHEAP, YAML, House, Parts

GIVEN = "correct horse battery staple, again"


async def started(ctx: Context, environment: str | None = None) -> Parts:
    """Start the plugin's parts, as at another start over the same database."""
    parts = Parts(ctx, AuthConfig(password=CHEAP, bootstrap=None if environment is None else Secret(environment)))
    await parts.accounts.ledger.catch_up()
    await see_to_an_admin(ctx, parts.accounts.ledger, parts.accounts.keys, parts.accounts.users)
    return parts


def works(parts: Parts, key: str) -> bool:
    found = parts.accounts.keys.find(key)
    return found is not None and found[0].works_until(found[1]) > parts.ctx.clock.utc()


@pytest.mark.usefixtures("_log_as_the_program_does")
async def test_the_first_key_is_in_a_file_that_its_owner_alone_reads_and_in_no_log(
    plantroom: StartPlantroom, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    house = House(await plantroom(YAML), tmp_path / "data")
    file = house.folder / bootstrap.FILE_NAME
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert id_in(house.key) is not None
    assert (await house.admin("GET", "/me")).json["role"] == "admin"
    assert [path.name for path in house.folder.glob(".admin-key*")] == []
    (line,) = house.running.logged("key_made")
    assert line["file"] == str(file)
    said = capfd.readouterr()
    assert house.key not in said.out + said.err + str(house.running.log)


async def test_the_database_is_its_owners_alone(house: House) -> None:
    files = [path for path in house.folder.iterdir() if path.name.startswith(FILE_NAME)]
    assert len(files) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


async def test_the_first_key_works_on_over_restarts_and_no_other_is_made(tmp_path: Path) -> None:
    async with running(YAML, tmp_path) as first:
        key = House(first, tmp_path / "data").key
    async with running(YAML, tmp_path) as second:
        house = House(second, tmp_path / "data")
        assert house.key == key
        assert len((await house.admin("GET", "/api-keys")).json["items"]) == 1


async def test_what_is_in_memory_alone_is_written_down_as_it_stops(tmp_path: Path) -> None:
    async with running(YAML, tmp_path) as first:
        house = House(first, tmp_path / "data")
        await house.make_user()
        browser = await house.browser()
    async with running(YAML, tmp_path) as second:
        house = House(second, tmp_path / "data")
        (key,) = (await house.admin("GET", "/api-keys")).json["items"]
        assert key["last_used_from"] == "127.0.0.1"
        assert (await house.by(browser, "GET", "/me")).status == 200
        assert (await house.by(browser, "POST", "/logout")).status == 204
        assert (await house.by(browser, "GET", "/me")).status == 401


async def test_another_one_is_made_where_no_admin_could_come_in(ctx: Context) -> None:
    file = ctx.data_dir / bootstrap.FILE_NAME
    parts = await started(ctx)
    first = file.read_text().strip()
    (key,) = parts.accounts.keys
    await parts.accounts.keys.change(parts.accounts.ledger, key.id, {"role": Role.VIEWER})
    parts = await started(ctx)
    second = file.read_text().strip()
    assert second != first
    assert works(parts, second)
    await parts.accounts.keys.change(parts.accounts.ledger, str(id_in(second)), {"enabled": False})
    await parts.user("ada", Role.ADMIN)
    parts = await started(ctx)
    assert not file.exists()  # its key does not work any more
    assert not works(parts, second)
    await parts.accounts.users.remove(parts.accounts.ledger, "ada", unless_last=False)
    await started(ctx)
    assert file.exists()


async def test_a_file_that_is_not_ours_is_left_alone_until_a_key_is_made(ctx: Context) -> None:
    file = ctx.data_dir / bootstrap.FILE_NAME
    file.write_bytes(b"\xff notes of somebody")
    await started(ctx, GIVEN)
    assert file.read_bytes() == b"\xff notes of somebody"
    await started(ctx)
    assert id_in(file.read_text().strip()) is not None


async def test_the_environments_key_is_an_admins_named_bootstrap_for_as_long_as_it_is_set(ctx: Context) -> None:
    parts = await started(ctx, GIVEN)
    (key,) = parts.accounts.keys
    assert (key.id, key.name, key.role) == ("bootstrap", "bootstrap", Role.ADMIN)
    assert works(parts, GIVEN)
    assert not (ctx.data_dir / bootstrap.FILE_NAME).exists()
    assert await ctx.store.read("SELECT * FROM auth_keys") == []
    parts = await started(ctx, GIVEN.upper())
    assert (works(parts, GIVEN), works(parts, GIVEN.upper())) == (False, True)
    parts = await started(ctx)
    assert not works(parts, GIVEN)
    assert works(parts, (ctx.data_dir / bootstrap.FILE_NAME).read_text().strip())


async def test_the_environments_key_may_be_one_that_was_made_here(ctx: Context) -> None:
    await started(ctx)
    made = (ctx.data_dir / bootstrap.FILE_NAME).read_text().strip()
    parts = await started(ctx, made)
    found = parts.accounts.keys.find(made)
    assert found is not None
    assert found[0].id == "bootstrap"


async def test_the_environments_key_is_changed_nowhere_else(ctx: Context) -> None:
    parts = await started(ctx, GIVEN)
    keys, ledger = parts.accounts.keys, parts.accounts.ledger
    with pytest.raises(KeyOfEnvironment):
        await keys.revoke(ledger, "bootstrap")
    with pytest.raises(KeyOfEnvironment):
        await keys.change(ledger, "bootstrap", {"enabled": False})
    with pytest.raises(KeyOfEnvironment):
        await keys.rotate(ledger, "bootstrap", overlap_s=0)


async def test_the_environments_key_lets_one_in(
    plantroom: StartPlantroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    monkeypatch.setenv(VARIABLE, GIVEN)
    running_ = await plantroom(YAML, clock=clock)
    for headers in ({"X-API-Key": GIVEN}, {"Authorization": f"Bearer {GIVEN}"}):
        answer = await running_.api.get("/api/v1/auth/me", headers=headers)
        assert (answer.json["name"], answer.json["role"]) == ("bootstrap", "admin")
    for wrong in (GIVEN[:-1], GIVEN + "x", "x"):
        assert (await running_.api.get("/api/v1/auth/me", headers={"X-API-Key": wrong})).status == 401
    answer = await running_.api.delete("/api/v1/auth/api-keys/bootstrap", headers={"X-API-Key": GIVEN})
    assert (answer.status, answer.json["code"]) == (409, "auth.key_of_environment")
    assert not (tmp_path / "data" / "admin-key").exists()


@pytest.mark.parametrize("given", ["", "   "])
def test_a_variable_without_a_value_is_none(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(VARIABLE, given)
    assert bootstrap_key() is None


@pytest.mark.parametrize(
    ("given", "says"), [("x" * 31, "has 31 characters, and takes 32 at least"), ("x" * 32 + "\n\x01y", "no header")]
)
def test_a_value_that_cannot_be_used_is_told_without_the_value(
    monkeypatch: pytest.MonkeyPatch, given: str, says: str
) -> None:
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(ValueError, match=says) as refused:
        bootstrap_key()
    assert given not in str(refused.value)


def test_the_value_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f" {GIVEN}\n")
    config = AuthConfig()
    assert config.bootstrap == Secret(GIVEN)
    assert GIVEN not in repr(config)


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "admin-key").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_privately(tmp_path / "admin-key", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["admin-key"]


def test_a_file_replaces_one_that_others_could_read(tmp_path: Path) -> None:
    file = tmp_path / "admin-key"
    file.write_text("old")
    file.chmod(0o644)
    write_privately(file, "new\n")
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new\n", 0o600)


def test_a_database_that_is_not_there_yet_needs_no_care(tmp_path: Path) -> None:
    keep_private(tmp_path / FILE_NAME)
    assert not list(tmp_path.iterdir())
