"""A marker in every secret option there is, and looks for it wherever something is said."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from authority import Authority
from e2e.program import StartProgram

from core.catalog import Catalog, Origin
from core.security import Secret
from core.serving import Http

MARKER = "the-marker-Zq7Xw9Kp2Rv5Tn8"
AUTHORITY = Authority()
PATHS = (
    *("/readyz", "/metrics", "/api/v1", "/api/v1/plugins", "/api/v1/openapi.json", "/api/v1/errors", "/nowhere"),
    *("/api/v1/auth/api-keys", "/api/v1/auth/me", "/api/v1/jobs", "/api/v1/devices?limit=0"),
)


def secrets_of(cls: Any, at: str) -> Iterator[str]:
    """Name every field of a configuration class that holds a secret, however deep it stands."""
    if cls is Secret:
        yield at
    for inner in typing.get_args(cls):
        yield from secrets_of(inner, at)
    if isinstance(cls, type) and attrs.has(cls):
        for field in attrs.fields(attrs.resolve_types(cls)):
            yield from secrets_of(field.type, f"{at}.{field.name}")


def every_secret() -> set[str]:
    """Walk the configuration of the kernel and of every bundled plugin."""
    catalog = Catalog(None)
    bundled = [name for name in catalog.names() if catalog.find(name).origin is Origin.BUNDLED]
    found = set(secrets_of(Http, "http"))
    for name in bundled:
        found.update(secrets_of(catalog.load(name).config_class, name))
    return found


@attrs.frozen
class Planting:
    """A configuration with the marker in one secret option; ``wrong`` is one that is refused for what is there."""

    yaml: str
    wrong: str = ""
    environ: Mapping[str, str] = attrs.field(factory=dict)


TLS = "http: {{tls: {{certificate: certificate.pem, key: key.pem, key_password: {}}}}}\nplugins: {{auth: }}\n"
REDIS = "plugins: {{auth: , ratelimit: , redis: {{{}, connect_timeout_s: 0.2}}}}\n"
PLANTED = {
    "http.tls.key_password": Planting(TLS.format(MARKER), TLS.format(f"{{a: {MARKER}}}")),
    "auth.bootstrap": Planting("plugins: {auth: }\n", environ={"PLANTROOM_API_KEY": f"{MARKER}-and-more-of-it"}),
    "logging.sentry.dsn": Planting(
        f"plugins: {{auth: , logging: {{sentry: {{dsn: 'https://{MARKER}@127.0.0.1:1/1'}}}}}}\n",
        f"plugins: {{auth: , logging: {{sentry: {{dsn: [{MARKER}]}}}}}}\n",
    ),
    "redis.password": Planting(
        REDIS.format(f"port: 1, password: {MARKER}"), REDIS.format(f"port: 0, password: [{MARKER}]")
    ),
    "redis.url": Planting(
        REDIS.format(f"url: 'redis://me:{MARKER}@127.0.0.1:1/0'"), REDIS.format(f"url: 'redis//{MARKER}@127.0.0.1:x'")
    ),
}


def test_every_secret_option_there_is_has_a_marker_planted() -> None:
    assert every_secret() == PLANTED.keys()


async def answers(url: str, folder: Path, planting: Planting) -> list[str]:
    """Ask for all that could show a secret; returns bodies and headers."""
    key = (
        planting.environ.get("PLANTROOM_API_KEY") or (folder / "data" / "admin-key").read_text(encoding="utf-8").strip()
    )
    asked = [("GET", path) for path in PATHS] + [("POST", "/api/v1/system/reload?dry_run=true")]
    connector = aiohttp.TCPConnector(ssl=AUTHORITY.client())
    said = []
    async with aiohttp.ClientSession(url, headers={"X-API-Key": key}, connector=connector) as client:
        plugins = (await (await client.get("/api/v1/plugins")).json())["items"]
        asked += [("GET", f"/api/v1/plugins/{plugin['name']}") for plugin in plugins]
        for method, path in asked:
            async with client.request(method, path) as answer:
                said.append(f"{answer.status} {dict(answer.headers)} {await answer.text()}")
    return said


async def test_nor_where_its_plugin_is_disabled_or_cannot_be_loaded(start: StartProgram, tmp_path: Path) -> None:
    (tmp_path / "custom_plugins").mkdir()
    (tmp_path / "custom_plugins" / "lost.py").write_text("import no_such_thing\n", encoding="utf-8")
    options = f"{{dsn: 'https://{MARKER}@127.0.0.1/1', words: [{MARKER}], number: 3}}"
    yaml = f"plugins: {{auth: , logging: {{enabled: false, sentry: {options}}}, lost: {{sentry: {options}}}}}\n"
    (tmp_path / "plantroom.yaml").write_text(yaml, encoding="utf-8")
    program = await start("run", "--port", "0", cwd=tmp_path)
    said = await answers(await program.ready(), tmp_path, Planting(yaml))
    assert await program.stop() == 0
    assert sum('"number":3' in text for text in said) >= 3, "what is no text is shown"
    for text in (*program.out, *program.err, *said):
        assert MARKER not in text


@pytest.mark.parametrize("option", PLANTED)
async def test_a_secret_is_in_no_log_no_answer_and_no_output(start: StartProgram, tmp_path: Path, option: str) -> None:
    planting = PLANTED[option]
    AUTHORITY.pair(password=MARKER).into(tmp_path)
    file = tmp_path / "plantroom.yaml"
    file.write_text("log: {level: debug}\n" + planting.yaml, encoding="utf-8")
    program = await start("run", "--port", "0", cwd=tmp_path, env=planting.environ)
    url = await program.ready()
    said = await answers(url, tmp_path, planting)
    if planting.wrong:
        file.write_text(planting.wrong, encoding="utf-8")
        refused = await answers(url, tmp_path, planting)
        assert "reload.refused" in "\n".join(refused)
        said += refused
    assert await program.stop() == 0
    for yaml in filter(None, (planting.yaml, planting.wrong)):
        file.write_text(yaml, encoding="utf-8")
        for command in ("check", "check --production", "plugins", "openapi"):
            tried = await start(*command.split(), cwd=tmp_path, env=planting.environ)
            await tried.ended()
            assert tried.out or tried.err, command
            said += [*tried.out, *tried.err]
    assert len(program.logged("request")) > 5, "there was something to look at"
    assert any('"registered"' in text for text in said) and any("plantroom_uptime_seconds" in text for text in said)
    for text in (*program.out, *program.err, *said):
        assert MARKER not in text
