"""Writes a new plugin's folder from the templates of its kind."""

from __future__ import annotations

import enum
from pathlib import Path
from string import Template

from plugins.authoring.naming import class_prefix_of, package_of

TEMPLATES = Path(__file__).with_name("templates")
SUFFIX = ".tmpl"
_COMMON = "common"
_PACKAGE = "PACKAGE"


class Kind(enum.StrEnum):
    """What a new plugin begins as; each has a folder of templates."""

    PROTOCOL = "protocol"
    MIDDLEWARE = "middleware"
    SERVICE = "service"


def write(folder: Path, kind: Kind) -> None:
    """Make a folder that is called as the plugin, and write all its files.

    Raises FileExistsError where there is such a folder or file, having changed nothing.
    """
    files = rendered(folder.name, kind)
    folder.mkdir()
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def rendered(name: str, kind: Kind) -> dict[Path, str]:
    """Return the files of a new plugin: their text, by their path in its folder."""
    package = package_of(name)
    words = {"name": name, "package": package, "Prefix": class_prefix_of(name), "kind": kind.value}
    files = {}
    for templates in (TEMPLATES / _COMMON, TEMPLATES / kind.value):
        for template in sorted(templates.rglob(f"*{SUFFIX}")):
            path = template.relative_to(templates).as_posix().removesuffix(SUFFIX).replace(_PACKAGE, package)
            files[Path(path)] = Template(template.read_text(encoding="utf-8")).substitute(words)
    return files
