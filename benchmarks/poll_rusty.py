"""rusty-bacnet's Python client, whose core is Rust, reads k present-values a request, for so many seconds."""

import asyncio

import rusty_bacnet as rb

from benchmarks.poll_contender import THERE, arguments, contend, numbers


async def main(k: int, seconds: float) -> None:
    wanted = [
        (rb.ObjectIdentifier(rb.ObjectType.ANALOG_INPUT, number), [(rb.PropertyIdentifier.PRESENT_VALUE, None)])
        for number in numbers(k)
    ]
    async with rb.BACnetClient(
        "127.0.0.55", 47855, broadcast_address="127.255.255.255", share_port_by_address=True
    ) as client:
        await contend(
            lambda _worker: client.read_property_multiple(THERE, wanted),
            lambda answer: [result["value"].value for item in answer for result in item["results"]],
            k=k,
            seconds=seconds,
        )


asyncio.run(main(*arguments()))
