"""Fuzzes the decoders of BACnet by libFuzzer, which looks for new branches: `python tests/fuzz/atheris_wire.py`.

Makes an environment with atheris, `.fuzz-venv`, on first use. What it found of interest stays there for the next time.
"""

# ruff: noqa: T201 - it is a program, and prints

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".fuzz-venv"
ATHERIS = "atheris==3.0.0"
INSTALL_S = 300.0
LONGEST_S = 1.0  # of the processor's time
ENDLESS_S = 20  # by the clock: on a machine that others use, too, an input may just have to wait
LONGEST_INPUT = 2048  # octets; wire.py throws longer ones
INSIDE = "PLANTROOM_FUZZ_INSIDE"


def atheris_python() -> Path:
    """Return the Python of an environment with atheris, made on first use."""
    python, stamp = FOLDER / "bin" / "python", FOLDER / "packages"
    if not stamp.exists() or stamp.read_text() != ATHERIS:
        venv.create(FOLDER, with_pip=True)
        (FOLDER / ".gitignore").write_text("*\n")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ATHERIS]
        subprocess.run(pip, check=True, timeout=INSTALL_S)
        stamp.write_text(ATHERIS)
    return python


def start() -> int:
    """Run this file again in that environment, with the packages of this one to import."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0, help="libFuzzer's; 0 is another each time")
    parser.add_argument("--input", type=Path, metavar="FILE", help="run a crash-... file again, and nothing else")
    given = parser.parse_args()
    python = atheris_python()
    path = os.pathsep.join((str(ROOT), sysconfig.get_path("purelib")))
    words = [
        f"-max_total_time={max(1, round(given.minutes * 60))}",
        f"-timeout={ENDLESS_S}",
        f"-max_len={LONGEST_INPUT}",
        f"-seed={given.seed}",
        f"-artifact_prefix={FOLDER}/",
        "-print_final_stats=1",
        str(given.input.resolve()) if given.input else str(found_before()),
    ]
    done = subprocess.run([python, __file__, *words], check=False, env={**os.environ, INSIDE: "1", "PYTHONPATH": path})
    print("PASSED: no exception but DecodeError" if done.returncode == 0 else f"FAILED: see above and {FOLDER}")
    return done.returncode


def found_before() -> Path:
    """Return the folder of inputs to begin with."""
    folder = FOLDER / "corpus"
    folder.mkdir(exist_ok=True)
    return folder


def fuzz() -> None:
    """Give libFuzzer's inputs to the decoder that the first octet chooses."""
    import atheris

    with atheris.instrument_imports(include=["plugins.bacnet.wire"]):
        from corpus import entries
        from decoders import DECODERS

        from plugins.bacnet.wire.errors import DecodeError

    decoders = list(DECODERS.values())
    folder = Path(sys.argv[-1])
    if folder.is_dir():
        for number, (name, octets) in enumerate(entries()):
            (folder / f"valid-{number}").write_bytes(bytes((list(DECODERS).index(name),)) + octets)

    def one(data: bytes) -> None:
        if not data:
            return
        start = time.process_time()
        with contextlib.suppress(DecodeError):
            decoders[data[0] % len(decoders)](data[1:])
        if time.process_time() - start > LONGEST_S:
            raise TimeoutError(f"more than {LONGEST_S:g} s")

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    if INSIDE in os.environ:
        fuzz()
    else:
        sys.exit(start())
