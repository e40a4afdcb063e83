"""Says what is wrong with the name of a new plugin, before anything is written."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys

from core.catalog import Catalog
from core.settings import RESERVED_NAMES

_NAME = re.compile(r"[a-z](?:[a-z0-9_-]*[a-z0-9])?")
_YAML_WORDS = ("true", "false", "null")
_OUR_FOLDERS = ("core", "plugins", "custom_plugins", "tests")


def package_of(name: str) -> str:
    """Return the name of a plugin's Python package."""
    return name.replace("-", "_")


def class_prefix_of(name: str) -> str:
    """Return what the names of a plugin's classes begin with: ``HeatPump`` for ``heat-pump``."""
    return "".join(part.capitalize() for part in re.split("[-_]+", name))


def problem_with(name: str) -> str | None:
    """Return why a plugin cannot have this name, and None where it can."""
    package = package_of(name)
    if not _NAME.fullmatch(name):
        rule = "begin with a-z, go on with a-z, 0-9, - and _, end with a letter or digit"
        return f"{name!r} is no name for a plugin: {rule}"
    if name in RESERVED_NAMES:
        return f"'{name}' is an address of the API itself; choose another name"
    catalog = Catalog()
    if name in catalog.names():
        return f"there is a plugin '{name}' already ({catalog.find(name).origin}); choose another name"
    if keyword.iskeyword(package) or name in _YAML_WORDS:
        return f"'{name}' is a word that Python or YAML has a meaning for; choose another name"
    if package in _OUR_FOLDERS or package in sys.stdlib_module_names or _is_installed(package):
        return f"its package would hide the Python package '{package}'; choose another name, such as 'my-{name}'"
    return None


def _is_installed(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None  # a folder that is no package hides nothing
