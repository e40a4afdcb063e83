"""BAC0 reads 50 present-values a request, eight requests at a time, for so many seconds."""

import asyncio
import json
import sys
import time

import BAC0

AT_ONCE, POINTS = 8, 50


async def main(seconds: float) -> None:
    BAC0.log_level("silence")
    async with BAC0.start(ip="127.0.0.53/8", port=47853, deviceId=598) as bacnet:
        await asyncio.sleep(0.5)
        objects = {f"analogInput:{number}": ["presentValue"] for number in range(1, POINTS + 1)}
        wanted = {"address": "127.0.0.51:47851", "objects": objects}
        count = 0
        began, cpu = time.perf_counter(), time.process_time()

        async def worker() -> None:
            nonlocal count
            while time.perf_counter() - began < seconds:
                answers = await bacnet.readMultiple(wanted["address"], request_dict=wanted)
                count += len(answers)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(json.dumps({"points": count, "seconds": took, "cpu_seconds": cpu}), flush=True)


asyncio.run(main(float(sys.argv[1])))
