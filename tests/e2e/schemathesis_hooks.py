"""What a schema cannot say: requests that are to be accepted come from somebody who knows the house."""

from __future__ import annotations

import itertools
import json
import os
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

import schemathesis

run = uuid.uuid4().hex  # a Plantroom that is asked again remembers the keys of the last time
numbers = itertools.count(1)
PROPERTY = "/api/v1/bacnet/devices/{instance}/objects/{object_id}/properties/{property}"


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """Mend what only looks right: cursors are ours to make, keys are used once, and what a point has suits it."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.query:
        case.query.pop("cursor", None)
        past(case.query)
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"{run}-{next(numbers)}"
    mend = MENDED.get(case.operation.label)
    if mend is not None and isinstance(case.body, dict | str):
        mend(case)


def scan(case: schemathesis.Case) -> None:
    if case.body.get("plugin"):
        case.body["plugin"] = "bacnet"


def who_has(case: schemathesis.Case) -> None:
    """An object is looked for by its id or by its name."""
    name = case.body.get("name")
    case.body, case.media_type = {"name": name} if name else {"object_id": "analog-input.1"}, "application/json"


def who_is(case: schemathesis.Case) -> None:
    """Ranges go up."""
    case.body = {"instances": [2001, "2001-2005"]} if case.body.get("instances") else {}


def write_point(case: schemathesis.Case) -> None:
    point = found(f"{case.operation.base_url}api/v1/points/", case.path_parameters["point_id"])
    if point is not None and point["reading"] is not None and "value" in case.body:
        case.body["value"] = point["reading"]["value"]


def past(asked: dict[str, Any]) -> None:
    """Times go up, zones are places, and what fills intervals has some."""
    known = {
        "start": "2020-01-01T00:00:00Z", "end": "2030-01-01T00:00:00Z", "before": "2030-01-01T00:00:00Z",
        "tz": "Europe/Berlin", "interval": "1h", "aggregate": ["count"],
    }  # fmt: skip
    asked.update({name: value for name, value in known.items() if name in asked})
    if asked.get("fill") not in (None, "none"):
        asked["interval"], asked["fill"] = "1h", "previous"


def query_history(case: schemathesis.Case) -> None:
    case.body.pop("cursor", None)
    past(case.body)


def take_in(case: schemathesis.Case) -> None:
    """What is taken in suits the point, in JSON and in CSV."""
    point = found(f"{case.operation.base_url}api/v1/points/", case.path_parameters["point_id"])
    value = 1 if point is None or point["reading"] is None else point["reading"]["value"]
    if isinstance(case.body, str):
        case.body = f"time,value\n2026-01-31T12:00:00Z,{value}\n"
        return
    for sample in case.body.get("samples", ()):
        if isinstance(sample, dict):
            sample["time"], sample["value"] = "2026-01-31T12:00:00Z", value


def write_property(case: schemathesis.Case) -> None:
    case.body.pop("priority", None)
    case.body.pop("index", None)
    named = case.path_parameters
    at = f"api/v1/bacnet/devices/{quoted(named['instance'])}/objects/{quoted(named['object_id'])}/properties/"
    shown = found(f"{case.operation.base_url}{at}", named["property"])
    if shown is not None and "value" in case.body:
        case.body["value"] = shown["value"]


def new_key(case: schemathesis.Case) -> None:
    """A key works from networks, which a text that looks like one is not."""
    if case.body.get("networks"):
        case.body["networks"] = ["10.0.0.0/8"]


def new_user(case: schemathesis.Case) -> None:
    """A password has to be a good one, and a name one's own."""
    if "password" in case.body:
        case.body["password"] = f"grey-Otter_lends 7 ladders {run}"
    if "name" in case.body:
        case.body["name"] = f"user-{run}-{next(numbers)}"


def quoted(part: object) -> str:
    return urllib.parse.quote(str(part), safe="")


def found(at: str, name: str) -> Any:
    try:
        asked = urllib.request.Request(at + quoted(name), headers={"X-API-Key": os.environ["SCHEMATHESIS_KEY"]})
        with urllib.request.urlopen(asked) as answer:
            return json.load(answer)
    except urllib.error.HTTPError:
        return None


MENDED = {
    "POST /api/v1/scans": scan,
    "POST /api/v1/bacnet/who-has": who_has,
    "POST /api/v1/bacnet/who-is": who_is,
    "POST /api/v1/auth/api-keys": new_key,
    "PATCH /api/v1/auth/api-keys/{key_id}": new_key,
    "POST /api/v1/auth/users": new_user,
    "POST /api/v1/history/query": query_history,
    "POST /api/v1/history/latest": query_history,
    "POST /api/v1/points/{point_id}/history": take_in,
    "PATCH /api/v1/auth/users/{user_id}": new_user,
    "PUT /api/v1/points/{point_id}/value": write_point,
    f"PUT {PROPERTY}": write_property,
}
