"""The plugin: keeps keys, users and sessions while it runs, and tells the kernel who a request is from."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sized
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from core.errors import PluginError
from core.plugin import Authenticator, CliCommand, Context, Metric, Migration, Plugin, Route, Weakness, hookimpl
from core.storage import FILE_NAME
from core.tasks import end_tasks
from plugins.auth.accounts import Accounts
from plugins.auth.authentication import KeyAuthenticator, SessionAuthenticator, authenticators
from plugins.auth.bootstrap import keep_private, see_to_an_admin
from plugins.auth.commands import Commands
from plugins.auth.config import SCHEMA, AuthConfig
from plugins.auth.errors import ExtraMissing
from plugins.auth.lockout import Lockout
from plugins.auth.oidc.issuer import Issuer
from plugins.auth.oidc.tokens import TokenAuthenticator
from plugins.auth.passwords import Passwords
from plugins.auth.routes.keys import KeyRoutes
from plugins.auth.routes.me import MeRoutes
from plugins.auth.routes.sessions import SessionRoutes
from plugins.auth.routes.users import UserRoutes
from plugins.auth.sign_in import SignIn
from plugins.auth.tables import MIGRATIONS
from plugins.auth.weaknesses import weaknesses

FAILURES = ("key", "token", "csrf", "sign_in", "locked")


class AuthPlugin(Plugin[AuthConfig]):
    """API keys, users and sessions: who a request is from, and how that is managed."""

    schema = SCHEMA
    config_class = AuthConfig
    api_version = 2

    def __init__(self, config: AuthConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.failures: Counter[str] = Counter()
        self.lockout = Lockout(ctx.clock)
        self.accounts = Accounts(config, ctx, self.lockout)
        self.passwords = Passwords(config.password)
        self.issuer = None if config.oidc is None else Issuer(config.oidc, ctx)
        self._by_key = KeyAuthenticator(self.accounts.keys, ctx.clock, self.failures)
        self._by_session = SessionAuthenticator(
            self.accounts.sessions, self.accounts.users, origins=config.origins, failures=self.failures
        )

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Hold everything in memory."""
        return self._run()

    @hookimpl
    def register_weaknesses(self) -> Iterable[Weakness]:
        return weaknesses(self.config, self.ctx.data_dir)

    @hookimpl
    def register_authenticators(self) -> Iterable[Authenticator]:
        known = authenticators(self._by_key, self._by_session, self.config.metrics.parsed)
        if self.config.oidc is None or self.issuer is None:
            return known
        tokens = TokenAuthenticator(self.config.oidc, self.issuer, self.ctx.clock, self.failures)
        return [Authenticator("tokens", tokens.authenticate), *known]

    @hookimpl
    def register_routes(self) -> Iterable[Route]:
        sign_in = SignIn(self.ctx, self.accounts, self.passwords, self.lockout, failures=self.failures)
        return [
            *SessionRoutes(
                self.ctx, self.accounts, sign_in=sign_in, authenticator=self._by_session, origins=self.config.origins
            ).routes,
            *MeRoutes(
                self.ctx, self.accounts, passwords=self.passwords, lockout=self.lockout, authenticator=self._by_session
            ).routes,
            *UserRoutes(self.ctx, self.accounts, self.passwords).routes,
            *KeyRoutes(self.ctx, self.accounts).routes,
        ]

    @hookimpl
    def register_migrations(self) -> Iterable[Migration]:
        return MIGRATIONS

    @hookimpl
    def register_commands(self) -> Iterable[CliCommand]:
        return Commands(self.ctx, self.passwords).commands

    @hookimpl
    def register_metrics(self) -> Iterable[Metric]:
        counts = [
            Metric(f"plantroom_auth_{name}", "gauge", help_, functools.partial(_count, getattr(self.accounts, name)))
            for name, help_ in (
                ("keys", "API keys that there are"),
                ("users", "Users that there are"),
                ("sessions", "Browsers' sessions that there are"),
            )
        ]
        refused = "Unknown keys, requests of other sites, sign-ins that failed or came too soon"
        return [*counts, Metric("plantroom_auth_failures_total", "counter", refused, self._collect_failures)]

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        try:
            keep_private(self.ctx.data_dir / FILE_NAME)
        except OSError as error:
            self.ctx.log.warning("database_not_private", error=str(error))
        if self.issuer is not None and importlib.util.find_spec("jwt") is None:
            raise PluginError("`oidc` needs libraries that are missing: pip install 'plantroom[oidc]'")
        with suppress(ExtraMissing):  # keys work without
            await self.passwords.prepare()
        await self.accounts.ledger.catch_up()
        await see_to_an_admin(self.ctx, self.accounts.ledger, self.accounts.keys, self.accounts.users)
        keeping = asyncio.create_task(self.accounts.keep(), name="auth:keep")
        try:
            yield
        finally:
            await end_tasks([keeping])
            await self.accounts.save()
            self.passwords.close()
            if self.issuer is not None:
                await self.issuer.close()

    def _collect_failures(self) -> Iterable[tuple[Mapping[str, str], float]]:
        return [({"reason": reason}, self.failures[reason]) for reason in FAILURES]


def _count(things: Sized) -> Iterable[tuple[Mapping[str, str], float]]:
    return [({}, len(things))]
