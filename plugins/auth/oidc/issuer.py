"""The issuer's public keys: fetched when a token needs them, kept, and fetched again when they were rotated."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
from aiohttp import ClientError

from core.plugin import Context
from plugins.auth.config import OidcOptions
from plugins.auth.errors import IssuerAway

DISCOVERY = "/.well-known/openid-configuration"
TIMEOUT_S = 5.0
LONGEST_ANSWER = 1024 * 1024
FRESH_FOR_S = 3600.0
"""Seconds after which the keys are fetched anew, so that one that was withdrawn is not taken for ever."""
COOL_DOWN_S = 30.0
"""Seconds between fetches at least, however many tokens name keys that are not there."""


class Issuer:
    """The signing keys of one issuer, by their ids."""

    def __init__(self, options: OidcOptions, ctx: Context) -> None:
        self._options = options
        self._ctx = ctx
        self._keys: Mapping[str | None, Mapping[str, Any]] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._client: aiohttp.ClientSession | None = None
        self._failing = False
        self.version = 0

    async def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    @property
    def is_fresh(self) -> bool:
        """Whether the keys were fetched lately."""
        return self._ctx.clock.monotonic() - self._fetched_at < FRESH_FOR_S

    def known(self, key_id: str | None) -> Mapping[str, Any] | None:
        """Return a key that is at hand, as a JSON Web Key (RFC 7517); a token without id means the only one."""
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    async def key(self, key_id: str | None) -> Mapping[str, Any] | None:
        """Return a key, asking the issuer where it is not at hand; None where there is none of this id.

        Raises IssuerAway where the issuer could not be asked yet.
        """
        async with self._fetching:
            now = self._ctx.clock.monotonic()
            wanted = self.known(key_id) is None or not self.is_fresh
            if wanted and now - self._tried_at >= COOL_DOWN_S:
                self._tried_at = now
                await self._fetch()
        if not self._keys:
            raise IssuerAway
        return self.known(key_id)

    async def _fetch(self) -> None:
        """Take the issuer's keys; those that are at hand stay where it cannot be asked."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                url = self._options.jwks_url or await self._discovered()
                found = (await self._json(url))["keys"]
                self._keys = {each.get("kid"): each for each in found if each.get("use", "sig") == "sig"}
        except (ClientError, TimeoutError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
            if not self._failing:
                why = str(error) or type(error).__name__
                self._ctx.log.warning("issuer_away", issuer=self._options.issuer, error=why)
            self._failing = True
            return
        self._fetched_at = self._ctx.clock.monotonic()
        self.version += 1
        if self._failing:
            self._ctx.log.info("issuer_back", issuer=self._options.issuer)
        self._failing = False

    async def _discovered(self) -> str:
        """Ask where the keys are (OpenID Connect Discovery 1.0, 4); raises ValueError for another issuer's answer."""
        said = await self._json(self._options.issuer.rstrip("/") + DISCOVERY)
        if said["issuer"] != self._options.issuer:
            raise ValueError(f"its discovery document is of {said['issuer']!r}")
        return str(said["jwks_uri"])

    async def _json(self, url: str) -> Any:
        if self._client is None:
            self._client = aiohttp.ClientSession()
        async with self._client.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise ValueError(f"{url} answers {answer.status}")
            raw = await answer.content.read(LONGEST_ANSWER + 1)
            while len(raw) <= LONGEST_ANSWER and (more := await answer.content.read(LONGEST_ANSWER)):
                raw += more
            if len(raw) > LONGEST_ANSWER:
                raise ValueError(f"{url} answers more than {LONGEST_ANSWER} octets")
            return orjson.loads(raw)
