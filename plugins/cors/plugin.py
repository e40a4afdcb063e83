"""Cross-origin resource sharing as the Fetch standard has it: what each route's answers and preflights say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from core.plugin import Call, Context, Phase, Plugin, Policy, Reply, Route, Steps, Weakness, hookimpl
from plugins.cors.config import ANY, SCHEMA, CorsConfig
from plugins.cors.weaknesses import weaknesses

TAKEN = ("Authorization", "Content-Type", "If-None-Match", "X-API-Key", "X-Request-ID")
"""Headers that requests to any route may have; X-CSRF-Token goes with cookies."""
CSRF = "X-CSRF-Token"
SHOWN = ("Age", "Allow", "ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID")
"""Headers of any answer that a page's script may read, beside those that every script may."""
NEVER_SHOWN = frozenset({"set-cookie"})

Lines = tuple[tuple[str, str], ...]


class CorsPlugin(Plugin[CorsConfig]):
    """Answers preflights, and tells browsers on every other answer whose pages may read it."""

    schema = SCHEMA
    config_class = CorsConfig
    api_version = 2

    def __init__(self, config: CorsConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self._taken = {*TAKEN, *config.headers, *((CSRF,) if config.credentials else ())}
        self._shown = {*SHOWN}
        self._methods = {"HEAD"}
        self._lines: Mapping[str, Lines] = self._written()

    @hookimpl
    def register_weaknesses(self) -> Iterable[Weakness]:
        return weaknesses(self.config)

    @hookimpl
    def register_middlewares(self) -> Iterable[Policy]:
        return [Policy(Phase.CORS, self._compile)]

    def _compile(self, route: Route | None) -> Steps | None:
        """Learn a route's headers, and say what is done about it; requests that match none are the last to be asked."""
        if not self.config.origins:
            return None
        if route is not None:
            self._methods.add(route.method)
            self._taken.update(header.name for header in route.takes)
            self._shown.update(header.name for header in route.sends)
        self._lines = self._written()
        varies = {} if self.config.any_origin else {"Vary": "Origin"}
        return Steps(before=self._mark if route is not None else self._answer, headers=varies)

    def _written(self) -> Mapping[str, Lines]:
        """Write, for each origin, what every answer to it says."""
        shown = sorted(name for name in self._shown if name.lower() not in NEVER_SHOWN)
        more: Lines = (("Access-Control-Expose-Headers", ", ".join(shown)),)
        if self.config.credentials:
            more = (("Access-Control-Allow-Credentials", "true"), *more)
        return {each: (("Access-Control-Allow-Origin", each), *more) for each in self.config.origins}

    def _lines_for(self, call: Call) -> Lines | None:
        """Return what is said to where a call comes from; None where its page may not read the answer."""
        origin = call.headers.get("Origin")
        if origin is None:
            return None
        return self._lines.get(ANY if self.config.any_origin else origin)

    def _mark(self, call: Call) -> None:
        lines = self._lines_for(call)
        if lines is not None:
            call.answer_headers.extend(lines)

    def _answer(self, call: Call) -> Reply | None:
        """Answer a preflight; all else goes on.

        One to an address where nothing is takes any method, so that the page gets to read the 404 itself.
        """
        lines = self._lines_for(call)
        if lines is None:
            return None
        call.answer_headers.extend(lines)
        if call.method != "OPTIONS" or "Access-Control-Request-Method" not in call.headers:
            return None
        methods = call.methods_at(call.path) or self._methods
        headers = [
            ("Access-Control-Allow-Methods", ", ".join(sorted(methods))),
            ("Access-Control-Allow-Headers", ", ".join(sorted(self._taken))),
            ("Access-Control-Max-Age", str(self.config.max_age)),
        ]
        if self.config.private_network and call.headers.get("Access-Control-Request-Private-Network") == "true":
            headers.append(("Access-Control-Allow-Private-Network", "true"))
        return Reply(HTTPStatus.NO_CONTENT, headers=tuple(headers))
