"""What the section may say, and how it says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.catalog import Catalog
from core.config import load
from core.errors import ConfigError
from core.security import Secret
from core.settings import read
from plugins.redis.config import Address, RedisConfig, TlsOptions, parse_url


def configured(folder: Path, section: str) -> RedisConfig:
    path = folder / "plantroom.yaml"
    path.write_text(f"plugins: {{redis: {{{section}}}}}")
    [entry] = read(load([path]), Catalog(None)).plugins
    config = entry.config
    assert isinstance(config, RedisConfig)
    return config


def test_a_password_in_an_address_is_shown_nowhere(tmp_path: Path):
    path = tmp_path / "plantroom.yaml"
    path.write_text("plugins: {redis: {url: 'redis://ada:hunter2@h/1'}}")
    [entry] = read(load([path]), Catalog(None)).plugins
    assert "hunter2" not in f"{entry.redacted} {entry.config} {entry.config.address} {entry.config.address!r}"
    assert entry.config.address.password.reveal() == "hunter2"


def test_without_options_it_is_this_machine_s_server(tmp_path: Path):
    config = configured(tmp_path, "")
    assert str(config.address) == "127.0.0.1:6379/0"
    assert config.cache
    assert config.rate_limits


def test_all_options_are_taken(tmp_path: Path):
    config = configured(
        tmp_path,
        "host: redis.example, port: 6390, db: 2, username: plantroom, password: s3cret, "
        "tls: {ca_file: /ca.pem, cert_file: /c.pem, key_file: /k.pem, verify: false}, prefix: 'bms:', timeout_s: 0.2, "
        "connect_timeout_s: 1, connections: 3, cache: true, rate_limits: false, "
        "fallback: {entries: 5, bytes: 2000000, keys: 7}",
    )
    assert config.address == Address("redis.example", 6390, 2, "", True, "plantroom", Secret("s3cret"))
    assert config.tls == TlsOptions(Path("/ca.pem"), Path("/c.pem"), Path("/k.pem"), verify=False)
    assert (config.fallback.entries, config.fallback.bytes, config.fallback.keys) == (5, 2_000_000, 7)
    assert "s3cret" not in f"{config} {config.address} {config.address!r}"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://10.0.0.5", Address("10.0.0.5")),
        ("redis://h:6390/4", Address("h", 6390, 4)),
        ("rediss://ada:p%40ss@h/1", Address("h", 6379, 1, "", True, "ada", Secret("p@ss"))),
        ("redis://:pass@[::1]:7000", Address("::1", 7000, password=Secret("pass"))),
        ("unix:///run/redis.sock", Address(path="/run/redis.sock")),
        ("unix://:pw@/run/redis.sock?db=2", Address(path="/run/redis.sock", db=2, password=Secret("pw"))),
    ],
)
def test_an_address_says_all_that_there_is_to_say(url: str, address: Address):
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        *("http://h:hunter2@x", "redis://x/hunter2", "redis://x:hunter2", "redis://x:99999/hunter2", "hunter2"),
        *("redis://x?password=hunter2", "unix://hunter2", "unix:///s?password=hunter2", "redis://[hunter2"),
        *("redis://:hunter2@x#y", "redis://x/-1", "redis://a b:hunter2@c d/"),
    ],
)
def test_what_is_no_address_is_told_without_repeating_it(tmp_path: Path, url: str):
    with pytest.raises(ConfigError, match="write an address such as redis://") as told:
        configured(tmp_path, f'url: "{url}"')
    assert "hunter2" not in str(told.value)
    assert "redis://" not in str(told.value).replace("such as redis://", "")


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("url: 'redis://h', host: h", "`url` has a place for `host`"),
        ("url: 'redis://h', password: x", "`url` has a place for `password`"),
        ("url: 'unix:///run/r', tls: {}", "no TLS on a Unix socket"),
        ("tls: {key_file: /k}", "without its `cert_file`"),
        ("cache: false, rate_limits: false", "nothing to do"),
        ("prefix: 'a b'", "without spaces"),
        ("timeout_s: 0", "more than 0 and up to 5"),
        ("connect_timeout_s: 60", "more than 0 and up to 5"),
        ("passwort: x", "did you mean 'password'"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, section: str, says: str):
    with pytest.raises(ConfigError, match=says):
        configured(tmp_path, section)
