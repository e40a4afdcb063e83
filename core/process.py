"""Runs a kernel in the foreground until a signal ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from core.errors import PlantroomError
from core.progress import Progress
from core.settings import Settings

if TYPE_CHECKING:
    from core.kernel import Kernel

STOP_WITHIN_S = 1.7
END_WITHIN_S = 1.9
SWITCH_INTERVAL_S = 0.002
"""After which a thread that works has to let the event loop go on; by default that is 5 ms, which shows in its lag."""
API_KEY_VARIABLE = "PLANTROOM_API_KEY"
KEY_FILE = "admin-key"


def run(settings: Settings, reread: Callable[[], Settings]) -> int:
    """Run until SIGINT or SIGTERM, and return the exit code; raises PlantroomError where it cannot start.

    SIGHUP reads the configuration again, by ``reread``.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    last_resort = threading.Timer(END_WITHIN_S, os._exit, (1,))
    last_resort.daemon = True
    try:
        return asyncio.run(_serve(settings, reread, last_resort))
    finally:  # only now: asyncio itself waits for ever for tasks that do not end
        last_resort.cancel()


async def _serve(settings: Settings, reread: Callable[[], Settings], last_resort: threading.Timer) -> int:
    from core.kernel import Kernel  # with all that it brings, which the other commands do not need
    from core.memory import SettledMemory

    kernel = Kernel(settings, reread=reread)
    stop = asyncio.Event()
    with _ended_by_signals(stop, last_resort):
        Progress(sys.stdout).follow(kernel.events)
        if not await _started(kernel, stop):
            return 0
        print(f"Plantroom is ready on {kernel.url}", flush=True)
        print(sign_in(settings), flush=True)
        memory = SettledMemory(kernel.events)
        memory.begin()
        with _reloaded_by_signal(kernel, stop):
            await stop.wait()
            await memory.end()
            return await _stopped(kernel)


async def _started(kernel: Kernel, stop: asyncio.Event) -> bool:
    """Start the kernel; a signal meanwhile ends that, and is answered by False."""
    starting = asyncio.create_task(kernel.start(), name="kernel:start")
    stopping = asyncio.create_task(stop.wait(), name="signals:stop")
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            return True
        return False
    finally:
        for task in (starting, stopping):
            task.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)


async def _stopped(kernel: Kernel) -> int:
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await kernel.stop()
    except TimeoutError:
        raise PlantroomError(
            f"stopping took more than {STOP_WITHIN_S} s and was cut short; the log may say why"
        ) from None
    return 0


@contextmanager
def _ended_by_signals(stop: asyncio.Event, last_resort: threading.Timer) -> Iterator[None]:
    """Let SIGINT and SIGTERM set the event, and start the last resort for what still runs after END_WITHIN_S."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        if not stop.is_set():
            last_resort.start()
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextmanager
def _reloaded_by_signal(kernel: Kernel, stop: asyncio.Event) -> Iterator[None]:
    """Let SIGHUP take over a changed configuration; what comes of it is logged.

    Where it says that the terminal was closed from which this was started, it ends the process, as people expect; a
    shell then sends it twice, so that it changes nothing any more while the process stops.
    """
    from core.reload import ReloadRefused, ReloadUndone

    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        with suppress(ReloadRefused, ReloadUndone):  # the log has told
            await kernel.reload()

    from_terminal = os.isatty(0)

    def begin() -> None:
        if stop.is_set():
            return
        if from_terminal and not os.isatty(0):
            os.kill(os.getpid(), signal.SIGTERM)
            return
        task = asyncio.create_task(reload(), name="signals:reload")
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, begin)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # all is saved, and the exit code is to say so


def sign_in(settings: Settings) -> str:
    """Say how to sign in; the first admin's key itself is said on a terminal alone."""
    if settings.authenticated:
        return f"sign-in: {_way_in(settings)}"
    if settings.http.loopback:
        return "no sign-in: the auth plugin is not enabled; loopback only"
    return "no sign-in: the auth plugin is not enabled; whoever reaches this address may read and write"


def _way_in(settings: Settings) -> str:
    keepers = [entry for entry in settings.plugins if entry.keeps_the_door and entry.error is None]
    if all(entry.use != "auth" for entry in keepers):
        return f"as the plugin {keepers[0].name} asks"
    if os.environ.get(API_KEY_VARIABLE, "").strip():
        return f"send the key in the environment's {API_KEY_VARIABLE} as X-API-Key"
    file = settings.data_dir / KEY_FILE
    try:
        key = file.read_text(encoding="utf-8").strip()
    except OSError:
        return "as a user, or send a key as X-API-Key; `plantroom keys add` makes one"
    if sys.stdout.isatty():
        return f"send {key} as X-API-Key; it is kept in {file}"
    return f"send the key in {file} as X-API-Key"
