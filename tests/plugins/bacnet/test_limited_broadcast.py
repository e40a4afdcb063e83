"""Devices that answer to 255.255.255.255, as some do; heard in a network namespace that the test makes."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[3]

NETWORK = """
ip link set lo up && ip link add left type veth peer name right &&
ip address add 10.9.0.1/24 dev left && ip address add 10.8.0.1/24 dev left &&
ip link set left up && ip link set right up && ip route add 255.255.255.255 dev left &&
exec "$0" -c "$1"
"""

LISTEN = """
import asyncio, socket
from core.clock import SystemClock
from plugins.bacnet.addresses import parse_interface
from plugins.bacnet.client import Client, Identity

def i_am(instance):
    apdu = bytes.fromhex("1000c4") + (8 << 22 | instance).to_bytes(4, "big") + bytes.fromhex("2205c49100210f")
    frame = bytes.fromhex("0120ffff00ff") + apdu
    return bytes.fromhex("810b") + (len(frame) + 4).to_bytes(2, "big") + frame

def shout(ip, instance):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        device.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        device.bind((ip, 47900))
        device.sendto(i_am(instance), ("255.255.255.255", 47808))

async def main():
    us = Identity(599, "us", 1.0, 0)
    client = Client(parse_interface("10.9.0.1/24:47808"), us, option="address", clock=SystemClock())
    await client.open()
    heard, done = [], asyncio.Event()
    def note(i_am):
        heard.append((i_am.instance, i_am.station.ip))
        if i_am.instance == 3:
            done.set()
    client.heard = note
    for ip, instance in (("10.9.0.1", 1), ("10.8.0.1", 2), ("10.9.0.1", 3)):
        shout(ip, instance)
    async with asyncio.timeout(3):
        await done.wait()
    await client.close()
    print(heard)

asyncio.run(main())
"""


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


async def test_an_answer_to_everybody_is_heard_from_our_subnet_and_no_other():
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    unshare = shutil.which("unshare", path=path)
    if unshare is None or shutil.which("ip", path=path) is None:
        _do_without("needs unshare (util-linux) and ip (iproute2)")
    process = await asyncio.create_subprocess_exec(
        unshare, "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]),
        "sh", "-c", NETWORK, sys.executable, LISTEN,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, error = await process.communicate()
    if b"Operation not permitted" in error:
        _do_without("this machine does not let us make a network namespace")
    assert out.decode().strip() == "[(1, '10.9.0.1'), (3, '10.9.0.1')]", error.decode()
