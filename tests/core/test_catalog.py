from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import log
from core.catalog import Catalog, Origin
from core.errors import ConfigError, PluginError
from core.plugin import Plugin
from core.settings import LogSettings

PLUGIN = '''"""A {name}, for tests.

More of it."""

from core.plugin import Plugin


class {name}(Plugin[dict]):
    """One."""
'''


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "custom_plugins"
    path.mkdir()
    before = list(sys.path)
    yield path
    assert sys.path == before
    for name in [name for name in sys.modules if name.partition(".")[0] == "custom_plugins"]:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")


def test_the_plugins_that_come_with_plantroom_are_there() -> None:
    catalog = Catalog()
    assert {"bacnet", "simulator"} <= set(catalog.names())
    assert catalog.find("simulator").origin is Origin.BUNDLED
    assert catalog.find("simulator").summary()
    assert issubclass(catalog.load("simulator"), Plugin)


def test_a_plugin_of_the_house_is_a_file_or_a_package(folder: Path) -> None:
    write(folder, "meter.py", PLUGIN.format(name="Meter"))
    write(
        folder,
        "lamp/__init__.py",
        '"""Lamps."""\n\nfrom custom_plugins.lamp.plugin import Lamp\nfrom .plugin import Lamp as Same\n',
    )
    write(folder, "lamp/plugin.py", PLUGIN.format(name="Lamp"))
    for ignored in ("_hidden.py", "notes.txt", "Upper.py", "empty/readme.txt"):
        write(folder, ignored, "1/0")
    catalog = Catalog(folder)
    assert set(catalog.names()) - set(Catalog().names()) == {"meter", "lamp"}
    assert catalog.load("meter").__name__ == "Meter"
    assert catalog.load("meter").__module__ == "custom_plugins.meter"
    assert catalog.load("lamp").__module__ == "custom_plugins.lamp.plugin"
    assert catalog.load("meter") is catalog.load("meter")
    assert catalog.find("meter").summary() == "A Meter, for tests."


def test_a_folder_that_is_not_there_has_no_plugins(tmp_path: Path) -> None:
    assert Catalog(tmp_path / "no").names() == Catalog().names()


def test_only_what_is_asked_for_is_imported(folder: Path) -> None:
    write(folder, "one.py", PLUGIN.format(name="One"))
    write(folder, "other.py", "raise RuntimeError('imported')")
    catalog = Catalog(folder)
    assert catalog.find("other").summary() == ""
    catalog.load("one")
    assert "custom_plugins.other" not in sys.modules


def test_an_unknown_name_is_told_with_what_may_be_meant() -> None:
    with pytest.raises(ConfigError, match=r"there is no plugin 'simulater'; did you mean 'simulator'\?"):
        Catalog().load("simulater")
    with pytest.raises(ConfigError, match=r"there is no plugin 'zzz'; plugins are .*bacnet.*simulator"):
        Catalog().load("zzz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import attrs\nimport no_such_thing\n",
            r"ModuleNotFoundError: No module named 'no_such_thing' \(.*broken.py:2\)",
        ),
        ("x = 1\ndef (:\n", r"SyntaxError: .*\(.*broken.py:2\)"),
        ("import json\njson.loads('[')\n", r"JSONDecodeError: .*\(.*broken.py:2\)"),
        ("raise SystemExit\n", r"SystemExit \(.*broken.py:1\)"),
        ("x = 1\n", "custom_plugins.broken holds no subclass of core.plugin.Plugin; define one"),
        ("from core.plugin import Plugin\n", "holds no subclass of core.plugin.Plugin"),
        (
            "from core.plugin import Plugin\nclass B(Plugin): pass\nclass A(Plugin): pass\n",
            "holds A and B; name the one",
        ),
    ],
)
def test_a_module_that_holds_no_plugin_is_told(folder: Path, text: str, message: str) -> None:
    write(folder, "broken.py", text)
    with pytest.raises(PluginError, match=message):
        Catalog(folder).load("broken")


def test_a_syntax_error_has_no_summary(folder: Path) -> None:
    write(folder, "broken.py", "def (:\n")
    assert Catalog(folder).find("broken").summary() == ""


def test_all_chooses_between_several_classes(folder: Path) -> None:
    text = "from core.plugin import Plugin\n__all__ = ['B']\nclass A(Plugin): pass\nclass B(A): pass\n"
    write(folder, "two.py", text)
    assert Catalog(folder).load("two").__name__ == "B"


def test_a_module_that_failed_can_be_mended_and_loaded_anew(folder: Path) -> None:
    write(folder, "late.py", "import no_such_thing\n")
    with pytest.raises(PluginError):
        Catalog(folder).load("late")
    assert "custom_plugins.late" not in sys.modules
    write(folder, "late.py", "'''Longer than before.'''\n" + PLUGIN.format(name="Late"))
    assert Catalog(folder).load("late").__name__ == "Late"


def test_two_folders_have_plugins_of_one_name(tmp_path: Path, folder: Path) -> None:
    write(folder, "same.py", PLUGIN.format(name="First"))
    write(tmp_path / "other", "same.py", PLUGIN.format(name="Second"))
    first, second = Catalog(folder), Catalog(tmp_path / "other")
    assert [first.load("same").__name__, second.load("same").__name__] == ["First", "Second"]


def test_the_house_s_own_plugin_wins_over_a_bundled_one_with_a_notice(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "simulator.py", PLUGIN.format(name="Mine"))
    log.configure(LogSettings(format="json"))
    catalog = Catalog(folder)
    assert capsys.readouterr().err == ""
    assert catalog.load("simulator").__name__ == "Mine"
    told = json.loads(capsys.readouterr().err)
    assert (told["event"], told["plugin"], told["origin"], told["instead_of"]) == (
        *("plugin_replaced", "simulator", "custom", "bundled"),
    )


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with two plugins, as pip would."""
    write(tmp_path / "site", "plantroom_meters.py", PLUGIN.format(name="Meters") + "\n\nnothing = 1\n")
    write(
        tmp_path / "site" / "plantroom_meters-1.0.dist-info",
        "METADATA",
        "Metadata-Version: 2.1\nName: plantroom-meters\nVersion: 1.0\n",
    )
    entry_points = """
        [plantroom.plugins]
        meters = plantroom_meters
        meters-class = plantroom_meters:Meters
        odd = plantroom_meters:nothing
        lost = plantroom_nowhere
    """
    write(tmp_path / "site" / "plantroom_meters-1.0.dist-info", "entry_points.txt", entry_points)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "plantroom_meters", raising=False)


@pytest.mark.usefixtures("installed")
def test_an_installed_package_brings_plugins_by_entry_points() -> None:
    catalog = Catalog()
    assert catalog.find("meters").origin is Origin.INSTALLED
    assert catalog.find("meters").summary() == ""
    assert catalog.load("meters") is catalog.load("meters-class")
    with pytest.raises(PluginError, match="its entry point must name a module or a subclass of Plugin"):
        catalog.load("odd")
    with pytest.raises(PluginError, match="No module named 'plantroom_nowhere'"):
        catalog.load("lost")
