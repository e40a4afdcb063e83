"""The authoring plugin: offers `plantroom new-plugin`, and needs no entry in any configuration for it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.plugin import CliCommand, Plugin, hookimpl
from plugins.authoring.naming import problem_with
from plugins.authoring.scaffold import Kind, write

DONE, FAILED, REFUSED = 0, 1, 2


class AuthoringPlugin(Plugin[dict[str, Any]]):
    """Writes the beginnings of a plugin, with tests that pass, into a folder of its own."""

    @hookimpl
    def register_commands(self) -> Iterable[CliCommand]:
        return [CliCommand("new-plugin", "begin a plugin of your own, in a new folder", _new_plugin, _add_arguments)]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="its name, and that of the folder: a-z, 0-9, - and _")
    parser.add_argument(
        "--kind",
        choices=[kind.value for kind in Kind],
        default=Kind.PROTOCOL.value,
        help="what it begins as: a driver for devices, a wrapper of requests, or a cache (default: protocol)",
    )


def _new_plugin(options: argparse.Namespace) -> int:
    problem = problem_with(options.name)
    if problem is not None:
        print(f"plantroom new-plugin: {problem}", file=sys.stderr)
        return REFUSED
    folder = Path(options.name)
    try:
        write(folder, Kind(options.kind))
    except FileExistsError:
        print(
            f"plantroom new-plugin: ./{folder} is there already, and nothing was changed; choose another name, "
            "or start from another folder",
            file=sys.stderr,
        )
        return FAILED
    print(f"./{folder} is a {options.kind} plugin that works. Next:")
    print(f"    pytest {folder}             its tests pass, without installing it")
    print(f"    pip install -e ./{folder}   Plantroom finds it from now on")
    print(f"    {folder}/README.md          says what to change first")
    return DONE
