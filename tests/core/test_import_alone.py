"""Each module of the kernel and of the bundled plugins imports alone, and does no work by it.

Each has a process of its own, forked from one in which the libraries that we use are loaded already and nothing of
ours is: so a second is enough for many, and what a library does as it is imported is not laid at our door.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FORKED = """
import contextlib, gc, importlib, json, os, sys, threading, traceback

WORK = {"socket.bind", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.fork", "os.mkdir", "os.remove",
        "os.rename", "os.rmdir", "shutil.rmtree", "sqlite3.connect"}

def in_a_child(work):
    parent, child = os.pipe()
    number = os.fork()
    if not number:
        with contextlib.suppress(BaseException):
            os.close(parent)
            os.write(child, json.dumps(work()).encode()[:60_000])
        os._exit(0)
    os.close(child)
    with os.fdopen(parent, "rb") as answer:
        text = answer.read()
    os.waitpid(number, 0)
    return json.loads(text)

def libraries():
    for module in modules:
        with contextlib.suppress(BaseException):
            importlib.import_module(module)
    return [each for each in sys.modules if each.split(".")[0] not in ours]

def alone(module):
    done, before = [], set(os.listdir("/proc/self/fd"))
    def watch(event, arguments):
        if event in WORK:
            done.append(f"{event} {arguments}")
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            done.append(f"writes {arguments[0]}")
    sys.addaudithook(watch)
    try:
        importlib.import_module(module)
    except BaseException:
        done.append(traceback.format_exc())
    done += [f"thread {each.name}" for each in threading.enumerate() if each is not threading.main_thread()]
    return "; ".join([*done, *(f"descriptor {each}" for each in set(os.listdir("/proc/self/fd")) - before)])

gc.disable()  # nothing lives long here
sys.dont_write_bytecode = True
modules = sys.argv[1:]
ours = {each.split(".")[0] for each in modules}
for library in in_a_child(libraries):
    with contextlib.suppress(Exception):
        importlib.import_module(library)
assert not [each for each in sys.modules if each.split(".")[0] in ours]
print(json.dumps({module: in_a_child(lambda: alone(module)) for module in modules}))
"""


def modules() -> list[str]:
    found = []
    for path in [*(ROOT / "core").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__main__" and "templates" not in parts:
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(found)


def imported_alone(names: Sequence[str], *, folder: Path = ROOT) -> dict[str, str]:
    """Import modules of a folder, each on its own; answer what is wrong with each."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    command = [sys.executable, "-W", "ignore", "-c", FORKED, *names]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    return imported_alone(modules())


def test_the_modules_are_found():
    assert {"core", "core.kernel", "core.api.points", "plugins.bacnet", "plugins.simulator"} < set(modules())


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_alone_and_does_no_work_by_it(found: dict[str, str], module: str):
    assert found[module] == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_module", "No module named"),
        ("open('written.txt', 'w').close()", "writes written.txt"),
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True, name='busy').start()", "busy"),
        ("import socket; kept = socket.socket()", "descriptor"),
        ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
    ],
)
def test_a_module_that_does_work_would_be_found_out(tmp_path: Path, text: str, says: str):
    (tmp_path / "at_work.py").write_text(text)
    assert says in imported_alone(["at_work"], folder=tmp_path)["at_work"]
