"""Each bundled plugin has a page that names all of its options and errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import voluptuous as vol
from docs.blocks import ROOT

from core.catalog import Catalog
from core.errors import every_error

BUNDLED = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/plugin.py"))


def options(schema: Any) -> Iterator[str]:
    """All names of options in a voluptuous schema, however deep."""
    match schema:
        case vol.Schema(schema=inner):
            yield from options(inner)
        case Mapping():
            for key, value in schema.items():
                if isinstance(key, str | vol.Marker):
                    yield str(key)
                yield from options(value)
        case list() | tuple():
            for item in schema:
                yield from options(item)
        case vol.All(validators=inner) | vol.Any(validators=inner):
            yield from options(inner)


@pytest.mark.parametrize("plugin", BUNDLED)
def test_every_option_is_on_the_plugins_page(plugin: str) -> None:
    page = (ROOT / "plugins" / plugin / "README.md").read_text(encoding="utf-8")
    names = set(options(Catalog(None).load(plugin).schema))

    assert names or "There are no options." in page
    assert not [name for name in names if name not in page]


@pytest.mark.parametrize("plugin", BUNDLED)
def test_every_error_of_a_plugin_is_on_its_page(plugin: str) -> None:
    Catalog(None).load(plugin)
    page = (ROOT / "plugins" / plugin / "README.md").read_text(encoding="utf-8")
    codes = {error.code for error in every_error() if error.__module__.startswith(f"plugins.{plugin}.")}

    assert not [code for code in codes if code not in page]
