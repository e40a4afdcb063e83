"""What a plugin says of its own configuration that should not reach a building which people depend on."""

from __future__ import annotations

import attrs


@attrs.frozen
class Weakness:
    """Something that works, but should not be so in production: what and why, and what to do about it.

    ``option`` is the way to it in the plugin's section, such as ``("limits", 0, "rate")``; none for the whole plugin.
    Neither text holds a secret.
    """

    text: str
    remedy: str
    option: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}"
