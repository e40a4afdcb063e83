"""bacpypes3 reads k present-values a request, for so many seconds."""

import asyncio

from bacpypes3.app import Application
from bacpypes3.ipv4.app import NormalApplication
from bacpypes3.local.device import DeviceObject
from bacpypes3.pdu import Address, IPv4Address

from benchmarks.poll_contender import THERE, arguments, contend, numbers


async def main(k: int, seconds: float) -> None:
    device = DeviceObject(objectIdentifier=("device", 599), objectName="client", vendorIdentifier=999)
    app: Application = NormalApplication(device, IPv4Address("127.0.0.52/8:47852"))
    await asyncio.sleep(0.3)
    there = Address(THERE)
    wanted = [part for number in numbers(k) for part in (f"analog-input,{number}", ["present-value"])]
    await contend(
        lambda _worker: app.read_property_multiple(there, wanted),
        lambda answer: [float(value) for _object, _property, _index, value in answer],
        k=k,
        seconds=seconds,
    )
    app.close()


asyncio.run(main(*arguments()))
