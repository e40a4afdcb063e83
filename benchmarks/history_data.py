"""Samples as the simulator's buildings make them: its physics, its sensors, and now and then an operator or a fault.

A building has 707 points, most of them with a value that moves, on a time programme, with noise and in steps of its
sensor's resolution, as a client reads them. Minute after minute is worked out, for as many buildings as it takes.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import multiprocessing
import os
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random

import attrs

from benchmarks.history_rows import BOOLEAN, ENUM, NUMBER, POINTS_A_READ, TEXT, House
from plugins.simulator.building import make_building
from plugins.simulator.objects import Access, ObjectType, SimulatedObject
from plugins.simulator.physics import Physics

MINUTE_MS = 60_000
TEXTS_A_BUILDING = 512
OPERATOR_EVERY_MINUTES = 30
SILENT_EVERY_MINUTES = 1440
SILENT_MINUTES = 15
DAY = 1440


@attrs.frozen
class Plan:
    """A house to be made: so many points, so many minutes, and every how many points of a building is in it.

    Only ``simulated`` minutes are worked out, and repeated.
    """

    folder: Path
    points: int
    minutes: int
    every: int = 1
    simulated: int = 0

    @property
    def worked_out(self) -> int:
        return self.simulated or self.minutes


@attrs.frozen
class _Part:
    """The points of one building in a house: the number of the first, and how many there are."""

    plan: Plan
    building: int
    first: int
    count: int


def make_houses(*plans: Plan) -> list[House]:
    """Write the files of houses, whose last minute has just passed; the same plans give the same values."""
    end_ms = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=context) as pool:
        made = {plan.folder: [(part, pool.submit(_simulate, part)) for part in _begin(plan)] for plan in plans}
        houses = []
        for plan in plans:
            kinds, texts = b"", []
            for _part, done in made[plan.folder]:
                own_kinds, own_texts = done.result()
                kinds += own_kinds
                texts += own_texts + [""] * (TEXTS_A_BUILDING - len(own_texts))
            houses.append(_finish(plan, kinds, texts, end_ms - plan.minutes * MINUTE_MS))
    return houses


def _begin(plan: Plan) -> Iterator[_Part]:
    """Make room for the values, and share the points out among buildings."""
    plan.folder.mkdir(parents=True)
    with (plan.folder / "values").open("wb") as file:
        file.truncate(8 * plan.points * plan.minutes)
    size = len(range(0, make_building(0).point_count, plan.every))
    for building, first in enumerate(range(0, plan.points, size)):
        yield _Part(plan, building, first, min(size, plan.points - first))


def _finish(plan: Plan, kinds: bytes, texts: list[str], start_ms: int) -> House:
    """Write down the rest: when each was read, some milliseconds earlier or later each minute."""
    random = Random("times")
    firsts = range(0, plan.points, POINTS_A_READ)
    phases = [random.randrange(MINUTE_MS - 500) for _ in firsts]
    times = array("q")
    for minute in range(plan.minutes):
        begin = start_ms + minute * MINUTE_MS
        times.extend(begin + phase + min(int(random.expovariate(0.2)), 400) for phase in phases)
    (plan.folder / "times").write_bytes(times.tobytes())
    (plan.folder / "kinds").write_bytes(kinds)
    (plan.folder / "texts").write_text("\n".join(texts) + "\n", encoding="utf-8")
    about = {"points": plan.points, "minutes": plan.minutes, "start_ms": start_ms}
    (plan.folder / "house.json").write_text(json.dumps(about))
    return House(plan.folder)


def _simulate(part: _Part) -> tuple[bytes, list[str]]:
    """Write the values of one building into its columns; answer the kinds of its points, and the texts they had."""
    plan = part.plan
    minutes = minutes_of(part.building)
    texts: dict[str, int] = {}
    kinds = b""
    file = os.open(plan.folder / "values", os.O_WRONLY)
    try:
        for minute in range(plan.worked_out):
            objects, silent = next(minutes)
            wanted = list(zip(objects, silent, strict=True))[:: plan.every][: part.count]
            kinds = kinds or bytes(kind_of(data) for data, _silent in wanted)
            row = array(
                "d", [math.nan if away else _number(data, texts, part.building) for data, away in wanted]
            ).tobytes()
            for again in range(minute, plan.minutes, plan.worked_out):
                os.pwrite(file, row, 8 * (again * plan.points + part.first))
    finally:
        os.close(file)
    return kinds, list(texts)


def minutes_of(seed: int) -> Iterator[tuple[list[SimulatedObject], list[bool]]]:
    """Let a building live on from minute to minute: its objects, and for each whether its device is silent.

    Every half an hour or so an operator sets something; each device is silent for a quarter of an hour every day or so.
    """
    building = make_building(seed)
    physics = Physics(building)
    random = Random(f"{seed}/history")
    objects = [data for device in building.devices for data in device.objects]
    owners = [number for number, device in enumerate(building.devices) for _data in device.objects]
    settings = [data for data in objects if data.type is ObjectType.ANALOG_VALUE and data.access is Access.COMMANDABLE]
    silent_until = [0] * len(building.devices)
    minute = 0
    while True:
        physics.step(60.0)
        if random.random() < 1 / OPERATOR_EVERY_MINUTES:
            _operate(random.choice(settings), random)
        if random.random() < len(building.devices) / SILENT_EVERY_MINUTES:
            silent_until[random.randrange(len(building.devices))] = minute + SILENT_MINUTES
        yield objects, [minute < silent_until[owner] for owner in owners]
        minute += 1


def _operate(setting: SimulatedObject, random: Random) -> None:
    """Move a set-point by a few of its steps, as an operator does."""
    step = 5.0 * (setting.resolution or 0.1)
    low = -math.inf if setting.minimum is None else setting.minimum
    high = math.inf if setting.maximum is None else setting.maximum
    moved = round(setting.number + random.choice((-2, -1, 1, 2)) * step, 6)
    setting.write(min(max(moved, low), high), 16)


def kind_of(data: SimulatedObject) -> int:
    """Tell which kind of point an object is."""
    if data.type.is_binary:
        return BOOLEAN
    if data.type.is_multi_state:
        return ENUM
    return NUMBER if isinstance(data.value, float | int) else TEXT


def text_of(data: SimulatedObject) -> str:
    """Write a value that is no number as a text: a date, a time, a row of bits."""
    value = data.value
    if isinstance(value, tuple):
        return "".join("01"[bit] for bit in value)
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def _number(data: SimulatedObject, texts: dict[str, int], building: int) -> float:
    """Return a value as it stands in the file: texts by their number."""
    value = data.value
    if isinstance(value, float | int):
        return float(value)
    number = texts.setdefault(text_of(data), len(texts))
    if number >= TEXTS_A_BUILDING:
        raise ValueError(f"a building has more than {TEXTS_A_BUILDING} different texts: raise TEXTS_A_BUILDING")
    return float(building * TEXTS_A_BUILDING + number)
