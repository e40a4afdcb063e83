"""Other people's BACnet stacks: skipped with the reason where one is missing, unless CI says that it must be there."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

from plugins.bacnet.config import Network

from .asking import BROADCAST, PORT, Asker
from .house import HERE, House, house_at
from .node_process import NodeProcess, NotInstalled, install, started
from .npm_client import BacnetJsClient, BacstackClient
from .rusty_client import RustyClient

CLIENTS = {"rusty-bacnet": "127.0.0.91", "bacnet-js": "127.0.0.92", "bacstack": "127.0.0.93"}
NPM_CLIENTS = {"bacnet-js": ("client.js", BacnetJsClient), "bacstack": ("bacstack_client.js", BacstackClient)}


def missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def rusty() -> ModuleType:
    """Return rusty-bacnet, a stack in Rust."""
    try:
        return importlib.import_module("rusty_bacnet")
    except ImportError as error:
        missing(f"rusty-bacnet cannot be imported ({error}); pip install rusty-bacnet")


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Return the folder of the stacks from the npm registry."""
    try:
        return install()
    except NotInstalled as error:
        missing(f"the stacks for node are not there: {error}; apt-get install nodejs npm")


@pytest.fixture(autouse=True)
def _ports_to_itself() -> Iterator[None]:
    """Let two runs of these tests on one machine take turns: their devices would hear each other's broadcasts."""
    lock = Path(tempfile.gettempdir()) / f"plantroom-tests-interop-{os.getuid()}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
async def running() -> AsyncIterator[contextlib.AsyncExitStack]:
    """What a test starts, ended when it ends."""
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def start(running: contextlib.AsyncExitStack, tmp_path: Path) -> Callable[..., Awaitable[House]]:
    """Start our plugin; options as in the configuration."""

    async def start(*, network: Network | None = None, **options: Any) -> House:
        return await running.enter_async_context(house_at(tmp_path, network or Network(HERE), **options))

    return start


@pytest.fixture
async def house(start: Callable[..., Awaitable[House]]) -> House:
    """Our plugin, running."""
    return await start()


@pytest.fixture
def serve(rusty: ModuleType, running: contextlib.AsyncExitStack) -> Callable[..., Awaitable[Any]]:
    """Serve a device on rusty-bacnet on an address of its own; ``fill`` adds its objects."""

    async def serve(number: int, fill: Callable[[Any], None], **options: Any) -> Any:
        server = rusty.BACnetServer(
            5000 + number,
            f"rusty-{number}",
            interface=f"127.0.0.{80 + number}",
            port=PORT,
            broadcast_address=BROADCAST,
            share_port_by_address=True,
            **options,
        )
        fill(server)
        await server.start()
        running.push_async_callback(server.stop)
        return server

    return serve


@pytest.fixture
def serve_npm(node_modules: Path, running: contextlib.AsyncExitStack) -> Callable[..., Awaitable[NodeProcess]]:
    """Serve a device on @bacnet-js/client on an address of its own; ``objects`` as node/objects.js has them."""

    async def serve(number: int, objects: list[dict[str, Any]], **options: Any) -> NodeProcess:
        described = {
            "address": f"127.0.0.{80 + number}",
            "port": PORT,
            "broadcast": BROADCAST,
            "instance": 6000 + number,
            "name": f"npm-{number}",
            "objects": objects,
            **options,
        }
        return await running.enter_async_context(started(node_modules, "device.js", json.dumps(described)))

    return serve


@pytest.fixture(params=CLIENTS)
async def asker(request: pytest.FixtureRequest, running: contextlib.AsyncExitStack) -> Asker:
    """A client of somebody else's, by its name among `CLIENTS`."""
    address = CLIENTS[request.param]
    if request.param in NPM_CLIENTS:
        script, make = NPM_CLIENTS[request.param]
        modules = request.getfixturevalue("node_modules")
        return make(await running.enter_async_context(started(modules, script, address, str(PORT))))
    rusty = request.getfixturevalue("rusty")
    client = rusty.BACnetClient(
        interface=address, port=PORT, broadcast_address=BROADCAST, share_port_by_address=True, apdu_timeout_ms=3000
    )
    return await RustyClient.of(rusty, await running.enter_async_context(client))
