"""What the bodies and answers of several routes have in common: scopes, networks and times."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from typing import Any

import attrs
from aiohttp import web

from core.plugin import FieldFault, Invalid, Scope, field
from core.serialize import UNSET, dumps

_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
_FIRST = (dt.datetime.min.replace(tzinfo=dt.UTC) - _EPOCH).total_seconds()
_LAST = (dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC) - _EPOCH).total_seconds()
_LEAP_SECOND = ":60"

NO_STORE = {"Cache-Control": "no-store"}


@attrs.frozen(kw_only=True)
class ScopeFields:
    """What a key or user is limited to: all that is given must hold, an empty list limits nothing."""

    plugins: tuple[str, ...] = field(
        default=(), min_length=1, max_length=100, max_items=100, description="Plugin instances.", example=["bacnet"]
    )
    devices: tuple[str, ...] = field(
        default=(), min_length=1, max_length=200, max_items=1000, example=["bacnet.20*"],
        description="Ids of devices; `*` stands for any characters.",
    )  # fmt: skip
    tags: tuple[str, ...] = field(
        default=(), min_length=1, max_length=64, max_items=100, example=["comfort"],
        description="Tags of which a point or its device must have one.",
    )  # fmt: skip


def scope_of(given: ScopeFields | None) -> Scope | None:
    """Make the scope that a body names; one that limits nothing is none."""
    if given is None or not (given.plugins or given.devices or given.tags):
        return None
    return Scope(given.plugins, given.devices, given.tags)


def shown_scope(scope: Scope | None) -> ScopeFields | None:
    """Show a scope."""
    if scope is None:
        return None
    return ScopeFields(plugins=scope.plugins, devices=scope.devices, tags=scope.tags)


def networks_of(given: Sequence[str]) -> tuple[str, ...]:
    """Check networks of a body, and write each in its shortest form; raises Invalid with every fault."""
    networks: list[str] = []
    faults: list[FieldFault] = []
    for index, text in enumerate(given):
        try:
            networks.append(str(ipaddress.ip_network(text)))
        except ValueError:
            faults.append(FieldFault(f"networks.{index}", "invalid", "must be a network such as 10.0.0.0/8"))
    if faults:
        raise Invalid(f"Correct these: {', '.join(fault.field for fault in faults)}.", errors=faults)
    return tuple(dict.fromkeys(networks))


def time_of(given: str | None, name: str) -> float | None:
    """Read a time of a body (RFC 3339) as seconds since the epoch; raises Invalid."""
    if given is None:
        return None
    text = given.upper()
    if text[16:19] == _LEAP_SECOND:
        text = f"{text[:16]}:59{text[19:]}"
    try:
        moment = dt.datetime.fromisoformat(text)
        seconds = (moment - _EPOCH).total_seconds()
    except (ValueError, TypeError):  # a TypeError for one without an offset from UTC
        fault = FieldFault(name, "invalid", "must be a time such as 2027-01-31T12:00:00Z")
        raise Invalid(f"Correct these: {name}.", errors=[fault]) from None
    return min(max(seconds, _FIRST), _LAST)


def changes_in(body: Any) -> dict[str, Any]:
    """Return the fields that the body of a PATCH mentions."""
    every = {attribute.name: getattr(body, attribute.name) for attribute in attrs.fields(type(body))}
    return {name: value for name, value in every.items() if value is not UNSET}


def confidential(answer: object, *, status: int = 200, location: str | None = None) -> web.Response:
    """Answer what nothing on the way may keep."""
    headers = NO_STORE if location is None else {**NO_STORE, "Location": location}
    return web.Response(status=status, body=dumps(answer), content_type="application/json", headers=headers)
