"""What every benchmark shares: its options, peers in an environment of their own, medians of rounds, the report."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shutil
import statistics
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
INSTALL_S = 300.0


def options(description: str) -> argparse.Namespace:
    """Parse the options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a look, in under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    return parser.parse_args()


def peers(name: str, *packages: str) -> Path:
    """Return the Python of an environment with the packages of peers, made on first use."""
    folder = ROOT / f".benchmark-venv-{name}"
    python = folder / "bin" / "python"
    stamp = folder / "packages"
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run(pip, check=True, timeout=INSTALL_S)
        stamp.write_text(wanted)
    return python


def node_peers(name: str, manifest: Path) -> Path | None:
    """Return the folder of the npm packages that a package.json names, made on first use; None without node and npm."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None
    folder = ROOT / f".benchmark-node-{name}"
    stamp = folder / "packages"
    if not stamp.exists() or stamp.read_bytes() != manifest.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(manifest, folder)
        install = [npm, "install", "--silent", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=folder, check=True, timeout=INSTALL_S)
        stamp.write_bytes(manifest.read_bytes())
    return folder / "node_modules"


def environment(**more: str) -> dict[str, str]:
    """Return our environment, in which `benchmarks`, `core` and `plugins` can be imported, and more."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def run(command: Sequence[str | Path], *, seconds: float = 120, **more: str) -> dict[str, Any]:
    """Run one contender in a process of its own and return the JSON object that it prints last.

    ``more`` is added to its environment. It is killed after so many seconds. Exits where it fails.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, timeout=seconds, env=environment(**more)
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"{' '.join(words)} took longer than {seconds:g} s")
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def median_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the median, and the distance of the extremes as a share of it."""
    middle = statistics.median(values)
    return middle, (max(values) - min(values)) / middle if middle else 0.0


def versions(*packages: str) -> dict[str, str]:
    """Return Python's version and those of installed packages."""
    found = {"python": sys.version.split()[0]}
    for package in packages:
        found[package] = importlib.metadata.version(package)
    return found


def report(
    name: str,
    *,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    result: Mapping[str, Any],
    file: Path | None,
) -> None:
    """Print a Markdown table, and write the JSON where it is wanted."""
    print(f"## {name}\n")
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    if file is not None:
        file.write_text(json.dumps({"benchmark": name, **result}, indent=2) + "\n", encoding="utf-8")
