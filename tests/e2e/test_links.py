"""The links that the OpenAPI document has from one answer to the next question are followed in the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from e2e.program import ROOT, StartProgram, free_port, get, signed_in, until

IN_BODY = "$response.body#"


async def test_each_link_of_a_list_leads_to_an_answer(start: StartProgram, tmp_path: Path) -> None:
    ports = {"PLANTROOM_BACNET_PORT": str(free_port()), "PLANTROOM_SIMULATOR_PORT": str(free_port())}
    demo = str(ROOT / "config/demo.yaml")
    program = await start("run", "--config", demo, "--port", "0", cwd=tmp_path, env=ports)
    async with signed_in(await program.ready(), tmp_path) as client:
        await until(
            lambda: get(client, "/api/v1/points/bacnet.2001.analog-value.1"), lambda point: point.get("reading")
        )
        document = await get(client, "/api/v1/openapi.json")
        asked = {
            operation["operationId"]: (path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if method == "get"
        }
        followed = {
            target
            for name, (path, _operation) in asked.items()
            if "{" not in path
            for target in await follow_links_of(client, asked, name)
        }
    assert len(followed) >= 8, followed
    assert await program.stop() == 0


async def follow_links_of(client: aiohttp.ClientSession, asked: dict[str, Any], name: str) -> list[str]:
    """Ask one question, then all to which its answer has a link, and return those that were answered."""
    path, operation = asked[name]
    links = operation["responses"]["200"].get("links", {}).values()
    if not links:
        return []
    answer = await get(client, path)
    followed = []
    for link in links:
        values = {each: value_at(answer, where) for each, where in link["parameters"].items()}
        if link["operationId"] not in asked or None in values.values():
            continue  # something is to be changed, or the list is empty
        target, _operation = asked[link["operationId"]]
        place = target.format_map({each: quote(str(value), safe="") for each, value in values.items()})
        async with client.get(place) as response:
            # 409: the first point need not be one that has priorities
            assert response.status in (200, 409), f"{name} -> {place}: {response.status} {await response.text()}"
        followed.append(link["operationId"])
    return followed


def value_at(answer: Any, where: str) -> Any:
    """Return what a runtime expression (OpenAPI 3.1, 4.8.20.3) finds in the body of an answer; None: nothing."""
    assert where.startswith(IN_BODY)
    for step in where.removeprefix(IN_BODY).split("/")[1:]:
        try:
            answer = answer[int(step) if isinstance(answer, list) else step]
        except (IndexError, KeyError):
            return None
    return answer
