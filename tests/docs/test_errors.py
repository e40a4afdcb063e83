"""docs/errors.md is what the code says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs.blocks import ROOT, blocks

PAGE = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def written() -> str:
    """The page as a fresh interpreter writes it, which knows no test's errors."""
    command = [sys.executable, "-m", "core.reference"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8").stdout


def test_the_page_is_what_the_code_says(written: str) -> None:
    assert written == PAGE, "run script/docs"


def test_the_script_runs_what_writes_the_page() -> None:
    assert "-m core.reference" in (ROOT / "script/docs").read_text(encoding="utf-8")
    assert Path(ROOT / "script/docs").stat().st_mode & 0o111


def test_every_link_of_the_index_leads_to_its_entry() -> None:
    links = re.findall(r"\(#([^)]+)\)", PAGE)
    anchors = [re.sub(r"[^\w-]", "", heading).lower() for heading in HEADINGS if heading != "Fields at fault"]
    assert links == anchors
    assert len(set(anchors)) == len(anchors)


def test_every_entry_has_the_answer_of_its_code() -> None:
    answers = [json.loads(block) for block in blocks("docs/errors.md", "json")]
    assert [answer["code"] for answer in answers] == [each for each in HEADINGS if each != "Fields at fault"]
    assert [answer["type"] for answer in answers] == [f"/api/v1/errors/{answer['code']}" for answer in answers]
