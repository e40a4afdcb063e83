"""Asks on each route that is not public who it is, and whether they may: by role, and by scope."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence

import attrs
from aiohttp import web

from core.callers import principal_of
from core.errors import (
    CredentialsRequired,
    DeviceNotFound,
    PermissionDenied,
    PlantroomError,
    PluginNotRunning,
    PointNotFound,
)
from core.policies import Authenticator, Call, Policy, Steps
from core.principals import ANONYMOUS, Principal, Role
from core.registry import PointEntry, Registry
from core.routes import Phase, Route

KERNEL = "core"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="plantroom"'}


@attrs.frozen
class Doorkeeper:
    """A plugin that says who somebody is; ``authenticators`` are none where it could not even be asked for them."""

    plugin: str
    runs: Callable[[], bool]
    authenticators: tuple[Authenticator, ...] = ()


def access(doorkeepers: Sequence[Doorkeeper], registry: Registry, owners: Callable[[Route], str]) -> Policy:
    """Make the policy of phase AUTH; ``owners`` tells whose a route is.

    Without doorkeepers everybody may do everything. While one of them does not run, what the others do not know is
    answered 503, since it might have known.
    """

    def compile_route(route: Route | None) -> Steps | None:
        if not doorkeepers:
            return Steps(before=_let_in)
        if route is not None and route.role is None:
            return None
        return Steps(before=_Guard(doorkeepers, registry, route, "" if route is None else owners(route)))

    return Policy(Phase.AUTH, compile_route)


def _let_in(call: Call) -> None:
    call.principal = ANONYMOUS


class _Guard:
    """Guards one route."""

    def __init__(self, doorkeepers: Sequence[Doorkeeper], registry: Registry, route: Route | None, owner: str) -> None:
        self._ways = [(keeper, way.authenticate) for keeper in doorkeepers for way in keeper.authenticators]
        self._doorkeepers = doorkeepers
        self._registry = registry
        self._route = route
        self._covered_by_plugin = owner not in {KERNEL, *(keeper.plugin for keeper in doorkeepers)}
        self._owner = owner
        self._role = Role.VIEWER if route is None or route.role is None else route.role
        self._enough = tuple(role for role in Role if role.includes(self._role))

    def __call__(self, call: Call) -> Awaitable[None] | None:
        """Let a call pass, or refuse it; raises CredentialsRequired, PermissionDenied, PluginNotRunning."""
        for at, (keeper, authenticate) in enumerate(self._ways):
            if keeper.runs():
                known = authenticate(call)
                if isinstance(known, Principal):
                    self._admit(call, known)
                    return None
                if known is not None:
                    return self._go_on(call, known, at + 1)
        raise self._stranger()

    async def _go_on(self, call: Call, pending: Awaitable[Principal | None], at: int) -> None:
        """Wait for one way to know who it is, and try the rest."""
        known = await pending
        for keeper, authenticate in self._ways[at:]:
            if known is not None:
                break
            if keeper.runs():
                found = authenticate(call)
                known = await found if inspect.isawaitable(found) else found
        if known is None:
            raise self._stranger()
        self._admit(call, known)

    def _stranger(self) -> CredentialsRequired | PluginNotRunning:
        for keeper in self._doorkeepers:
            if not keeper.runs():
                return PluginNotRunning(f"{keeper.plugin} does not run, and it is what knows who may come in.")
        return CredentialsRequired(CredentialsRequired.remedy, headers=CHALLENGE)

    def _admit(self, call: Call, principal: Principal) -> None:
        call.principal = principal
        if principal.role not in self._enough:
            what = "This" if self._route is None else f"`{self._route.summary}`"
            raise PermissionDenied(f"{what} takes the role {self._role}, and {principal} is {_a(principal.role)}.")
        if principal.scope is not None and not self._is_within(call, principal):
            raise _beyond(principal)

    def _is_within(self, call: Call, principal: Principal) -> bool:
        scope, route = principal.scope, self._route
        if scope is None or route is None or route.minds_scope:
            return True
        try:
            if "point_id" in call.arguments:
                return self._registry.point(call.arguments["point_id"]).within(scope)
            if "device_id" in call.arguments:
                return self._registry.device(call.arguments["device_id"]).within(scope)
        except (PointNotFound, DeviceNotFound):
            return False  # an id that is not there is not told apart from one that is not theirs
        return self._covered_by_plugin and scope.covers_plugin(self._owner)


def point_for(request: web.Request, registry: Registry, point_id: str) -> PointEntry:
    """Return a point that a request names in its body; raises PermissionDenied for one beyond the principal's scope.

    Raises PointNotFound, but only to those whom nothing is hidden from.
    """
    principal = principal_of(request)
    if principal.scope is None:
        return registry.point(point_id)
    try:
        entry = registry.point(point_id)
        if entry.within(principal.scope):
            return entry
    except PointNotFound:
        """An id that is not there is not told apart from one that is not theirs."""
    raise _beyond(principal)


def points_for(
    request: web.Request, registry: Registry, point_ids: Iterable[str]
) -> tuple[dict[str, PointEntry], dict[str, PlantroomError]]:
    """Return the points that a request names in its body, by id, each once; and for each that it cannot have, why."""
    entries: dict[str, PointEntry] = {}
    errors: dict[str, PlantroomError] = {}
    for point_id in dict.fromkeys(point_ids):
        try:
            entries[point_id] = point_for(request, registry, point_id)
        except (PointNotFound, PermissionDenied) as error:
            errors[point_id] = error
    return entries, errors


def _beyond(principal: Principal) -> PermissionDenied:
    return PermissionDenied(f"{principal} is limited to {principal.scope}, and this is beyond that.")


def _a(role: Role) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"
