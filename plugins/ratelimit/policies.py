"""What is done about the requests of each route: before them, where they are refused, and once they are answered."""

from __future__ import annotations

from collections.abc import Awaitable

from core.plugin import Call, CredentialsRequired, Phase, PlantroomError, Policy, Route, Steps, TooManyRequests
from plugins.ratelimit.limiter import REFUSED, Limiter, is_shown
from plugins.ratelimit.plans import Limits

NEVER_REFUSED = frozenset({"/healthz", "/readyz"})
"""What supervisors ask: one that is refused would restart a house that is well."""


class Policies:
    """The policies of the plugin.

    One takes from the budgets of who asks. One, outside of authentication, counts what fails there, and what is refused
    before the first saw it. One, outermost, tells those what is left who were answered by neither.
    """

    def __init__(self, limits: Limits, limiter: Limiter) -> None:
        self._limits = limits
        self._limiter = limiter
        self._anywhere = limits.plans(None)

    @property
    def all(self) -> list[Policy]:
        """All of them."""
        return [
            Policy(Phase.HEADERS, lambda _route: Steps(after=self._answered)),
            Policy(Phase.ERRORS, self._around_authentication, errors=(TooManyRequests,)),
            Policy(Phase.RATE_LIMIT, self._admission, errors=(TooManyRequests,)),
        ]

    def _admission(self, route: Route | None) -> Steps:
        plans, limiter = self._limits.plans(route), self._limiter

        def admit(call: Call) -> Awaitable[None] | None:
            return limiter.admit(call, plans.of(call))

        def tell(call: Call) -> Awaitable[None] | None:
            return limiter.look(call, plans.of(call))

        return Steps(before=tell if _is_never_refused(route) else admit)

    def _around_authentication(self, route: Route | None) -> Steps | None:
        if _is_never_refused(route):
            return None
        plans, limiter, limits = self._limits.plans(route), self._limiter, self._limits

        def refused(call: Call, error: PlantroomError) -> PlantroomError:
            if isinstance(error, CredentialsRequired):
                return limiter.take_at_once(call, limits.failed_by(call.client)) or error
            if call.meter is None:  # it never came as far as to be counted
                return limiter.take_at_once(call, plans.of(call)) or error
            return error

        def before_sign_in(call: Call) -> Awaitable[None] | None:
            return limiter.look(call, limits.failed_by(call.client), needs=1.0)

        return Steps(before=before_sign_in if _signs_in(route) else None, refused=refused)

    def _answered(self, call: Call, _status: int) -> None:
        if call.meter is None and not is_shown(call):
            self._limiter.take_at_once(call, self._anywhere.of(call))
            call.remarks[:] = [remark for remark in call.remarks if remark != REFUSED]  # its answer was another one


def _is_never_refused(route: Route | None) -> bool:
    return route is not None and route.role is None and route.path in NEVER_REFUSED


def _signs_in(route: Route | None) -> bool:
    """Tell whether a route takes credentials in its body, to find that they are none."""
    return (
        route is not None
        and route.role is None
        and any(issubclass(error, CredentialsRequired) for error in route.errors)
    )
