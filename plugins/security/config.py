"""The plugin's section of the configuration: which headers go out, and what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import voluptuous as vol

from core.validators import boolean, text

HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": ", ".join(
        f"{feature}=()"
        for feature in (
            *("accelerometer", "autoplay", "browsing-topics", "camera", "clipboard-read"),
            *("clipboard-write", "display-capture", "encrypted-media", "fullscreen", "geolocation", "gyroscope"),
            *("hid", "idle-detection", "local-fonts", "magnetometer", "microphone", "midi", "payment"),
            *("picture-in-picture", "publickey-credentials-get", "screen-wake-lock", "serial", "storage-access"),
            *("usb", "xr-spatial-tracking"),
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What is on every answer that does not say otherwise itself; browsers complain of features that they do not know."""
HSTS = "max-age=31536000"

_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_ADDRESS = re.compile(r"[\x21-\x7e]+")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_HSTS = re.compile(r"max-age=\d{1,10}(?:; includeSubDomains)?(?:; preload)?", re.ASCII)


@attrs.frozen
class SecurityTxt:
    """Whom those tell who find a hole (RFC 9116); ``expires`` is in seconds since the Unix epoch."""

    contact: tuple[str, ...]
    expires: float
    encryption: tuple[str, ...] = ()
    acknowledgments: tuple[str, ...] = ()
    preferred_languages: tuple[str, ...] = ()
    canonical: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()


@attrs.frozen
class SecurityConfig:
    """The whole section.

    ``headers`` are those that are to say something else than `HEADERS`, or with false nothing at all; ``hsts`` is the
    value of Strict-Transport-Security, False for none; ``cache_control`` whether answers say who may keep them;
    ``security_txt`` what ``/.well-known/security.txt`` says.
    """

    headers: Mapping[str, str | bool] = attrs.field(factory=dict)
    hsts: str | bool = HSTS
    cache_control: bool = True
    security_txt: SecurityTxt | None = None

    @property
    def on_every_answer(self) -> Mapping[str, str]:
        """The headers of every answer, with the values that they have here."""
        values = {name: self.headers.get(name, value) for name, value in HEADERS.items()}
        return {name: value for name, value in values.items() if isinstance(value, str)}


def _value_or_false(value: Any) -> str | bool:
    if value is False:
        return False
    if value is True:
        raise vol.Invalid("expected the header's value, or false to leave it out")
    given = text(value)
    if not _VALUE.fullmatch(given):
        raise vol.Invalid("a header's value is one line of printable ASCII characters")
    return given


def _hsts(value: Any) -> str | bool:
    given = _value_or_false(value)
    if isinstance(given, str) and not _HSTS.fullmatch(given):
        raise vol.Invalid('expected "max-age=SECONDS", perhaps with "; includeSubDomains" and "; preload", or false')
    return given


def _several(check: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    """Take one text, or a list of them."""

    def several(value: Any) -> tuple[str, ...]:
        given = value if isinstance(value, list) else [value]
        if not given:
            raise vol.Invalid("give it a value, or leave it out")
        return tuple(check(each) for each in given)

    return several


def _address(*schemes: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        given = text(value)
        if not (_ADDRESS.fullmatch(given) and given.startswith(schemes)):
            raise vol.Invalid(f"expected an address that begins with {' or '.join(schemes)}")
        return given

    return check


def _language(value: Any) -> str:
    given = text(value)
    if not _LANGUAGE.fullmatch(given):
        raise vol.Invalid("expected languages such as en or pt-BR")
    return given


def _until(value: Any) -> float:
    try:
        found = datetime.fromisoformat(text(value))
    except ValueError:
        raise vol.Invalid("expected a day such as 2027-06-30, or a time such as 2027-06-30T12:00:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


_WEB = _several(_address("https://"))
_SECURITY_TXT: Mapping[Any, Any] = {
    vol.Required("contact"): _several(_address("mailto:", "https://", "tel:")),
    vol.Required("expires"): _until,
    vol.Optional("encryption"): _several(_address("https://", "openpgp4fpr:", "dns:")),
    vol.Optional("acknowledgments"): _WEB,
    vol.Optional("preferred_languages"): _several(_language),
    vol.Optional("canonical"): _WEB,
    vol.Optional("policy"): _WEB,
}

SCHEMA: Mapping[Any, Any] = {
    vol.Optional("headers"): {vol.Optional(name): _value_or_false for name in HEADERS},
    vol.Optional("hsts"): _hsts,
    vol.Optional("cache_control"): boolean,
    vol.Optional("security_txt"): _SECURITY_TXT,
}
