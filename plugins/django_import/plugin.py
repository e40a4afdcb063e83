"""The plugin: offers `plantroom import-django`, and does nothing while Plantroom runs."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.plugin import CliCommand, Plugin, hookimpl
from plugins.django_import.inventory import Inventories, inventories
from plugins.django_import.known import looked_at, opened
from plugins.django_import.plan import Plan, plan
from plugins.django_import.reader import Unreadable, read
from plugins.django_import.report import lines

DONE, FAILED, REFUSED = 0, 1, 2
_INSTANCE = re.compile(r"[a-z0-9_-]+")


class DjangoImportPlugin(Plugin[dict[str, Any]]):
    """Takes over the devices and points that the Django application knew."""

    @hookimpl
    def register_commands(self) -> Iterable[CliCommand]:
        summary = "take devices and points over from lists that the Django application exported"
        return [CliCommand("import-django", summary, self._run, _add_arguments)]

    def _run(self, options: argparse.Namespace) -> int:
        try:
            export = read(options.file)
        except (Unreadable, OSError) as error:
            sys.stderr.write(f"plantroom import-django: {error}\n")
            return REFUSED
        made = inventories(export, options.plugin)
        looked = asyncio.run(self._look(made, options.plugin))
        sys.stdout.writelines(f"{line}\n" for line in lines(export, made, looked))
        if looked.refused and not options.skip_bad:
            sys.stdout.write("Nothing was changed. Correct what was refused, or leave it out with --skip-bad.\n")
            return FAILED
        if not looked.inventories:
            sys.stdout.write("There is nothing to do.\n")
        elif options.apply:
            asyncio.run(self._apply(made, options.plugin))
            sys.stdout.write("Done; Plantroom polls them from its next start.\n")
        else:
            sys.stdout.write("Nothing was changed; --apply does it, while Plantroom is stopped.\n")
        return DONE

    async def _look(self, made: Inventories, plugin: str) -> Plan:
        async with looked_at(self.ctx.data_dir, self.ctx.clock) as registry:
            return plan(made, registry, plugin)

    async def _apply(self, made: Inventories, plugin: str) -> None:
        """Do what a plan says that is made under the directory's lock, in one transaction."""
        async with opened(self.ctx.data_dir, self.ctx.clock) as (registry, save):
            registry.put(plan(made, registry, plugin).inventories)
            await save()


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="the exported list, JSON or CSV")
    parser.add_argument(
        "--plugin", type=_instance, default="bacnet", help="the plugin instance that is to poll them (default: bacnet)"
    )
    parser.add_argument("--apply", action="store_true", help="do it; otherwise it is only shown what would be done")
    parser.add_argument("--skip-bad", action="store_true", help="leave out what is refused, and take the rest over")


def _instance(text: str) -> str:
    if _INSTANCE.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a plugin: a-z, 0-9, _ and - are")
    return text
