"""The command ``plantroom``: reads its arguments, and turns every error into a line and an exit code."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
import structlog
import voluptuous as vol

import core
from core import log, process, validators
from core.catalog import BUNDLED_PACKAGE, CUSTOM_PACKAGE, Catalog
from core.certificates import load as load_certificate
from core.config import load
from core.errors import ConfigError, PlantroomError
from core.plugin import CliCommand
from core.production import exposed
from core.settings import LogSettings, PluginEntry, Settings, read
from core.source import Fault, Source
from core.subcommands import bundled_at_defaults, commands_of
from core.validators import MAX_PORT

DONE, FAILED, REFUSED = 0, 1, 2
DEFAULT_CONFIG = Path("plantroom.yaml")
DEMO_CONFIG = Path(core.__file__).resolve().parents[1] / BUNDLED_PACKAGE / "demo.yaml"


@attrs.frozen
class Installation:
    """What ``--config`` and ``--data-dir`` say; no file given and none at the default place: ``files`` is empty."""

    files: tuple[Path, ...]
    data_dir: Path | None

    @property
    def catalog(self) -> Catalog:
        """All plugins that there are, the house's own beside its first file, or in this folder for the demo."""
        return self.catalog_after(None)

    def catalog_after(self, before: Catalog | None) -> Catalog:
        """All plugins that there are now, those that are unchanged as they were imported before."""
        first = next((file for file in self.files if file != DEMO_CONFIG), DEFAULT_CONFIG)
        return Catalog(first.parent / CUSTOM_PACKAGE, before=before)

    def settings(
        self, *, host: str | None = None, port: int | None = None, catalog: Catalog | None = None
    ) -> tuple[Settings, Source]:
        """Read the configuration; raises ConfigError."""
        if not self.files:
            raise ConfigError(
                [f"there is no ./{DEFAULT_CONFIG}; name a file by --config FILE, or see a building by --demo"]
            )
        source = load(self.files)
        return read(source, catalog or self.catalog, host=host, port=port, data_dir=self.data_dir), source


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 bad usage or configuration."""
    try:
        _insist_on_our_plugins()
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except ConfigError as error:
        _say(*error.problems)
        return REFUSED
    except PlantroomError as error:
        _say(f"plantroom: {error.detail}")
        return FAILED
    except BrokenPipeError:  # whoever read our output has left; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        _say(f"plantroom: {error}")
        return FAILED
    except KeyboardInterrupt:
        return FAILED
    except SystemExit as end:  # argparse: help was shown, or the usage
        return end.code if isinstance(end.code, int) else FAILED
    return code


def _dispatch(arguments: list[str]) -> int:
    everywhere = argparse.ArgumentParser(prog="plantroom", parents=[_everywhere()], add_help=False, allow_abbrev=False)
    given, rest = everywhere.parse_known_args(arguments)
    files = (*((DEMO_CONFIG,) if given.demo else ()), *given.config)
    files = files or ((DEFAULT_CONFIG,) if DEFAULT_CONFIG.exists() else ())
    installation = Installation(files, given.data_dir)
    name = _command_in(rest)
    log.configure(LogSettings(level="info" if name == "run" else "warning"))
    if name in BUILT_IN or "--version" in rest:
        options = _parser({}).parse_args(rest)
        return BUILT_IN[options.command].run(installation, options)
    commands = _plugin_commands(installation, forgiving=name is None)
    options = _parser(commands).parse_args(rest)
    if options.command in commands:
        return commands[options.command].run(options)
    return BUILT_IN[options.command].run(installation, options)


def _plugin_commands(installation: Installation, *, forgiving: bool) -> Mapping[str, CliCommand]:
    """Collect plugins' commands: those of the configuration, and of the bundled plugins that it leaves out.

    ``forgiving`` where only help is shown, for which no configuration is needed.
    """
    entries: list[PluginEntry] = []
    data_dir = (installation.data_dir or Path("data")).absolute()
    if installation.files:
        try:
            settings, _source = installation.settings()
        except ConfigError:
            if not forgiving:
                raise
            _say("plantroom: plugins' commands are not listed, the configuration has mistakes; see `plantroom check`")
            return {}
        entries, data_dir = [entry for entry in settings.plugins if entry.enabled], settings.data_dir
    used = {entry.use for entry in entries}
    entries += [entry for entry in bundled_at_defaults(Catalog()) if entry.use not in used]
    return commands_of(entries, data_dir, taken=BUILT_IN, warn=_say)


# arguments


def _everywhere() -> argparse.ArgumentParser:
    """Make the options that may stand before and behind any command."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help=f"the configuration; a further file overlays those before it (default: ./{DEFAULT_CONFIG})",
    )
    parser.add_argument(
        "--demo", action="store_true", help="the demo's configuration, a simulated building; --config overlays it"
    )
    parser.add_argument("--data-dir", metavar="DIR", type=Path, help="where data is kept; wins over data_dir")
    return parser


def _serving(default: object = argparse.SUPPRESS) -> argparse.ArgumentParser:
    """Make the options of commands that serve; suppressed behind the command, so that one before it counts too."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=default)
    parser.add_argument("--host", type=_host, help="the address to serve on; wins over http.host")
    parser.add_argument("--port", type=_port, help="the TCP port to serve on, 0 for any; wins over http.port")
    return parser


def _host(text: str) -> str:
    try:
        return validators.host(text)
    except vol.Invalid as invalid:
        raise argparse.ArgumentTypeError(f"{invalid}, not {text!r}") from None


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT)) and int(text) <= MAX_PORT:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a port from 0 to {MAX_PORT}, not {text!r}")


def _command_in(arguments: Sequence[str]) -> str | None:
    words = iter(arguments)
    for word in words:
        if word in ("--host", "--port"):
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def _parser(commands: Mapping[str, CliCommand]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plantroom",
        description="Every protocol of a building in one room: one YAML file, one REST API.",
        parents=[_everywhere(), _serving(None)],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"plantroom {core.__version__}")
    sub = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, own in BUILT_IN.items():
        parents = [_everywhere(), _serving()] if own.serves else [_everywhere()]
        own.arguments(sub.add_parser(name, help=own.summary, description=own.summary, parents=parents))
    for name, command in commands.items():
        command.arguments(
            sub.add_parser(name, help=command.summary, description=command.summary, parents=[_everywhere()])
        )
    return parser


# commands


def _run(installation: Installation, options: argparse.Namespace) -> int:
    catalog = installation.catalog

    def reread() -> Settings:
        nonlocal catalog
        catalog = installation.catalog_after(catalog)
        settings, source = installation.settings(host=options.host, port=options.port, catalog=catalog)
        _warn_of_exposed(source, settings)
        return settings

    settings, source = installation.settings(host=options.host, port=options.port, catalog=catalog)
    log.configure(settings.log)
    _warn_of_exposed(source, settings)
    return process.run(settings, reread)


def _warn_of_exposed(source: Source, settings: Settings) -> None:
    for file in exposed(source, settings.http):
        structlog.get_logger().warning("secrets_readable_by_others", file=str(file), remedy=f"chmod 600 {file}")


def _check(installation: Installation, options: argparse.Namespace) -> int:
    settings, source = installation.settings(host=options.host, port=options.port)
    unfit = _unfit(source, settings) if options.production else []
    _say(*map(str, unfit))
    failed = [entry for entry in settings.plugins if entry.error is not None]
    for entry in failed:
        _say(str(source.fault(entry.path, str(entry.error))))
    if settings.http.tls is not None and not unfit:
        load_certificate(settings.http.tls)
    count = sum(entry.enabled for entry in settings.plugins)
    but = f", {len(failed)} of them cannot be loaded" if failed else ""
    no = f", {len(unfit)} thing{'' if len(unfit) == 1 else 's'} should not reach production" if unfit else ""
    print(f"configuration is valid: {count} plugin{'' if count == 1 else 's'}{but}{no}")
    return FAILED if failed or unfit else DONE


def _unfit(source: Source, settings: Settings) -> list[Fault]:
    from core.inspection import inspect  # with the kernel's parts, which `check` alone does not need

    return asyncio.run(inspect(source, settings))


def _plugins(installation: Installation, _options: argparse.Namespace) -> int:
    catalog = installation.catalog
    entries = installation.settings()[0].plugins if installation.files else ()
    rows = [("NAME", "FROM", "STATE", "WHAT IT IS")]
    for name in catalog.names():
        found = catalog.find(name)
        states = ", ".join(_state(entry) for entry in entries if entry.use == name)
        rows.append((name, found.origin.value, states or "-", found.summary()))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())
    return DONE


def _openapi(installation: Installation, _options: argparse.Namespace) -> int:
    from core.description import describe

    document, left_out = asyncio.run(describe(installation.settings()[0]))
    for name, reason in left_out.items():
        _say(f"plantroom: plugin '{name}' is left out: {reason}")
    print(json.dumps(json.loads(document.json), indent=2, ensure_ascii=False))
    return FAILED if left_out else DONE


def _state(entry: PluginEntry) -> str:
    state = "disabled" if not entry.enabled else "enabled" if entry.error is None else "not loadable"
    return state if entry.name == entry.use else f"{state} as {entry.name}"


def _no_arguments(_parser: argparse.ArgumentParser) -> None:
    """A command without options of its own."""


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--production", action="store_true", help="refuse what is unfit for production, too")


@attrs.frozen
class _BuiltIn:
    summary: str
    run: Callable[[Installation, argparse.Namespace], int]
    arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments
    serves: bool = False


BUILT_IN: Mapping[str, _BuiltIn] = {
    "run": _BuiltIn("run what the configuration describes, until Ctrl-C", _run, serves=True),
    "check": _BuiltIn("check the configuration and start nothing", _check, _check_arguments, serves=True),
    "plugins": _BuiltIn("list the plugins that there are", _plugins),
    "openapi": _BuiltIn("print the OpenAPI document of what the configuration describes", _openapi),
}


def _insist_on_our_plugins() -> None:
    """Refuse to work where another package named ``plugins`` hides ours."""
    ours = Path(core.__file__).resolve().parents[1] / BUNDLED_PACKAGE
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    places = [Path(place).resolve() for place in (spec.submodule_search_locations or ())] if spec else []
    if places[:1] != [ours]:
        where = places[0] if places else "nowhere"
        raise PlantroomError(
            f"the Python package `{BUNDLED_PACKAGE}` is found at {where}, not at {ours} beside core; remove "
            "or rename the other one, or start from another folder"
        )


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)
