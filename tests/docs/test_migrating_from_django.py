"""docs/migrating-from-django.md: what it shows is what happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs.blocks import blocks

from core.cli import main

PAGE = "docs/migrating-from-django.md"


def test_the_steps_of_the_page_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    [table], [configuration], [shown] = blocks(PAGE, "csv"), blocks(PAGE, "yaml"), blocks(PAGE, "text")
    Path("points.csv").write_text(table, encoding="utf-8")
    Path("plantroom.yaml").write_text(configuration, encoding="utf-8")
    assert main(["check"]) == 0
    capsys.readouterr()

    look, apply = [block.split()[1:] for block in blocks(PAGE, "sh") if block.startswith("plantroom")]
    assert main(look) == 0
    assert capsys.readouterr().out == shown
    assert main(apply) == 0
    assert "Done" in capsys.readouterr().out
    assert main(apply) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert Path("data/plantroom.sqlite3").exists()
