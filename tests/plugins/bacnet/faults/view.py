"""What an operator sees, through the REST API alone, of devices that something goes wrong with and of all others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeAlias

from core.clock import ManualClock
from core.testing import Answer, Running
from plugins.simulator.faults import FaultKind
from plugins.simulator.testing import Simulation

SUBJECT = 7001
STALE_AFTER = 2.5  # intervals
LOOK_S = 0.05
SOON_S = 15.0
STEP_S = 0.5

Amiss: TypeAlias = tuple[str, str | None]
"""Quality and reason of a reading that is not good."""


class View:
    """A house, seen from outside, beside the simulated devices as they really are.

    ``interval`` is that of all polls, in seconds. By a manual clock, time passes while something is waited for.
    """

    def __init__(self, house: Running, simulation: Simulation, *, interval: float) -> None:
        self.simulation = simulation
        self._house = house
        self._interval = interval

    # what is shown

    async def points(self, number: int = SUBJECT) -> dict[str, dict[str, Any]]:
        """Return a device's points by their keys."""
        shown = await self._house.get("/api/v1/points", device_id=f"bacnet.{number}", limit="1000")
        return {_key(point["id"]): point for point in shown["items"]}

    async def amiss(self, number: int = SUBJECT) -> dict[str, Amiss]:
        """Return those of a device's points that are not good."""
        points = await self.points(number)
        return {key: amiss for key, point in points.items() if (amiss := _amiss(point["reading"])) is not None}

    async def device(self, number: int = SUBJECT) -> dict[str, Any]:
        """Return a device."""
        shown: dict[str, Any] = await self._house.get(f"/api/v1/devices/bacnet.{number}")
        return shown

    async def device_numbers(self) -> set[int]:
        """List all devices."""
        shown = await self._house.get("/api/v1/devices")
        return {int(device["id"].rpartition(".")[2]) for device in shown["items"]}

    async def profile(self, number: int = SUBJECT) -> dict[str, Any]:
        """Return what was learned of a device."""
        shown: dict[str, Any] = await self._house.get(f"/api/v1/bacnet/devices/{number}/profile")
        return shown

    async def subscriptions(self, number: int = SUBJECT) -> dict[str, tuple[str, str | None]]:
        """Return how each of a device's subscriptions stands, and why so."""
        shown = await self._house.get("/api/v1/bacnet/subscriptions", device_id=f"bacnet.{number}")
        return {_key(each["point_id"]): (each["state"], each["why"]) for each in shown["items"]}

    async def live(self, number: int = SUBJECT) -> set[str]:
        """List those of a device's points that are told of each change instead of being polled."""
        return {key for key, point in (await self.points(number)).items() if point["delivery"] == "live"}

    async def duplicates(self) -> list[dict[str, Any]]:
        """List device numbers that two devices have."""
        shown: list[dict[str, Any]] = (await self._house.get("/api/v1/bacnet/duplicates"))["items"]
        return shown

    async def figure(self, name: str) -> float:
        """Return one of the plugin's figures."""
        lines = (await self._house.api.get("/metrics")).text.splitlines()
        (line,) = (line for line in lines if line.startswith(f"plantroom_bacnet_{name}{{"))
        return float(line.rpartition(" ")[2])

    # what is asked for

    async def read(self, key: str, *, number: int = SUBJECT) -> Answer:
        """Read a point from its device."""
        return await self._house.api.get(f"/api/v1/points/bacnet.{number}.{key}/value", max_age="0")

    async def write(self, key: str, value: Any, *, number: int = SUBJECT) -> Answer:
        """Write a point at priority 8."""
        path = f"/api/v1/points/bacnet.{number}.{key}/value"
        return await self._house.api.put(path, {"value": value, "priority": 8})

    async def property_of(self, object_id: str, name: str) -> Any:
        """Read any property of the subject."""
        path = f"/api/v1/bacnet/devices/{SUBJECT}/objects/{object_id}/properties/{name}"
        return (await self._house.get(path))["value"]

    async def forget_profile(self) -> None:
        """Have what was learned of the subject learned anew."""
        answer = await self._house.api.post(f"/api/v1/bacnet/devices/{SUBJECT}/profile/reset")
        assert answer.status == 200

    async def scan(self) -> dict[str, str]:
        """Scan, and return the warnings by their codes."""
        job = (await self._house.api.post("/api/v1/scans", {"plugin": "bacnet"})).json

        async def ended() -> Any:
            shown = await self._house.get(f"/api/v1/jobs/{job['id']}")
            return shown if shown["state"] not in ("queued", "running") else None

        found = await self.until(ended)
        assert found["state"] == "succeeded", found
        return {warning["code"]: warning["detail"] for warning in found["warnings"]}

    # what is waited for

    async def until(self, holds: Callable[[], Awaitable[Any]], *, seconds: float = SOON_S) -> Any:
        """Look until something is so; ``seconds`` are those of the house's clock."""
        if not isinstance(self._house.kernel.clock, ManualClock):
            async with asyncio.timeout(seconds):
                while not (held := await holds()):
                    await asyncio.sleep(LOOK_S)
                return held
        for _ in range(int(seconds / STEP_S)):
            if held := await holds():
                return held
            await self._house.clock.advance(STEP_S)
        raise TimeoutError(f"it did not become true within {seconds:g} s")

    async def advance(self, seconds: float) -> None:
        """Let time pass, where the clock is a manual one."""
        await self._house.clock.advance(seconds)

    async def until_amiss(self, wanted: Mapping[str, Amiss], *, number: int = SUBJECT, seconds: float = SOON_S) -> None:
        """Look until exactly these points are not good, for these reasons."""
        last: Mapping[str, Amiss] = {}

        async def holds() -> bool:
            nonlocal last
            last = await self.amiss(number)
            return last == wanted

        try:
            await self.until(holds, seconds=seconds)
        except TimeoutError:
            raise AssertionError(f"of {number} these are not good: {last}, not {wanted}") from None

    async def until_all_is_well(self, number: int = SUBJECT) -> None:
        """Look until a device is online, without an error, and all its points are good."""

        async def is_well() -> bool:
            device = await self.device(number)
            return (device["status"], device["last_error"]) == ("online", None) and not await self.amiss(number)

        await self.until(is_well)

    # what is really so

    def value(self, key: str, *, number: int = SUBJECT) -> Any:
        """Return what a device really has."""
        return self.object(key, number=number).value

    def object(self, key: str, *, number: int = SUBJECT) -> Any:
        """Return an object of a device as it really is."""
        kind, _, instance = key.rpartition(".")
        objects = self.simulation.devices[number].objects
        (found,) = (each for each in objects if each.type == kind and each.instance == int(instance))
        return found

    async def shows_what_is_there(self, number: int = SUBJECT) -> None:
        """See that each value shown, good or kept, is what the device really has."""
        shown = {key: point["reading"]["value"] for key, point in (await self.points(number)).items()}
        assert shown == {key: self.value(key, number=number) for key in shown}

    async def follows(self, key: str = "analog-input.2") -> None:
        """See that another value in the device is soon another value shown."""
        data = self.object(key)
        data.set(data.number + 1.5)

        async def is_shown() -> bool:
            return bool((await self.points())[key]["reading"]["value"] == data.value)

        await self.until(is_shown, seconds=SOON_S + 2 * self._interval)

    # what goes wrong meanwhile

    @asynccontextmanager
    async def suffers(self, kind: FaultKind, *, calmly: bool = False, **parameters: Any) -> AsyncIterator[None]:
        """Have the subject suffer a fault for so long, and be well soon after; see that no other device does.

        ``calmly``: the subject's points stay good and fresh as well.
        """
        async with self.all_stay_good(*(() if calmly else (SUBJECT,))):
            fault = self.simulation.inject(kind, devices=[SUBJECT], **parameters)
            yield
            self.simulation.remove(fault)
            await self.until_all_is_well()

    @asynccontextmanager
    async def all_stay_good(self, *but: int) -> AsyncIterator[None]:
        """See, all the while, that all points of all devices but these are good and fresh."""
        numbers = self.simulation.devices.keys() - set(but)
        looks = 0

        async def look() -> str:
            nonlocal looks
            while True:
                for number in numbers:
                    for point in (await self.points(number)).values():
                        age_s = self._now() - _time(point["reading"])
                        if _amiss(point["reading"]) is not None or not self._is_fresh(point, age_s):
                            return f"{point['id']} is {_amiss(point['reading'])}, {age_s:.3f} s old"
                looks += 1
                await asyncio.sleep(2 * LOOK_S)

        looking = asyncio.create_task(look())
        try:
            yield
            await self._house.until(lambda: looks or looking.done())
            assert not looking.done(), looking.result()
        finally:
            looking.cancel()
            await asyncio.wait([looking])

    def _is_fresh(self, point: Mapping[str, Any], age_s: float) -> bool:
        return point["delivery"] == "live" or abs(age_s) <= STALE_AFTER * self._interval

    def _now(self) -> float:
        return self._house.clock.utc()


def outcome(answer: Answer) -> tuple[int, str | None]:
    """Return an answer's status, and its code where it is an error."""
    return answer.status, answer.json.get("code")


def _key(point_id: str) -> str:
    return point_id.split(".", 2)[2]


def _amiss(reading: Mapping[str, Any] | None) -> Amiss | None:
    if reading is None:
        return "none", None
    return None if reading["quality"] == "good" else (reading["quality"], reading["reason"])


def _time(reading: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(reading["time"]).timestamp()
