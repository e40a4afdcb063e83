"""Every YAML file under config/ is loaded and checked with the plugins that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

import core
from core.catalog import Catalog
from core.cli import main
from core.config import load
from core.settings import Settings, read

CONFIG = Path(core.__file__).parents[1] / "config"
EVERY_FILE = sorted(
    path.relative_to(CONFIG).as_posix() for path in CONFIG.rglob("*.yaml") if path.name != "secrets.yaml"
)
SECRETS = "secrets.example.yaml"
SHIPPED = {
    "demo.yaml",
    "site.example.yaml",
    SECRETS,
    *(f"examples/{path.name}" for path in CONFIG.glob("examples/*.yaml")),
}


def settings_of(name: str, **environ: str) -> Settings:
    source = load([CONFIG / name], environ=environ)
    return read(source, Catalog(CONFIG / "custom_plugins"))


def test_the_examples_are_there() -> None:
    assert set(EVERY_FILE) >= SHIPPED
    assert len(SHIPPED) >= 6


@pytest.mark.parametrize("name", [name for name in EVERY_FILE if name != SECRETS])
def test_the_file_is_valid_and_its_plugins_load(name: str) -> None:
    settings = settings_of(name)
    assert settings.plugins
    assert [entry.error for entry in settings.plugins] == [None] * len(settings.plugins)


def test_the_example_of_secrets_is_a_list_of_names_and_texts() -> None:
    source = load([CONFIG / SECRETS])
    assert source.faults == ()
    assert all(isinstance(value, str) for value in source.data.values())


def test_the_demo_runs_the_building_first_and_reads_it_on_loopback() -> None:
    settings = settings_of("demo.yaml")
    assert [entry.name for entry in settings.plugins][:2] == ["simulator", "bacnet"]
    simulator, bacnet = (entry.redacted for entry in settings.plugins[:2])
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8080)
    assert (simulator["speed"], simulator["port"], bacnet["interval"]) == (60, 47809, 5)
    assert bacnet["networks"] == [{"address": "127.0.0.1/8:47808", "targets": ["127.0.0.1:47809"]}]


def test_two_demos_can_run_side_by_side() -> None:
    settings = settings_of("demo.yaml", PLANTROOM_SIMULATOR_PORT="50001", PLANTROOM_BACNET_PORT="50002")
    simulator, bacnet = (entry.redacted for entry in settings.plugins[:2])
    assert simulator["port"] == 50001
    assert bacnet["networks"] == [{"address": "127.0.0.1/8:50002", "targets": ["127.0.0.1:50001"]}]


def test_the_site_s_example_is_fit_for_production(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--production", "--config", str(CONFIG / "site.example.yaml")]) == 0
    assert capsys.readouterr().out == "configuration is valid: 7 plugins\n"


def test_the_demo_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--production", "--config", str(CONFIG / "demo.yaml")]) == 1
    assert "this is a simulated building" in capsys.readouterr().err
