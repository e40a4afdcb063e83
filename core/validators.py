"""Checks for the options of plugins, whose messages say what is allowed; for use in a voluptuous schema."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import voluptuous as vol

from core.proxies import Network
from core.security import Secret

Check = Callable[[Any], Any]

MAX_PORT = 65535

_HOST = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
_GLOB = re.compile(r"[^\s/]+")


def boolean(value: Any) -> bool:
    """Take true or false, and no text or number in their place."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
        raise vol.Invalid(f"write true or false: {value} is plain text in YAML 1.2")
    raise vol.Invalid("expected true or false")


def text(value: Any) -> str:
    """Take text that is not empty."""
    if isinstance(value, str) and value.strip():
        return value
    if value is None or isinstance(value, str):
        raise vol.Invalid("give it a text, it is empty")
    raise vol.Invalid("expected text, in quotes" if isinstance(value, int | float) else "expected text")


def secret(value: Any) -> Secret:
    """Take a secret, from ``!secret NAME`` or written out."""
    return value if isinstance(value, Secret) else Secret(text(value))


def number(*, min: float = -math.inf, max: float = math.inf) -> Check:  # noqa: A002 - as in voluptuous
    """Make a check for a finite number within limits, both included."""

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise vol.Invalid(f"expected a number{_limits(min, max)}")
        if not min <= value <= max:
            raise vol.Invalid(f"must be a number{_limits(min, max)}, not {value}")
        return value

    return check


def integer(*, min: float = -math.inf, max: float = math.inf) -> Check:  # noqa: A002 - as in voluptuous
    """Make a check for a whole number within limits, both included."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise vol.Invalid(f"expected a whole number{_limits(min, max)}")
        if not min <= value <= max:
            raise vol.Invalid(f"must be a whole number{_limits(min, max)}, not {value}")
        return value

    return check


def seconds(value: Any) -> float:
    """Take a time in seconds, more than 0."""
    return _seconds(value, zero=False)


def seconds_or_zero(value: Any) -> float:
    """Take a time in seconds, 0 or more."""
    return _seconds(value, zero=True)


def port(value: Any) -> int:
    """Take a TCP or UDP port, 1 to 65535."""
    checked: int = integer(min=1, max=MAX_PORT)(value)
    return checked


def port_or_any(value: Any) -> int:
    """Take a port, or 0 for one that the system chooses."""
    checked: int = integer(min=0, max=MAX_PORT)(value)
    return checked


def ip_address(value: Any) -> str:
    """Take an IPv4 or IPv6 address."""
    try:
        return str(ipaddress.ip_address(text(value)))
    except ValueError:
        raise vol.Invalid("expected an IP address such as 192.168.1.10") from None


def network(value: Any) -> Network:
    """Take a network of IP addresses, or one address."""
    try:
        return ipaddress.ip_network(text(value))
    except ValueError as error:
        near = "; its last part is not 0" if "host bits" in str(error) else ""
        raise vol.Invalid(f"expected a network such as 10.0.0.0/8, or an IP address{near}") from None


def networks(value: Any) -> tuple[Network, ...]:
    """Take a list of networks."""
    if not isinstance(value, list):
        raise vol.Invalid("expected a list of networks such as [10.0.0.0/8]")
    return tuple(network(each) for each in value)


def host(value: Any) -> str:
    """Take an IP address or a host's name, without a port."""
    given = text(value)
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        if _HOST.fullmatch(given) and not given.rpartition(".")[2].isdigit():
            return given
    raise vol.Invalid("expected an IP address or a host name, without a port")


def origin(value: Any) -> str:
    """Take a web origin: scheme, host and perhaps a port, as browsers write it."""
    given = text(value).lower()
    try:
        parts = urlsplit(given)
        port, usual = parts.port, {"http": 80, "https": 443}.get(parts.scheme)
        if usual is not None and given == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc:
            host(parts.hostname)
            return given.removesuffix(f":{usual}") if port == usual else given
    except (ValueError, vol.Invalid):
        pass  # a port or a host that is none
    raise vol.Invalid("expected an origin such as https://bms.example, without a path")


def host_and_port(value: Any) -> str:
    """Take ``host:port``; an IPv6 address stands in brackets."""
    name, colon, digits = text(value).rpartition(":")
    if not colon or not (digits.isascii() and digits.isdigit()) or len(digits) > len(str(MAX_PORT)):
        raise vol.Invalid('expected "host:port" such as "10.0.0.1:47808"')
    host(name.removeprefix("[").removesuffix("]") if name.startswith("[") else name)
    port(int(digits))
    return str(value)


def glob(value: Any) -> str:
    """Take a pattern for ids: ``*`` any text, ``?`` one character, ``[ab]`` one of several."""
    pattern = text(value)
    if not _GLOB.fullmatch(pattern):
        raise vol.Invalid("expected a pattern of an id such as bacnet.2001.*, without spaces")
    return pattern


def one_of(*choices: str) -> Check:
    """Make a check for one of several words."""

    def check(value: Any) -> str:
        if value in choices and isinstance(value, str):
            return value
        raise vol.Invalid(f"expected one of {', '.join(choices)}")

    return check


def file_path(value: Any) -> Path:
    """Take the path of a file, ``~`` for the home directory; whether there is one is not looked at."""
    try:
        return Path(text(value)).expanduser()
    except RuntimeError:
        raise vol.Invalid("expected a path; there is no home directory for its ~") from None


def _seconds(value: Any, *, zero: bool) -> float:
    if isinstance(value, str) and re.fullmatch(r"[0-9.]+\s*(?:s|sec|m|min|h)", value):
        raise vol.Invalid("expected a number of seconds, without a unit")
    allowed = "0 or more" if zero else "more than 0"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise vol.Invalid(f"expected a number of seconds, {allowed}")
    if value < 0 or (value == 0 and not zero):
        raise vol.Invalid(f"must be a number of seconds, {allowed}, not {value}")
    return value


def _limits(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f" of {low} or more"
    return f" up to {high}" if math.isinf(low) else f" from {low} to {high}"
