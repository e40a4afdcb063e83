"""Finds the media type that a client likes best of those that it can be answered in (RFC 9110, 12.5.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def preferred(accept: Iterable[str], offered: Sequence[str]) -> str | None:
    """Choose by the values of Accept headers; None where none of the types will do, the first where any will."""
    ranges = [_range(each) for value in accept for each in value.split(",") if each.strip()]
    if not ranges:
        return offered[0]
    rated = [(_quality(ranges, media_type), -place, media_type) for place, media_type in enumerate(offered)]
    quality, _place, best = max(rated)
    return best if quality > 0 else None


def _range(text: str) -> tuple[str, float]:
    """Read a media range with how much it is liked; one that cannot be read is liked as if nothing was said of it."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        key, _sign, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(max(float(value), 0.0), 1.0)
            except ValueError:
                break
    return name, 1.0


def _quality(ranges: Sequence[tuple[str, float]], media_type: str) -> float:
    """Return how much a type is liked: by the range that fits it closest."""
    family = media_type.partition("/")[0]
    for name in (media_type, f"{family}/*", "*/*"):
        found = [quality for each, quality in ranges if each == name]
        if found:
            return max(found)
    return 0.0
