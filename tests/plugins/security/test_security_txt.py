"""security.txt: for everybody, at its well-known place, for as long as it counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.testing import StartPlantroom

HOUSE = """
plugins:
  auth: {password: {memory: 7168, iterations: 1, parallelism: 1}}
  security:
    security_txt:
      contact: ["mailto:security@bms.example", "tel:+31-20-555-0100"]
      expires: %s
      encryption: https://bms.example/key.asc
      preferred_languages: [en, nl]
      canonical: https://bms.example/.well-known/security.txt
      policy: https://bms.example/disclosure
      acknowledgments: https://bms.example/thanks
"""
PATH = "/.well-known/security.txt"


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days, hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_everybody_reads_whom_to_tell(plantroom: StartPlantroom) -> None:
    expires = in_days(200)
    house = await plantroom(HOUSE % expires)
    answer = await house.api.get(PATH)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert answer.text.splitlines() == [
        "Contact: mailto:security@bms.example",
        "Contact: tel:+31-20-555-0100",
        f"Expires: {expires}",
        "Encryption: https://bms.example/key.asc",
        "Acknowledgments: https://bms.example/thanks",
        "Preferred-Languages: en, nl",
        "Canonical: https://bms.example/.well-known/security.txt",
        "Policy: https://bms.example/disclosure",
    ]
    assert (await house.api.get(PATH, headers={"If-None-Match": answer.headers["ETag"]})).status == 304
    document = await house.get("/api/v1/openapi.json")
    assert document["paths"][PATH]["get"]["security"] == []
    assert (await house.api.get(f"/api/v1/security{PATH}")).status == 401


async def test_without_it_nothing_is_there_and_a_reload_brings_it(plantroom: StartPlantroom) -> None:
    house = await plantroom("plugins: {security: }")
    assert (await house.api.get(PATH)).status == 404
    yaml = "plugins: {security: {security_txt: {contact: 'tel:+1', expires: 2100-01-31}}}"
    found = await house.reload(yaml, dry_run=True)
    assert found.routes.added.first == (f"GET {PATH}",)
    await house.reload(yaml)
    assert (await house.api.get(PATH)).text == "Contact: tel:+1\nExpires: 2100-01-31T00:00:00Z\n"


@pytest.mark.parametrize(
    ("days", "status", "said"),
    [(31, "ok", "it expires in 31 days"), (29, "degraded", "it expires in 29 days"), (-2, "degraded", "it expired")],
)
async def test_a_month_before_it_expires_its_health_says_so(
    plantroom: StartPlantroom, days: int, status: str, said: str
) -> None:
    house = await plantroom(
        HOUSE.replace("  auth: {password: {memory: 7168, iterations: 1, parallelism: 1}}\n", "") % in_days(days)
    )
    [check] = (await house.get("/api/v1/plugins/security"))["health"]
    assert (check["check"], check["status"]) == ("security.txt", status)
    assert said in check["detail"]
