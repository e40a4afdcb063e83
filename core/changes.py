"""What a scan changed: which points and devices are new, other than they were, gone, or back."""

from __future__ import annotations

import attrs


@attrs.define
class Changes:
    """Ids, in the order in which they were noticed; each point is in one list at most.

    A point that returned with another description is among ``returned``.
    """

    added: list[str] = attrs.field(factory=list)
    changed: list[str] = attrs.field(factory=list)
    vanished: list[str] = attrs.field(factory=list)
    returned: list[str] = attrs.field(factory=list)
    devices_added: list[str] = attrs.field(factory=list)
    devices_vanished: list[str] = attrs.field(factory=list)

    def add(self, other: Changes) -> None:
        """Take in what somebody else noticed."""
        for name in attrs.fields_dict(Changes):
            getattr(self, name).extend(getattr(other, name))
