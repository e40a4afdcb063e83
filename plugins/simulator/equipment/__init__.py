"""The kinds of equipment in the building: each makes the objects of a device and moves them, free of any protocol."""

from __future__ import annotations

from typing import Protocol

from plugins.simulator.site import Site


class Equipment(Protocol):
    """A machine behind a device."""

    def step(self, site: Site, dt: float) -> None:
        """Let ``dt`` seconds of the building's clock pass, at most 60."""
        ...
