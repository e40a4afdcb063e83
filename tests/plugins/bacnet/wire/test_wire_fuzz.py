"""The fuzzer itself: a short run, so that the long one is there when it is wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FUZZER = Path(__file__).resolve().parents[3] / "fuzz" / "wire.py"


def test_a_short_run_over_all_decoders_and_the_engine_finds_nothing():
    command = [sys.executable, FUZZER, "--cases", "4000", "--seed", "3", "--jobs", "1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED: 4,000 cases" in done.stdout
