"""The plugin's options: what is taken, what it means, and what is said of mistakes."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from core.catalog import Catalog
from core.config import load
from core.errors import ConfigError
from core.security import Secret
from core.settings import read
from plugins.logging.config import Every, FileConfig, LoggingConfig, SentryConfig


def configured(folder: Path, yaml: str) -> LoggingConfig:
    path = folder / "plantroom.yaml"
    path.write_text(f"plugins:\n  logging:\n{textwrap.indent(textwrap.dedent(yaml), '    ')}\n", encoding="utf-8")
    [entry] = read(load([path]), Catalog(None)).plugins
    assert isinstance(entry.config, LoggingConfig)
    return entry.config


def test_without_options_there_is_a_file_for_each_day_and_slow_things_are_told(tmp_path: Path) -> None:
    config = configured(tmp_path, "")
    assert config == LoggingConfig()
    assert config.file == FileConfig(Path("logs/plantroom.log"), 50.0, Every.DAY, 30, 30.0, 500.0, compress=True)
    assert (config.stdout, config.slow_request, config.slow_device, config.sentry) == (False, 1.0, 5.0, None)


def test_every_option_is_taken(tmp_path: Path) -> None:
    config = configured(
        tmp_path,
        """
        file: {path: /var/log/x.log, rotate_mb: 1.5, rotate_every: hour, keep_files: 3, keep_days: 0.5, keep_mb: 9,
               compress: false}
        stdout: true
        queue_mb: 1
        slow_request: 0.5
        slow_device: 2
        sentry: {dsn: "https://k@sentry.example/1", environment: bench}
        """,
    )
    assert config == LoggingConfig(
        FileConfig(Path("/var/log/x.log"), 1.5, Every.HOUR, 3, 0.5, 9, compress=False),
        stdout=True,
        queue_mb=1,
        slow_request=0.5,
        slow_device=2,
        sentry=SentryConfig(Secret("https://k@sentry.example/1"), "bench"),
    )


def test_what_is_not_wanted_is_switched_off(tmp_path: Path) -> None:
    config = configured(tmp_path, "{file: false, slow_request: false, slow_device: false}")
    assert (config.file, config.slow_request, config.slow_device) == (None, None, None)


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("file: true", "file"),
        ("file: {rotate_every: week}", "plugins.logging.file.rotate_every"),
        ("file: {rotate_mb: -1}", "plugins.logging.file.rotate_mb"),
        ("file: {rotate: 5}", "plugins.logging.file.rotate"),
        ("queue_mb: 0", "plugins.logging.queue_mb"),
        ("slow_request: 0", "plugins.logging.slow_request"),
        ("sentry: {environment: x}", "plugins.logging.sentry"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, yaml: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        configured(tmp_path, yaml)
