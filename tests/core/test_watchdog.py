"""The watchdog: real loops that are really blocked, by code of every kind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from core.belongings import Belongings, note_tasks
from core.log import configure
from core.owner import owned_by
from core.settings import LogSettings
from core.watchdog import Watchdog

BLOCKED_AFTER_S = 0.05
LONGEST_S = 5.0


@pytest.fixture
def watchdog() -> Watchdog:
    return Watchdog(blocked_after_s=BLOCKED_AFTER_S)


def block_until(condition: Callable[[], object]) -> None:
    """Hold the loop up, as bad code does, until a thread has seen it."""
    end = time.monotonic() + LONGEST_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)


async def turned(watchdog: Watchdog) -> None:
    """Wait until the watchdog has seen that the loop turns again."""
    async with asyncio.timeout(LONGEST_S):
        while watchdog.last is None or not watchdog.last.over:
            await asyncio.sleep(0.005)


def named(logs: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in logs if line["event"] == event]


def figures(watchdog: Watchdog) -> dict[str, dict[str, float]]:
    return {
        metric.name: {labels["plugin"]: value for labels, value in metric.collect()} for metric in watchdog.metrics()
    }


async def test_a_blocked_loop_is_told_while_it_is_blocked_and_once_more_when_it_turns_again(watchdog: Watchdog):
    with capture_logs() as logs, watchdog.watching():
        block_until(lambda: named(logs, "event_loop_blocked"))
        while_blocked = [line["event"] for line in logs]
        await turned(watchdog)
    assert while_blocked == ["event_loop_blocked"]
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("event_loop_blocked", "warning"), ("event_loop_resumed", "info"),
    ]  # fmt: skip
    assert logs[1]["seconds"] >= logs[0]["seconds"] >= BLOCKED_AFTER_S


async def test_it_is_told_who_blocks_the_loop_in_which_task_and_where(watchdog: Watchdog):
    async def crunch() -> None:
        block_until(lambda: watchdog.last)

    note_tasks(asyncio.get_running_loop())
    with capture_logs() as logs, watchdog.watching():
        with owned_by(Belongings("slowpoke")):
            task = asyncio.create_task(crunch(), name="crunching")
        await task
        await turned(watchdog)
    (blocked,) = named(logs, "event_loop_blocked")
    assert (blocked["plugin"], blocked["task"]) == ("slowpoke", "crunching")
    line = crunch.__code__.co_firstlineno + 1
    assert f"core/test_watchdog.py:{line} crunch" in blocked["stack"]
    assert blocked["stack"].split()[-1] in ("block_until", "<lambda>")
    assert not [each for each in watchdog.last.stack if "asyncio/" in each or "core/belongings" in each]
    assert (blocked["plugin"], tuple(blocked["stack"].splitlines())) == (watchdog.last.owner, watchdog.last.stack)


async def test_the_stack_is_no_longer_than_a_person_reads(watchdog: Watchdog):
    def deeper(levels: int) -> None:
        deeper(levels - 1) if levels else block_until(lambda: watchdog.last)

    with capture_logs(), watchdog.watching():
        deeper(100)
        await turned(watchdog)
    assert 5 < len(watchdog.last.stack) < 20
    assert watchdog.last.stack[-1].split()[-1] in ("block_until", "<lambda>")


async def test_what_runs_on_a_plugins_behalf_within_a_task_of_the_kernel_is_the_plugins(watchdog: Watchdog):
    with capture_logs(), watchdog.watching():
        with owned_by(Belongings("guest")):
            block_until(lambda: watchdog.last)
        await turned(watchdog)
    assert watchdog.last.owner == "guest"


async def test_a_callback_is_named_where_there_is_no_task(watchdog: Watchdog):
    def called_back() -> None:
        block_until(lambda: watchdog.last)

    with capture_logs(), watchdog.watching():
        with owned_by(Belongings("guest")):
            asyncio.get_running_loop().call_soon(called_back)
        await turned(watchdog)
    assert watchdog.last.owner == "guest"
    assert "called_back" in watchdog.last.task


@pytest.mark.parametrize(
    ("module", "owner"),
    [("plugins.bacnet.client", "bacnet"), ("custom_plugins.tariff", "tariff"), ("elsewhere", "core")],
)
async def test_code_on_nobodys_behalf_is_laid_at_the_door_of_the_plugin_whose_module_it_is(
    watchdog: Watchdog, module: str, owner: str
):
    names = {"__name__": module, "block_until": block_until, "watchdog": watchdog}
    exec("def work():\n    block_until(lambda: watchdog.last)", names)
    with capture_logs(), watchdog.watching():
        names["work"]()
        await turned(watchdog)
    assert watchdog.last.owner == owner


async def test_code_that_lets_no_other_thread_run_is_found_out_when_it_does(watchdog: Watchdog):
    def crunch() -> None:
        sum(range(30_000_000))  # one call, of which the interpreter lets go only when it is done

    with capture_logs(), watchdog.watching():
        await asyncio.sleep(BLOCKED_AFTER_S)
        with owned_by(Belongings("cruncher")):
            crunch()
        await turned(watchdog)
    assert watchdog.last.owner == "cruncher"
    assert watchdog.last.stack[-1].endswith(" crunch")
    assert watchdog.last.seconds >= BLOCKED_AFTER_S


async def test_blockages_and_their_seconds_are_counted_by_plugin(watchdog: Watchdog):
    with capture_logs(), watchdog.watching():
        for _ in range(2):
            watchdog.last = None
            with owned_by(Belongings("slowpoke")):
                block_until(lambda: watchdog.last)
            await turned(watchdog)
    counted = figures(watchdog)
    assert counted["plantroom_event_loop_blocked_total"] == {"slowpoke": 2}
    assert counted["plantroom_event_loop_blocked_seconds_total"]["slowpoke"] >= 2 * BLOCKED_AFTER_S


async def test_a_loop_that_turns_is_left_in_peace_however_busy_it_is(watchdog: Watchdog):
    with capture_logs() as logs, watchdog.watching():
        end = time.monotonic() + 6 * BLOCKED_AFTER_S
        while time.monotonic() < end:
            await asyncio.sleep(0)
    assert logs == []
    assert watchdog.last is None
    assert figures(watchdog) == {
        "plantroom_event_loop_blocked_total": {}, "plantroom_event_loop_blocked_seconds_total": {},
    }  # fmt: skip


async def test_a_blockage_that_lasts_until_the_end_of_the_watch_is_closed_with_it(watchdog: Watchdog):
    with capture_logs() as logs, watchdog.watching():
        block_until(lambda: watchdog.last)
    assert [line["event"] for line in logs] == ["event_loop_blocked", "event_loop_resumed"]
    assert watchdog.last.over


@pytest.mark.parametrize("form", ["console", "json"])
async def test_it_is_told_in_every_form_that_the_log_has(watchdog: Watchdog, form: str, capsys):
    configure(LogSettings(format=form))
    with watchdog.watching():
        block_until(lambda: watchdog.last)
    told = capsys.readouterr().err
    assert "event_loop_blocked" in told
    assert "event_loop_resumed" in told
    assert "core/test_watchdog.py" in told


async def test_nothing_is_left_when_the_watch_ends_and_it_may_begin_again(watchdog: Watchdog):
    for _ in range(3):
        with watchdog.watching():
            assert "watchdog" in [thread.name for thread in threading.enumerate()]
        assert "watchdog" not in [thread.name for thread in threading.enumerate()]


def test_a_loop_that_is_closed_without_a_word_ends_the_watch(watchdog: Watchdog):
    async def walk_away() -> None:
        watching.__enter__()

    watching = watchdog.watching()
    asyncio.run(walk_away())
    (thread,) = [each for each in threading.enumerate() if each.name == "watchdog"]
    thread.join(LONGEST_S)
    assert not thread.is_alive()
    watching.__exit__(None, None, None)


STOPPED = """
    import asyncio, sys, time
    from core.watchdog import Watchdog

    async def main():
        watchdog = Watchdog(blocked_after_s=0.5)
        with watchdog.watching():
            print("ready", flush=True)
            line = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            while not line.done():
                time.sleep(0.1)  # not for too long, but so that the loop nearly always owes an answer
                await asyncio.sleep(0)
        print("blocked" if watchdog.last else "never blocked", flush=True)

    asyncio.run(main())
"""


def test_a_process_that_was_stopped_for_a_while_was_not_blocked():
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STOPPED)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root,
    ) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "ready\n"
            for _ in range(3):
                process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, process.pid, os.WSTOPPED)
                threading.Event().wait(0.8)  # longer than a loop may stand still
                process.send_signal(signal.SIGCONT)
                threading.Event().wait(0.15)
            process.stdin.write("go on\n")
            process.stdin.flush()
            assert process.stdout.readline() == "never blocked\n"
        finally:
            process.kill()
