"""The security headers, worked out for each route when the application is built."""

from __future__ import annotations

from collections.abc import Iterable

from core.plugin import Call, HealthCheck, Phase, Plugin, Policy, Route, Steps, Weakness, hookimpl
from plugins.security.config import SCHEMA, SecurityConfig
from plugins.security.security_txt import health, security_txt
from plugins.security.weaknesses import weaknesses

_CACHE_CONTROL = "Cache-Control"
_NEVER_KEPT = "no-store"
_ASKED_AGAIN = "private, no-cache"


class SecurityPlugin(Plugin[SecurityConfig]):
    """Headers that make browsers careful with what we answer, and whom to tell of a hole."""

    schema = SCHEMA
    config_class = SecurityConfig
    api_version = 2

    @hookimpl
    def register_routes(self) -> Iterable[Route]:
        return [] if self.config.security_txt is None else [security_txt(self.config.security_txt)]

    @hookimpl
    def register_health_checks(self) -> Iterable[HealthCheck]:
        found = self.config.security_txt
        return [] if found is None else [HealthCheck("security.txt", lambda: health(found, self.ctx.clock.utc()))]

    @hookimpl
    def register_weaknesses(self) -> Iterable[Weakness]:
        return weaknesses(self.config, self.ctx.clock.utc())

    @hookimpl
    def register_middlewares(self) -> Iterable[Policy]:
        return [Policy(Phase.HEADERS, self._compile)]

    def _compile(self, route: Route | None) -> Steps:
        headers = dict(self.config.on_every_answer)
        kept = _kept(route)
        if self.config.cache_control and kept is not None:
            headers[_CACHE_CONTROL] = kept
        return Steps(after=self._answered if self.config.hsts else None, headers=headers)

    def _answered(self, call: Call, _status: int) -> None:
        """Have browsers use TLS from now on: not said without it, where anybody could say so (RFC 6797, 7.2)."""
        if call.secure:
            call.answer_headers.append(("Strict-Transport-Security", str(self.config.hsts)))


def _kept(route: Route | None) -> str | None:
    """Say who may keep the answers of a route, and use them again; None where they are anybody's.

    Those with an ETag may be kept by who got them, to be asked for again with it.
    """
    if route is None:
        return _NEVER_KEPT
    if route.role is None and route.method == "GET":
        return None
    return _ASKED_AGAIN if route.method == "GET" and route.status == 200 else _NEVER_KEPT
