"""The plugin's section of the configuration: how much each client may ask for, and what a request costs."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs
import voluptuous as vol

from core.plugin import PrincipalKind, Role, Work
from core.validators import integer, number, one_of, text

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
RESERVED = frozenset({"default", "anonymous", "failed", "key", "user", "role"})
"""Names of the limits that are not rules."""
UNITS_S: Mapping[str, int] = {"s": 1, "min": 60, "h": 3600, "day": 86_400}
FASTEST = 100_000
LARGEST_BURST = 1_000_000

_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)/(s|min|h|day)", re.ASCII)
_NAME = re.compile(r"[a-z0-9_-]{1,40}")


@attrs.frozen
class Budget:
    """How much may be asked for: ``rate`` a second for as long as it lasts, ``burst`` at once."""

    rate: float
    burst: int


class Per(enum.StrEnum):
    """Who has a budget of a rule for itself."""

    KEY = "key"
    USER = "user"
    PRINCIPAL = "principal"
    ADDRESS = "address"
    EVERYONE = "everyone"


class Counts(enum.StrEnum):
    """What is taken from the budget of a rule: 1 for each request, or what the request costs."""

    REQUESTS = "requests"
    COST = "cost"


@attrs.frozen
class Match:
    """Which requests a rule is about: all that is given must hold.

    ``path`` is a route's path as the API document has it, in which ``*`` stands for any characters; ``names`` are
    those of keys and users.
    """

    path: str = "*"
    methods: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ()
    kinds: tuple[PrincipalKind, ...] = ()
    names: tuple[str, ...] = ()


@attrs.frozen
class Rule:
    """A limit of its own for some requests, beside the one that each client has for all."""

    name: str
    budget: Budget
    match: Match = Match()
    per: Per = Per.PRINCIPAL
    counts: Counts = Counts.REQUESTS


@attrs.frozen
class Cost:
    """What a request costs, beside 1 for itself: for each point read or written, for each scan."""

    read: float = 0.1
    write: float = 1.0
    scan: float = 50.0

    def of(self, work: Work, count: int) -> float:
        """Return what so much work costs."""
        match work:
            case Work.READ:
                return self.read * count
            case Work.WRITE:
                return self.write * count
            case Work.SCAN:
                return self.scan * count


@attrs.frozen
class RatelimitConfig:
    """The whole section.

    ``default`` is for each client with credentials, unless its key, user or role has a budget of its own; ``anonymous``
    for each address without; ``failed`` for the failed sign-ins of each address.
    """

    default: Budget = Budget(100.0, 200)
    anonymous: Budget = Budget(20.0, 40)
    failed: Budget = Budget(20 / 60, 20)
    keys: Mapping[str, Budget] = attrs.field(factory=dict)
    users: Mapping[str, Budget] = attrs.field(factory=dict)
    roles: Mapping[str, Budget] = attrs.field(factory=dict)
    cost: Cost = Cost()
    limits: tuple[Rule, ...] = ()

    def __attrs_post_init__(self) -> None:
        twice = [name for name, count in Counter(rule.name for rule in self.limits).items() if count > 1]
        if twice:
            raise ValueError(f"there are two limits named '{twice[0]}': give each a name of its own")


def parse_rate(value: str) -> float:
    """Read ``100/s``, ``20/min``, ``1000/h`` or ``5/day`` as so many a second; raises ValueError."""
    match = _RATE.fullmatch(value)
    if match is None:
        raise ValueError("expected a rate such as 100/s, 20/min, 1000/h or 5/day")
    rate = float(match[1]) / UNITS_S[match[2]]
    if not 0 < rate <= FASTEST:
        raise ValueError(f"a rate must be more than 0, and {FASTEST}/s at most")
    return rate


def _rate(value: Any) -> str:
    if not isinstance(value, str):
        raise vol.Invalid("expected a rate such as 100/s, 20/min, 1000/h or 5/day")
    try:
        parse_rate(value)
    except ValueError as error:
        raise vol.Invalid(str(error)) from error
    return value


def _budget(value: Mapping[str, Any]) -> Budget:
    """Make a budget; without a burst it is what the rate lets pass in its own unit of time: 20 of 20/min."""
    rate = value["rate"]
    return Budget(parse_rate(rate), value.get("burst", max(1, int(float(rate.partition("/")[0])))))


def _rule(value: Mapping[str, Any]) -> dict[str, Any]:
    """Put a rule's rate and burst together."""
    rest = {key: given for key, given in value.items() if key not in ("rate", "burst")}
    return {**rest, "budget": _budget(value)}


def _name(value: Any) -> str:
    name = text(value)
    if not _NAME.fullmatch(name):
        raise vol.Invalid("a name is made of 1 to 40 of the characters a-z, 0-9, _ and -")
    if name in RESERVED:
        raise vol.Invalid(f"'{name}' is the name of a limit that is always there; choose another")
    return name


def _path(value: Any) -> str:
    path = text(value)
    if path[0] not in "/*" or any(character.isspace() for character in path):
        raise vol.Invalid('expected a route\'s path such as "/api/v1/points/*"')
    return path


_OF_A_BUDGET: Mapping[Any, Any] = {
    vol.Required("rate"): _rate,
    vol.Optional("burst"): integer(min=1, max=LARGEST_BURST),
}
_BUDGET = vol.All(_OF_A_BUDGET, _budget)
_COST = number(min=0, max=LARGEST_BURST)
_RULE: Mapping[Any, Any] = {
    vol.Required("name"): _name,
    vol.Optional("match"): {
        vol.Optional("path"): _path,
        vol.Optional("methods"): [one_of(*METHODS)],
        vol.Optional("roles"): [one_of(*Role)],
        vol.Optional("kinds"): [one_of(*PrincipalKind)],
        vol.Optional("names"): [text],
    },
    vol.Optional("per"): one_of(*Per),
    vol.Optional("counts"): one_of(*Counts),
    **_OF_A_BUDGET,
}

SCHEMA: Mapping[Any, Any] = {
    vol.Optional("default"): _BUDGET,
    vol.Optional("anonymous"): _BUDGET,
    vol.Optional("failed"): _BUDGET,
    vol.Optional("keys"): {text: _BUDGET},
    vol.Optional("users"): {text: _BUDGET},
    vol.Optional("roles"): {one_of(*Role): _BUDGET},
    vol.Optional("cost"): {
        vol.Optional("read"): _COST,
        vol.Optional("write"): _COST,
        vol.Optional("scan"): _COST,
    },
    vol.Optional("limits"): [vol.All(_RULE, _rule)],
}
