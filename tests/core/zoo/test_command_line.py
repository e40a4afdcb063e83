"""Plugins that are bad at being asked for their commands: the others keep theirs, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.plugin import CliCommand, Plugin, hookimpl
from core.settings import PluginEntry
from core.subcommands import ASK_TIMEOUT_S, commands_of

released = threading.Event()


@pytest.fixture(autouse=True)
def _release() -> Iterator[None]:
    released.clear()
    yield
    released.set()


def raises(_self: Any) -> Any:
    raise RuntimeError("boom")


def exits(_self: Any) -> Any:
    raise SystemExit(3)


def interrupts(_self: Any) -> Any:
    raise KeyboardInterrupt


def hangs(_self: Any) -> Any:
    released.wait()


def times_out(_self: Any) -> Any:
    raise TimeoutError("the server")


def mistakes(_self: Any) -> Any:
    return ["a command"]


BAD: Mapping[str, tuple[Any, str]] = {
    "raises": (raises, "boom"),
    "exits": (exits, "it called sys.exit()"),
    "interrupts": (interrupts, "it raised KeyboardInterrupt"),
    "hangs": (hangs, f"it did not answer within {ASK_TIMEOUT_S:g} s"),
    "times_out": (times_out, "the server"),
    "mistakes": (mistakes, "register_commands must answer CliCommands, not str"),
}


def entry(name: str, answer: Any) -> PluginEntry:
    cls = type("Asked", (Plugin,), {"register_commands": hookimpl(answer)})
    return PluginEntry(name=name, use=name, plugin_class=cls, config={})


def backup(_self: Any) -> list[CliCommand]:
    return [CliCommand("backup", "Back up", lambda _arguments: 0)]


@pytest.mark.parametrize("how", BAD)
def test_a_plugin_that_cannot_answer_is_left_out_and_named_with_the_reason(tmp_path: Path, how: str):
    answer, says = BAD[how]
    warnings: list[str] = []
    commands = commands_of([entry("bad", answer), entry("good", backup)], tmp_path, taken=["run"], warn=warnings.append)
    assert list(commands) == ["backup"]
    assert warnings == [f"plugin 'bad' has no commands now: {says}"]


def test_a_command_that_is_taken_is_left_out_and_both_are_named(tmp_path: Path):
    warnings: list[str] = []
    run = CliCommand("run", "Run", lambda _arguments: 0)
    entries = [entry("first", backup), entry("second", backup), entry("third", lambda _self: [run])]
    commands = commands_of(entries, tmp_path, taken=["run"], warn=warnings.append)
    assert list(commands) == ["backup"]
    assert warnings == [
        "plugin 'second': its command 'backup' is left out, first has one of this name",
        "plugin 'third': its command 'run' is left out, plantroom itself has one of this name",
    ]
