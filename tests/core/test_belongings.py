"""What a plugin opens is known as its own; what it leaves behind is named and closed: real sockets, files, tasks."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import io
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from core.belongings import Belongings, clear_up, note_tasks
from core.errors import PluginError
from core.owner import owned_by, owner, owner_name


@pytest.fixture
async def guest() -> Belongings:
    """A plugin's belongings, in a loop that notes them."""
    note_tasks(asyncio.get_running_loop())
    return Belongings("guest")


async def cleared(belongings: Belongings) -> list[EventDict]:
    """Clear up, and return what the log says about it."""
    with capture_logs() as logs:
        async with asyncio.timeout(2):
            await clear_up(belongings)
    assert {line["plugin"] for line in logs if line["event"] == "plugin_left_behind"} <= {belongings.name}
    return logs


def descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()}


async def forever() -> None:
    await asyncio.Event().wait()


# whose code runs


async def test_the_kernel_is_who_runs_where_nobody_else_does():
    assert owner() is None
    assert owner_name() == "core"


async def test_tasks_callbacks_and_threads_run_on_behalf_of_whom_they_were_made_for(guest: Belongings):
    seen: list[str] = []

    async def look() -> None:
        seen.append(owner_name())

    with owned_by(guest):
        task = asyncio.create_task(look())
        asyncio.get_running_loop().call_soon(lambda: seen.append(owner_name()))
        thread = asyncio.create_task(asyncio.to_thread(owner_name))
        with owned_by(None):
            inner = owner_name()
    await task
    assert seen == ["guest", "guest"]
    assert await thread == "guest"
    assert (inner, owner_name()) == ("core", "core")


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (SystemExit(3), r"it called sys.exit\(\)"),
        (KeyboardInterrupt(), "it raised KeyboardInterrupt"),
        (BaseExceptionGroup("several", [SystemExit()]), "it raised BaseExceptionGroup"),
    ],
)
async def test_what_would_end_the_process_is_an_error_of_the_plugin(guest: Belongings, raised, words):
    with pytest.raises(PluginError, match=words) as told, owned_by(guest):
        raise raised
    assert told.value.__cause__ is raised
    assert owner() is None


@pytest.mark.parametrize("raised", [ValueError("x"), asyncio.CancelledError(), GeneratorExit()])
async def test_all_other_exceptions_pass_as_they_are(guest: Belongings, raised: BaseException):
    with pytest.raises(type(raised)) as passed, owned_by(guest):
        raise raised
    assert passed.value is raised


async def test_on_the_kernels_behalf_the_process_may_be_ended(guest: Belongings):
    with pytest.raises(SystemExit), owned_by(None):
        sys.exit()


# tasks


async def test_a_task_that_is_left_behind_is_named_with_where_it_stands_and_ended(guest: Belongings):
    with owned_by(guest):
        task = asyncio.create_task(forever(), name="leak")
    await asyncio.sleep(0)
    (line,) = await cleared(guest)
    assert line == {
        "event": "plugin_left_behind", "log_level": "warning", "plugin": "guest", "what": "task", "task": "leak",
        "at": f"core/test_belongings.py:{forever.__code__.co_firstlineno + 1} forever",
    }  # fmt: skip
    assert task.cancelled()
    assert await cleared(guest) == []


async def test_tasks_that_have_ended_and_those_of_others_are_none_of_its_own(guest: Belongings):
    with owned_by(guest):
        await asyncio.create_task(asyncio.sleep(0))
        with owned_by(None):
            kernels = asyncio.create_task(forever())
    with owned_by(Belongings("neighbour")):
        neighbours = asyncio.create_task(forever())
    assert await cleared(guest) == []
    for task in (kernels, neighbours):
        assert not task.done()
        task.cancel()
    await asyncio.gather(kernels, neighbours, return_exceptions=True)


async def test_tasks_that_its_tasks_make_are_its_own_too(guest: Belongings):
    async def spread() -> None:
        made.append(asyncio.create_task(forever(), name="child"))

    made: list[asyncio.Task[None]] = []
    with owned_by(guest):
        await asyncio.create_task(spread())
    assert [line["task"] for line in await cleared(guest)] == ["child"]
    assert made[0].cancelled()


async def test_a_task_that_swallows_being_ended_is_named_and_holds_up_nobody(guest: Belongings):
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    with owned_by(guest):
        task = asyncio.create_task(stubborn(), name="stubborn")
    await asyncio.sleep(0)
    assert [line["event"] for line in await cleared(guest)] == ["plugin_left_behind", "task_does_not_end"]
    release.set()
    await task


async def test_a_plugins_task_that_exits_fails_and_the_process_goes_on(guest: Belongings):
    async def leave() -> None:
        await asyncio.sleep(0)
        sys.exit(3)

    with owned_by(guest):
        task = asyncio.create_task(leave())
    with pytest.raises(PluginError, match=r"it called sys.exit\(\)"):
        await task


async def test_a_plugins_task_that_exits_as_it_is_cancelled_fails_and_the_process_goes_on(guest: Belongings):
    async def leave() -> None:
        try:
            await forever()
        finally:
            sys.exit(3)

    with owned_by(guest):
        task = asyncio.create_task(leave())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(PluginError, match=r"it called sys.exit\(\)"):
        await task


async def test_task_groups_work_as_ever(guest: Belongings):
    async def fail() -> None:
        raise ValueError("no")

    ended: list[bool] = []

    async def wait() -> None:
        try:
            await forever()
        finally:
            ended.append(True)

    with owned_by(guest):
        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.TaskGroup() as group:
                group.create_task(wait())
                group.create_task(fail())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(0, "done"), name="named")
    assert [str(each) for each in raised.value.exceptions] == ["no"]
    assert ended == [True]
    assert (task.result(), task.get_name()) == ("done", "named")


async def test_a_task_cancelled_before_its_first_step_leaves_no_coroutine_unawaited(guest: Belongings):
    with owned_by(guest):
        task = asyncio.create_task(forever())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()


async def test_a_task_factory_that_is_there_goes_on_making_the_tasks(guest: Belongings):
    loop = asyncio.get_running_loop()
    made: list[asyncio.Task[None]] = []

    def factory(loop, work, **options):
        made.append(asyncio.Task(work, loop=loop, **options))
        return made[-1]

    loop.set_task_factory(factory)
    note_tasks(loop)
    wrapped = loop.get_task_factory()
    note_tasks(loop)
    assert loop.get_task_factory() is wrapped, "once is enough"
    with owned_by(guest):
        mine = asyncio.create_task(forever(), name="leak")
    others = asyncio.create_task(forever())
    assert made == [mine, others]
    assert [line["task"] for line in await cleared(guest)] == ["leak"]
    others.cancel()


async def test_a_task_factory_may_await_or_close_the_coroutine_that_it_is_given(guest: Belongings):
    loop, given = asyncio.get_running_loop(), []

    async def around(work):
        return await work

    def factory(loop, work, **options):
        given.append(work)
        return asyncio.Task(around(work), loop=loop, **options)

    loop.set_task_factory(factory)
    note_tasks(loop)
    with owned_by(guest):
        assert await asyncio.create_task(asyncio.sleep(0, "done")) == "done"
        task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    given[-1].close()
    task.cancel()
    with contextlib.suppress(RuntimeError, asyncio.CancelledError):
        await task
    assert task.done()


async def test_a_task_made_in_a_context_of_its_own_is_that_contexts_owners(guest: Belongings):
    kernels = contextvars.copy_context()
    with owned_by(guest):
        task = asyncio.get_running_loop().create_task(forever(), context=kernels)
    assert await cleared(guest) == []
    task.cancel()


async def test_a_plugins_task_shows_its_own_coroutine(guest: Belongings):
    with owned_by(guest):
        task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    assert "forever() " in repr(task)
    assert task.get_stack()[0].f_code is forever.__code__
    await cleared(guest)


# sockets


async def test_a_socket_that_is_left_behind_is_named_with_its_addresses_and_closed(guest: Belongings):
    with owned_by(guest):
        left = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    left.bind(("127.0.0.1", 0))
    address = left.getsockname()
    (line,) = await cleared(guest)
    assert (line["what"], line["kind"], line["local"]) == ("socket", "SOCK_DGRAM", address)
    assert "peer" not in line
    assert left.fileno() == -1


async def test_a_socket_that_is_closed_or_handed_on_is_not_left_behind(guest: Belongings):
    with owned_by(guest):
        closed = socket.socket()
        detached = socket.socket()
        with owned_by(None):
            handed_on = socket.socket()
    closed.close()
    number = detached.detach()
    assert await cleared(guest) == []
    assert handed_on.fileno() >= 0
    handed_on.close()
    os.close(number)


async def test_servers_connections_and_datagram_endpoints_are_closed_and_the_loop_forgets_them(guest: Belongings):
    loop, before = asyncio.get_running_loop(), descriptors()
    accepted, lost = asyncio.Event(), asyncio.Event()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.set()

        def connection_lost(self, exc: Exception | None) -> None:
            lost.set()

    with owned_by(guest):
        server = await loop.create_server(Protocol, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        endpoint, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(2):
        await accepted.wait()
    lines = await cleared(guest)
    assert sorted(line["kind"] for line in lines) == ["SOCK_DGRAM", "SOCK_STREAM", "SOCK_STREAM"]
    assert [line["peer"] for line in lines if "peer" in line] == [writer.get_extra_info("sockname")]
    async with asyncio.timeout(2):
        await lost.wait()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b"", "the other side sees the connection end"
    assert endpoint.is_closing()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    assert descriptors() <= before
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    server.close()
    again = [await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0)) for _ in range(5)]
    for transport, _ in again:  # under the numbers of before
        transport.close()


async def test_what_is_being_closed_gets_the_time_for_it_and_no_word_is_said(guest: Belongings):
    loop, received = asyncio.get_running_loop(), asyncio.Event()

    class Sink(asyncio.Protocol):
        def __init__(self) -> None:
            self.size = 0

        def data_received(self, data: bytes) -> None:
            self.size += len(data)

        def connection_lost(self, exc: Exception | None) -> None:
            received.set()

    sink = Sink()
    server = await loop.create_server(lambda: sink, "127.0.0.1", 0)
    with owned_by(guest):
        transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    transport.write(b"x" * 5_000_000)
    transport.close()
    assert await cleared(guest) == []
    async with asyncio.timeout(2):
        await received.wait()
    assert sink.size == 5_000_000
    server.close()


async def test_a_socket_opened_in_a_thread_of_asyncio_is_noted_and_the_thread_itself_left_alone(guest: Belongings):
    with owned_by(guest):
        left = await asyncio.to_thread(socket.socket)
    assert [line["what"] for line in await cleared(guest)] == ["socket"]
    assert left.fileno() == -1
    assert await asyncio.to_thread(lambda: 1) == 1


async def test_a_loops_watch_over_a_bare_socket_ends_with_it(guest: Belongings):
    loop = asyncio.get_running_loop()
    with owned_by(guest):
        left = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        left.bind(("127.0.0.1", 0))
        loop.add_reader(left, lambda: None)
        number = left.fileno()
    await cleared(guest)
    assert not loop.remove_reader(number)


# files


@pytest.mark.parametrize("mode", ["w", "wb", "r+b", "a"])
async def test_a_file_that_is_left_behind_is_named_and_closed_with_all_that_was_written(
    guest: Belongings, tmp_path: Path, mode: str
):
    path = tmp_path / "left.txt"
    path.touch()
    with owned_by(guest):
        left = path.open(mode)
    left.write(b"all of it" if "b" in mode else "all of it")
    (line,) = await cleared(guest)
    assert (line["what"], line["path"]) == ("file", str(path))
    assert left.closed
    assert path.read_text() == "all of it"


async def test_streams_that_were_taken_apart_are_no_hindrance(guest: Belongings, tmp_path: Path):
    apart = io.TextIOWrapper(io.BytesIO())
    apart.detach()
    with owned_by(guest):
        left = (tmp_path / "left.txt").open("w")
    assert len(await cleared(guest)) == 1
    assert left.closed
    assert apart is not None


async def test_a_coroutine_that_is_thrown_away_on_the_way_leaves_no_trace(guest: Belongings):
    async def wait() -> None:
        with owned_by(guest):
            await forever()

    coroutine = wait()
    contextvars.copy_context().run(coroutine.send, None)
    coroutine.close()
    assert owner() is None


async def test_the_same_file_open_for_somebody_else_is_not_touched(guest: Belongings, tmp_path: Path):
    path = tmp_path / "shared.txt"
    kernels = path.open("w")
    with owned_by(guest):
        path.read_text()
        left = path.open()
    assert len(await cleared(guest)) == 1
    assert left.closed
    assert not kernels.closed
    kernels.close()


async def test_files_are_found_also_when_a_collection_comes_between(guest: Belongings, tmp_path: Path):
    path, before = tmp_path / "left.txt", gc.get_threshold()
    gc.set_threshold(5, 1_000_000, 1_000_000)
    try:
        with owned_by(guest):
            left = [path.open("w") for _ in range(50)]
    finally:
        gc.set_threshold(*before)
    await cleared(guest)
    assert [file.closed for file in left] == [True] * 50


@pytest.fixture
def handler(guest: Belongings, tmp_path: Path) -> Iterator[logging.FileHandler]:
    with owned_by(guest):
        handler = logging.FileHandler(tmp_path / "house.log")
    logging.getLogger("house").addHandler(handler)
    yield handler
    logging.getLogger("house").removeHandler(handler)
    handler.close()


def written(handler: logging.FileHandler) -> str:
    return Path(handler.baseFilename).read_text()


async def test_a_file_that_the_log_goes_to_stays_open(guest: Belongings, handler: logging.FileHandler):
    assert await cleared(guest) == []
    logging.getLogger("house").warning("still written")
    assert written(handler) == "still written\n"


async def test_a_thing_is_forgotten_with_its_last_reference(guest: Belongings, tmp_path: Path):
    with owned_by(guest):
        for _ in range(100):
            socket.socket().close()
            (tmp_path / "a").write_text("a")
            await asyncio.create_task(asyncio.sleep(0))
    gc.collect()
    assert len(guest._things) < 5
