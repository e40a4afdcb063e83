"""Plugins that are bad at being imported, built and asked: each fails alone, with a sentence that says at what."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pluggy
import pytest

from core import hookspecs
from core.asking import MANY
from core.plugin import API_VERSION

relay = pluggy.PluginManager(hookspecs.PROJECT)
relay.add_hookspecs(hookspecs)
HOOKS = sorted(name for name in vars(relay.hook) if not name.startswith("_"))

KEEPS_THE_DOOR = "register_authenticators"

IMPORTED: Mapping[str, tuple[str, str]] = {
    "raises": ("raise RuntimeError('boom')", "RuntimeError: boom"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "misspelt": ("import pymodbuss", "ModuleNotFoundError: No module named 'pymodbuss'"),
    "unfinished": ("class Bad(", "SyntaxError: '(' was never closed"),
}

BUILT: Mapping[str, tuple[str, str]] = {
    "raises": ("def __init__(self, config, ctx): raise RuntimeError('boom')", "RuntimeError: boom"),
    "exits": ("def __init__(self, config, ctx): sys.exit(3)", "its constructor raised SystemExit"),
    "hangs": ("def __init__(self, config, ctx): HANG.wait()", "its constructor did not return within 0.3 s"),
    "newer": (
        "api_version = 99",
        (
            f"it is written for plugin API 99, this Plantroom has {API_VERSION}: "
            "update Plantroom, or install an older version of the plugin"
        ),
    ),
    "slip": ("requires = 'early'", "`requires` must be a tuple of names: write ('early',)"),
}


def hook(name: str, *, does: str, word: str = "def") -> str:
    return f"@hookimpl\n{word} {name}(self): {does}"


def wrong_type(name: str) -> str:
    """Begin the sentence about an answer of the wrong type."""
    return f"{name} answered int instead of an iterable" if name in MANY else f"{name} answered int, which has no "


def test_every_hook_is_in_the_zoo():
    assert {"lifespan", "register_points", "register_driver", "provide_cache"} < set(HOOKS)


@pytest.mark.parametrize("how", IMPORTED)
async def test_a_plugin_that_cannot_be_imported_is_named_with_its_file_and_line(zoo, how: str):
    text, says = IMPORTED[how]
    house = await zoo(modules={"bad": text})
    error = (await house.plugin("bad"))["error"]
    assert error.startswith(f"plugin 'bad' cannot be imported: {says} (")
    assert re.search(r"custom_plugins/bad\.py:1\)$", error)
    await house.has_failed("bad", error)
    await house.is_well()


async def test_plugins_that_fail_as_they_are_built_fail_alone(zoo):
    house = await zoo({name: body for name, (body, _says) in BUILT.items()})
    for name, (_body, says) in BUILT.items():
        await house.has_failed(name, says)
    await house.is_well()


@pytest.mark.parametrize("name", [name for name in HOOKS if name != KEEPS_THE_DOOR])
async def test_plugins_that_fail_in_a_hook_fail_alone_and_it_is_named(zoo, name: str):
    house = await zoo(
        {
            "raises": hook(name, does="raise RuntimeError('boom')"),
            "exits": hook(name, does="sys.exit(3)"),
            "hangs": hook(name, does="HANG.wait()"),
            "mistakes": hook(name, does="return 3"),
            "awaits": hook(name, does="return []", word="async def"),
            "expects": f"@hookimpl\ndef {name}(self, everything): return []",
        }
    )
    await house.has_failed("raises", "RuntimeError: boom")
    await house.has_failed("exits", f"{name} raised SystemExit")
    await house.has_failed("hangs", f"{name} did not return within 0.3 s")
    await house.has_failed("awaits", f"{name} is a coroutine function: write it as `def`, hooks answer at once")
    mistaken, expecting = [(await house.plugin(each))["error"] for each in ("mistakes", "expects")]
    assert mistaken.startswith(wrong_type(name))
    await house.has_failed("mistakes", mistaken)
    assert re.search(rf"hook '{name}'.*Argument\(s\) \{{'everything'\}} are declared", expecting, re.DOTALL)
    await house.has_failed("expects", expecting)
    await house.is_well()


async def test_a_plugin_that_answers_a_hook_that_does_not_exist_is_told_so(zoo):
    house = await zoo({"bad": hook("register_device", does="return []")})
    error = (await house.plugin("bad"))["error"]
    assert "unknown hook 'register_device'" in error
    await house.has_failed("bad", error)
    await house.is_well()


@pytest.mark.parametrize("name", [name for name in HOOKS if name in MANY and name != KEEPS_THE_DOOR])
async def test_a_list_with_one_wrong_thing_in_it_is_a_wrong_answer(zoo, name: str):
    house = await zoo({"bad": hook(name, does="yield 3")})
    error = (await house.plugin("bad"))["error"]
    assert error.startswith(f"{name} answered a int where ")
    await house.has_failed("bad", error)
    await house.is_well()


@pytest.mark.parametrize("does", ["raise RuntimeError('boom')", "sys.exit(3)", "HANG.wait()", "return 3", "yield 3"])
async def test_where_what_knows_who_may_come_in_fails_nobody_comes_in(zoo, does: str):
    house = await zoo({"bad": hook(KEEPS_THE_DOOR, does=does)})
    status, shown = await house.ask("/api/v1/plugins")
    assert (status, shown["code"]) == (503, "plugin.not_running")
    assert shown["detail"] == "bad does not run, and it is what knows who may come in."
    assert (await house.ask("/api/v1/early/hello"))[0] == 503
    assert (await house.ask("/nowhere"))[0] == 503
    assert (await house.ask("/readyz"))[1]["plugins"]["bad"]["state"] == "failed"
    assert len(house.told("plugin_failed", plugin="bad")) == 1


async def test_where_the_plugin_auth_cannot_even_be_imported_nobody_comes_in(zoo):
    house = await zoo(modules={"auth": "raise RuntimeError('boom')"})
    assert (await house.ask("/api/v1/plugins"))[0] == 503
    assert (await house.ask("/healthz"))[0] == 200
