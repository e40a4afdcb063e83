"""Collects the subcommands that plugins add to the command line, from plugins that are built but not started."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn

import pluggy

from core import hookspecs
from core.catalog import Catalog, Origin
from core.clock import SystemClock
from core.defaults import in_memory_services
from core.errors import ConfigError, PluginError
from core.events import EventBus
from core.owner import refuse_exit
from core.plugin import CliCommand, Context, logger
from core.settings import PluginEntry, read
from core.source import Mark, Source

ASK_TIMEOUT_S = 2.0


def commands_of(
    entries: Sequence[PluginEntry], data_dir: Path, *, taken: Iterable[str], warn: Callable[[str], None]
) -> dict[str, CliCommand]:
    """Ask plugins for their commands; of those with one name the first counts.

    A plugin that cannot answer is left out, and ``warn`` is told why; so is a command whose name is ``taken``.
    """
    commands: dict[str, CliCommand] = {}
    owners = dict.fromkeys(taken, "plantroom itself")
    for entry in entries:
        if not entry.enabled:
            continue
        try:
            answered = _bounded(functools.partial(_ask, entry, data_dir))
        except Exception as error:  # a plugin's code: its failure must not take the other commands away
            warn(f"plugin '{entry.name}' has no commands now: {error}")
            continue
        for command in answered:
            owner = owners.setdefault(command.name, entry.use)
            if owner == entry.use:
                commands.setdefault(command.name, command)
            else:
                warn(f"plugin '{entry.name}': its command '{command.name}' is left out, {owner} has one of this name")
    return commands


def bundled_at_defaults(catalog: Catalog) -> Iterator[PluginEntry]:
    """Give the bundled plugins as a file of nothing but their names would; those that need options are left out."""
    for name in catalog.names():
        if catalog.find(name).origin is Origin.BUNDLED:
            try:
                yield from read(Source({"plugins": {name: None}}, {(): Mark(Path(), 1)}), catalog).plugins
            except ConfigError:
                continue


def _bounded(ask: Callable[[], list[CliCommand]]) -> list[CliCommand]:
    """Run a plugin's code in a thread, for so long at most; raises what it raises, and PluginError for sys.exit()."""
    outcome: Future[list[CliCommand]] = Future()

    def work() -> None:
        try:
            try:
                outcome.set_result(ask())
            except BaseException as error:  # a plugin's code, SystemExit included
                refuse_exit(error)
                raise
        except Exception as error:  # handed to who asked
            outcome.set_exception(error)

    threading.Thread(target=work, name="ask:register_commands", daemon=True).start()
    try:
        return outcome.result(ASK_TIMEOUT_S)
    except TimeoutError:
        if outcome.done():
            raise
        raise PluginError(f"it did not answer within {ASK_TIMEOUT_S:g} s") from None


def _ask(entry: PluginEntry, data_dir: Path) -> list[CliCommand]:
    if entry.plugin_class is None:
        raise entry.error or PluginError(f"plugin '{entry.name}' is not loaded")
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(entry.plugin_class(entry.config, unstarted_context(entry.name, data_dir)), entry.name)
    answered = [command for answer in manager.hook.register_commands() for command in answer]
    for command in answered:
        if not isinstance(command, CliCommand):
            raise PluginError(f"register_commands must answer CliCommands, not {type(command).__name__}")
    return answered


class _Unstarted:
    """Stands where the kernel would be."""

    async def read(self, _sql: str, _parameters: tuple[Any, ...] = ()) -> NoReturn:
        _not_running()

    async def write(self, *_statements: object) -> NoReturn:
        _not_running()

    def device(self, _device_id: str) -> NoReturn:
        _not_running()

    def point(self, _point_id: str) -> NoReturn:
        _not_running()

    async def carry_out(self, _deed: object, _run: object) -> NoReturn:
        _not_running()


def _not_running(*_arguments: object) -> NoReturn:
    raise PluginError("Plantroom is not running: a command can use the plugin's own means only")


def unstarted_context(name: str, data_dir: Path) -> Context:
    """Make what a plugin is lent that is built only to be asked."""
    clock = SystemClock()
    return Context(
        name=name,
        log=logger(name),
        clock=clock,
        services=in_memory_services(clock),
        events=EventBus(),
        store=_Unstarted(),
        commands=_Unstarted(),
        data_dir=data_dir,
        publish=_not_running,
        seen=_not_running,
    )
