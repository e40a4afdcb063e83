"""The plugin's section of the configuration: where samples are written, and how much of them is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import voluptuous as vol

from core.validators import file_path, integer, number, one_of

MIB = 1024 * 1024


@attrs.frozen
class FileSinkConfig:
    """The whole section.

    ``directory`` is relative to the data directory. A file of ``rotate_mib`` mebibytes is finished and another one
    begun; of finished ones the last ``keep_files`` are kept.
    """

    directory: Path = Path("samples")
    format: str = "ndjson"
    rotate_mib: float = 64.0
    keep_files: int = 16


SCHEMA: Mapping[Any, Any] = {
    vol.Optional("directory"): file_path,
    vol.Optional("format"): one_of("ndjson"),
    vol.Optional("rotate_mib"): number(min=0.001, max=65_536),
    vol.Optional("keep_files"): integer(min=1, max=100_000),
}
