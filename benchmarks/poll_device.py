"""The device that benchmarks read: a simulated field controller on loopback, until standard input ends.

It never sleeps, so that no client waits for the machine to wake it up; that is the same for all of them.
"""

import asyncio
import sys

from benchmarks.poll_contender import ADDRESS, INSTANCE, POINTS, PORT
from plugins.simulator.controllers import make_controller
from plugins.simulator.server.link import open_socket
from plugins.simulator.server.service import Service

INPUTS_OF_TEN = 6  # points of a controller are analog inputs


async def main() -> None:
    device = make_controller(INSTANCE, "Benchmark", points=-(-POINTS // INPUTS_OF_TEN) * 10)
    service = Service([], open_socket(ADDRESS, PORT), network=1, direct=device)
    print("READY", flush=True)
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    while not ended.done():
        await asyncio.sleep(0)
    await service.close()


asyncio.run(main())
