"""No kind of fault without a test of what is seen of it."""

from __future__ import annotations

import re
from pathlib import Path

from plugins.simulator.faults import FaultKind

HERE = Path(__file__)
SUFFERED = re.compile(r"(?:suffers\(|unanswered\(|kind=|^ +\()FaultKind\.([A-Z_]+)\b", re.MULTILINE)


def test_each_kind_that_can_be_injected_has_a_test_here():
    tests = (path.read_text(encoding="utf-8") for path in HERE.parent.glob("test_*.py") if path != HERE)
    assert {FaultKind[name] for text in tests for name in SUFFERED.findall(text)} == set(FaultKind)
