"""Says what in a valid configuration is unfit for a building that people depend on, as far as the kernel knows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.certificates import WARNED_BEFORE_S, CertificateUnusable, load
from core.security import is_sensitive, redact, secrets_in
from core.serving import Http, Tls
from core.settings import Settings
from core.source import Fault, KeyPath, Source
from core.weaknesses import Weakness

WIDEST_IPV4, WIDEST_IPV6 = 8, 32
OTHERS = 0o077
READABLE = "whoever has an account on this machine may read it"


def unfit(source: Source, settings: Settings) -> Iterator[Fault]:
    """Name what should not go into production, each with what to do about it."""
    for path, weakness in (
        *_of_the_house(source, settings),
        *_of_the_address(settings),
        *_of_the_certificate(settings.http.tls),
        *_of_secrets(source, settings),
    ):
        yield source.fault(path, str(weakness))


def readable_by_others(file: Path) -> bool:
    """Tell whether others than its owner may read a file; what is not there nobody reads."""
    try:
        return bool(file.stat().st_mode & OTHERS)
    except OSError:
        return False


def _of_the_house(source: Source, settings: Settings) -> Iterator[tuple[KeyPath, Weakness]]:
    if settings.log.level == "debug":
        yield ("log", "level"), Weakness("debug logs too much for production", "use info")
    if not settings.authenticated:
        yield (
            ("plugins",),
            Weakness("nobody has to sign in: whoever reaches it may read and write", "enable the auth plugin"),
        )
    if settings.http.allow_unauthenticated:
        text = f"whoever reaches {settings.http.host} may read and write, should no auth plugin be enabled"
        yield ("http", "allow_unauthenticated"), Weakness(text, "leave it out")
    if _passing(source.at(("data_dir",))):
        text = "the system empties this folder, and others write to it"
        yield ("data_dir",), Weakness(text, "use one of its own, such as /var/lib/plantroom")


def _passing(folder: object) -> bool:
    return isinstance(folder, str) and Path(folder).is_relative_to(tempfile.gettempdir())


def _of_the_address(settings: Settings) -> Iterator[tuple[KeyPath, Weakness]]:
    http = settings.http
    if not http.loopback:
        if http.tls is None and not http.trusted_proxies:
            text = f"{http.host} is reached by plain HTTP: whoever is on the line reads keys and cookies"
            yield ("http", "host"), Weakness(text, "give it a certificate (`tls`), or a proxy in `trusted_proxies`")
        if not http.hosts:
            text = "any name is answered to, also one that a foreign page points at this machine"
            yield ("http", "hosts"), Weakness(text, "list the names that it has: `hosts: [bms.example]`")
    for index, network in enumerate(http.trusted_proxies):
        if network.prefixlen < (WIDEST_IPV4 if network.version == 4 else WIDEST_IPV6):
            text = f"whoever is in {network} may say that a request comes from somewhere else"
            yield ("http", "trusted_proxies", index), Weakness(text, "name the proxies themselves")


def _of_the_certificate(tls: Tls | None) -> Iterator[tuple[KeyPath, Weakness]]:
    if tls is None:
        return
    at = ("http", "tls", "certificate")
    if readable_by_others(tls.key):
        yield ("http", "tls", "key"), Weakness(f"{READABLE}: {tls.key}", f"chmod 600 {tls.key}")
    try:
        _context, facts = load(tls)
    except CertificateUnusable as error:
        yield at, Weakness(error.detail.rstrip("."), "mend it, nothing starts with it")
        return
    if facts.expires - time.time() < WARNED_BEFORE_S:
        gone = facts.expires < time.time()
        text = "it has expired: browsers and programs refuse it" if gone else "it expires in less than 30 days"
        yield at, Weakness(text, "renew it; new files are followed while Plantroom runs")
    if facts.self_signed:
        yield at, Weakness("it vouches for itself, so that anybody can show such a one", "have an authority sign it")


def _of_secrets(source: Source, settings: Settings) -> Iterator[tuple[KeyPath, Weakness]]:
    """Name secrets that are written out, and files of secrets that others may read."""
    for file in source.secret_files:
        if readable_by_others(file):
            yield (), Weakness(f"{READABLE}: {file}", f"chmod 600 {file}")
    values = {secret.reveal() for secret in secrets_in((settings.http, *(each.config for each in settings.plugins)))}
    for path, value in _texts_in(source.data, ()):
        known = value in values and ("://" not in value or "@" in value)  # an address may have none in it
        secret = known or redact(value) != value or is_sensitive(path[-1])
        if secret and path not in source.outside:
            yield path, Weakness("a secret is written into the configuration", "use !secret NAME, or !env NAME")


def _texts_in(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Go through plain data, but for what is disabled."""
    if isinstance(value, str) and path:
        yield path, value
    elif isinstance(value, Mapping) and value.get("enabled") is not False:
        for key, inner in value.items():
            yield from _texts_in(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts_in(inner, (*path, index))


def exposed(source: Source, http: Http) -> list[Path]:
    """List the files of secrets and of the key that others than their owner may read."""
    keys = [] if http.tls is None else [http.tls.key]
    return [file for file in (*source.secret_files, *keys) if readable_by_others(file)]
