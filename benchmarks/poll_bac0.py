"""BAC0 reads k present-values a request, for so many seconds."""

import asyncio

import BAC0

from benchmarks.poll_contender import THERE, arguments, contend, numbers


async def main(k: int, seconds: float) -> None:
    BAC0.log_level("silence")
    async with BAC0.start(ip="127.0.0.53/8", port=47853, deviceId=598) as bacnet:
        await asyncio.sleep(0.5)
        objects = {f"analogInput:{number}": ["presentValue"] for number in numbers(k)}
        wanted = {"address": THERE, "objects": objects}
        await contend(
            lambda _worker: bacnet.readMultiple(THERE, request_dict=wanted),
            lambda answer: [value for properties in answer.values() for _name, value in properties],
            k=k,
            seconds=seconds,
        )


asyncio.run(main(*arguments()))
