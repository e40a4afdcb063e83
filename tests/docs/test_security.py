"""The page on security names tests that are there, and its configuration can be used."""

from __future__ import annotations

import re
from pathlib import Path

from docs.blocks import ROOT, blocks

from core.catalog import Catalog
from core.config import load
from core.settings import read

PAGE = "docs/security.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)
    assert len(named) >= 15
    for file, name in named:
        assert (f"def {name}(" if name else "def test_") in (ROOT / file).read_text(encoding="utf-8"), (file, name)


def test_the_configuration_on_the_page_is_one(tmp_path: Path) -> None:
    [text] = blocks(PAGE, "yaml")
    file = tmp_path / "plantroom.yaml"
    file.write_text(text, encoding="utf-8")
    settings = read(load([file]), Catalog(tmp_path))
    assert [entry.error for entry in settings.plugins] == [None] * 3
    assert [str(each) for each in settings.http.trusted_proxies] == ["10.0.0.5/32"]
