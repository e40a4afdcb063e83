"""bacpypes3 reads 50 present-values a request, eight requests at a time, for so many seconds."""

import asyncio
import json
import sys
import time

from bacpypes3.app import Application
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import Address, IPv4Address

AT_ONCE, POINTS = 8, 50


async def main(seconds: float) -> None:
    device = DeviceObject(objectIdentifier=("device", 599), objectName="client", vendorIdentifier=999)
    app: Application = NormalApplication(device, IPv4Address("127.0.0.52/8:47852"))
    await asyncio.sleep(0.3)
    there = Address("127.0.0.51:47851")
    wanted = [part for number in range(1, POINTS + 1) for part in (f"analog-input,{number}", ["present-value"])]
    count = 0
    began, cpu = time.perf_counter(), time.process_time()

    async def worker() -> None:
        nonlocal count
        while time.perf_counter() - began < seconds:
            answers = await app.read_property_multiple(there, wanted)
            count += len(answers)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"points": count, "seconds": took, "cpu_seconds": cpu}), flush=True)
    app.close()


asyncio.run(main(float(sys.argv[1])))
