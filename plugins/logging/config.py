"""The plugin's section of the configuration: where lines go, how long files are kept, and what is slow."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import voluptuous as vol

from core.security import Secret
from core.validators import boolean, file_path, integer, number, one_of, seconds, secret, text

MB = 1_000_000


class Every(enum.StrEnum):
    """How often a new file is begun, by UTC."""

    HOUR = "hour"
    DAY = "day"
    NEVER = "never"

    @property
    def seconds(self) -> float | None:
        """How long a file lasts at most; None: until it is full."""
        return {Every.HOUR: 3600.0, Every.DAY: 86_400.0, Every.NEVER: None}[self]


@attrs.frozen
class FileConfig:
    """A file of lines of JSON, and what becomes of it; 0 is without bound.

    ``path`` is relative to the data directory. A file of ``rotate_mb`` megabytes is put aside, and one that was begun
    in an earlier hour or day. Of those put aside the oldest go where there are more than ``keep_files``, where they are
    older than ``keep_days``, and where all together have more than ``keep_mb`` megabytes.
    """

    path: Path = Path("logs/plantroom.log")
    rotate_mb: float = 50.0
    rotate_every: Every = Every.DAY
    keep_files: int = 30
    keep_days: float = 30.0
    keep_mb: float = 500.0
    compress: bool = True


@attrs.frozen
class SentryConfig:
    """Where errors are reported: ``dsn`` is the project's address with its key, ``environment`` a name such as test."""

    dsn: Secret
    environment: str = "production"


@attrs.frozen
class LoggingConfig:
    """The whole section.

    ``file`` None is for no file, ``stdout`` whether lines go to the standard output, ``sentry`` where errors are
    reported; ``queue_mb`` is how much may wait for each of them. What takes longer than ``slow_request`` or
    ``slow_device`` seconds is told; None: nothing is.
    """

    file: FileConfig | None = FileConfig()
    stdout: bool = False
    queue_mb: float = 8.0
    slow_request: float | None = 1.0
    slow_device: float | None = 5.0
    sentry: SentryConfig | None = None


def _off(value: Any) -> None:
    if value is not False:
        raise vol.Invalid("expected options, or false for no file")


def _file(value: dict[str, Any]) -> FileConfig:
    if "rotate_every" in value:
        value["rotate_every"] = Every(value["rotate_every"])
    return FileConfig(**value)


def _seconds_or_false(value: Any) -> float | None:
    return None if value is False else seconds(value)


_BOUND = number(min=0, max=1_000_000)
_FILE: Mapping[Any, Any] = {
    vol.Optional("path"): file_path,
    vol.Optional("rotate_mb"): _BOUND,
    vol.Optional("rotate_every"): one_of(*Every),
    vol.Optional("keep_files"): integer(min=0, max=100_000),
    vol.Optional("keep_days"): _BOUND,
    vol.Optional("keep_mb"): _BOUND,
    vol.Optional("compress"): boolean,
}

SCHEMA: Mapping[Any, Any] = {
    vol.Optional("file"): vol.Any(_off, vol.All(_FILE, _file)),
    vol.Optional("stdout"): boolean,
    vol.Optional("queue_mb"): number(min=0.001, max=1000),
    vol.Optional("slow_request"): _seconds_or_false,
    vol.Optional("slow_device"): _seconds_or_false,
    vol.Optional("sentry"): {vol.Required("dsn"): secret, vol.Optional("environment"): text},
}
