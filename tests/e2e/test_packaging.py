"""The wheel: what is in it, that it runs from an empty folder, and that a stranger's package plugs into it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from zipfile import ZipFile

import aiohttp
import attrs
import pytest
from e2e.program import ROOT, Program, StartProgram, free_port, get, signed_in, until

from core.cli import DEMO_CONFIG

PACKAGES = ("core", "plugins")
NOT_COPIED = (".git", ".venv", "build", "dist", "data")
PLUGIN = "heat-pump"


@attrs.frozen
class Installed:
    """A virtual environment that has nothing but the wheel and what it needs."""

    folder: Path

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def pip(self, *arguments: str | Path) -> str:
        return run(self.program("python"), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command and return what it prints; fails with all of it where the command fails."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def build(project: Path, *options: str) -> Path:
    """Build a distribution with the build back-end of this environment, and return its file."""
    into = project.parent / f"dist-{project.name}{''.join(options)}"
    run(sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", into, project)
    [file] = into.iterdir()
    return file


def contents(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing in it; with a plugin of the house's own."""

    def left_out(folder: str, names: Sequence[str]) -> list[str]:
        unwanted = [name for name in names if name == "__pycache__" or name.endswith(".egg-info")]
        if Path(folder) == ROOT:
            unwanted += [name for name in names if name in NOT_COPIED or name.startswith(".")]
        return unwanted

    copied = tmp_path_factory.mktemp("tree") / "plantroom"
    shutil.copytree(ROOT, copied, symlinks=True, ignore=left_out)
    (copied / "config/custom_plugins/mine.py").write_text("", encoding="utf-8")
    return copied


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    return build(tree, "--wheel")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    environment = Installed(tmp_path_factory.mktemp("environment"))
    run(sys.executable, "-m", "venv", environment.folder)
    environment.pip("install", "--quiet", "--require-hashes", "--requirement", ROOT / "requirements/runtime.txt")
    environment.pip("install", "--quiet", "--no-deps", "--no-index", wheel)
    return environment


@pytest.fixture
async def start_installed(installed: Installed, tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """Start programs of the environment with an empty home; what still runs at the end is killed."""
    async with AsyncExitStack() as stack:

        async def start(name: str, *arguments: str, cwd: Path, env: dict[str, str] | None = None) -> Program:
            home = tmp_path / "home"
            home.mkdir(exist_ok=True)
            clean = {"PATH": os.environ["PATH"], "HOME": str(home), **(env or {})}
            return await stack.enter_async_context(_program(installed.program(name), *arguments, cwd=cwd, env=clean))

        yield start


@asynccontextmanager
async def _program(*command: str, cwd: Path, env: dict[str, str]) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=env,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    program = Program(process)
    try:
        yield program
    finally:
        if process.returncode is None:
            process.kill()
        await program.ended()


def test_the_wheel_holds_every_module_and_data_file_and_nothing_else(tree: Path, wheel: Path) -> None:
    ours = {
        path.relative_to(tree).as_posix()
        for package in PACKAGES
        for path in (tree / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
    }

    assert contents(wheel) == ours
    assert {"core/py.typed", "plugins/py.typed", "plugins/demo.yaml"} <= ours
    assert any(name.startswith("plugins/authoring/templates/") for name in ours)
    with ZipFile(wheel) as archive:
        assert archive.read("plugins/demo.yaml") == (ROOT / "config/demo.yaml").read_bytes()


def test_a_wheel_that_is_built_from_the_source_distribution_holds_the_same(
    tree: Path, wheel: Path, tmp_path: Path
) -> None:
    shutil.unpack_archive(build(tree, "--sdist"), tmp_path)
    [unpacked] = tmp_path.iterdir()

    assert contents(build(unpacked, "--wheel")) == contents(wheel)
    assert (unpacked / "docs/writing-a-plugin.md").exists()
    assert not list((unpacked / "config").glob("custom_plugins/*.py"))


def test_what_the_wheel_requires_is_in_the_lock(installed: Installed) -> None:
    assert "No broken requirements found" in installed.pip("check")


async def test_the_installed_demo_runs_from_an_empty_folder(start_installed: StartProgram, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    ports = {"PLANTROOM_BACNET_PORT": str(free_port()), "PLANTROOM_SIMULATOR_PORT": str(free_port())}
    program = await start_installed("plantroom", "run", "--demo", "--port", "0", cwd=folder, env=ports)

    async with signed_in(await program.ready(), folder) as client:
        page = await until(
            lambda: get(client, "/api/v1/points?quality=good&count=true&limit=1"),
            lambda page: page.get("total", 0) >= 600,
        )
        assert page["items"][0]["reading"]["quality"] == "good"
    assert await program.stop() == 0
    assert [path.name for path in folder.iterdir()] == ["data"]
    assert not any("Traceback" in line for line in program.err)


async def test_the_demo_of_a_checkout_is_the_same_file_and_can_be_overlaid(start: StartProgram, tmp_path: Path) -> None:
    assert DEMO_CONFIG.resolve() == ROOT / "config/demo.yaml"
    (tmp_path / "plantroom.yaml").write_text("site: Not Looked At\n", encoding="utf-8")
    (tmp_path / "more.yaml").write_text("plugins: {mine: , simulator: {enabled: false}}\n", encoding="utf-8")
    (tmp_path / "custom_plugins").mkdir()
    (tmp_path / "custom_plugins/mine.py").write_text(
        "from core.plugin import Plugin\nclass Mine(Plugin[dict]): ...\n", encoding="utf-8"
    )

    plain = await start("check", "--demo", cwd=tmp_path)
    more = await start("check", "--demo", "--config", "more.yaml", cwd=tmp_path)
    without = await start("check", cwd=tmp_path)

    assert [await plain.ended(), await more.ended(), await without.ended()] == [0, 0, 2]
    assert plain.out == more.out
    assert "site" in without.err[0]


async def test_a_strangers_package_is_found_by_its_entry_point_and_type_checked(
    installed: Installed, start_installed: StartProgram, tmp_path: Path
) -> None:
    run(installed.program("plantroom"), "new-plugin", PLUGIN, cwd=tmp_path)
    project, package = tmp_path / PLUGIN, PLUGIN.replace("-", "_")
    installed.pip("install", "--quiet", "--no-deps", "--no-index", build(project, "--wheel"))
    try:
        device = await start_installed("python", str(project / "tests" / f"{package}_device.py"), "0", cwd=tmp_path)
        address = (await device.wait_for("listens on")).split()[-1]
        house = tmp_path / "house"
        house.mkdir()
        (house / "plantroom.yaml").write_text(
            f"plugins: {{{PLUGIN}: {{devices: {{boiler: '{address}'}}, interval: 1}}}}\n", encoding="utf-8"
        )
        program = await start_installed("plantroom", "run", "--port", "0", cwd=house)
        async with aiohttp.ClientSession(base_url=await program.ready()) as client:
            path = f"/api/v1/points/{PLUGIN}.boiler.temperature"
            point = await until(lambda: get(client, path), lambda point: point.get("reading"))
            plugin = await get(client, f"/api/v1/plugins/{PLUGIN}")
        assert point["reading"]["value"] == 21.5
        assert plugin["state"] == "running"
        assert await program.stop() == 0

        listed = run(installed.program("plantroom"), "plugins", cwd=house)
        assert [PLUGIN, "installed", "enabled"] in [line.split() for line in listed.splitlines()]
        strict = ("--strict", "--cache-dir", tmp_path / "cache", "--python-executable", installed.program("python"))
        assert "Success" in run(sys.executable, "-m", "mypy", *strict, package, cwd=project)
    finally:
        installed.pip("uninstall", "--quiet", "--yes", PLUGIN)
