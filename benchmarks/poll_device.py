"""The device that benchmarks read: 100 analog inputs of rusty-bacnet on loopback, until standard input ends."""

import asyncio
import sys

import rusty_bacnet as rb

INSTANCE, ADDRESS, PORT, POINTS = 5001, "127.0.0.51", 47851, 100


async def main() -> None:
    server = rb.BACnetServer(
        INSTANCE, "Benchmark", interface=ADDRESS, port=PORT, broadcast_address="127.255.255.255",
        share_port_by_address=True, segmentation_supported=rb.Segmentation.BOTH,
    )  # fmt: skip
    for number in range(1, POINTS + 1):
        server.add_analog_input(number, f"Input {number}", 62, 20.0 + number)
    await server.start()
    print("READY", flush=True)
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
