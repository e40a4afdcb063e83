"""How many points a second one simulator process answers: 50 in each request, 32 requests under way, raw datagrams."""

import json
import socket
import sys
import time

from benchmarks.campus import HOST, NETWORK
from benchmarks.campus_process import PORT, CampusProcess
from plugins.bacnet.wire import apdu, bvll, npdu, read_property_multiple
from plugins.bacnet.wire.apdu import Service
from plugins.bacnet.wire.datatypes import ObjectId, Ref
from plugins.simulator.controllers import FIRST_CONTROLLER
from plugins.simulator.server.service import mac_of

DEVICES, POINTS, AT_ONCE = 100, 100, 32
ASKED = 50
TIMEOUT_S = 5.0


def requests() -> list[bytes]:
    """Write a request for 50 present values to each device."""
    refs = [Ref(ObjectId(0, number), 85) for number in range(1, ASKED + 1)]
    body = apdu.write_request(Service.READ_PROPERTY_MULTIPLE, read_property_multiple.write_parameters(refs))
    places = [npdu.Place(NETWORK, mac_of(FIRST_CONTROLLER + number)) for number in range(DEVICES)]
    return [bvll.unicast(npdu.write_npdu(destination=place, expects_reply=True) + body) for place in places]


def main(seconds: float) -> None:
    with CampusProcess(DEVICES, POINTS) as campus, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.59", 47859))
        client.settimeout(TIMEOUT_S)
        asked = requests()
        flood(client, asked, 0.2)
        points, took = flood(client, asked, seconds)
        changing = recomposed(campus, client, asked, seconds)
    print(json.dumps({"points": points, "seconds": took, "changing": changing}), flush=True)


def flood(client: socket.socket, asked: list[bytes], seconds: float) -> tuple[int, float]:
    """Keep so many requests under way; return the points that were answered, and the seconds."""
    began = time.perf_counter()
    sent = answers = 0
    while sent < AT_ONCE:
        client.sendto(asked[sent % DEVICES], (HOST, PORT))
        sent += 1
    while time.perf_counter() - began < seconds:
        client.recv(2048)
        answers += 1
        client.sendto(asked[sent % DEVICES], (HOST, PORT))
        sent += 1
    for _ in range(AT_ONCE):
        answers += len(client.recv(2048)) > ASKED
    return answers * ASKED, time.perf_counter() - began


def recomposed(campus: CampusProcess, client: socket.socket, asked: list[bytes], seconds: float) -> float:
    """Change all values before each round over all devices; return the points a second of the rounds."""
    points, took = 0, 0.0
    while took < seconds / 2:
        campus.tell("change 1.0")
        began = time.perf_counter()
        for start in range(0, DEVICES, AT_ONCE):
            group = asked[start : start + AT_ONCE]
            for request in group:
                client.sendto(request, (HOST, PORT))
            for _ in group:
                client.recv(2048)
        took += time.perf_counter() - began
        points += DEVICES * ASKED
    return points / took


main(float(sys.argv[1]))
