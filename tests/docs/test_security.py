"""The page on security names tests that are there, and its configuration can be used."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
from docs.blocks import ROOT, blocks
from docs.test_plugin_pages import options

from core.catalog import Catalog
from core.config import load
from core.errors import every_error
from core.settings import SCHEMA, read
from plugins.auth.routes.keys import NewKeyBody, RotateBody

PAGE = "docs/security.md"
PLUGINS = ("auth", "cors", "ratelimit", "security")
OTHERS = {"bootstrap"}
"""What stands there as the name of something else."""
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")


def test_every_promise_names_a_test_that_is_there() -> None:
    promises = TEXT.partition("| promise | how | shown by |\n|---|---|---|\n")[2].partition("\n\n")[0].splitlines()
    assert len(promises) >= 30
    for promise in promises:
        shown_by = promise.split("|")[3]
        [file], names = re.findall(r"tests/[\w/]+\.py", shown_by), re.findall(r"::(\w+)`", shown_by)
        defined = re.findall(r"^(?:async )?def (test_\w+)\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        assert defined and set(names) <= set(defined), promise


def test_each_attack_against_the_real_process_shows_some_promise() -> None:
    files = ("test_authorisation", "test_credentials", "test_guessing", "test_kept_secret", "test_sessions")
    for file in files:
        assert f"tests/e2e/{file}.py::" in TEXT


def test_every_error_code_and_option_on_the_page_is_one() -> None:
    schemas = [Catalog(None).load(plugin).schema for plugin in PLUGINS]
    codes = {error.code for error in every_error()}
    named = set(re.findall(r"`((?:auth|request|plugin)\.[a-z_]+)`", TEXT))
    assert len(named) >= 4 and named <= codes
    fields = {each.name for body in (NewKeyBody, RotateBody) for each in attrs.fields(body)}
    known = {*options([*schemas, SCHEMA]), *fields, *PLUGINS}
    words = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", TEXT))
    assert len(words) >= 8 and words - known == OTHERS


def test_the_configuration_on_the_page_is_one(tmp_path: Path) -> None:
    [text] = blocks(PAGE, "yaml")
    file = tmp_path / "plantroom.yaml"
    file.write_text(text, encoding="utf-8")
    settings = read(load([file]), Catalog(tmp_path))
    assert [entry.error for entry in settings.plugins] == [None] * 3
    assert [str(each) for each in settings.http.trusted_proxies] == ["10.0.0.5/32"]
