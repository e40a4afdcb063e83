"""Plain field controllers beside the building: as many as wanted, with as many points each, for tests of size."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from plugins.simulator.device import Product, SimulatedDevice
from plugins.simulator.objects import SimulatedObject

FIRST_CONTROLLER = 10001
CONTROLLER = Product("Northgate Controls", 64002, "Field 100", "2.3")

_START = 20.0
_STEP = 0.1
_STEPS = 50
_SPAN = (-50.0, 1100.0)
_CONTACT = ("Open", "Closed")
_STATES = ("Off", "Low", "High", "Fault")


def make_controllers(count: int, *, points: int) -> tuple[SimulatedDevice, ...]:
    """Make so many controllers, numbered from 10001 on."""
    return tuple(make_controller(FIRST_CONTROLLER + n, f"FC-{n + 1:05}", points=points) for n in range(count))


def make_controller(instance: int, name: str, *, points: int, product: Product = CONTROLLER) -> SimulatedDevice:
    """Make one controller: of ten points six are measured, one is a set-point, two are contacts, one is a status.

    What is measured by analog input i starts at 20 + i.
    """
    device = SimulatedDevice(instance, name, product, "Field controller", "On the rail")
    for point in range(points):
        tens, ones = divmod(point, 10)
        if ones < 6:
            number = 6 * tens + ones + 1
            device.sensor(f"Temperature {number}", "degrees-celsius", span=_SPAN, value=_START + number)
        elif ones < 7:
            number = tens + 1
            device.setpoint(f"Set-point {number}", "degrees-celsius", span=_SPAN, value=_START + number)
        elif ones < 9:
            device.contact(f"Contact {2 * tens + ones - 6}", _CONTACT)
        else:
            device.status(f"Status {tens + 1}", _STATES)
    return device


def change(data: SimulatedObject) -> None:
    """Give a point of a controller another value; a command at any priority hides it as long as it stands."""
    value = data.automatic
    if data.type.is_binary:
        data.set(value is not True)
    elif isinstance(value, int):
        data.set(value % len(_STATES) + 1)
    elif isinstance(value, float):
        start = _START + data.instance
        data.set(start + (round((value - start) / _STEP) + 1) % _STEPS * _STEP)


class Changing:
    """Lets a share of each controller's points change each second; the same seed chooses the same ones.

    The controllers take turns, so that there is no moment at which all of them change.
    """

    def __init__(self, controllers: Sequence[SimulatedDevice], *, share: float, seed: int) -> None:
        self._controllers = controllers
        self._share = share
        self._random = Random(f"{seed}/controllers")
        self._due = 0.0
        self._turn = 0

    def step(self, seconds: float) -> None:
        """Let so much time pass; more than a second counts as one."""
        self._due += min(seconds, 1.0) * len(self._controllers)
        while self._due >= 1.0:
            self._due -= 1.0
            self._change(self._controllers[self._turn].objects)
            self._turn = (self._turn + 1) % len(self._controllers)

    def _change(self, objects: Sequence[SimulatedObject]) -> None:
        count = int(self._share * len(objects) + self._random.random())
        for data in self._random.sample(objects, min(count, len(objects))):
            change(data)
