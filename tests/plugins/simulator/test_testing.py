"""The fixture for other people's tests: in a run of pytest of its own, and as the README shows it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from plugins.simulator.testing import ManualTimer, Simulate

ROOT = Path(__file__).parents[3]
README = ROOT / "plugins/simulator/README.md"

CONFTEST = "from plugins.simulator.testing import simulate  # noqa: F401\n"


def run_pytest(folder: Path, test: str, *options: str) -> str:
    """Run a test as a stranger does, in a folder and a process of its own."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", *options, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_the_example_of_the_readme_passes_in_a_run_of_its_own(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    [example] = [block for block in blocks if "simulate" in block]
    said = run_pytest(tmp_path, example, "-o", "asyncio_mode=auto")
    assert re.search(r"\b1 passed", said), said


def test_in_strict_mode_it_is_a_fixture_of_pytest_asyncio_when_it_is_asked_to_be(tmp_path: Path) -> None:
    test = "import sys\n\n\ndef test_nothing_heavy_is_loaded():\n    assert 'bacpypes3' not in sys.modules\n"
    said = run_pytest(tmp_path, test, "-o", "asyncio_mode=strict")
    assert re.search(r"\b1 passed", said), said


def test_it_is_found_by_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"]["plantroom_simulator"] == "plugins.simulator.testing"


def test_a_timer_lets_everything_happen_at_its_own_time() -> None:
    timer, happened = ManualTimer(), list[tuple[float, str]]()
    timer.call_later(2.0, lambda: happened.append((timer.time(), "late")))
    timer.call_later(1.0, lambda: timer.call_later(0.5, lambda: happened.append((timer.time(), "then"))))
    timer.call_later(1.0, happened.append, (0.0, "never")).cancel()
    timer.advance(1.9)
    assert happened == [(1.5, "then")]
    timer.advance(0.1)
    assert (happened[1:], timer.time()) == ([(2.0, "late")], 2.0)


async def test_two_simulations_stand_side_by_side(simulate: Simulate) -> None:
    one, other = await simulate(controllers=1), await simulate(controllers=2)
    assert one.address != other.address
    assert [*other.devices] == [10001, 10002]
    fault = one.inject("silent")
    assert one.faults == (fault,)
    assert other.faults == ()
    one.clear()
    assert one.faults == ()
    for unknown in (one.subscriptions, lambda number: one.reboot(number, seconds=1.0)):
        with pytest.raises(KeyError):
            unknown(10002)
