"""Tells a browser's own request from one that another site made it send."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from urllib.parse import urlsplit

from core.plugin import Call
from plugins.auth.errors import CsrfRefused
from plugins.auth.sessions import csrf_token

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADER = "X-CSRF-Token"

_OWN = frozenset({"same-origin", "none"})


def insist_on_own_site(call: Call, origins: Collection[str]) -> None:
    """See that no other site's page sent a request, as far as its headers tell; raises CsrfRefused.

    A browser says it by Sec-Fetch-Site, and over plain HTTP or before 2023 by Origin alone, whose host must be the one
    that was asked. What is no browser sends neither, and cannot be made to send anything.
    """
    origin, site = call.headers.get("Origin"), call.headers.get("Sec-Fetch-Site")
    if origin is not None and origin.lower() in origins:
        return
    if site is not None:
        own = site.strip().lower() in _OWN
    else:
        own = origin is None or _host(origin) == call.headers.get("Host", "").lower()
    if not own:
        raise CsrfRefused("Another site's page sent this; it is taken from our own only.")


def insist_on_token(call: Call, value: str) -> None:
    """See that a request that may change something brings its session's token; raises CsrfRefused."""
    given = call.headers.get(HEADER, "")
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), csrf_token(value).encode()):
        raise CsrfRefused(f"The {HEADER} is missing, or is not this session's.")


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin.strip().lower()).netloc or None
    except ValueError:
        return None
