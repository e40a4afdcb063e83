"""What docs/troubleshooting.md says that one sees is what the code writes."""

from __future__ import annotations

import re

import pytest
from docs.blocks import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
CODE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "core").rglob("*.py")))
LOGGED = set(re.findall(r"\.(?:debug|info|warning|error|exception)\(\s*\"([a-z_]+)\"", CODE))
QUOTED = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE))
OTHERS = {"request_id", "start_timeout_s", "stop_timeout_s"}
SENTENCES = re.findall(r"^\| `((?:\.\.\. )?[^`]* [^`]*)`", PAGE, re.MULTILINE)


def test_the_page_has_events_and_sentences():
    assert {"plugin_failed", "plugin_left_behind", "event_loop_blocked"} <= QUOTED
    assert len(SENTENCES) >= 7


@pytest.mark.parametrize("name", sorted(QUOTED - OTHERS))
def test_every_event_and_metric_on_the_page_is_one_of_the_code(name: str):
    assert name in LOGGED or f'"{name}"' in CODE


@pytest.mark.parametrize("name", sorted(name for name in LOGGED if re.match("plugin_|event_|events_|task_", name)))
def test_every_event_about_a_plugin_is_on_the_page(name: str):
    assert name in QUOTED or name in {"plugin_replaced", "plugin_dismissal_failed"}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_every_sentence_on_the_page_is_one_of_the_code(sentence: str):
    words = [
        re.escape(part.strip()) for part in re.split(r"\.\.\.|\b[AB] (?:and )?|\b\d+ s\b", sentence) if part.strip()
    ]
    pattern = r".{0,40}?".join(words)
    assert re.search(pattern, CODE, re.DOTALL), pattern
