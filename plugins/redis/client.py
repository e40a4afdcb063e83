"""The one place that knows redis-py: connects, runs scripts, and says in our own words what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from core.security import MASK
from plugins.redis.config import Address, RedisConfig, TlsOptions
from plugins.redis.scripts import Script

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool, Redis

LONGEST_WORDS = 300
GOODBYE_S = 1.0

Argument: TypeAlias = bytes | str | int | float


class Away(Exception):
    """The server did not do what it was asked; ``reason`` is a word for it, the text what it or the system said."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Client:
    """Connections to one server, made as they are needed; every answer is waited for within a time.

    How many there are at most is seen to here: redis-py's pool that waits for a free one loses some where callers are
    cancelled.
    """

    def __init__(self, config: RedisConfig) -> None:
        self.address = config.address
        self._config = config
        self._redis: Redis | None = None
        self._free = asyncio.Semaphore(config.connections)

    async def run(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[Argument], *, within_s: float
    ) -> Any:
        """Run a script, which the server is taught where it does not know it; raises Away.

        Raises DataError for arguments that are neither text, octets nor numbers.
        """
        from redis.exceptions import DataError, NoScriptError

        redis = self._redis = self._redis or self._connected()
        try:
            async with asyncio.timeout(within_s), self._free:
                try:
                    return await redis.evalsha(script.sha, len(keys), *keys, *arguments)
                except NoScriptError:  # it was restarted, or its scripts were flushed
                    return await redis.eval(script.text, len(keys), *keys, *arguments)
        except DataError:  # the caller's mistake: this is nothing that can be sent
            raise
        except Exception as error:  # whatever the library makes of a stranger's answer: requests go on without it
            raise self._away(error, within_s) from None

    async def hang_up(self) -> None:
        """Close all connections; the next script makes new ones."""
        redis, self._redis = self._redis, None
        if redis is not None:
            with suppress(Exception):  # what ends badly has ended, too
                async with asyncio.timeout(GOODBYE_S):
                    await redis.connection_pool.disconnect()

    def _connected(self) -> Redis:
        from redis.asyncio import Redis

        return Redis(connection_pool=_pool(self._config, self.address))

    def _away(self, error: Exception, within_s: float) -> Away:
        from redis import exceptions

        match error:
            case TimeoutError() | exceptions.TimeoutError():
                return Away("timeout", f"it did not answer within {within_s:g} s")
            case exceptions.AuthenticationError() | exceptions.NoPermissionError():
                reason, what = "refused", "it does not let us in"
            case exceptions.OutOfMemoryError():
                reason, what = "full", "it is full"
            case exceptions.ConnectionError() | OSError():
                reason, what = "connection", "it cannot be reached"
            case _:
                reason, what = "failed", "it answers with an error"
        return Away(reason, f"{what}: {self._without_secrets(str(error) or type(error).__name__)}")

    def _without_secrets(self, said: str) -> str:
        password = self.address.password
        if password is not None and password.reveal():
            said = said.replace(password.reveal(), MASK)
        return " ".join(said.split())[:LONGEST_WORDS]


def _pool(config: RedisConfig, address: Address) -> ConnectionPool:
    from redis.asyncio import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    options: dict[str, Any] = {"path": address.path} if address.path else {"host": address.host, "port": address.port}
    if address.tls:
        options |= _secured(config.tls or TlsOptions())
    plain = UnixDomainSocketConnection if address.path else Connection
    return ConnectionPool(
        connection_class=SSLConnection if address.tls else plain,
        db=address.db,
        username=address.username or None,
        password=None if address.password is None else address.password.reveal(),
        socket_timeout=None,  # `run` bounds all that it waits for
        socket_connect_timeout=config.connect_timeout_s,
        retry=Retry(NoBackoff(), 0),  # what failed is done here meanwhile: nobody waits for a second try
        protocol=2,
        **options,
    )


def _secured(tls: TlsOptions) -> dict[str, Any]:
    return {
        "ssl_ca_certs": None if tls.ca_file is None else str(tls.ca_file),
        "ssl_certfile": None if tls.cert_file is None else str(tls.cert_file),
        "ssl_keyfile": None if tls.key_file is None else str(tls.key_file),
        "ssl_cert_reqs": "required" if tls.verify else "none",
        "ssl_check_hostname": tls.verify,
    }
