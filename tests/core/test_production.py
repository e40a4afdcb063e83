"""What should not reach production is named, each with where it stands; what should is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from authority import Authority
from docs.blocks import ROOT

from core.cli import main

AUTHORITY = Authority()
EXAMPLE = ROOT / "config/examples/production.yaml"
STRONG = "kX9v0Qf7Lr2Tz8Wm4Hc6Yb1Ns5Pd3Gj-eUoA"
GOOD = """
data_dir: /var/lib/plantroom
http:
  host: 0.0.0.0
  hosts: [bms.example]
  tls: {certificate: certificate.pem, key: key.pem}
plugins:
  auth:
  ratelimit:
  security:
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PLANTROOM_API_KEY", raising=False)
    monkeypatch.setenv("PW", "hunter2")
    AUTHORITY.pair().into(tmp_path)
    yield tmp_path
    structlog.reset_defaults()


def weaknesses_of(text: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Check a configuration for production; returns a line for each thing that is unfit."""
    Path("plantroom.yaml").write_text(text.lstrip("\n"), encoding="utf-8")
    code = main(["check", "--production"])
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert code == (1 if lines else 0)
    assert out.startswith("configuration is valid")
    assert not lines or f"{len(lines)} thing" in out
    for line in lines:
        assert line.startswith("plantroom.yaml:") and "; " in line, "where, what and why; what to do"
    return lines


def planted(bad: str, where: str) -> str:
    """Put a weakness into what is good: a line in the place of, or behind, the one that it is about."""
    return GOOD.replace(where, bad, 1) if where else GOOD + bad


def test_what_is_good_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert weaknesses_of(GOOD, capsys) == []


BAD = [
    ("log: {level: debug}\n", "", "10: log.level: debug logs too much"),
    ("  host: 0.0.0.0\n  allow_unauthenticated: true\n", "  host: 0.0.0.0\n", "4: http.allow_unauthenticated: whoever"),
    ("", "  tls: {certificate: certificate.pem, key: key.pem}\n", "3: http.host: 0.0.0.0 is reached by plain HTTP"),
    ("", "  hosts: [bms.example]\n", "2: http.hosts: any name is answered to"),
    ("  trusted_proxies: [0.0.0.0/0]\n  host", "  host", "3: http.trusted_proxies[0]: whoever is in 0.0.0.0/0"),
    ("  trusted_proxies: [10.0.0.1, '::/0']\n  host", "  host", "3: http.trusted_proxies[1]: whoever is in ::/0"),
    ("data_dir: /tmp/x", "data_dir: /var/lib/plantroom", "1: data_dir: the system empties this folder"),
    ("", "  ratelimit:\n", "6: plugins: nothing limits how often"),
    ("  auth:\n  ratelimit: {enabled: false}\n", "  auth:\n  ratelimit:\n", "6: plugins: nothing limits how often"),
    ("", "  security:\n", "6: plugins: browsers are not told"),
    ("  security: {hsts: false}", "  security:", "9: plugins.security.hsts: browsers go on using plain HTTP"),
    ("  security: {headers: {X-Frame-Options: false}}", "  security:", "9: plugins.security.headers.X-Frame-Options:"),
    ("  security: {cache_control: false}", "  security:", "9: plugins.security.cache_control: caches may keep"),
    (
        "  security: {security_txt: {contact: 'tel:+1', expires: 2020-01-01}}",
        "  security:",
        "9: plugins.security.security_txt.expires: nobody is to trust it",
    ),
    ("  cors: {origins: ['*']}\n", "", "10: plugins.cors.origins: every page on the internet"),
    ("  cors: {origins: ['http://a.example']}\n", "", "10: plugins.cors.origins[0]: whoever is on the line"),
    (
        "  cors: {origins: ['https://a.example', 'http://localhost:3000']}\n",
        "",
        "10: plugins.cors.origins[1]: whatever",
    ),
    ("  sim: {use: simulator}\n", "", "10: plugins.sim: this is a simulated building"),
    (
        "  auth: {metrics: {networks: [10.0.0.0/8, 0.0.0.0/0]}}",
        "  auth:",
        "7: plugins.auth.metrics.networks[1]: everybody",
    ),
    ("  redis: {url: 'redis://:hunter2@127.0.0.1/0'}\n", "", "10: plugins.redis.url: a secret is written into"),
    ("  logging: {sentry: {dsn: 'https://hunter2@127.0.0.1/1'}}\n", "", "10: plugins.logging.sentry.dsn: a secret is"),
    ("  redis: {host: 10.0.0.5, password: !env PW}\n", "", "10: plugins.redis: whoever is on the line"),
    ("  redis: {tls: {verify: false}}\n", "", "10: plugins.redis.tls.verify: whoever is on the line"),
    ("  redis: {host: 10.0.0.5, tls: {}}\n", "", "10: plugins.redis: whoever reaches 10.0.0.5:6379"),
    ("key: key.pem, key_password: hunter2}", "key: key.pem}", "5: http.tls.key_password: a secret is written into"),
]


@pytest.mark.parametrize(("bad", "where", "line"), BAD, ids=[line.partition(": ")[2][:40] for *_, line in BAD])
def test_each_weakness_is_named_with_its_line_and_nothing_else(
    bad: str, where: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    [found] = weaknesses_of(planted(bad, where), capsys)
    assert found.startswith(f"plantroom.yaml:{line}")
    assert "hunter2" not in found


def test_a_house_that_nobody_has_to_sign_in_to_is_named_on_loopback_too(capsys: pytest.CaptureFixture[str]) -> None:
    loopback = GOOD.replace("  auth:\n", "").replace("host: 0.0.0.0", "host: 127.0.0.1")
    [line] = weaknesses_of(loopback, capsys)
    assert line.startswith("plantroom.yaml:6: plugins: nobody has to sign in")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("change-me-change-me-change-me-change-me", "has a word in it that anybody would try"),
        ("an-example-key-of-some-forty-characters!", "has a word in it that anybody would try"),
        ("a" * 40, "repeats itself"),
        ("wxyzwxyzwxyzwxyzwxyzwxyzwxyzwxyzwxyz", "repeats itself"),
        (STRONG, None),
        pytest.param(os.urandom(32).hex(), None, id="by chance"),
    ],
)
def test_a_key_of_the_environment_that_can_be_guessed_is_named_and_never_shown(
    key: str, said: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTROOM_API_KEY", key)
    found = weaknesses_of(GOOD, capsys)
    assert len(found) == (said is not None)
    assert all(str(said) in line and "plugins.auth" in line and key not in line for line in found)


def test_certificates_that_clients_refuse_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pair, said in (
        (AUTHORITY.pair(days=-2), "it has expired"),
        (AUTHORITY.pair(days=9), "it expires in less than 30 days"),
        (AUTHORITY.pair(self_signed=True), "it vouches for itself"),
    ):
        pair.into(folder)
        [line] = weaknesses_of(GOOD, capsys)
        assert line.startswith(f"plantroom.yaml:5: http.tls.certificate: {said}")
    (folder / "key.pem").write_bytes(AUTHORITY.pair().key)
    (folder / "key.pem").chmod(0o640)
    cannot, readable = sorted(weaknesses_of(GOOD, capsys))
    assert "http.tls.certificate: certificate.pem and key.pem cannot be used" in cannot
    assert "http.tls.key: whoever has an account on this machine may read it" in readable


def test_secrets_in_the_file_are_named_and_those_from_elsewhere_are_not(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    AUTHORITY.pair(password="hunter2").into(folder)
    monkeypatch.setenv("KEY_PASSWORD", "hunter2")
    secrets = folder / "secrets.yaml"
    secrets.write_text("password: hunter2\n", encoding="utf-8")
    secrets.chmod(0o600)
    for way in ("!secret password", "!env KEY_PASSWORD"):
        assert weaknesses_of(GOOD.replace("key.pem}", f"key.pem, key_password: {way}}}"), capsys) == []
    secrets.chmod(0o644)
    [line] = weaknesses_of(GOOD.replace("key.pem}", "key.pem, key_password: !secret password}"), capsys)
    assert "whoever has an account on this machine may read it: secrets.yaml; chmod 600 secrets.yaml" in line


def test_a_plugin_of_a_stranger_names_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "custom_plugins").mkdir()
    (folder / "custom_plugins" / "lamp.py").write_text(
        "from core.plugin import Plugin, Weakness, hookimpl\n\n\nclass Lamp(Plugin):\n"
        "    schema = {'wire': str}\n\n    @hookimpl\n    def register_weaknesses(self):\n"
        "        return [Weakness('it may break', 'mend it', ('wire',))]\n",
        encoding="utf-8",
    )
    [line] = weaknesses_of(GOOD + "  lamp:\n    wire: loose\n", capsys)
    assert line == "plantroom.yaml:11: plugins.lamp.wire: it may break; mend it"


def test_all_at_once_are_named_in_the_order_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    found = weaknesses_of(
        "http: {host: 0.0.0.0, allow_unauthenticated: true}\nlog: {level: debug}\nplugins:\n  simulator:\n", capsys
    )
    assert len(found) == 8
    lines = [int(line.split(":")[1]) for line in found]
    assert lines == sorted(lines)


def test_the_example_for_production_passes(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTROOM_CERTIFICATE", str(folder / "certificate.pem"))
    monkeypatch.setenv("PLANTROOM_CERTIFICATE_KEY", str(folder / "key.pem"))
    monkeypatch.setenv("PLANTROOM_SECURITY_TXT_EXPIRES", "2100-01-01")
    assert main(["check", "--production", "--config", str(EXAMPLE)]) == 0, capsys.readouterr().err


def test_the_demo_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--production", "--demo"]) == 1
    assert "plugins.simulator: this is a simulated building" in capsys.readouterr().err
