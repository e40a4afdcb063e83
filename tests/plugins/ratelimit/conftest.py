"""A rate limiter configured by a piece of YAML, before which calls are brought as the kernel does."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest

from core.catalog import Catalog
from core.clock import ManualClock
from core.config import load
from core.defaults import in_memory_services
from core.errors import PlantroomError
from core.events import EventBus
from core.plugin import (
    Call,
    Context,
    CredentialsRequired,
    Phase,
    Principal,
    PrincipalKind,
    Role,
    Route,
    Steps,
    TooManyRequests,
    call_of,
    logger,
)
from core.services import RateLimitStore
from core.settings import read
from plugins.ratelimit import RatelimitPlugin
from plugins.ratelimit.config import RatelimitConfig


async def nothing(_request: object, **_arguments: str) -> None:
    """Handle nothing: only what stands before it is under test."""


def route(method: str = "GET", path: str = "/api/v1/points/{point_id}/value", **options: Any) -> Route:
    return Route(method, path, nothing, "A route", **options)


LOGIN = route("POST", "/api/v1/auth/login", role=None, errors=(CredentialsRequired,))


def principal(name: str = "backup", kind: PrincipalKind = PrincipalKind.KEY, role: Role = Role.VIEWER) -> Principal:
    return Principal(f"{kind}:{name}", name, role, kind)


@attrs.frozen
class Outcome:
    """What became of a call."""

    error: PlantroomError | None
    headers: Mapping[str, str]
    call: Call

    @property
    def status(self) -> int:
        return 200 if self.error is None else self.error.status

    @property
    def limit(self) -> str:
        """What the header says is left, such as ``default 199 1``: the limit, how many, in how many seconds more."""
        name, left, seconds = self.headers["RateLimit"].split(";")
        return f"{name.strip(chr(34))} {left.removeprefix('r=')} {seconds.removeprefix('t=')}"


class Door:
    """The policies of a limiter, in the order in which the kernel has them run."""

    def __init__(self, config: RatelimitConfig, store: RateLimitStore | None, folder: Path) -> None:
        self.clock = ManualClock()
        services = in_memory_services(self.clock)
        if store is not None:
            services.rate_limit_store = store
        self.context = Context(
            name="ratelimit",
            log=logger("ratelimit"),
            clock=self.clock,
            services=services,
            events=EventBus(),
            store=None,  # type: ignore[arg-type]
            commands=None,  # type: ignore[arg-type]
            data_dir=folder,
            publish=lambda _polled: None,
            seen=lambda _device: None,
        )
        self.plugin = RatelimitPlugin(config, self.context)
        self._policies = {policy.phase: policy for policy in self.plugin.register_middlewares()}
        self._compiled: dict[tuple[Phase, str], Steps] = {}

    def steps(self, phase: Phase, route: Route | None) -> Steps:
        key = phase, "" if route is None else f"{route.method} {route.path}"
        if key not in self._compiled:
            self._compiled[key] = self._policies[phase].compile(route) or Steps()
        return self._compiled[key]

    async def ask(
        self,
        where: Route | None,
        who: Principal | None = None,
        *,
        peer: str = "10.0.0.1",
        refuse: PlantroomError | None = None,
        fail: PlantroomError | None = None,
        do: Callable[[Call], Any] = lambda _call: None,
    ) -> Outcome:
        """Bring a call: ``refuse`` is what authentication, ``fail`` what the handler raises, after it did something."""
        call = call_of(*(("GET", "/nowhere") if where is None else (where.method, where.path)), peer=peer)
        call.route, call.principal = where, who
        error: PlantroomError | None = None
        try:
            await before(self.steps(Phase.ERRORS, where), call)
        except PlantroomError as raised:
            return self.answered(call, raised)
        try:
            if refuse is not None:
                raise refuse
            await before(self.steps(Phase.RATE_LIMIT, where), call)
            await settled(do(call))
            if fail is not None:
                raise fail
        except PlantroomError as raised:
            refused = self.steps(Phase.ERRORS, where).refused
            error = raised if refused is None else refused(call, raised)
        return self.answered(call, error)

    def answered(self, call: Call, error: PlantroomError | None = None) -> Outcome:
        """Answer a call, one too that came no further than to be answered."""
        after = self.steps(Phase.HEADERS, call.route).after
        assert after is not None
        after(call, 200 if error is None else error.status)
        names = [name for name, _value in call.answer_headers]
        assert len(names) == len(set(names)), "each header is there once"
        if isinstance(error, TooManyRequests):
            assert int(error.headers["Retry-After"]) >= 1
        return Outcome(error, dict(call.answer_headers), call)

    async def count(self, where: Route | None, who: Principal | None = None, *, of: int, **options: Any) -> int:
        """Tell how many of so many calls pass."""
        return sum([(await self.ask(where, who, **options)).status != 429 for _ in range(of)])


async def before(steps: Steps, call: Call) -> None:
    if steps.before is not None:
        await settled(steps.before(call))


async def settled(answer: Any) -> None:
    if inspect.isawaitable(answer):
        await answer


MakeDoor: TypeAlias = Callable[..., Door]


@pytest.fixture
def door(tmp_path: Path) -> MakeDoor:
    """Make a limiter of its options as YAML."""

    def make(yaml: str = "", *, store: RateLimitStore | None = None) -> Door:
        path = tmp_path / "plantroom.yaml"
        options = textwrap.indent(textwrap.dedent(yaml), "    ")
        path.write_text(f"plugins:\n  ratelimit:\n{options}\n", encoding="utf-8")
        [entry] = read(load([path]), Catalog(None)).plugins
        assert isinstance(entry.config, RatelimitConfig)
        return Door(entry.config, store, tmp_path)

    return make
