from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

import core
from core.plugin import Plugin
from core.process import API_KEY_VARIABLE, sign_in
from core.settings import Http, LogSettings, PluginEntry, Settings

READY = b"Plantroom is ready on http://127.0.0.1:"
LIMIT_S = 15

SLOW = '''"""A plugin that dawdles, for tests."""

import asyncio
import sys
import time
from contextlib import asynccontextmanager

import voluptuous as vol

from core.plugin import Plugin, hookimpl


class Slow(Plugin[dict]):
    schema = {vol.Optional("start"): bool, vol.Optional("stop"): bool, vol.Optional("hang"): bool}
    start_timeout_s = stop_timeout_s = 60.0

    @hookimpl
    @asynccontextmanager
    async def lifespan(self):
        print("entered", flush=True)
        if self.config.get("start"):
            await asyncio.Event().wait()
        yield
        print("left", flush=True)
        if self.config.get("hang"):
            time.sleep(60)
        if self.config.get("stop"):
            await asyncio.Event().wait()
'''

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@asynccontextmanager
async def process(folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    root = str(Path(core.__file__).parents[1])
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "core", "run", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Start]:
    (tmp_path / "custom_plugins").mkdir()
    (tmp_path / "custom_plugins" / "slow.py").write_text(SLOW, encoding="utf-8")
    async with AsyncExitStack() as stack:

        async def start(text: str, *arguments: str) -> asyncio.subprocess.Process:
            (tmp_path / "plantroom.yaml").write_text(text, encoding="utf-8")
            return await stack.enter_async_context(process(tmp_path, *arguments))

        yield start


async def line_of(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_S):
        return await process.stdout.readline()


async def end_of(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    async with asyncio.timeout(LIMIT_S):
        _out, err = await process.communicate()
    return process.returncode, err.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_run_says_when_it_is_ready_and_ends_in_good_order_on_a_signal(run: Start, number: signal.Signals) -> None:
    started = await run("plugins: {}\n", "--port", "0")
    ready = await line_of(started)
    assert ready.startswith(READY)
    assert await line_of(started) == b"no sign-in: the auth plugin is not enabled; loopback only\n"
    url = ready.decode().split()[-1]
    with await asyncio.to_thread(urllib.request.urlopen, f"{url}/healthz", timeout=5) as answer:
        assert answer.status == 200
    loop = asyncio.get_running_loop()
    began = loop.time()
    started.send_signal(number)
    started.send_signal(number)
    code, err = await end_of(started)
    assert (code, "Traceback" in err) == (0, False)
    assert loop.time() - began < 2


async def test_a_signal_while_it_starts_ends_it_too(run: Start) -> None:
    started = await run("plugins:\n  slow: {start: true}\n", "--port", "0")
    assert await line_of(started) == b"entered\n"
    started.send_signal(signal.SIGTERM)
    code, err = await end_of(started)
    assert (code, "Traceback" in err) == (0, False)


@pytest.mark.parametrize("how", ["stop", "hang"])
async def test_a_plugin_that_does_not_stop_holds_nobody_up(run: Start, how: str) -> None:
    started = await run(f"plugins:\n  slow: {{{how}: true}}\n", "--port", "0")
    while not (await line_of(started)).startswith(READY):
        pass
    loop = asyncio.get_running_loop()
    began = loop.time()
    started.send_signal(signal.SIGINT)
    code, err = await end_of(started)
    assert (code, "Traceback" in err) == (1, False)
    assert loop.time() - began < 2.3
    assert ("stopping took more than 1.7 s" in err) == (how == "stop")


async def test_a_taken_port_is_a_line_that_names_it(run: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, err = await end_of(await run("plugins: {}\n", "--port", str(port)))
    assert code == 1
    line = err.splitlines()[-1]
    assert line.startswith("plantroom: ")
    assert str(port) in line
    assert "--port" in line
    assert "Traceback" not in err


async def test_a_wrong_configuration_starts_nothing(run: Start, tmp_path: Path) -> None:
    code, err = await end_of(await run("plugins:\n  slow: {strat: true}\nsite: X\n", "--port", "0"))
    assert code == 2
    assert err == (
        "plantroom.yaml:2: plugins.slow.strat: unknown option; did you mean 'start'?\n"
        "plantroom.yaml:3: site: expected 1 to 32 of the characters a-z, 0-9 and -, not 'X'\n"
    )
    assert not (tmp_path / "data").exists()


def settings_with(*entries: PluginEntry, host: str = "127.0.0.1", data_dir: Path = Path("/data")) -> Settings:
    return Settings(Http(host), data_dir, "local", LogSettings(), entries)


AUTH = PluginEntry(name="auth", use="auth")


class Doorkeeper(Plugin[dict[str, object]]):
    """A third party's way to know who comes."""

    def register_authenticators(self) -> list[object]:
        return []


def test_how_to_sign_in_is_said_for_each_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    assert sign_in(settings_with()) == "no sign-in: the auth plugin is not enabled; loopback only"
    assert sign_in(settings_with(host="0.0.0.0")).endswith("whoever reaches this address may read and write")
    badges = PluginEntry(name="badges", use="badges", plugin_class=Doorkeeper)
    assert sign_in(settings_with(badges)) == "sign-in: as the plugin badges asks"
    with_auth = settings_with(AUTH, badges, data_dir=tmp_path)
    assert sign_in(with_auth) == "sign-in: as a user, or send a key as X-API-Key; `plantroom keys add` makes one"
    (tmp_path / "admin-key").write_text("plr_the_key\n", encoding="utf-8")
    assert sign_in(with_auth) == f"sign-in: send the key in {tmp_path}/admin-key as X-API-Key"
    monkeypatch.setenv(API_KEY_VARIABLE, "x" * 32)
    assert sign_in(with_auth) == "sign-in: send the key in the environment's PLANTROOM_API_KEY as X-API-Key"


def test_the_first_admins_key_is_shown_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(API_KEY_VARIABLE, raising=False)
    (tmp_path / "admin-key").write_text("plr_the_key\n", encoding="utf-8")
    ours, theirs = os.openpty()
    with os.fdopen(ours), os.fdopen(theirs, "w") as terminal, contextlib.redirect_stdout(terminal):
        said = sign_in(settings_with(AUTH, data_dir=tmp_path))
    assert said == f"sign-in: send plr_the_key as X-API-Key; it is kept in {tmp_path}/admin-key"


async def test_each_start_warns_of_secrets_that_others_may_read(run: Start, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.yaml"
    secrets.write_text("name: here\n", encoding="utf-8")
    for mode, warned in ((0o644, True), (0o600, False)):
        secrets.chmod(mode)
        started = await run("site: !secret name\nplugins: {}\n", "--port", "0")
        assert (await line_of(started)).startswith(READY)
        started.send_signal(signal.SIGTERM)
        _code, err = await end_of(started)
        assert ("secrets_readable_by_others" in err) is warned
        assert not warned or "chmod 600 secrets.yaml" in err
