"""The page that tells where things go names modules that are there, in the order in which a reader meets them."""

from __future__ import annotations

import re

from docs.blocks import ROOT

TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def test_every_module_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`(core/[a-z_/]+(?:\.py)?)`", TEXT))
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_ways_of_a_start_a_request_a_reading_a_write_and_a_reload_are_told() -> None:
    assert re.findall(r"^## Where an? (\w+) goes$", TEXT, re.MULTILINE) == [
        "start", "request", "reading", "write", "reload",
    ]  # fmt: skip
