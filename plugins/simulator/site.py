"""What the equipment of one building shares: the time, the weather, who is in, and the supplies of heat and cold."""

from __future__ import annotations

import datetime as dt

import attrs


@attrs.define
class Site:
    """The common surroundings at one moment.

    Temperatures are in °C, powers in kW, ``sun`` in W/m², demands in 0 to 1. Each step the producers read the demands
    of the step before, and the consumers add up the new ones.
    """

    time: dt.datetime
    outdoor: float = 12.0
    humidity: float = 60.0
    sun: float = 0.0
    hot_water: float = 65.0
    chilled_water: float = 7.0
    heating_demand: float = 0.0
    cooling_demand: float = 0.0
    lighting_kw: float = 0.0
    fans_kw: float = 0.0
    cooling_kw: float = 0.0
    heat_kw: float = 0.0
    people: int = 0

    @property
    def hour(self) -> float:
        """The time of day in hours, 0 to 24."""
        return self.time.hour + self.time.minute / 60 + self.time.second / 3600

    @property
    def occupancy(self) -> float:
        """The expected share of people who are in, 0 to 1: working days from 7 to 19, a guard at other times."""
        if self.time.weekday() >= 5:
            return 0.05
        arrival = (self.hour - 7.0) / 2.0
        departure = (19.0 - self.hour) / 2.0
        return max(0.05, min(1.0, arrival, departure))

    @property
    def working_hours(self) -> bool:
        """Whether the time programme says occupied."""
        return self.time.weekday() < 5 and 6.5 <= self.hour < 19.0

    @property
    def heat_quality(self) -> float:
        """How well the hot water heats: 1 at 65 °C, 0 when cold."""
        return min(max((self.hot_water - 25.0) / 40.0, 0.0), 1.25)

    @property
    def cold_quality(self) -> float:
        """How well the chilled water cools: 1 at 7 °C, 0 when warm."""
        return min(max((18.0 - self.chilled_water) / 11.0, 0.0), 1.25)
