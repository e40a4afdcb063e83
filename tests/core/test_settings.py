from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.catalog import Catalog
from core.config import load
from core.errors import ConfigError, PluginError
from core.security import Secret
from core.serving import Deadlines, Tls
from core.settings import RESERVED_NAMES, Http, LogSettings, Settings, read

METER = '''"""A meter, for tests."""

import enum
import ipaddress
from pathlib import Path

import attrs
import voluptuous as vol

from core import validators
from core.plugin import Plugin
from core.security import Secret


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


@attrs.frozen
class Line:
    address: str
    targets: tuple[str, ...] = ()


@attrs.frozen
class MeterConfig:
    interval: float
    lines: tuple[Line, ...] = ()
    key: Secret | None = None
    mode: Mode = Mode.SLOW
    file: Path = Path("x")
    ids: tuple[int | str, ...] = ()
    host: ipaddress.IPv4Address | None = None
    factor: float = attrs.field(default=1.0, validator=attrs.validators.lt(10))


class Meter(Plugin[MeterConfig]):
    schema = {
        vol.Optional("interval", default=10): validators.seconds,
        vol.Optional("lines"): [{vol.Required("address"): str, vol.Optional("targets"): [str]}],
        vol.Optional("key"): validators.secret,
        vol.Optional("mode"): str,
        vol.Optional("file"): str,
        vol.Optional("ids"): list,
        vol.Optional("host"): vol.Any(ipaddress.IPv4Address, vol.All(str, vol.Coerce(ipaddress.IPv4Address))),
        vol.Optional("factor"): validators.number(),
        vol.Optional("ready"): bool,
    }
    config_class = MeterConfig
'''


@pytest.fixture(autouse=True)
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "custom_plugins"
    folder.mkdir()
    (folder / "meter.py").write_text(METER, encoding="utf-8")
    (folder / "broken.py").write_text("import no_such_thing\n", encoding="utf-8")
    (folder / "auth.py").write_text(
        "from core.plugin import Plugin\nclass Auth(Plugin[dict]): pass\n", encoding="utf-8"
    )
    (folder / "free.py").write_text(
        "import voluptuous as vol\nfrom core.plugin import Plugin\n"
        "class Free(Plugin[dict]):\n    schema = vol.Schema({}, extra=vol.ALLOW_EXTRA)\n",
        encoding="utf-8",
    )
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "custom_plugins"]:
        del sys.modules[name]


def settings_of(
    text: str, *, secrets: str = "", host: str | None = None, port: int | None = None, data_dir: Path | None = None
) -> Settings:
    Path("a.yaml").write_text(text, encoding="utf-8")
    if secrets:
        Path("secrets.yaml").write_text(secrets, encoding="utf-8")
    catalog = Catalog(Path("custom_plugins"))
    return read(load([Path("a.yaml")]), catalog, host=host, port=port, data_dir=data_dir)


def problems_of(text: str, **options: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        settings_of(text, **options)
    return caught.value.problems


def test_an_empty_file_has_all_defaults() -> None:
    assert settings_of("") == Settings(
        http=Http("127.0.0.1", 8080, allow_unauthenticated=False),
        data_dir=Path.cwd() / "data",
        site="local",
        log=LogSettings("info", "auto"),
        plugins=(),
    )
    assert settings_of("http:\nlog:\nplugins:\n") == settings_of("")


def test_the_kernel_s_options_are_read() -> None:
    settings = settings_of(
        "http: {host: 0.0.0.0, port: 0, allow_unauthenticated: true}\ndata_dir: here\n"
        "site: tower-1\nlog: {level: debug, format: json}\n"
    )
    assert settings.http == Http("0.0.0.0", 0, allow_unauthenticated=True)
    assert settings.data_dir == Path.cwd() / "here"
    assert (settings.site, settings.log) == ("tower-1", LogSettings("debug", "json"))


def test_how_it_is_served_is_read() -> None:
    http = settings_of(
        "http:\n  hosts: [BMS.example, '*.Plant.example', '2001:DB8::1']\n  redirect_port: 0\n  max_body: 4096\n"
        "  connections_per_address: 9\n  deadlines: {header_s: 5, idle_s: 1.5}\n"
        "  tls: {certificate: a.pem, key: b.pem, key_password: !secret key, min_version: '1.3'}\n",
        secrets="key: hunter2\n",
    ).http
    assert http.hosts == ("bms.example", "*.plant.example", "2001:db8::1")
    assert (http.max_body, http.connections_per_address) == (4096, 9)
    assert http.deadlines == Deadlines(header_s=5, idle_s=1.5)
    assert http.tls == Tls(Path("a.pem"), Path("b.pem"), Secret("hunter2"), "1.3")
    assert "hunter2" not in repr(http)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("redirect_port: 80", "redirect_port: there is no TLS to send clients on to"),
        ("tls: {certificate: a}", "tls.key: this option is missing"),
        ("tls: {certificate: a, key: b, min_version: '1.1'}", "tls.min_version: expected one of 1.2, 1.3, not '1.1'"),
        ("tls: {certificate: a, key: b, min_version: 1.2}", 'tls.min_version: write it in quotes: "1.2"'),
        ("tls: {certificate: a, key: b}, redirect_port: 8080", "redirect_port: this port speaks TLS itself"),
        (
            "tls: {certificate: a, key: b}, redirect_port: 80, host: 0.0.0.0, allow_unauthenticated: true",
            "redirect_port: clients are sent on to names of ours alone; list them",
        ),
        ("hosts: bms.example", "hosts: expected a list"),
        ("hosts: ['bms.example:80']", "hosts[0]: expected a host name such as bms.example"),
        ("hosts: ['*']", "hosts[0]: expected a host name"),
        ("hosts: ['a*.example']", "hosts[0]: expected a host name"),
        ("deadlines: {header_s: 0}", "deadlines.header_s: must be a number of seconds, more than 0, not 0"),
        ("deadlines: {finish_s: 1}", "deadlines.finish_s: unknown option"),
        ("max_body: 5", "max_body: must be a whole number from 1024"),
        ("connections_per_address: 0", "connections_per_address: must be a whole number from 1"),
    ],
)
def test_what_it_cannot_be_served_by_is_a_mistake(section: str, said: str) -> None:
    [problem] = problems_of(f"http: {{{section}}}\n")
    assert f"a.yaml:1: http.{said}" in problem


def test_options_of_the_command_line_win() -> None:
    settings = settings_of("http: {port: 1}\ndata_dir: here\n", host="localhost", port=2, data_dir=Path("there"))
    assert settings.http == Http("localhost", 2)
    assert settings.data_dir == Path.cwd() / "there"


def test_a_section_becomes_the_plugin_s_own_class() -> None:
    (entry,) = settings_of(
        "plugins:\n  meter:\n    lines: [{address: a, targets: [b, c]}]\n    key: !secret key\n    mode: fast\n"
        "    file: y\n    ids: [1, '2-3']\n    host: 10.0.0.1\n",
        secrets="key: hunter2\n",
    ).plugins
    config = entry.config
    assert entry.plugin_class is not None
    assert type(config) is entry.plugin_class.config_class
    assert config.interval == 10
    assert [(line.address, line.targets) for line in config.lines] == [("a", ("b", "c"))]
    assert config.key == Secret("hunter2")
    assert (config.mode.value, config.file, config.ids, str(config.host)) == ("fast", Path("y"), (1, "2-3"), "10.0.0.1")
    assert entry.redacted == {
        "interval": 10,
        "lines": [{"address": "a", "targets": ["b", "c"]}],
        "key": "***",
        "mode": "fast",
        "file": "y",
        "ids": [1, "2-3"],
        "host": "10.0.0.1",
    }


def test_a_plugin_may_be_given_as_its_name_alone_and_twice_under_other_keys() -> None:
    one, two = settings_of("plugins:\n  meter:\n  campus: {use: meter, required: true, interval: 3}\n").plugins
    assert (one.name, one.use, one.required, one.redacted) == ("meter", "meter", False, {"interval": 10})
    assert (two.name, two.use, two.required, two.redacted) == ("campus", "meter", True, {"interval": 3})


def test_a_disabled_plugin_is_neither_imported_nor_checked() -> None:
    one, two = settings_of(
        "plugins:\n  broken: {enabled: false, x: 1, token: t}\n  unheard_of: {enabled: false}\n"
    ).plugins
    assert (one.enabled, one.plugin_class, one.error, one.redacted) == (False, None, None, {"x": 1, "token": "***"})
    assert two.use == "unheard_of"


def test_a_plugin_that_cannot_be_imported_is_no_mistake_of_the_file() -> None:
    (entry,) = settings_of("plugins:\n  broken: {x: 1}\n").plugins
    assert entry.plugin_class is None
    assert isinstance(entry.error, PluginError)
    assert "broken.py:1" in str(entry.error)


def test_a_plugin_may_take_whatever_it_is_given() -> None:
    (entry,) = settings_of("plugins:\n  free: {x: [1], s: !secret key}\n", secrets="key: abc\n").plugins
    assert entry.config == {"x": [1], "s": Secret("abc")}
    assert entry.redacted == {"x": [1], "s": "***"}


def test_every_mistake_of_the_file_and_of_every_section_is_told_at_once() -> None:
    text = (
        "http: {host: '0.0.0.0:80', prt: 1, port: 70000}\n"  # 1
        "site: My Site\n"
        "log:\n"
        "  level: loud\n"
        "data_dir: ''\n"  # 5
        "plugins:\n"
        "  meter:\n"
        "    intervall: 3\n"
        "    lines: [{addres: x}]\n"
        "    interval: 0\n"  # 10
        "  meters:\n"
        "  campus: {use: metre, enabled: maybe}\n"
        "  tower: {use: metre}\n"
        "  Big: {use: meter}\n"
        "  points: {use: meter}\n"  # 15
        "  auth: {use: meter}\n"
        "  list: [1]\n"
        "  7: {use: meter}\n"
        "  second: {use: meter, mode: quick}\n"
        "  third: {use: meter, factor: 11}\n"  # 20
        "  meter: {}\n"
        "pluginz: {}\n"
    )
    found = problems_of(text)
    assert found == (
        "a.yaml:1: http.host: expected an IP address or a host name, without a port, not '0.0.0.0:80'",
        "a.yaml:1: http.prt: unknown option; did you mean 'port'?",
        "a.yaml:1: http.port: must be a whole number from 0 to 65535, not 70000",
        "a.yaml:2: site: expected 1 to 32 of the characters a-z, 0-9 and -, not 'My Site'",
        "a.yaml:4: log.level: expected one of debug, info, warning, error, not 'loud'",
        "a.yaml:5: data_dir: give it a text, it is empty",
        "a.yaml:8: plugins.meter.intervall: unknown option; did you mean 'interval'?",
        "a.yaml:9: plugins.meter.lines[0].addres: unknown option; did you mean 'address'?",
        "a.yaml:9: plugins.meter.lines[0].address: this option is missing; give it a value",
        "a.yaml:10: plugins.meter.interval: must be a number of seconds, more than 0, not 0",
        "a.yaml:11: plugins.meters: there is no plugin 'meters'; did you mean 'meter'?",
        "a.yaml:12: plugins.campus.enabled: expected true or false, not 'maybe'",
        "a.yaml:13: plugins.tower.use: there is no plugin 'metre'; did you mean 'meter'?",
        "a.yaml:14: plugins.Big: a plugin's key must be made of a-z, 0-9, _ and -, as text",
        "a.yaml:15: plugins.points: 'points' is an address of the API itself; choose another key, with `use: ...`",
        "a.yaml:16: plugins.auth: 'auth' is an address of the API itself; choose another key, with `use: ...`",
        "a.yaml:17: plugins.list: expected the plugin's options, such as `list: {enabled: false}`",
        "a.yaml:18: plugins[7]: a plugin's key must be made of a-z, 0-9, _ and -, as text",
        "a.yaml:19: plugins.second.mode: 'quick' is not a valid Mode",
        "a.yaml:20: plugins.third: 'factor' must be < 10: 11.0",
        "a.yaml:21: plugins.meter: this key is given twice; the first is in line 7",
        "a.yaml:22: pluginz: unknown option; did you mean 'plugins'?",
    )


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_a_key_that_is_an_address_of_the_api_is_refused(name: str) -> None:
    (found,) = problems_of(f"plugins:\n  {name}: {{use: meter}}\n")
    assert found.startswith(f"a.yaml:2: plugins.{name}: ")


def test_what_could_not_be_read_is_told_once_and_nothing_else_about_it() -> None:
    text = "http: {port: !env NONE_SUCH}\nplugins:\n  meter: !include no.yaml\n  campus: {use: !secret x}\n"
    assert [problem.split(": ")[1] for problem in problems_of(text)] == [
        "http.port",
        "plugins.meter",
        "plugins.campus.use",
    ]


def test_a_whole_part_that_could_not_be_read_is_told_once() -> None:
    assert problems_of("plugins: !include no.yaml\n") == (
        "a.yaml:1: plugins: cannot read no.yaml: there is no such file",
    )


def test_a_section_that_is_no_mapping_is_told() -> None:
    assert problems_of("plugins: [a]\nhttp: 3\n") == (
        "a.yaml:1: plugins: expected a mapping (`key: value` lines)",
        "a.yaml:2: http: expected a mapping (`key: value` lines), not 3",
    )


def test_a_secret_that_a_config_class_refuses_is_not_shown() -> None:
    found = problems_of("plugins:\n  meter: {mode: !secret key}\n", secrets="key: hunter2\n")
    assert found == ("a.yaml:2: plugins.meter.mode: '***' is not a valid Mode",)


def test_a_secret_in_a_plain_option_is_still_redacted() -> None:
    (entry,) = settings_of("plugins:\n  meter: {mode: !secret key}\n", secrets="key: fast\n").plugins
    assert entry.config.mode.value == "fast"
    assert entry.redacted["mode"] == "***"


# who may be served

EXPOSED = "can be reached from other machines, and no auth plugin that works is enabled"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_sign_in(host: str) -> None:
    assert settings_of(f"http: {{host: '{host}'}}\n").http.loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.10", "::", "plant.example"])
def test_other_machines_are_served_only_with_a_sign_in_or_on_request(host: str) -> None:
    (found,) = problems_of(f"site: x\nhttp:\n  host: '{host}'\n")
    assert found.startswith(f"a.yaml:3: http.host: {host} {EXPOSED}; enable `auth`, use 127.0.0.1, or write ")
    assert not settings_of(f"http: {{host: '{host}', allow_unauthenticated: true}}\n").authenticated
    assert settings_of(f"http: {{host: '{host}'}}\nplugins:\n  auth:\n").authenticated


def test_an_auth_plugin_that_is_disabled_or_broken_counts_for_nothing(house: Path) -> None:
    assert EXPOSED in problems_of("http: {host: 0.0.0.0}\nplugins:\n  auth: {enabled: false}\n")[0]
    (house / "auth.py").write_text("import no_such_thing\n", encoding="utf-8")
    assert EXPOSED in problems_of("http: {host: 0.0.0.0}\nplugins:\n  auth:\n")[0]


def test_a_host_of_the_command_line_is_named_as_such() -> None:
    (found,) = problems_of("site: x\n", host="0.0.0.0")
    assert found.startswith(f"a.yaml:1: http.host: --host 0.0.0.0 {EXPOSED}")
