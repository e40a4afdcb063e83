"""The plugin's section of the configuration: what is kept, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import voluptuous as vol

from core.validators import boolean, integer, number

MIB = 1024 * 1024
LONGEST_S = 3600


@attrs.frozen
class AnswersConfig:
    """Answers of the REST API: how many, how many MiB in all, and for how many seconds at most.

    ``unknown`` is how many addresses are remembered under which nothing was found.
    """

    enabled: bool = True
    entries: int = 2000
    size_mib: int = 32
    longest: float = 60.0
    unknown: int = 1000

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.size_mib * MIB


@attrs.frozen
class ServiceConfig:
    """The cache service, which plugins keep values in; not ``enabled`` where another plugin provides it."""

    enabled: bool = True
    entries: int = 10_000
    size_mib: int = 64

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.size_mib * MIB


@attrs.frozen
class CacheConfig:
    """The whole section."""

    answers: AnswersConfig = AnswersConfig()
    service: ServiceConfig = ServiceConfig()


SCHEMA: Mapping[Any, Any] = {
    vol.Optional("answers"): {
        vol.Optional("enabled"): boolean,
        vol.Optional("entries"): integer(min=1, max=1_000_000),
        vol.Optional("size_mib"): integer(min=1, max=65_536),
        vol.Optional("longest"): number(min=0, max=LONGEST_S),
        vol.Optional("unknown"): integer(min=0, max=1_000_000),
    },
    vol.Optional("service"): {
        vol.Optional("enabled"): boolean,
        vol.Optional("entries"): integer(min=1, max=10_000_000),
        vol.Optional("size_mib"): integer(min=1, max=65_536),
    },
}
