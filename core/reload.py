"""Takes a changed configuration over while everything runs: only what changed, and what needs it, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

import attrs
import structlog

from core.clock import Clock
from core.differences import Action, Change, Differences, changes_between, differences
from core.errors import ConfigError, Conflict, Example, PlantroomError, PluginError, any_of
from core.events import EventBus
from core.jobs import MemoryJobs
from core.manager import Host, LoadedPlugin, PluginManager, PluginState
from core.poller import Poller
from core.registry import Registry
from core.services import Services
from core.settings import Settings

READ_TIMEOUT_S = 30.0
FINISH_REQUESTS_S = 5.0
AS_BEFORE = "Everything runs as before."


class ReloadRefused(Conflict):
    """The configuration cannot be taken over; nothing was changed, everything runs as before."""

    code = "reload.refused"
    title = "The configuration was not taken over"
    causes = any_of(
        "The file has a mistake; `problems` has a line for each, as `plantroom check` prints them.",
        "A plugin cannot be imported or built, or two do not fit together: a route, a job or a service twice.",
        "Who may reach the API would change: that takes a restart.",
        "Another reload is under way.",
    )
    remedy = "Correct what `problems` names, try it with dry_run=true, and reload again."
    example = Example(
        f"site.yaml:14: plugins.bacnet.intervall: unknown option; did you mean 'interval'? {AS_BEFORE}",
        "/api/v1/system/reload",
        extra={"problems": ["site.yaml:14: plugins.bacnet.intervall: unknown option; did you mean 'interval'?"]},
    )

    def __init__(self, problems: Iterable[str]) -> None:
        told = list(problems)
        super().__init__(f"{_sentence(told[0])} {AS_BEFORE}", extra={"problems": told})


class ReloadUndone(Conflict):
    """A plugin did not start with the new configuration; those that had been stopped run again with the old one."""

    code = "reload.undone"
    title = "The reload was undone"
    causes = any_of(
        "What a plugin needs at its start cannot be had: a port that is taken, a server that does not answer.",
        "A plugin refused its new options only when it was started, or did not start in time.",
    )
    remedy = "See the plugin's error in `problems` and in the log, mend it, and reload again."
    example = Example(
        f"bacnet: UDP port 47808 of 192.168.1.10 is taken by another program. {AS_BEFORE}",
        "/api/v1/system/reload",
        extra={"problems": ["bacnet: UDP port 47808 of 192.168.1.10 is taken by another program."]},
    )

    def __init__(self, problems: Iterable[str], *, lost: Iterable[str]) -> None:
        told, gone = list(problems), list(lost)
        rest = f"All else runs as before, but {', '.join(gone)} did not start again." if gone else AS_BEFORE
        super().__init__(f"{_sentence(told[0])} {rest}", extra={"problems": told})


class House(Host, Protocol):
    """What a reload changes: the kernel."""

    settings: Settings
    manager: PluginManager
    clock: Clock
    events: EventBus
    registry: Registry
    poller: Poller
    defaults: Services

    def hold(self, prefixes: Iterable[str]) -> None:
        """Let requests whose path begins like this wait until the house is `opened`."""
        ...

    def rehearse(self, manager: PluginManager, plugins: Iterable[LoadedPlugin]) -> None:
        """See whether these would fit together; raises PlantroomError where they do not."""
        ...

    async def migrate(self, manager: PluginManager) -> None:
        """Bring the tables of plugins that are about to start up to date; those that cannot be have failed."""
        ...

    async def use(self, manager: PluginManager, settings: Settings) -> None:
        """Let these plugins be those of the house, before they start."""
        ...

    async def opened(self) -> None:
        """Serve what runs now."""
        ...


class Reload:
    """Reads the configuration again and makes the house follow; one at a time."""

    def __init__(self, house: House, reread: Callable[[], Settings]) -> None:
        self._house = house
        self._reread = reread
        self._lock = asyncio.Lock()

    async def __call__(self, *, dry_run: bool) -> Differences:
        """Say what changes, and unless it is a ``dry_run`` change it.

        Raises ReloadRefused with nothing changed, and ReloadUndone with everything put back.
        """
        if self._lock.locked():
            raise ReloadRefused(["Another reload is under way; try again when it has ended."])
        log = structlog.get_logger()
        async with self._lock:
            try:
                found = await self._reload(dry_run=dry_run)
            except ReloadRefused as error:
                if not dry_run:
                    log.warning("reload_refused", **error.extra)
                raise
            except ReloadUndone as error:
                log.warning("reload_undone", **error.extra)
                raise
        if not dry_run:
            log.info("reloaded", plugins={change.plugin: change.action for change in found.plugins})
        return found

    async def _reload(self, *, dry_run: bool) -> Differences:
        house = self._house
        settings = await self._read()
        await house.manager.buried()
        changes = changes_between(house.manager, settings)
        kept = [plugin for plugin in house.manager if plugin.name not in changes]
        after = PluginManager(settings.plugins, house.events, running=kept)
        try:
            found = await self._foreseen(after, settings, changes, dry_run=dry_run)
            if not dry_run:
                await self._change_over(after, _kept(house.settings, settings), changes)
        finally:
            if house.manager is not after:
                await after.discard()
        return found

    async def _read(self) -> Settings:
        """Read and check the configuration, in a thread: files may be slow, and plugins are imported."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                settings = await asyncio.to_thread(self._reread)
        except ConfigError as error:
            raise ReloadRefused(error.problems) from error
        except TimeoutError:
            raise ReloadRefused([f"The configuration could not be read within {READ_TIMEOUT_S:g} s."]) from None
        kept = _kept(self._house.settings, settings)
        if not (kept.http.loopback or kept.http.allow_unauthenticated or kept.authenticated):
            where = f"at {kept.http.host}, which other machines can reach"
            when = "http.host changes only when Plantroom is started again"
            raise ReloadRefused([f"Nobody would have to sign in any more {where}: {when}."])
        return settings

    async def _foreseen(
        self, after: PluginManager, settings: Settings, changes: dict[str, Change], *, dry_run: bool
    ) -> Differences:
        """Build the plugins that are to start, and say what that changes; raises ReloadRefused where one is not fit."""
        house = self._house
        await after.load(house.context)
        broken = [_told(plugin) for plugin in after if plugin.state is PluginState.FAILED and not _lame(house, plugin)]
        if broken:
            raise ReloadRefused(broken)
        try:
            _refuse_another_leader(house.manager, after)
            after.choose_services(attrs.evolve(house.defaults))
            _refuse_taken_job_kinds(house, after)
            house.rehearse(after, [plugin for plugin in after if plugin.instance is not None])
            return differences(
                house.manager, after, changes,
                registry=house.registry, poller=house.poller, settings=(house.settings, settings), dry_run=dry_run,
            )  # fmt: skip
        except ConfigError as error:
            raise ReloadRefused(error.problems) from error
        except PlantroomError as error:
            raise ReloadRefused([error.detail]) from error

    async def _change_over(self, after: PluginManager, settings: Settings, changes: dict[str, Change]) -> None:
        house, before, old = self._house, self._house.manager, self._house.settings
        lame = {plugin.name for plugin in after if _lame(house, plugin)}
        await house.migrate(after)
        broken = [_told(plugin) for plugin in after if plugin.state is PluginState.FAILED and plugin.name not in lame]
        if broken:
            raise ReloadRefused(broken)
        house.hold(f"/api/v1/{name}/" for name, change in changes.items() if change.action is Action.RESTART)
        try:
            await before.stop(house, changes, finish_s=FINISH_REQUESTS_S)
            try:
                await house.use(after, settings)
                await after.start(house)
            except Exception as error:  # whatever it is, the house is put back in order
                await self._put_back(before, old, changes, [str(error)])
            failed = [_told(each) for each in after if each.state is PluginState.FAILED and each.name not in lame]
            if failed:
                await self._put_back(before, old, changes, failed)
            for name, change in changes.items():
                if change.action is Action.STOP:
                    house.registry.unwatched(name)
        finally:
            await house.opened()

    async def _put_back(
        self, before: PluginManager, old: Settings, changes: dict[str, Change], problems: list[str]
    ) -> None:
        """Run what was stopped once more as it was configured; raises ReloadUndone."""
        house = self._house
        ran = {plugin.name for plugin in before if plugin.state is PluginState.STOPPED}
        await house.manager.stop(house, changes)
        back = PluginManager(old.plugins, house.events, running=[each for each in before if each.name not in changes])
        await back.load(house.context)
        await house.use(back, old)
        await back.start(house)
        lost = sorted(name for name in ran if back.plugins[name].state is not PluginState.RUNNING)
        raise ReloadUndone(problems, lost=lost)


def _kept(running: Settings, new: Settings) -> Settings:
    """Take the new settings, but for what cannot change while running."""
    http = attrs.evolve(running.http, allow_unauthenticated=new.http.allow_unauthenticated)
    return attrs.evolve(new, http=http, data_dir=running.data_dir, site=running.site)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _told(plugin: LoadedPlugin) -> str:
    return _sentence(f"{plugin.name}: {plugin.error}")


def _lame(house: House, plugin: LoadedPlugin) -> bool:
    """Tell whether a plugin did not run before either, so that its failure is nothing new."""
    before = house.manager.plugins.get(plugin.name)
    return before is not None and before.state is PluginState.FAILED and before.entry.same_as(plugin.entry)


def _refuse_another_leader(before: PluginManager, after: PluginManager) -> None:
    """Which of several processes may write is settled at start, and not to be unsettled by the way."""
    leaders = [[plugin for plugin in each if "provide_leadership" in plugin.answers] for each in (before, after)]
    if leaders[0] != leaders[1]:
        names = " and ".join(sorted({plugin.name for plugin in (*leaders[0], *leaders[1])}))
        raise PluginError(f"The leadership service of {names} changes only when Plantroom is started again.")


def _refuse_taken_job_kinds(house: House, after: PluginManager) -> None:
    jobs = MemoryJobs(house.clock, EventBus())
    for plugin in after:
        for kind in plugin.many("register_jobs"):
            jobs.register(kind, owner=plugin.name)
