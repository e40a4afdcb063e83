"""Finds the budgets that a request takes from: worked out for each route, and kept for each client."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

import attrs

from core.plugin import Call, Principal, PrincipalKind, Route
from plugins.ratelimit.config import Counts, Per, RatelimitConfig, Rule
from plugins.ratelimit.limits import POLICY, HeaderPair, Limit

PLANS_KEPT = 4096
IPV6_PREFIX = 64
EVERYBODY = "*"


@attrs.frozen(eq=False)
class Bucket:
    """One client's budget under a limit; ``key`` is its name in the store."""

    key: str
    limit: Limit


@attrs.frozen(eq=False)
class Plan:
    """What the requests of a client take from, at the routes that it is for.

    ``once`` is 1 from each; ``policy`` is the header that names them.
    """

    principal: Principal | None
    buckets: tuple[Bucket, ...]
    once: tuple[tuple[Bucket, float], ...]
    policy: HeaderPair


class Plans:
    """The plans of the clients of some routes: those that the same rules may match."""

    def __init__(self, limits: Limits, rules: Sequence[_CompiledRule]) -> None:
        self._limits = limits
        self._rules = rules
        self._by_address = any(rule.per is Per.ADDRESS for rule in rules)
        self._kept: dict[str, Plan] = {}

    def of(self, call: Call) -> Plan:
        """Return the plan for whoever makes a request."""
        principal = call.principal
        if principal is None or principal.kind is PrincipalKind.ANONYMOUS:
            principal, who = None, address_key(call.client)
        else:
            who = f"{principal.id} {address_key(call.client)}" if self._by_address else principal.id
        plan = self._kept.get(who)
        if plan is None or (plan.principal is not principal and plan.principal != principal):
            plan = self._made(principal, call.client)
            if len(self._kept) >= PLANS_KEPT:
                self._kept.clear()
            self._kept[who] = plan
        return plan

    def _made(self, principal: Principal | None, client: str) -> Plan:
        address = address_key(client)
        limit = self._limits.of(principal)
        buckets = [self._limits.bucket(limit, address if principal is None else principal.id)]
        for rule in self._rules:
            who = rule.who(principal, address)
            if who is not None:
                buckets.append(self._limits.bucket(rule.limit, who))
        return plan_of(buckets, principal)


class Limits:
    """Everything that the configuration limits, ready for the routes; ``owner`` is what the keys begin with."""

    def __init__(self, config: RatelimitConfig, *, owner: str) -> None:
        self._owner = owner
        self.failed = Limit("failed", config.failed)
        self._anonymous = Limit("anonymous", config.anonymous)
        self._default = Limit("default", config.default)
        self._keys = {name: Limit("key", budget) for name, budget in config.keys.items()}
        self._users = {name: Limit("user", budget) for name, budget in config.users.items()}
        self._roles = {name: Limit("role", budget) for name, budget in config.roles.items()}
        self._rules = [_CompiledRule(rule) for rule in config.limits]
        self._plans: dict[tuple[str, ...], Plans] = {}
        self._served = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all limits."""
        return ("default", "anonymous", "failed", "key", "user", "role", *(rule.limit.name for rule in self._rules))

    @property
    def unmatched(self) -> list[str]:
        """The names of the rules that match no route of those asked for."""
        return [rule.limit.name for rule in self._rules if not rule.matched] if self._served else []

    def plans(self, route: Route | None) -> Plans:
        """Return the plans for a route; routes that the same rules may match have theirs in common."""
        self._served = self._served or route is not None
        rules = [rule for rule in self._rules if rule.matches(route)]
        names = tuple(rule.limit.name for rule in rules)
        return self._plans.setdefault(names, Plans(self, rules))

    def of(self, principal: Principal | None) -> Limit:
        """Return the limit for all that somebody asks: the nearest of those that there are."""
        if principal is None:
            return self._anonymous
        own = {PrincipalKind.KEY: self._keys, PrincipalKind.USER: self._users}.get(principal.kind, {})
        return own.get(principal.name) or self._roles.get(principal.role) or self._default

    def bucket(self, limit: Limit, who: str) -> Bucket:
        """Return somebody's budget under a limit."""
        return Bucket(f"{self._owner}.{limit.name}|{who}", limit)

    def failed_by(self, address: str) -> Plan:
        """Return the plan for the failed sign-ins of an address."""
        return plan_of([self.bucket(self.failed, address_key(address))])


class _CompiledRule:
    """A rule with its limit, its pattern, and whether any route matched."""

    def __init__(self, rule: Rule) -> None:
        self.limit = Limit(rule.name, rule.budget, counts_cost=rule.counts is Counts.COST)
        self.per = rule.per
        self.matched = False
        self._match = rule.match
        self._pattern = re.compile(".*".join(map(re.escape, rule.match.path.split("*"))))

    def matches(self, route: Route | None) -> bool:
        """Tell whether requests of a route may be concerned; what is at no address is by rules about all of them."""
        match = self._match
        if route is None:
            return match.path == EVERYBODY and not match.methods
        if (match.methods and route.method not in match.methods) or not self._pattern.fullmatch(route.path):
            return False
        self.matched = True
        return True

    def who(self, principal: Principal | None, address: str) -> str | None:
        """Tell whose budget a request takes from; None where the rule is not about who asks."""
        match = self._match
        kind = PrincipalKind.ANONYMOUS if principal is None else principal.kind
        if match.kinds and kind not in match.kinds:
            return None
        if match.roles and (principal is None or principal.role not in match.roles):
            return None
        if match.names and (principal is None or principal.name not in match.names):
            return None
        mine = address if principal is None else principal.id
        match self.per:
            case Per.KEY:
                return mine if kind is PrincipalKind.KEY else None
            case Per.USER:
                return mine if kind is PrincipalKind.USER else None
            case Per.PRINCIPAL:
                return mine
            case Per.ADDRESS:
                return address
            case Per.EVERYONE:
                return EVERYBODY


def plan_of(buckets: Sequence[Bucket], principal: Principal | None = None) -> Plan:
    """Make a plan of some budgets."""
    once = tuple((bucket, 1.0) for bucket in buckets)
    return Plan(principal, tuple(buckets), once, (POLICY, ", ".join(bucket.limit.policy for bucket in buckets)))


@lru_cache(maxsize=PLANS_KEPT)
def address_key(address: str) -> str:
    """Name whoever asks from an address: itself, or for IPv6 the network of 64 bits that one subscriber has."""
    if ":" not in address:
        return f"@{address}"
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return f"@{address}"
    if parsed.ipv4_mapped is not None:
        return f"@{parsed.ipv4_mapped}"
    return f"@{ipaddress.IPv6Network((parsed, IPV6_PREFIX), strict=False)}"
