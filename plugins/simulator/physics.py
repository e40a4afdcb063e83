"""Lets time pass in a building: weather, plant, air, rooms, light, meters, in that order."""

from __future__ import annotations

import datetime as dt
import math

from plugins.simulator.building import Building
from plugins.simulator.equipment import Equipment
from plugins.simulator.equipment.boiler import HotWaterPlant
from plugins.simulator.site import Site

LONGEST_STEP_S = 60.0
WARM_UP_S = 2 * 3600.0
FIRST_MONDAY = dt.datetime(2026, 3, 2, 8, 0, tzinfo=dt.UTC)


class Physics:
    """Moves a building's objects; its clock starts on a Monday at 08:00, in a week that the seed chooses.

    The two hours before are run through at once, so that a building starts warm and working.
    """

    def __init__(self, building: Building) -> None:
        self.site = Site(FIRST_MONDAY + dt.timedelta(weeks=building.seed % 8, seconds=-WARM_UP_S))
        self._hot_water = HotWaterPlant(building.boilers)
        self._building = building
        self._consumers: tuple[Equipment, ...] = (
            *building.air_handlers,
            *building.vav_boxes,
            *building.lighting,
            *building.meters,
        )
        self.step(WARM_UP_S)

    def step(self, seconds: float) -> None:
        """Let ``seconds`` of the building's clock pass, in steps that are short enough for the controllers."""
        count = max(1, math.ceil(seconds / LONGEST_STEP_S))
        for _ in range(count):
            self._step(seconds / count)

    def _step(self, dt_s: float) -> None:
        site = self.site
        site.time += dt.timedelta(seconds=dt_s)
        site.fans_kw = site.lighting_kw = site.cooling_kw = site.heat_kw = 0.0
        self._building.weather.step(site, dt_s)
        self._hot_water.step(site, dt_s)
        for chiller in self._building.chillers:
            chiller.step(site, dt_s)
        self._building.chilled_water.step(site, dt_s)
        site.heating_demand = site.cooling_demand = 0.0
        site.people = 0
        for equipment in self._consumers:
            equipment.step(site, dt_s)
