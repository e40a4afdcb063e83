"""Says who a request is from, with the role and the scope that limit what they may do."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Sequence
from functools import lru_cache

import attrs


class Role(enum.StrEnum):
    """What a principal may do; each role includes those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Tell whether this role may do what the other one may."""
        return _RANKS[self] >= _RANKS[other]


_RANKS = {role: rank for rank, role in enumerate(Role)}


class PrincipalKind(enum.StrEnum):
    """What a principal is known by."""

    ANONYMOUS = "anonymous"
    KEY = "key"
    USER = "user"
    TOKEN = "token"  # noqa: S105  # the word, not a secret
    CERTIFICATE = "certificate"
    NETWORK = "network"


@attrs.frozen
class Scope:
    """What a principal is limited to: all that is given must hold, an empty tuple limits nothing.

    ``plugins`` are instances; ``devices`` ids, in which ``*`` stands for any characters; ``tags`` those of which the
    point or its device has one.
    """

    plugins: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def covers(self, plugin: str, device_id: str, tags: Collection[str]) -> bool:
        """Tell whether a device, or a point of it, is within; a point's ``tags`` are its own and its device's."""
        return (
            (not self.plugins or plugin in self.plugins)
            and (not self.devices or _pattern(self.devices).fullmatch(device_id) is not None)
            and (not self.tags or any(tag in self.tags for tag in tags))
        )

    def covers_plugin(self, plugin: str) -> bool:
        """Tell whether everything of a plugin is within."""
        return not self.devices and not self.tags and plugin in self.plugins

    def __str__(self) -> str:
        parts = (("plugins", self.plugins), ("devices", self.devices), ("tags", self.tags))
        return "; ".join(f"{name} {', '.join(values)}" for name, values in parts if values) or "everything"


@attrs.frozen(cache_hash=True)  # kept answers are found by it
class Principal:
    """Who a request is from.

    ``id`` is unique and stable (``key:k7f3``, ``user:ada``), ``name`` is what people call them. ``scope`` None is the
    whole house.
    """

    id: str
    name: str
    role: Role
    kind: PrincipalKind
    scope: Scope | None = None

    def __str__(self) -> str:
        return self.name if self.kind is PrincipalKind.ANONYMOUS else f"{self.kind}:{self.name}"


ANONYMOUS = Principal("anonymous", "anonymous", Role.ADMIN, PrincipalKind.ANONYMOUS)
"""Who asks in a house that has no sign-in, where everybody may do everything."""


@lru_cache(maxsize=1024)
def _pattern(patterns: Sequence[str]) -> re.Pattern[str]:
    """Compile ids in which ``*`` stands for any characters."""
    return re.compile("|".join(".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns))
