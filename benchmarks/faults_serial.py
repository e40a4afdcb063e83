"""The reference line: one device after the other, each waited for until it answers or the time is out.

It is as simple as it can be, and no slower than it must be: a blocking socket and prepared requests. What it shows is
the order of things, not somebody's speed.
"""

import json
import socket
import sys
import time

from benchmarks.campus import HOST, NETWORK
from benchmarks.campus_process import PORT, CampusProcess
from benchmarks.faults_plantroom import LATE_S, POINTS
from plugins.bacnet.config import BacnetConfig
from plugins.bacnet.wire import apdu, bvll, npdu, read_property_multiple
from plugins.bacnet.wire.apdu import Service
from plugins.bacnet.wire.datatypes import Ref
from plugins.simulator.controllers import FIRST_CONTROLLER, make_controller
from plugins.simulator.server.octets import object_id
from plugins.simulator.server.service import mac_of

TRIES = 2
WAIT_S = BacnetConfig(networks=()).timeout


def requests(devices: int) -> list[bytes]:
    """Write the request for all present values and status flags of each device."""
    objects = [object_id(data) for data in make_controller(FIRST_CONTROLLER, "", points=POINTS).objects]
    refs = [Ref(each, number) for each in objects for number in (85, 111)]
    body = apdu.write_request(Service.READ_PROPERTY_MULTIPLE, read_property_multiple.write_parameters(refs))
    places = [npdu.Place(NETWORK, mac_of(FIRST_CONTROLLER + number)) for number in range(devices)]
    return [bvll.unicast(npdu.write_npdu(destination=place, expects_reply=True) + body) for place in places]


def healthy_rate(client: socket.socket, asked: list[bytes], seconds: float) -> float:
    """Return how often a second a device was polled that is well in all conditions."""
    answers, healthy = 0, len(asked) * 8 // 10
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        for number, request in enumerate(asked):
            answered = ask(client, request)
            answers += answered and number >= len(asked) - healthy
    return answers / (time.perf_counter() - began) / healthy


def ask(client: socket.socket, request: bytes) -> bool:
    for _ in range(TRIES):
        client.sendto(request, (HOST, PORT))
        try:
            client.recv(2048)
        except TimeoutError:
            continue
        return True
    return False


def main(seconds: float, devices: int) -> None:
    asked = requests(devices)
    with CampusProcess(devices, POINTS) as campus, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.59", 47859))
        client.settimeout(WAIT_S)
        rates = {"all well": healthy_rate(client, asked, seconds / 4)}
        campus.tell(f"dead {devices // 10}")
        rates["10 % dead"] = healthy_rate(client, asked, seconds / 4)
        campus.tell(f"slow {devices // 10} {LATE_S}")
        rates["10 % dead, 10 % slow"] = healthy_rate(client, asked, seconds / 4)
    print(json.dumps(rates), flush=True)


main(float(sys.argv[1]), int(sys.argv[2]))
