"""Every YAML block of docs/configuration.md is loaded, as the file that its first line names."""

from __future__ import annotations

import inspect
from pathlib import Path

import attrs
import pytest
from docs.blocks import ROOT, blocks

from core.catalog import Catalog
from core.config import load
from core.settings import KERNEL_KEYS, SCHEMA, Settings, read

PAGE = "docs/configuration.md"
FILES = {block.partition("\n")[0].removeprefix("# "): block for block in blocks(PAGE, "yaml")}
PARTS = {"parts/bacnet.yaml", "secrets.yaml"}
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, block in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_of(*names: str, **environ: str) -> Settings:
    return read(load([Path(name) for name in names], environ=environ), Catalog())


def test_every_block_says_which_file_it_is() -> None:
    assert all(name.endswith(".yaml") for name in FILES)
    assert len(FILES) == len(blocks(PAGE, "yaml"))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", sorted(FILES.keys() - PARTS))
def test_the_block_is_a_valid_configuration(name: str) -> None:
    settings = settings_of(name)
    assert [entry.error for entry in settings.plugins] == [None] * len(settings.plugins)


@pytest.mark.usefixtures("folder")
def test_the_defaults_are_as_the_page_says() -> None:
    assert settings_of("kernel.yaml") == read(load([]), Catalog())


@pytest.mark.usefixtures("folder")
def test_the_parts_arrive_where_the_page_puts_them() -> None:
    (included,) = settings_of("included.yaml").plugins
    assert included.redacted["points"] == [{"match": "*.analog-input.*", "interval": 60}]
    (bench,) = settings_of("included.yaml", "bench.yaml").plugins
    assert (bench.redacted["interval"], bench.redacted["networks"]) == (1, [{"address": "127.0.0.1/8:47818"}])
    (secret,) = settings_of("with-secret.yaml").plugins
    assert secret.redacted["device"] == {"instance": 599, "name": "***"}
    assert settings_of("with-environment.yaml", PLANTROOM_PORT="9000").http.port == 9000


def test_every_option_of_the_kernel_is_on_the_page() -> None:
    classes = [each.type for each in attrs.fields(attrs.resolve_types(Settings)) if inspect.isclass(each.type)]
    nested = [field.name for each in classes if attrs.has(each) for field in attrs.fields(each)]
    for name in [*map(str, SCHEMA), *nested, *KERNEL_KEYS]:
        assert f"\n{name}:" in TEXT or f"\n  {name}:" in TEXT or f"| `{name}` |" in TEXT, name
