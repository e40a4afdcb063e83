"""A house and four devices of which one is to suffer, all good at first."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from core.clock import Clock
from core.testing import StartPlantroom
from plugins.simulator.controllers import CONTROLLER, make_controller
from plugins.simulator.testing import Simulate, simulate  # noqa: F401 - a fixture, also where it is not installed

from .view import SUBJECT, View

HERE = "127.0.0.130"
MAX_APDU = 480
CONFIGURATION = """
plugins:
  bacnet:
    interval: {interval}
    timeout: {timeout}
    retries: {retries}
    probe_delay: 1
    networks: [{{address: "{here}", targets: ["{there}"]}}]
    {more}
"""

Operate = Callable[..., Awaitable[View]]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def operate(simulate: Simulate, plantroom: StartPlantroom) -> Operate:  # noqa: F811 - the fixture
    """Serve devices, start a house that polls them, and wait until all is well.

    ``points`` are the subject's; ``more`` is YAML below the plugin's name; ``simulated`` is what else is served.
    """

    async def begin(
        *,
        interval: float = 0.4,
        timeout: float = 0.25,
        retries: int = 1,
        points: int = 60,
        more: str = "",
        clock: Clock | None = None,
        **simulated: Any,
    ) -> View:
        product = attrs.evolve(CONTROLLER, max_apdu=MAX_APDU)
        subject = make_controller(SUBJECT, "Subject", points=points, product=product)
        simulation = await simulate(**({"controllers": 3, "devices": [subject]} | simulated))
        yaml = CONFIGURATION.format(
            interval=interval,
            timeout=timeout,
            retries=retries,
            here=f"{HERE}/8:{free_port()}",
            there=simulation.address,
            more=more,
        )
        view = View(await plantroom(yaml, clock=clock), simulation, interval=interval)

        async def all_found() -> bool:
            return await view.device_numbers() >= simulation.devices.keys()

        await view.until(all_found)
        for number in simulation.devices:
            await view.until_all_is_well(number)
        return view

    return begin
