"""`plantroom new-plugin`: what it writes works and is clean as it stands, and nothing is ever written over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.catalog import Catalog
from core.cli import main
from core.config import load
from core.settings import RESERVED_NAMES, read
from plugins.authoring.naming import class_prefix_of, package_of, problem_with
from plugins.authoring.scaffold import TEMPLATES, Kind, rendered, write

ROOT = Path(__file__).resolve().parents[3]
NAMES = {Kind.PROTOCOL: "heat-pump", Kind.MIDDLEWARE: "quiet", Kind.SERVICE: "a-cache-with_a-long-name"}
LONGEST_TEMPLATE = 130
KINDS = pytest.mark.parametrize("kind", list(Kind))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in; what a test imports from it is forgotten."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name not in before]:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def tool(name: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment, as from a shell."""
    command = [sys.executable, "-m", name, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def new(kind: Kind) -> Path:
    assert main(["new-plugin", NAMES[kind], "--kind", kind]) == 0
    return Path(NAMES[kind])


@KINDS
def test_its_tests_pass_without_installing_it(kind: Kind) -> None:
    new(kind)

    done = tool("pytest", NAMES[kind], "-q", "-p", "no:cacheprovider", "-W", "error")

    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_its_tests_pass_in_their_own_folder_too() -> None:
    done = tool("pytest", "-q", "-p", "no:cacheprovider", cwd=new(Kind.MIDDLEWARE).absolute())

    assert done.returncode == 0, done.stdout


@KINDS
def test_it_is_clean_under_strict_types(kind: Kind) -> None:
    done = tool("mypy", cwd=new(kind).absolute())

    assert done.returncode == 0, done.stdout


@KINDS
@pytest.mark.parametrize("name", ["a", "air-handler-x", "a-really-quite-long-name-here"])
def test_it_is_clean_under_its_own_rules_however_it_is_called(name: str, kind: Kind) -> None:
    write(Path(name), kind)

    for command in (("check",), ("format", "--diff")):
        done = tool("ruff", *command, cwd=Path(name).absolute())
        assert done.returncode == 0, done.stdout + done.stderr


def test_once_installed_it_is_found_by_its_entry_point_and_its_tests_pass(tmp_path: Path) -> None:
    project = new(Kind.PROTOCOL)
    site = tmp_path / "site"
    installing = tool(
        *("pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(site)),
        f"./{project}",
    )
    assert installing.returncode == 0, installing.stderr
    shutil.move(project / "tests", tmp_path / "tests")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\npythonpath = tests\n", encoding="utf-8")

    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests", "-q", "-p", "no:cacheprovider"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    listed = subprocess.run(
        [sys.executable, "-m", "core", "plugins"],
        env={**environment, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert ["heat-pump", "installed", "-"] in [line.split() for line in listed.stdout.splitlines()]


@KINDS
def test_its_example_configuration_is_valid(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    project = new(kind)
    monkeypatch.syspath_prepend(project)
    module = __import__(package_of(NAMES[kind]))
    catalog = Catalog(given={NAMES[kind]: getattr(module, f"{class_prefix_of(NAMES[kind])}Plugin")})

    [entry] = read(load([project / "plantroom.yaml"]), catalog).plugins

    assert entry.error is None
    assert entry.config is not None


@KINDS
def test_what_it_writes_is_named_after_it_and_complete(kind: Kind) -> None:
    project, package = new(kind), package_of(NAMES[kind])

    described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert described["project"]["name"] == NAMES[kind]
    assert described["project"]["entry-points"]["plantroom.plugins"] == {NAMES[kind]: package}
    assert (project / package / "py.typed").exists()
    assert (project / "README.md").read_text(encoding="utf-8").startswith(f"# {NAMES[kind]}\n")
    texts = {path: path.read_text(encoding="utf-8") for path in project.rglob("*") if path.is_file()}
    assert not [path for path in texts if "PACKAGE" in str(path) or path.suffix == ".tmpl"]
    assert set(rendered(NAMES[kind], kind)) == {path.relative_to(project) for path in texts}


def test_every_option_of_a_template_is_in_its_readme() -> None:
    for kind in Kind:
        files = rendered("some-thing", kind)
        config, readme = files[Path("some_thing/config.py")], files[Path("README.md")]
        options = [line.partition('vol.Optional("')[2].partition('"')[0] for line in config.splitlines()]
        assert all(f"| `{option}` |" in readme for option in options if option)


def test_a_template_is_read_in_five_minutes() -> None:
    for template in TEMPLATES.rglob("*.py.tmpl"):
        assert len(template.read_text(encoding="utf-8").splitlines()) <= LONGEST_TEMPLATE, template


def test_a_protocol_is_what_is_begun_unless_another_kind_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "lamp"]) == 0

    assert Path("lamp/lamp/driver.py").exists()
    told = capsys.readouterr().out
    assert "pytest lamp" in told
    assert "pip install -e ./lamp" in told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "'' is no name for a plugin: begin with a-z"),
        ("Lamp", "'Lamp' is no name for a plugin: begin with a-z"),
        ("1lamp", "'1lamp' is no name for a plugin"),
        ("lamp-", "end with a letter or digit"),
        ("../lamp", "is no name for a plugin"),
        ("lamp\n", "is no name for a plugin"),
        ("bacnet", "there is a plugin 'bacnet' already (bundled)"),
        ("authoring", "there is a plugin 'authoring' already (bundled)"),
        ("devices", "'devices' is an address of the API itself"),
        ("class", "'class' is a word that Python or YAML has a meaning for"),
        ("null", "'null' is a word that Python or YAML has a meaning for"),
        ("json", "its package would hide the Python package 'json'"),
        ("aiohttp", "its package would hide the Python package 'aiohttp'; choose another name, such as 'my-aiohttp'"),
        ("core", "its package would hide the Python package 'core'"),
        ("custom-plugins", "its package would hide the Python package 'custom_plugins'"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_the_reason(
    name: str, told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-plugin", name]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("plantroom new-plugin: ")
    assert told in err
    assert not list(folder.iterdir())


def test_every_reserved_name_is_refused() -> None:
    assert all(problem_with(name) for name in RESERVED_NAMES)
    assert problem_with("lamp") is None


@pytest.mark.parametrize("there", ["folder", "file"])
def test_what_is_there_is_left_as_it_is(there: str, capsys: pytest.CaptureFixture[str]) -> None:
    if there == "folder":
        Path("lamp").mkdir()
        Path("lamp/mine.txt").write_text("mine", encoding="utf-8")
    else:
        Path("lamp").write_text("mine", encoding="utf-8")

    assert main(["new-plugin", "lamp"]) == 1

    assert "./lamp is there already, and nothing was changed" in capsys.readouterr().err
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert [path.read_text(encoding="utf-8") for path in files] == ["mine"]


def test_a_folder_that_cannot_be_written_to_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "a" * 300]) == 1

    assert capsys.readouterr().err.startswith("plantroom: [Errno ")


def test_an_unknown_kind_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "lamp", "--kind", "magic"]) == 2

    assert "invalid choice: 'magic'" in capsys.readouterr().err


@pytest.mark.skipif(not (ROOT / ".venv/bin/plantroom").exists(), reason="script/setup has not run in this checkout")
def test_the_script_begins_a_plugin_where_one_stands(folder: Path) -> None:
    done = subprocess.run(
        [ROOT / "script/new-plugin", "lamp", "--kind", "service"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert (folder / "lamp/lamp/cache.py").exists()
