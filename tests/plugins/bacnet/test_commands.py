"""`plantroom bacnet`, against a Plantroom that runs: what a person types, and sees."""

from __future__ import annotations

import argparse
import asyncio
import json
import os

import pytest

from plugins.bacnet import commands

KERNEL = """
plugins:
  bacnet:
    networks: [{{address: "127.0.0.93/8:47983", targets: ["{target}"]}}]
    interval: 0.5
    timeout: 0.2
    points: [{{match: "*.binary-*", cov: true}}]
"""


@pytest.fixture
async def typed(plantroom, simulate, capsys):
    """Start a Plantroom with two devices, and type commands to it; each answers exit code, output and complaints."""
    simulation = await simulate(controllers=2, points=10)
    house = await plantroom(KERNEL.format(target=simulation.address))
    await house.until(lambda: len(house.kernel.registry.point_ids()) == 20)
    parser = argparse.ArgumentParser(exit_on_error=False)
    commands.add_arguments(parser)

    async def typed(*words, url=house.kernel.url):
        options = parser.parse_args(["--url", url, *words])
        capsys.readouterr()
        code = await asyncio.to_thread(commands.run, options)
        said = capsys.readouterr()
        return code, said.out.splitlines(), [line for line in said.err.splitlines() if line.startswith("plantroom")]

    return typed


async def test_who_is_there_and_who_has_what(typed):
    code, out, _err = await typed("who-is", "10001-10001")
    assert code == 0
    assert out[0].split()[:2] == ["instance", "address"]
    assert out[1].split()[0] == "10001" and out[1].split()[-1] == "bacnet.10001"
    assert len(out) == 2
    code, out, _err = await typed("who-has", "analog-input.2")
    assert [line.split()[0] for line in out[1:]] == ["10001", "10002"]
    code, out, _err = await typed("who-has", "FC-00002 Temperature 1")
    assert [line.split()[0] for line in out[1:]] == ["10002"]
    assert (await typed("who-is", "77"))[1] == ["nobody answers"]


async def test_networks_and_subscriptions_are_tables(typed):
    _code, out, _err = await typed("networks")
    assert "127.0.0.93/8:47983" in out[1] and '"announced": true' in out[1]
    async with asyncio.timeout(15):
        while len(out) != 3 or not all(" live " in line for line in out[1:]):
            _code, out, _err = await typed("subscriptions", "--device", "10001")
    assert [line.split()[:2] for line in out[1:]] == [
        ["bacnet.10001.binary-input.1", "live"],
        ["bacnet.10001.binary-input.2", "live"],
    ]
    assert (await typed("subscriptions", "--device", "77"))[1] == ["there are none"]


async def test_properties_are_read_written_and_relinquished(typed):
    code, out, _err = await typed("objects", "10001")
    assert (code, len(out)) == (0, 12)
    _code, out, _err = await typed("read", "10001", "analog-input.1")
    assert ["units", "degrees-celsius"] in [line.split() for line in out]
    _code, out, _err = await typed("read", "10001", "analog-value.1", "priority-array", "--index", "9")
    assert "value: -" in out
    code, out, _err = await typed("write", "10001", "analog-value.1", "present-value", "25.5", "--priority", "9")
    assert code == 0 and "value: 25.5" in out and "verified: true" in out
    _code, out, _err = await typed("--json", "read", "10001", "analog-value.1", "priority-array", "--index", "9")
    assert json.loads("\n".join(out))["value"] == {"real": 25.5}
    _code, out, _err = await typed("write", "10001", "analog-value.1", "present-value", "null", "--priority", "9")
    assert "value: 21.0" in out


async def test_a_no_is_told_with_its_code_and_what_to_do(typed):
    code, out, err = await typed("write", "10001", "analog-value.1", "present-value", "25.5", "--priority", "1")
    assert (code, out) == (1, [])
    assert "write.priority_not_allowed" in err[0] and "write at one of 3, 4" in err[0]
    code, _out, err = await typed("write", "10001", "analog-value.1", "present-value", "warm")
    assert code == 1 and err[1].strip().endswith("value: must be a number")
    code, _out, err = await typed("read", "77", "analog-value.1")
    assert code == 1 and "device.not_found" in err[0]
    code, _out, err = await typed("read", "77", "analog-value.1", url="http://127.0.0.1:9")
    assert code == 1 and "start Plantroom, or name it by --url" in err[0]


async def test_the_key_of_the_environment_is_sent(typed, aiohttp_server, monkeypatch):
    from aiohttp import web

    keys = []

    async def answer(request):
        keys.append(request.headers.get("X-API-Key"))
        return web.Response(text="gone", status=502)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    server = await aiohttp_server(app)
    monkeypatch.setitem(os.environ, "PLANTROOM_API_KEY", "k" * 32)
    code, _out, err = await typed("networks", url=str(server.make_url("/")))
    assert (code, keys) == (1, ["k" * 32])
    assert "502" in err[0]


async def test_what_a_device_calls_itself_commands_no_terminal(typed, aiohttp_server):
    from aiohttp import web

    name = "Pump \x1b[2J\x9b31m\u202e\r\nbacnet.1 \x07Zuluft \u00fc"
    item = {"instance": 1, "address": "10.0.0.7", "object_id": "analog-input.1", "name": name, "known": {"a": name}}

    async def answer(request):
        if request.path.endswith("who-has"):
            return web.json_response({"items": [item]})
        return web.json_response({"title": "No", "detail": name, "code": "x", "errors": []}, status=422)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    url = str((await aiohttp_server(app)).make_url("/"))
    shown = r"Pump \u001b[2J\u009b31m\u202e\r\nbacnet.1 \u0007Zuluft \u00fc".replace(r"\u00fc", "\u00fc")
    _code, out, _err = await typed("who-has", "Pump", url=url)
    assert len(out) == 2
    assert shown in out[1]
    assert all(each.isprintable() for each in "".join(out))
    _code, out, _err = await typed("--json", "who-has", "Pump", url=url)
    assert all(each.isprintable() for each in "".join(out))
    assert json.loads("\n".join(out)) == {"items": [item]}
    _code, _out, err = await typed("networks", url=url)
    assert err == [f"plantroom bacnet: No: {shown} (x)"]
