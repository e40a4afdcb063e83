"""Keeps what each plugin has opened, so that what it leaves behind when it stops is named and closed.

A task factory notes the tasks that a plugin's code makes, an audit hook its sockets and files. A thing that is to
outlive the plugin is made ``with owned_by(None)``.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import io
import logging
import socket
import sys
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from core.owner import Owner, owner, owner_in, refuse_exit
from core.tasks import GIVEN_UP_AFTER_S, end_tasks, standing

LOOKS = 20
"""How often clear_up looks, within its time, whether what is being closed is closed."""

ThingT = TypeVar("ThingT")


class Belongings:
    """The tasks, sockets and files that a plugin's code has made; none of them is kept alive by it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._things: set[weakref.ref[Any]] = set()
        _watch_process()

    def note(self, thing: object) -> None:
        """Remember a thing for as long as it lives; may be called from any thread."""
        self._things.add(weakref.ref(thing, self._things.discard))

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that have not ended."""
        return [task for task in self._living(asyncio.Task) if not task.done()]

    @property
    def sockets(self) -> list[socket.socket]:
        """The sockets that are open."""
        return [each for each in self._living(socket.socket) if each.fileno() >= 0]

    @property
    def files(self) -> list[io.FileIO]:
        """The files that are open, but for those that the log is written to."""
        logs = {id(_raw(stream)) for stream in _log_streams()}
        return [file for file in self._living(io.FileIO) if not file.closed and id(file) not in logs]

    def _living(self, kind: type[ThingT]) -> list[ThingT]:
        return [thing for reference in tuple(self._things) if isinstance(thing := reference(), kind)]


async def clear_up(belongings: Belongings) -> None:
    """End and close what a plugin still holds that has been left, each with a line in the log, within bounded time."""
    log = structlog.get_logger().bind(plugin=belongings.name)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + GIVEN_UP_AFTER_S
    tasks = belongings.tasks
    for task in tasks:
        log.warning("plugin_left_behind", what="task", task=task.get_name(), at=standing(task))
    await end_tasks(tasks)
    await _let_close(belongings, deadline)
    sockets, files = belongings.sockets, belongings.files
    for each in sockets:
        log.warning("plugin_left_behind", what="socket", kind=each.type.name, **_addresses(each))
    for file in files:
        log.warning("plugin_left_behind", what="file", path=str(file.name))
    _close_sockets(sockets, loop)
    _close_files(files)
    await asyncio.sleep(0)  # transports tell their protocols, and close their sockets, in the loop's next turn


async def _let_close(belongings: Belongings, deadline: float) -> None:
    """Give transports that the plugin has closed the turns of the loop that they take to be gone."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while loop.time() < deadline:
        transports = [_transport_of(each, loop) for each in belongings.sockets]
        if not any(transport is not None and transport.is_closing() for transport in transports):
            return
        await asyncio.sleep(GIVEN_UP_AFTER_S / LOOKS)


def _transport_of(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> asyncio.WriteTransport | None:
    """Find the transport that a socket is in; asyncio's own loops know, though they do not say so in public."""
    transport: asyncio.WriteTransport | None = getattr(loop, "_transports", {}).get(sock.fileno())
    return transport


def _close_sockets(sockets: list[socket.socket], loop: asyncio.AbstractEventLoop) -> None:
    """Close sockets, in a way that the loop does not go on to watch whatever gets their numbers next."""
    listening = {each.fileno() for each in sockets if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)}
    if listening:
        for server in [each for each in gc.get_objects() if type(each) is asyncio.Server]:
            if listening & {each.fileno() for each in server.sockets}:
                server.close()
    for each in sockets:
        transport = _transport_of(each, loop)
        if transport is not None:
            transport.abort()
        elif each.fileno() >= 0:
            loop.remove_reader(each)
            loop.remove_writer(each)
            each.close()


def _addresses(sock: socket.socket) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, ask in (("local", sock.getsockname), ("peer", sock.getpeername)):
        with suppress(OSError):  # not bound, or not connected
            found[name] = ask()
    return found


def _close_files(files: list[io.FileIO]) -> None:
    """Close files by what was opened around them, outermost first, so that what is buffered is written."""
    if not files:
        return
    raw = {id(file) for file in files}
    around = [each for each in gc.get_objects() if type(each) in _WRAPPERS and id(_raw(each)) in raw]
    for each in (*sorted(around, key=lambda each: type(each) is not io.TextIOWrapper), *files):
        with suppress(OSError, ValueError):  # what cannot be written any more is lost
            each.close()


_WRAPPERS = (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom)


def _log_streams() -> Iterator[Any]:
    """Give the streams of all log handlers: whoever has opened one, all the house writes to it."""
    for each in (logging.getLogger(), *logging.Logger.manager.loggerDict.values()):
        for handler in getattr(each, "handlers", ()):
            yield getattr(handler, "stream", None)


def _raw(stream: Any) -> object:
    """Return the file below a stream; the stream itself where it is on none."""
    try:
        return getattr(getattr(stream, "buffer", stream), "raw", stream)
    except ValueError:  # it was taken apart
        return stream


# how things come to be noted


def note_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Note the tasks that plugins make in a loop from now on; a task factory that it has still makes them."""
    factory = loop.get_task_factory()
    if getattr(factory, "func", None) is not _make_task:
        loop.set_task_factory(functools.partial(_make_task, factory))


def _make_task(
    factory: Any,
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any],
    **options: Any,
) -> asyncio.Task[Any]:
    context = options.get("context")
    known: Owner | None = owner() if context is None else owner_in(context)
    if known is not None:
        work = _Contained(work)
    task: asyncio.Task[Any]
    task = asyncio.Task(work, loop=loop, **options) if factory is None else factory(loop, work, **options)
    if known is not None:
        known.note(task)
    return task


class _Contained(Coroutine[Any, Any, Any]):
    """A plugin's coroutine that cannot end the process: of SystemExit and its like, a task tells the loop too."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)  # cr_frame and its like, by which a task shows where it stands

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()

    def send(self, value: Any) -> Any:
        try:
            return self._work.send(value)
        except BaseException as error:
            refuse_exit(error)
            raise

    def throw(self, *error: Any) -> Any:
        try:
            return self._work.throw(*error)
        except BaseException as raised:
            refuse_exit(raised)
            raise

    def close(self) -> None:
        self._work.close()


@functools.cache
def _watch_process() -> None:
    """Watch sockets and files being made, from the first plugin to the end of the process: hooks cannot be removed."""
    sys.addaudithook(_note_made)


def _note_made(event: str, arguments: tuple[Any, ...], _owner: Callable[[], Owner | None] = owner) -> None:
    known = _owner()
    if known is None:
        return
    if event == "socket.__new__":
        with suppress(TypeError):  # a bare _socket.socket cannot be referred to weakly
            known.note(arguments[0])
    elif event == "open":
        file = _file_being_opened()
        if file is not None:
            known.note(file)


def _file_being_opened() -> io.FileIO | None:
    """Find the file object that is about to get its descriptor: of the youngest objects, the last one made.

    The event names no more than a path, which may be open on somebody else's behalf too.
    """
    for generation in (0, 1):  # a collection may have come between
        for each in reversed(gc.get_objects(generation=generation)):
            if type(each) is io.FileIO and each.closed:
                return each
    return None
