"""A campus of simulated field controllers behind one router, as the sweep and fault benchmarks want it.

`python -P benchmarks/campus.py PORT DEVICES POINTS`; commands come by standard input, each is answered by a line:

- `change SHARE`: this share of all points takes another value
- `dead COUNT`, `slow COUNT SECONDS`: the first devices never answer, the next ones so much later
- `answered`: how many datagrams have been answered since the last time
"""

from __future__ import annotations

import asyncio
import socket
import sys
from random import Random

from plugins.bacnet.wire import bvll, npdu
from plugins.simulator.controllers import change, make_controllers
from plugins.simulator.device import SimulatedDevice
from plugins.simulator.server.fast import FastHalf
from plugins.simulator.server.link import open_socket
from plugins.simulator.server.service import mac_of
from plugins.simulator.server.station import Station
from plugins.simulator.server.stations import Stations

HOST = "127.0.0.51"
NETWORK = 2001
DRAIN = 64


class Campus:
    """The controllers on their socket; those that are dead are not heard, those that are slow answer later."""

    def __init__(self, devices: tuple[SimulatedDevice, ...], opened: socket.socket) -> None:
        self._devices = devices
        self._macs = [mac_of(device.instance) for device in devices]
        places = (npdu.Place(NETWORK, mac) for mac in self._macs)
        self._fast = FastHalf(Stations(list(map(Station, devices, places))))
        self._socket = opened
        self._loop = asyncio.get_running_loop()
        self._dead: frozenset[bytes] = frozenset()
        self._slow: frozenset[bytes] = frozenset()
        self._delay_s = 0.0
        self._random = Random(1)
        self.answered = 0
        self._loop.add_reader(opened.fileno(), self._drain)

    def obey(self, command: str) -> str:
        word, *numbers = command.split()
        if word == "change":
            return f"changed {self._change(float(numbers[0]))}"
        if word == "dead":
            self._dead = frozenset(self._macs[: int(numbers[0])])
        elif word == "slow":
            dead = len(self._dead)
            self._slow, self._delay_s = frozenset(self._macs[dead : dead + int(numbers[0])]), float(numbers[1])
        count, self.answered = self.answered, 0
        return f"answered {count}"

    def _change(self, share: float) -> int:
        changed = 0
        for device in self._devices:
            for data in self._random.sample(device.objects, round(share * len(device.objects))):
                change(data)
                changed += 1
        return changed

    def _drain(self) -> None:
        troubled = self._dead or self._slow
        for _ in range(DRAIN):
            try:
                data, address = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            if not troubled:
                self._answer(data, address)
                continue
            place = npdu.read_npdu(data, bvll.HEADER).destination
            mac = b"" if place is None else place.mac
            if mac in self._slow:
                self._loop.call_later(self._delay_s, self._answer, data, address)
            elif mac not in self._dead:
                self._answer(data, address)

    def _answer(self, data: bytes, address: tuple[str, int]) -> None:
        for answer in self._fast.answer(data) or ():
            self._socket.sendto(answer, address)
            self.answered += 1


async def main(port: int, devices: int, points: int) -> None:
    opened = open_socket(HOST, port)
    campus = Campus(make_controllers(devices, points=points), opened)
    print("READY", flush=True)
    while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
        print(campus.obey(command), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*(int(word) for word in sys.argv[1:])))
