"""The ways to a server: TCP, TLS, a Unix socket, with and without a password."""

from __future__ import annotations

import asyncio
import random
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis.exceptions import DataError
from redis_server import RedisServer

import plugins.redis
from core.security import Secret
from plugins.redis.config import TlsOptions
from plugins.redis.scripts import DROP

from . import certificates
from .conftest import Connect, StartProcess

PASSWORD = "open-sesame-42"


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for authority in ("ours", "theirs"):
        certificates.make(folder, authority)
    return folder


@pytest.fixture(scope="module")
def tls_server(certified: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that speaks TLS only, and only with whom our authority knows."""
    pair = {"tls-cert-file": str(certified / "ours-server.crt"), "tls-key-file": str(certified / "ours-server.key")}
    ours = str(certified / "ours.crt")
    asking = {"ssl_ca_certs": ours, "ssl_certfile": pair["tls-cert-file"], "ssl_keyfile": pair["tls-key-file"]}
    server = RedisServer(tmp_path_factory.mktemp("redis"), tls=asking, **pair, **{"tls-ca-cert-file": ours})
    yield server
    server.stop()


def trusting(certified: Path, authority: str, *, verify: bool = True, signed: str = "ours-server") -> TlsOptions:
    return TlsOptions(certified / f"{authority}.crt", certified / f"{signed}.crt", certified / f"{signed}.key", verify)


async def test_values_pass_over_tls_with_certificates_of_both_sides(
    tls_server: RedisServer, certified: Path, start: StartProcess
):
    process = await start(tls_server, tls=trusting(certified, "ours"))
    assert process.link.problem is None
    await process.cache.set("key", b"value", ttl_s=60)
    assert await process.cache.get("key") == b"value"


async def test_a_server_that_somebody_else_vouches_for_is_not_spoken_to_unless_that_is_meant(
    tls_server: RedisServer, certified: Path, connect: Connect
):
    refused = await connect(tls_server, tls=trusting(certified, "theirs"))
    assert "certificate verify failed" in str(refused.problem)
    meant = await connect(tls_server, tls=trusting(certified, "theirs", verify=False))
    assert meant.problem is None


async def test_a_server_that_does_not_know_us_is_a_server_that_is_away(
    tls_server: RedisServer, certified: Path, connect: Connect
):
    link = await connect(tls_server, tls=trusting(certified, "ours", signed="theirs-server"))
    assert link.problem is not None


async def test_a_file_that_is_not_there_is_told_of(tls_server: RedisServer, tmp_path: Path, connect: Connect):
    link = await connect(tls_server, tls=TlsOptions(tmp_path / "nowhere.crt"))
    assert "No such file" in str(link.problem)


async def test_plain_speech_to_a_server_with_tls_is_told_of(tls_server: RedisServer, connect: Connect):
    link = await connect(tls_server)
    assert link.problem is not None
    assert link.failures.total() == 1


async def test_a_unix_socket_and_a_password_do(connect: Connect, tmp_path: Path):
    with tempfile.TemporaryDirectory() as short:  # the path of a socket may have 107 octets
        path = f"{short}/redis.sock"
        server = RedisServer(tmp_path, unixsocket=path, requirepass=PASSWORD)
        try:
            url = Secret(f"unix://:{PASSWORD}@{path}?db=3")
            link = await connect(server, port=None, url=url)
            assert link.problem is None
            assert path in link.health()[1]
            assert PASSWORD not in link.health()[1]
        finally:
            server.stop()


async def test_a_user_needs_no_more_rights_than_the_plugins_page_says(own_server: RedisServer, start: StartProcess):
    page = (Path(plugins.redis.__file__).parent / "README.md").read_text(encoding="utf-8")
    [rights] = re.findall(r"needs `(~[^`]+)`", page)
    own_server.asked.execute_command("ACL", "SETUSER", "ada", "on", f">{PASSWORD}", "resetkeys", *rights.split())
    process = await start(own_server, username="ada", password=Secret(PASSWORD))
    assert process.link.problem is None
    await process.cache.set("key", b"value", ttl_s=60, tags=["tag"])
    assert await process.cache.get("key") == b"value"
    await process.cache.forget("tag")
    await process.cache.delete("key")
    assert await process.count(40, burst=30) == 30
    await process.limits.give_back(everything=True)
    assert not process.link.failures


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n" * 20, b"*-7\r\n$x\r\n", b"\x00\xff" * 50, b"", b":1\r\n" * 20],
)
async def test_who_is_no_redis_at_all_fails_nobody(said: bytes, start: StartProcess):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(1000) and said:
                writer.write(said)
        writer.close()

    stranger = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with stranger:
        process = await start(stranger.sockets[0].getsockname()[1], timeout_s=0.2, connect_timeout_s=0.2)
        await process.cache.set("key", b"value", ttl_s=60)
        assert await process.cache.get("key") == b"value"
        assert await process.count(5, burst=3) == 3
        await process.link.close()


async def test_who_stops_waiting_leaves_no_answer_behind_for_the_next(server: RedisServer, start: StartProcess):
    process = await start(server, connections=2)
    chance = random.Random(5)
    for number in range(20):
        await process.cache.set(f"key-{number}", str(number).encode(), ttl_s=60)
    for _ in range(60):
        asking = {number: asyncio.create_task(process.cache.get(f"key-{number}")) for number in range(20)}
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)
        given_up = set(chance.sample(range(20), 10))
        for number in given_up:
            asking[number].cancel()
        found = await asyncio.gather(*asking.values(), return_exceptions=True)
        kept = {number: value for number, value in zip(asking, found, strict=True) if number not in given_up}
        assert kept == {number: str(number).encode() for number in kept}
    assert not process.link.failures
    async with asyncio.timeout(10):
        while len(server.asked.client_list()) > 1 + 2:  # the one that asks this, and those of the link
            await asyncio.sleep(0.01)


async def test_any_text_is_a_key_and_a_value_that_is_none_is_the_callers_mistake(
    server: RedisServer, start: StartProcess
):
    process = await start(server)
    for key in ("", "\ud800", "\x00", "k" * 100_000, "{a}*?[b]"):
        await process.cache.set(key, b"value", ttl_s=60, tags=[key])
        assert await process.cache.get(key) == b"value"
        assert (await process.take(key)).allowed
    with pytest.raises(TypeError):
        await process.cache.set("key", None, ttl_s=60)  # type: ignore[arg-type]
    with pytest.raises(DataError):
        await process.link.ask(DROP, ["key"], [None])  # type: ignore[list-item]
    assert not process.link.failures
    assert process.link.problem is None
