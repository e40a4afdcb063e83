"""The configuration as typed values: the kernel's own, and an entry for each plugin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import voluptuous as vol

from core import serving, validators
from core.catalog import Catalog
from core.errors import ConfigError, PluginError
from core.plugin import Plugin
from core.sections import structured
from core.security import Json, blacked_out, redacted_json
from core.serving import Http
from core.source import Broken, Fault, KeyPath, Source, raise_for

RESERVED_NAMES = frozenset(
    {
        *("devices", "points", "plugins", "jobs", "scans", "writes", "readings", "system", "events", "errors"),
        *("auth", "history", "audit", "ws", "sites", "sinks", "openapi.json"),
    }
)
"""Instances would collide with these addresses below ``/api/v1``."""
OF_THE_PLUGIN = frozenset({"auth", "history", "audit"})
"""Reserved names that the plugin of the same name has as its own."""
KERNEL_KEYS = ("use", "enabled", "required")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "console", "json", "none")

_PLUGIN_NAME = re.compile(r"[a-z0-9_-]+")
_SITE = re.compile(r"[a-z0-9-]{1,32}")


@attrs.frozen
class LogSettings:
    """How much is logged, and in which form on stderr; ``auto`` is for people on a terminal, JSON lines elsewhere.

    ``none`` leaves stderr out where a plugin takes the lines. ``levels`` are those of loggers that have their own.
    """

    level: str = "info"
    format: str = "auto"
    levels: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class PluginEntry:
    """One entry under ``plugins:``.

    ``name`` is its key and ``use`` the plugin's name in the catalogue. ``plugin_class`` and ``config`` are None where
    it is disabled, or could not be loaded for the reason in ``error``. ``options`` are its section as it is written,
    ``redacted`` the same with defaults as JSON values, secrets as ``***``; every text where it is not loaded.
    """

    name: str
    use: str
    enabled: bool = True
    required: bool = False
    plugin_class: type[Plugin[Any]] | None = None
    config: object | None = attrs.field(default=None, repr=False)
    options: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    redacted: Mapping[str, Json] = attrs.field(factory=dict)
    error: Exception | None = None

    @property
    def path(self) -> KeyPath:
        """Where it stands in the configuration."""
        return ("plugins", self.name)

    @property
    def keeps_the_door(self) -> bool:
        """Whether it is enabled, and says who may come in; one named ``auth`` does, also where it cannot be loaded."""
        return self.enabled and (self.use == "auth" or hasattr(self.plugin_class, "register_authenticators"))

    def same_as(self, other: PluginEntry) -> bool:
        """Tell whether a plugin of the one is a plugin of the other: the same code with the same options."""
        return (self.use, self.plugin_class, self.options) == (other.use, other.plugin_class, other.options)


@attrs.frozen
class Settings:
    """Everything that the configuration says, checked; ``data_dir`` is absolute."""

    http: Http
    data_dir: Path
    site: str
    log: LogSettings
    plugins: tuple[PluginEntry, ...]

    @property
    def authenticated(self) -> bool:
        """Whether a plugin is enabled that says who may come in, and could be loaded."""
        return any(entry.keeps_the_door and entry.error is None for entry in self.plugins)


def _site(value: Any) -> str:
    if isinstance(value, str) and _SITE.fullmatch(value):
        return value
    raise vol.Invalid("expected 1 to 32 of the characters a-z, 0-9 and -")


SCHEMA = {
    vol.Optional("http"): serving.SCHEMA,
    vol.Optional("data_dir"): validators.file_path,
    vol.Optional("site"): _site,
    vol.Optional("log"): {
        vol.Optional("level"): validators.one_of(*LOG_LEVELS),
        vol.Optional("format"): validators.one_of(*LOG_FORMATS),
        vol.Optional("levels"): {validators.text: validators.one_of(*LOG_LEVELS)},
    },
    vol.Optional("plugins"): dict,
}

KERNEL_SCHEMA = vol.Schema(
    {
        vol.Optional("use"): validators.text,
        vol.Optional("enabled"): validators.boolean,
        vol.Optional("required"): validators.boolean,
    },
    extra=vol.REMOVE_EXTRA,
)


def read(
    source: Source,
    catalog: Catalog,
    *,
    host: str | None = None,
    port: int | None = None,
    data_dir: Path | None = None,
) -> Settings:
    """Check a whole configuration; ``host``, ``port`` and ``data_dir`` win over what it says.

    Raises ConfigError with every mistake in it, plugins' sections included. A plugin that cannot be imported is no
    mistake of the configuration: its entry has the error.
    """
    empty = [section for section in ("http", "log", "plugins") if source.at((section,)) is None]
    checked, faults = source.validate(SCHEMA, without=empty)
    top = checked or {}
    entries, plugin_faults = _entries(source, catalog)
    over = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    settings = Settings(
        http=serving.http_of({**top.get("http", {}), **over}),
        data_dir=(data_dir or top.get("data_dir") or Path("data")).absolute(),
        site=top.get("site", "local"),
        log=LogSettings(**top.get("log", {})),
        plugins=tuple(entries),
    )
    if source.complete and checked is not None:
        plugin_faults.extend(_exposure(source, settings, option=None if host is None else "--host"))
        plugin_faults.extend(_redirects(source, settings.http))
    raise_for([*source.faults, *faults, *plugin_faults])
    return settings


def _exposure(source: Source, settings: Settings, *, option: str | None) -> list[Fault]:
    """Refuse to serve other machines without any sign-in, unless that is asked for by name."""
    http = settings.http
    if http.loopback or http.allow_unauthenticated or settings.authenticated:
        return []
    given = f"{option} {http.host}" if option else http.host
    return [
        source.fault(
            ("http", "host"),
            f"{given} can be reached from other machines, and no auth plugin that works is enabled; enable `auth`, "
            "use 127.0.0.1, or write `allow_unauthenticated: true`",
        )
    ]


def _redirects(source: Source, http: Http) -> list[Fault]:
    """Refuse to send clients on to where nothing is, or to a name that is not ours."""
    if http.redirect_port is None:
        return []
    if http.tls is None:
        text = "there is no TLS to send clients on to; give `tls: {certificate: FILE, key: FILE}`, or leave it out"
    elif not http.loopback and not http.hosts:
        text = "clients are sent on to names of ours alone; list them, such as `hosts: [bms.example]`"
    elif http.redirect_port == http.port and http.port:
        text = "this port speaks TLS itself; choose another"
    else:
        return []
    return [source.fault(("http", "redirect_port"), text)]


def _entries(source: Source, catalog: Catalog) -> tuple[list[PluginEntry], list[Fault]]:
    sections = source.at(("plugins",))
    entries: list[PluginEntry] = []
    faults: list[Fault] = []
    for name in sections if isinstance(sections, Mapping) else ():
        if isinstance(source.at(("plugins", name)), Broken):
            continue
        entry, found = _entry(source, catalog, name)
        faults.extend(found)
        if entry is not None and not found:
            entries.append(entry)
    return entries, faults


def _entry(source: Source, catalog: Catalog, name: Any) -> tuple[PluginEntry | None, list[Fault]]:
    path = ("plugins", name)
    section = source.at(path)
    if section is not None and not isinstance(section, Mapping):
        return None, [source.fault(path, f"expected the plugin's options, such as `{name}: {{enabled: false}}`")]
    faults = _name_faults(source, path)
    kernel, kernel_faults = source.validate(KERNEL_SCHEMA, path)
    faults.extend(kernel_faults)
    if kernel is None:
        return None, faults
    options = {key: value for key, value in (section or {}).items() if key not in KERNEL_KEYS}
    entry = PluginEntry(
        name=str(name),
        use=kernel.get("use", str(name)),
        enabled=kernel.get("enabled", True),
        required=kernel.get("required", False),
        options=options,
        redacted=_shown(blacked_out(options, None)),
    )
    if faults or not entry.enabled:
        return entry, faults
    return _loaded(source, catalog, entry)


def _name_faults(source: Source, path: KeyPath) -> list[Fault]:
    name = path[-1]
    if not isinstance(name, str) or not _PLUGIN_NAME.fullmatch(name):
        return [source.fault(path, "a plugin's key must be made of a-z, 0-9, _ and -, as text")]
    own = name in OF_THE_PLUGIN and source.at((*path, "use")) in (None, name)
    if name in RESERVED_NAMES and not own:
        return [source.fault(path, f"'{name}' is an address of the API itself; choose another key, with `use: ...`")]
    return []


def _loaded(source: Source, catalog: Catalog, entry: PluginEntry) -> tuple[PluginEntry, list[Fault]]:
    try:
        plugin_class = catalog.load(entry.use)
    except ConfigError as error:
        at = (*entry.path, "use") if entry.use != entry.name else entry.path
        return entry, [source.fault(at, problem) for problem in error.problems]
    except PluginError as error:
        return attrs.evolve(entry, error=error), []
    schema = vol.Schema(plugin_class.schema)
    checked, faults = source.validate(schema, entry.path, without=KERNEL_KEYS)
    if checked is None:
        return entry, faults
    config, faults = structured(source, checked, plugin_class.config_class, at=entry.path)
    shown = {**_shown(_defaults(schema)), **_shown(blacked_out(entry.options, config))}
    return attrs.evolve(entry, plugin_class=plugin_class, config=config, redacted=shown), faults


def _defaults(schema: vol.Schema) -> dict[str, Any]:
    keys = schema.schema if isinstance(schema.schema, Mapping) else ()
    return {
        str(key): key.default()
        for key in keys
        if isinstance(key, vol.Optional | vol.Required) and not isinstance(key.default, vol.Undefined)
    }


def _shown(section: Mapping[Any, Any]) -> Mapping[str, Json]:
    shown = redacted_json(section)
    return shown if isinstance(shown, dict) else {}
