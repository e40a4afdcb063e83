from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.errors import DeviceError
from core.plugin import JobContext, JobKind


async def test_a_scan_is_a_job_that_tells_what_it_found(api: Any, inventory: Any) -> None:
    driver = api.house.driver()
    driver.inventories = [inventory("demo.1", "a", "b"), inventory("demo.2", "a")]
    body = {"plugin": "demo", "instances": [2001, "3000-3999"], "targets": ["10.0.0.5:47808"]}
    started = await api.ask("POST", "/api/v1/scans", body)
    assert started.status == 202
    location = started.headers["Location"]
    assert location == f"/api/v1/jobs/{started.json['id']}"
    await api.until(lambda: api.house.jobs.get(started.json["id"]).state.ended)
    job = (await api.get(location)).json
    assert job["kind"] == "scan"
    assert (job["state"], job["progress"], job["phase"], job["done"], job["total"]) == (
        "succeeded",
        1.0,
        "looking",
        2,
        2,
    )
    assert (job["found"], job["attempts"], job["error"], job["warnings"]) == (2, 1, None, [])
    assert (job["counts"], job["time_left_s"]) == ({"devices": 2, "points": 3}, None)
    assert job["result"] == {
        "devices": 2, "points": 3, "devices_added": 2, "devices_vanished": 0, "added": 3, "changed": 0, "vanished": 0,
        "returned": 0, "added_ids": ["demo.1.a", "demo.1.b", "demo.2.a"], "vanished_ids": [],
    }  # fmt: skip
    assert job["ended_at"].endswith("Z")
    assert driver.scans[0].instances == (2001, "3000-3999")
    assert (await api.get("/api/v1/devices")).ids == ["demo.1", "demo.2"]


async def test_a_scan_needs_no_body(api: Any) -> None:
    api.house.driver()
    assert (await api.ask("POST", "/api/v1/scans")).status == 202


async def test_the_same_key_starts_one_scan(api: Any) -> None:
    api.house.driver()
    first = await api.ask("POST", "/api/v1/scans", {}, Idempotency_Key="k")
    await api.until(lambda: api.house.jobs.get(first.json["id"]).state.ended)
    again = await api.ask("POST", "/api/v1/scans", {}, Idempotency_Key="k")
    assert again.json["id"] == first.json["id"]
    assert again.headers["Location"] == first.headers["Location"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"plugin": "modbus"}, "plugin"),
        ({"instances": "all"}, "instances"),
        ({"instances": [-1, "1-2", "x", True]}, "instances.0 instances.2 instances.3"),
        ({"targets": [""]}, "targets.0"),
        ({"plugins": "demo"}, "plugins"),
    ],
)
async def test_a_wrong_scan_is_refused(api: Any, body: Any, field: str) -> None:
    api.house.driver()
    reply = await api.ask("POST", "/api/v1/scans", body)
    assert reply.status == 422
    assert [fault["field"] for fault in reply.json["errors"]] == field.split()


async def test_without_a_driver_there_is_nothing_to_scan_with(api: Any) -> None:
    assert (await api.ask("POST", "/api/v1/scans", {})).status == 503


async def test_jobs_are_listed_filtered_shown_and_cancelled(api: Any) -> None:
    never = asyncio.Event()

    async def wait(context: JobContext, _params: Any) -> None:
        context.progress("waiting", 1, 4)
        context.warn("odd", "It is odd.", "Look.")
        await never.wait()

    async def fail(_context: JobContext, _params: Any) -> None:
        raise DeviceError("It broke.")

    for name, run in (("wait", wait), ("fail", fail)):
        api.house.jobs.register(JobKind(name, run), owner="test")
    waiting, failed = api.house.jobs.submit("wait", {"x": 1}), api.house.jobs.submit("fail")
    await api.until(lambda: failed.state.ended and waiting.warnings)
    listed = await api.get("/api/v1/jobs?sort=created_at&count=true")
    assert sorted(listed.ids) == sorted([waiting.id, failed.id])
    assert listed.json["total"] == 2
    assert (await api.get("/api/v1/jobs?state=failed")).ids == [failed.id]
    assert (await api.get("/api/v1/jobs?kind=wait&kind=none")).ids == [waiting.id]
    assert (await api.get("/api/v1/jobs?q=WAITING")).ids == [waiting.id]
    assert await api.pages("/api/v1/jobs?limit=1") == [[each] for each in sorted([waiting.id, failed.id])]
    assert (await api.get(f"/api/v1/jobs/{failed.id}")).json["error"]["code"] == "device.error"
    shown = (await api.get(f"/api/v1/jobs/{waiting.id}")).json
    assert (shown["progress"], shown["params"]) == (0.25, {"x": 1})
    assert shown["warnings"] == [{"code": "odd", "detail": "It is odd.", "remedy": "Look."}]
    for _ in range(2):
        cancelled = await api.ask("DELETE", f"/api/v1/jobs/{waiting.id}")
        assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")


async def test_an_unknown_job_is_not_found(api: Any) -> None:
    for method in ("GET", "DELETE"):
        assert (await api.ask(method, "/api/v1/jobs/none")).json["code"] == "job.not_found"
