"""Finds plugins by name: those that come with Plantroom, installed packages, and the house's own."""

from __future__ import annotations

import ast
import enum
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
import types
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import structlog

import core
from core.errors import ConfigError, PluginError
from core.plugin import Plugin
from core.source import suggestion

ENTRY_POINT_GROUP = "plantroom.plugins"
CUSTOM_PACKAGE = "custom_plugins"
BUNDLED_PACKAGE = "plugins"

Place: TypeAlias = Path | EntryPoint | type[Plugin[Any]]
_State: TypeAlias = tuple[Place, str]
_MODULE_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Origin(enum.StrEnum):
    """Where a plugin comes from; one that stands later wins over a namesake."""

    BUNDLED = "bundled"
    INSTALLED = "installed"
    CUSTOM = "custom"
    GIVEN = "given"


@attrs.frozen
class Found:
    """A plugin that could be loaded: ``place`` is its file or folder, the name of its package, or its class."""

    name: str
    origin: Origin
    place: Place
    instead_of: Origin | None = None

    def summary(self) -> str:
        """Return the first line of its docstring, without importing it; empty for what is not a file of ours."""
        if not isinstance(self.place, Path):
            return ""
        try:
            tree = ast.parse(_source_file(self.place).read_bytes())
        except (OSError, SyntaxError, ValueError):
            return ""
        return (ast.get_docstring(tree) or "").partition("\n")[0]

    def fingerprint(self) -> str:
        """Tell one state of its code from another; always the same for what Python imports only once.

        That is all but the house's own plugins: a new version of a package needs a new process.
        """
        if self.origin is not Origin.CUSTOM or not isinstance(self.place, Path):
            return ""
        digest = hashlib.blake2b(digest_size=16)
        for file in sorted(self.place.rglob("*.py")) if self.place.is_dir() else [self.place]:
            digest.update(str(file).encode() + b"\0" + file.read_bytes() + b"\0")
        return digest.hexdigest()


class Catalog:
    """All plugins that there are; only those that are asked for are imported.

    ``custom_folder`` holds the house's own, each a ``<name>.py`` or a package; None or absent: there are none.
    What ``before`` has imported is not imported again where its code is the same. ``given`` are classes that are there
    already, by name: a test's own plugins.
    """

    def __init__(
        self,
        custom_folder: Path | None = None,
        *,
        before: Catalog | None = None,
        given: Mapping[str, type[Plugin[Any]]] | None = None,
    ) -> None:
        self._found: dict[str, Found] = {}
        self.imported: dict[str, tuple[_State, type[Plugin[Any]]]] = dict(before.imported) if before else {}
        classes = (Found(name, Origin.GIVEN, each) for name, each in (given or {}).items())
        for found in (*_bundled(), *_installed(), *_custom(custom_folder), *classes):
            namesake = self._found.get(found.name)
            self._found[found.name] = attrs.evolve(found, instead_of=namesake.origin if namesake else None)

    def names(self) -> list[str]:
        """List the names of all plugins, sorted."""
        return sorted(self._found)

    def find(self, name: str) -> Found:
        """Say where a plugin comes from; raises ConfigError for a name that nobody has."""
        if name not in self._found:
            raise ConfigError([f"there is no plugin '{name}'{suggestion(name, self._found, what='plugins')}"])
        return self._found[name]

    def load(self, name: str) -> type[Plugin[Any]]:
        """Import a plugin and return its class.

        Raises ConfigError for a name that nobody has, PluginError where its module cannot be imported or does not
        hold exactly one plugin.
        """
        found = self.find(name)
        state = found.place, found.fingerprint()
        known = self.imported.get(name)
        if known is None or known[0] != state:
            if found.instead_of is not None:
                log = structlog.get_logger()
                log.info("plugin_replaced", plugin=name, origin=found.origin.value, instead_of=found.instead_of.value)
            known = self.imported[name] = state, self._import(found)
        return known[1]

    def _import(self, found: Found) -> type[Plugin[Any]]:
        if isinstance(found.place, type):
            return found.place
        try:
            if isinstance(found.place, EntryPoint):
                loaded = found.place.load()
            elif found.origin is Origin.BUNDLED:
                loaded = importlib.import_module(f"{BUNDLED_PACKAGE}.{found.name}")
            else:
                loaded = _import_custom(found.name, found.place)
        except (Exception, SystemExit) as error:  # a plugin's module: whatever it does, its failure stays with it
            raise PluginError(f"plugin '{found.name}' cannot be imported: {_told(error, found.place)}") from error
        return _plugin_in(loaded, found)


def _bundled() -> Iterator[Found]:
    folder = Path(core.__file__).resolve().parents[1] / BUNDLED_PACKAGE
    for each in sorted(folder.glob("*/__init__.py")):
        yield Found(each.parent.name, Origin.BUNDLED, each.parent)


def _installed() -> Iterator[Found]:
    for each in entry_points(group=ENTRY_POINT_GROUP):
        yield Found(each.name, Origin.INSTALLED, each)


def _custom(folder: Path | None) -> Iterator[Found]:
    if folder is None or not folder.is_dir():
        return
    for each in sorted(folder.iterdir()):
        if (
            _MODULE_NAME.fullmatch(each.stem)
            and _source_file(each).is_file()
            and (each.is_dir() or each.suffix == ".py")
        ):
            yield Found(each.stem, Origin.CUSTOM, each)


def _source_file(place: Path) -> Path:
    return place / "__init__.py" if place.is_dir() else place


def _import_custom(name: str, place: Path) -> types.ModuleType:
    """Import a module of the custom folder as ``custom_plugins.<name>``, anew, leaving ``sys.path`` as it is."""
    parent = types.ModuleType(CUSTOM_PACKAGE, "The house's own plugins.")
    parent.__path__ = [str(place.parent)]
    sys.modules[CUSTOM_PACKAGE] = parent
    full_name = f"{CUSTOM_PACKAGE}.{name}"
    before = _forget(full_name)
    folders = [str(place)] if place.is_dir() else None
    spec = importlib.util.spec_from_file_location(full_name, _source_file(place), submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise ImportError(f"{place} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        _forget(full_name)
        sys.modules.update(before)
        raise
    return module


def _forget(full_name: str) -> dict[str, types.ModuleType]:
    """Have a module and those below it imported anew the next time; answers what was there."""
    known = [each for each in sys.modules if each == full_name or each.startswith(full_name + ".")]
    return {each: sys.modules.pop(each) for each in known}


def _plugin_in(loaded: object, found: Found) -> type[Plugin[Any]]:
    if isinstance(loaded, type) and issubclass(loaded, Plugin):
        return loaded
    if not isinstance(loaded, types.ModuleType):
        raise PluginError(f"plugin '{found.name}': its entry point must name a module or a subclass of Plugin")
    exported = getattr(loaded, "__all__", vars(loaded))
    candidates = dict.fromkeys(each for key, each in vars(loaded).items() if key in exported and inspect.isclass(each))
    classes = [each for each in candidates if issubclass(each, Plugin) and _belongs(each, loaded)]
    if len(classes) == 1:
        return classes[0]
    if not classes:
        raise PluginError(
            f"plugin '{found.name}': {loaded.__name__} holds no subclass of core.plugin.Plugin; define one"
        )
    names = " and ".join(sorted(each.__name__ for each in classes))
    raise PluginError(f"plugin '{found.name}': {loaded.__name__} holds {names}; name the one to use in __all__")


def _belongs(each: type, module: types.ModuleType) -> bool:
    return each.__module__ == module.__name__ or each.__module__.startswith(module.__name__ + ".")


def _told(error: BaseException, place: Place) -> str:
    """Say what went wrong, and where: in the plugin's own code if the traceback passes it, else where it was raised."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [frame for frame in frames if isinstance(place, Path) and Path(frame.filename).is_relative_to(place)]
    last = (own or frames)[-1]
    return f"{text} ({last.filename}:{last.lineno})"
