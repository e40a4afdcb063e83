"""What a schema cannot say: requests that are to be accepted come from somebody who knows the house."""

from __future__ import annotations

import itertools
import json
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any

import schemathesis

run = uuid.uuid4().hex  # a Plantroom that is asked again remembers the keys of the last time
numbers = itertools.count(1)


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """Mend what only looks right: cursors are ours to make, keys are used once, and what a point has suits it.

    Ranges go up, and an object is looked for by its id or by its name.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.query:
        case.query.pop("cursor", None)
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"{run}-{next(numbers)}"
    if case.operation.label == "POST /api/v1/scans" and isinstance(case.body, dict) and case.body.get("plugin"):
        case.body["plugin"] = "bacnet"
    if case.operation.label == "POST /api/v1/bacnet/who-has":
        name = case.body.get("name") if isinstance(case.body, dict) else None
        case.body, case.media_type = {"name": name} if name else {"object_id": "analog-input.1"}, "application/json"
    if case.operation.label == "POST /api/v1/bacnet/who-is" and isinstance(case.body, dict):
        case.body = {"instances": [2001, "2001-2005"]} if case.body.get("instances") else {}
    if case.operation.label == "PUT /api/v1/points/{point_id}/value" and isinstance(case.body, dict):
        point = found(f"{case.operation.base_url}api/v1/points/", case.path_parameters["point_id"])
        if point is not None and point["reading"] is not None and "value" in case.body:
            case.body["value"] = point["reading"]["value"]


def found(at: str, point_id: str) -> Any:
    try:
        with urllib.request.urlopen(at + urllib.parse.quote(str(point_id), safe="")) as answer:
            return json.load(answer)
    except urllib.error.HTTPError:
        return None
