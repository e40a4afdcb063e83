"""The side columns of rows as bytes: texts, and integers beyond 2**53."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from plugins.history.errors import DamagedHistory


def written(texts: Mapping[int, str], integers: Mapping[int, int]) -> bytes:
    """Write both; nothing where both are empty."""
    if not texts and not integers:
        return b""
    side = {
        "texts": {str(row): text for row, text in texts.items()},
        "integers": {str(row): str(number) for row, number in integers.items()},
    }
    try:
        return orjson.dumps(side)
    except TypeError:  # half surrogates, which only the standard library writes
        return json.dumps(side).encode()


def read(raw: bytes) -> tuple[dict[int, str], dict[int, int]]:
    """Read what `written` gave; raises DamagedHistory."""
    if not raw:
        return {}, {}
    try:
        side = _parsed(raw)
        return (
            {int(row): str(text) for row, text in side["texts"].items()},
            {int(row): int(number) for row, number in side["integers"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedHistory(f"The texts of a block cannot be read: {error}.") from error


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return json.loads(raw)
