from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from core.errors import DeviceTimeout
from core.model import Device, Flag, Inventory, Kind
from core.readings import Row
from core.sinks import Sink

OPEN = {"Problem"}  # errors may have further members
ELSEWHERE = {"post_system_reload"}  # needs a whole kernel: tests/e2e/test_schemathesis.py


def closed(data: dict[str, Any]) -> dict[str, Any]:
    """Forbid what the document does not name, so that a member that is answered and not described is noticed."""
    data = copy.deepcopy(data)
    for name, schema in data["components"]["schemas"].items():
        if schema.get("type") == "object" and name not in OPEN:
            schema.setdefault("additionalProperties", False)
    return data


class Witness:
    """Asks the API and compares each answer with what the document says of it."""

    def __init__(self, api: Any, data: dict[str, Any]) -> None:
        self.api = api
        self.data = closed(data)
        self.seen: set[tuple[str, str]] = set()

    async def ask(self, operation_id: str, path: str, body: Any = ..., *, status: int = 200, **headers: str) -> Any:
        method, operation = self.operations()[operation_id]
        content = () if body is ... else (body,)
        reply = await self.api.ask(method.upper(), path, *content, **headers)
        assert reply.status == status, reply.body
        described = operation["responses"][str(status)]
        if "$ref" in described:
            described = self.data["components"]["responses"][described["$ref"].rpartition("/")[2]]
        assert [name for name in described["headers"] if name != "Age" and name not in reply.headers] == []
        if reply.body:
            media = described["content"][reply.headers["Content-Type"]]
            schema = {"components": self.data["components"], **media["schema"]}
            Draft202012Validator(schema, format_checker=FormatChecker(["date-time"])).validate(reply.json)
        self.seen.add((operation_id, str(status)))
        return reply

    def operations(self) -> dict[str, tuple[str, dict[str, Any]]]:
        return {
            operation["operationId"]: (method, operation)
            for methods in self.data["paths"].values()
            for method, operation in methods.items()
        }

    def unseen(self) -> Iterator[str]:
        for name, (_method, operation) in self.operations().items():
            json = any("application/json" in each.get("content", {}) for each in operation["responses"].values())
            if json and name not in ELSEWHERE and not any((name, good) in self.seen for good in ("200", "202")):
                yield name


def furnish(api: Any) -> Any:
    """A device with a point of each kind, some with readings that are not good, and one that is gone."""
    device = Device("demo.1", "demo", "Air handler", attributes={"instance": 1})
    points = [
        device.point("ai.1", unit="degrees-celsius", symbol="°C", interval=10.0),
        device.point("av.1", writable=True, commandable=True, min=10.0, max=30.0, resolution=0.5),
        device.point("bi.1", kind=Kind.BOOLEAN, states={"false": "Off", "true": "On"}),
        device.point("msv.1", kind=Kind.ENUM, states={"1": "Auto", "2": "Hand"}, writable=True),
        device.point("csv.1", kind=Kind.TEXT),
        device.point("big.1"),
        device.point("odd.1"),
    ]
    driver = api.house.driver()
    driver.values = {
        "demo.1.ai.1": 21.5, "demo.1.av.1": Row(20.0, Flag.IN_ALARM | Flag.OVERRIDDEN), "demo.1.bi.1": True,
        "demo.1.msv.1": 2, "demo.1.csv.1": "né\n", "demo.1.big.1": 2**80, "demo.1.odd.1": Row(1.0, Flag.FAULT),
    }  # fmt: skip
    api.house.registry.put([Inventory(device, points)])
    api.house.device("other.2", "a")
    api.house.registry.mark_vanished(["other.2"])
    driver.inventories = [Inventory(device, points)]
    api.house.deliveries.add("demo", [Sink("archive", nullcontext)], None)
    return driver


async def test_every_answer_is_as_the_document_says(api: Any) -> None:
    driver = furnish(api)
    document = (await api.get("/api/v1/openapi.json")).json
    witness = Witness(api, document)
    await witness.ask("get_openapi_json", "/api/v1/openapi.json")
    await witness.ask("delete_devices_by_device_id", "/api/v1/devices/other.2", status=204)
    await witness.ask("get_points_by_point_id", "/api/v1/points/demo.1.ai.1")
    await witness.ask("get_points_by_point_id_value", "/api/v1/points/demo.1.ai.1/value")
    await api.house.clock.advance(12)

    for name in ("healthz", "readyz", "api_v1", "errors", "plugins", "devices", "points", "jobs", "sinks"):
        path = {"healthz": "/healthz", "readyz": "/readyz", "api_v1": "/api/v1"}.get(name, f"/api/v1/{name}?count=true")
        reply = await witness.ask(f"get_{name}", path)
        await witness.ask(f"get_{name}", path, status=304, If_None_Match=reply.headers["ETag"])
        await witness.ask(f"get_{name}", f"{path.partition('?')[0]}?colour=red", status=422)
    await witness.ask("get_points", "/api/v1/points?limit=2")
    await witness.ask("get_errors_by_code", "/api/v1/errors/point.not_found")
    await witness.ask("get_plugins_by_name", "/api/v1/plugins/demo")
    await witness.ask("get_devices_by_device_id", "/api/v1/devices/demo.1")
    change = {"name": "Roof", "tags": ["ahu"], "interval": 30}
    await witness.ask("patch_devices_by_device_id", "/api/v1/devices/demo.1", change)
    await witness.ask("patch_points_by_point_id", "/api/v1/points/demo.1.ai.1", {"enabled": False})
    await witness.ask("delete_devices_by_device_id", "/api/v1/devices/demo.1", status=409)

    value = "/api/v1/points/demo.1.av.1/value"
    await witness.ask("put_points_by_point_id_value", value, {"value": 21, "priority": 8}, Idempotency_Key="k")
    await witness.ask("put_points_by_point_id_value", value, {"value": "warm"}, status=422)
    await witness.ask("put_points_by_point_id_value", value.replace("av", "ai"), {"value": 1}, status=409)
    await witness.ask("get_points_by_point_id_priorities", "/api/v1/points/demo.1.av.1/priorities")
    await witness.ask("delete_points_by_point_id_value", f"{value}?priority=8")
    writes = [{"point_id": "demo.1.msv.1", "value": "Auto"}, {"point_id": "demo.9.x", "relinquish": True}]
    await witness.ask("post_writes", "/api/v1/writes", {"writes": writes})
    await witness.ask("post_writes", "/api/v1/writes", {"writes": []}, status=422)
    asked = {"point_ids": ["demo.1.big.1", "demo.1.odd.1", "demo.9.x"], "max_age": 0}
    await witness.ask("post_readings_query", "/api/v1/readings/query", asked)
    await histories(witness)
    driver.silent.add("demo.1")
    await api.house.clock.advance(0.1)
    await witness.ask("get_points_by_point_id_value", "/api/v1/points/demo.1.csv.1/value?max_age=0", status=504)
    await witness.ask("get_points_by_point_id_value", "/api/v1/points/demo.9.x/value", status=404)
    driver.silent.clear()

    job = (await witness.ask("post_scans", "/api/v1/scans", {}, status=202)).json
    await api.until(lambda: api.house.jobs.get(job["id"]).state.ended)
    driver.broken = DeviceTimeout("Nothing was heard.")
    await witness.ask("get_jobs_by_job_id", f"/api/v1/jobs/{job['id']}")
    await witness.ask("delete_jobs_by_job_id", f"/api/v1/jobs/{job['id']}")
    await witness.ask("get_jobs", "/api/v1/jobs")
    assert list(witness.unseen()) == []


async def histories(witness: Witness) -> None:
    """Ask for the past of points, once they have one."""
    at, several = "/api/v1/points/demo.1.{}/history", ["demo.1.ai.1", "demo.1.msv.1", "demo.1.csv.1", "demo.9.x"]
    times = [f"2023-11-14T{hour}:00:00Z" for hour in (10, 12, 14)]
    for key, values in (("ai.1", (1.5, 2**80, None)), ("msv.1", (1, 2, 1)), ("csv.1", ("a", "b", "c"))):
        samples = [
            {"time": time, "value": value, "quality": "bad" if value is None else "uncertain"}
            for time, value in zip(times, values, strict=True)
        ]
        await witness.ask("post_points_by_point_id_history", at.format(key), {"samples": samples})
    await witness.ask("post_points_by_point_id_history", at.format("ai.1"), {"samples": [{}]}, status=422)
    kept = await witness.ask("get_points_by_point_id_history", at.format("ai.1"))
    await witness.ask(
        "get_points_by_point_id_history", at.format("ai.1"), status=304, If_None_Match=kept.headers["ETag"]
    )
    for query in ("limit=1", "interval=1h&fill=previous", "interval=1h&fill=linear&tz=Asia/Kathmandu", "aggregate=sum"):
        page = await witness.ask("get_points_by_point_id_history", f"{at.format('ai.1')}?{query}")
        assert page.json["items"]
    await witness.ask("get_points_by_point_id_history", at.format("ai.1"), status=406, Accept="image/png")
    shares = f"{at.format('msv.1')}?interval=1h&aggregate=first,time_in_state,count"
    await witness.ask("get_points_by_point_id_history", shares)
    await witness.ask("post_history_query", "/api/v1/history/query", {"point_ids": several})
    await witness.ask("post_history_query", "/api/v1/history/query", {"point_ids": several, "interval": "1h"})
    await witness.ask("get_points_by_point_id_history_latest", f"{at.format('msv.1')}/latest")
    await witness.ask(
        "get_points_by_point_id_history_latest", f"{at.format('ai.1')}/latest?before=2000-01-01T00:00:00Z"
    )
    await witness.ask("post_history_latest", "/api/v1/history/latest", {"point_ids": several})


async def test_the_document_has_an_etag_and_comes_without_a_body_when_it_is_known(api: Any) -> None:
    first = await api.get("/api/v1/openapi.json")
    again = await api.get("/api/v1/openapi.json", If_None_Match=first.headers["ETag"])
    assert first.headers["Content-Type"] == "application/json"
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("path", "kind", "part"),
    [
        ("/api/docs", "text/html; charset=utf-8", b"docs/page.js"),
        ("/api/docs/page.js", "text/javascript; charset=utf-8", b"v1/openapi.json"),
        ("/api/docs/page.css", "text/css; charset=utf-8", b"margin"),
        ("/api/docs/swagger-ui.css", "text/css; charset=utf-8", b".swagger-ui"),
        ("/api/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8", b"SwaggerUIBundle"),
        ("/api/docs/favicon-16x16.png", "image/png", b"PNG"),
        ("/api/docs/favicon-32x32.png", "image/png", b"PNG"),
    ],
)
async def test_the_page_and_its_parts_come_from_here_under_a_strict_policy(
    api: Any, path: str, kind: str, part: bytes
) -> None:
    reply = await api.get(path)
    policy = dict(each.split(" ", 1) for each in reply.headers["Content-Security-Policy"].split("; "))
    assert reply.headers["Content-Type"] == kind
    assert part in reply.body
    assert policy["default-src"] == "'none'"
    assert {source for sources in policy.values() for source in sources.split()} == {"'none'", "'self'", "data:"}
    assert policy["img-src"] == "'self' data:" and policy["script-src"] == policy["style-src"] == "'self'"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cache-Control"] == "no-cache"
    assert (await api.get(path, If_None_Match=reply.headers["ETag"])).status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/api/docs/",
        "/api/docs/index.html",
        "/api/docs/swagger-ui.js",
        "/api/docs/../../pyproject.toml",
        "/api/docs/%2e%2e/__init__.py",
        "/api/docs/..%2f__init__.py",
        "/api/docs/swagger-ui.css/../../../__init__.py",
    ],
)
async def test_nothing_else_is_to_be_had_from_where_the_page_is(api: Any, path: str) -> None:
    from yarl import URL

    url = URL(str(api.client._base_url).rstrip("/") + path, encoded=True)
    async with api.client.get(url) as answer:
        assert answer.status == 404
        assert (await answer.json(content_type=None))["code"] == "route.not_found"
