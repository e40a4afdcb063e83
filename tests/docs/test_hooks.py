"""docs/hooks.md names every hook, and no other."""

from __future__ import annotations

import inspect
import re

from docs.blocks import ROOT

from core import events, hookspecs
from core.manager import MANY, ONE

PAGE = (ROOT / "docs/hooks.md").read_text(encoding="utf-8")
HOOKS = {name for name, each in inspect.getmembers(hookspecs, inspect.isfunction) if hasattr(each, "plantroom_spec")}


def test_every_hook_is_on_the_page_and_nothing_else() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == HOOKS


def test_every_hook_is_asked_and_its_answer_checked() -> None:
    assert {*MANY, *ONE} == HOOKS


def test_every_event_of_the_kernel_is_on_the_page() -> None:
    ends = ("Changed", "Stepped")
    own = {name for name, each in vars(events).items() if inspect.isclass(each) and name.endswith(ends)}

    assert own == set(re.findall(r"`(\w+(?:Changed|Stepped))`", PAGE))
