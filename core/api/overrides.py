"""What a person may change about a device or point by PATCH; null gives a field back to the plugin."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from core.registry import Overrides
from core.serialize import UNSET, Unset, field

SHORTEST_INTERVAL_S = 0.1
LONGEST_INTERVAL_S = 86_400.0


@attrs.frozen(kw_only=True)
class Patch:
    """The body of a PATCH; a field that is not mentioned stays as it is."""

    name: str | None | Unset = field(default=UNSET, min_length=1, max_length=200, example="Supply air temperature")
    tags: tuple[str, ...] | None | Unset = field(
        default=UNSET, min_length=1, max_length=64, max_items=64, example=["ahu-1", "comfort"]
    )
    enabled: bool | None | Unset = field(default=UNSET, description="Whether it is polled.", example=True)
    interval: float | None | Unset = field(
        default=UNSET, min=SHORTEST_INTERVAL_S, max=LONGEST_INTERVAL_S,
        description="Seconds between polls.", example=30,
    )  # fmt: skip


def changing(patch: Patch) -> Callable[[Overrides], Overrides]:
    """Make the function that applies a patch."""
    changes = {
        attribute.name: getattr(patch, attribute.name)
        for attribute in attrs.fields(Patch)
        if getattr(patch, attribute.name) is not UNSET
    }
    if "tags" in changes:
        changes["tags"] = tuple(dict.fromkeys(changes["tags"] or ()))
    return lambda overrides: attrs.evolve(overrides, **changes)
