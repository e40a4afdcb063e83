"""The weather, and the station on the roof that measures it."""

from __future__ import annotations

import math
from random import Random

from plugins.simulator.device import SimulatedDevice
from plugins.simulator.dynamics import Drift, clamp
from plugins.simulator.objects import Access, ObjectType
from plugins.simulator.site import Site

SKY = ("Clear", "Cloudy", "Overcast", "Rain")


class WeatherStation:
    """A mild season: a sine over the day, clouds and wind that wander."""

    def __init__(self, device: SimulatedDevice, random: Random) -> None:
        self.device = device
        self._mean = random.uniform(10.0, 14.0)
        self._front = Drift(random, 1.5, lag_s=6 * 3600)
        self._breeze = Drift(random, 1.4, lag_s=900)
        self._turn = Drift(random, 40.0, lag_s=3600)
        self._clouds = Drift(random, 0.35, lag_s=5400)
        self._tide = Drift(random, 6.0, lag_s=12 * 3600)
        self._gust = Drift(random, 0.15, lag_s=120)
        self._fallen_mm = 0.0
        self._make_objects(random)

    def _make_objects(self, random: Random) -> None:
        device = self.device
        self._temperature = device.temperature("Outdoor Air Temperature", span=(-40.0, 60.0), value=12.0)
        self._humidity = device.sensor("Outdoor Humidity", "percent-relative-humidity", span=(0.0, 100.0), value=60.0)
        self._dew_point = device.temperature("Dew Point", span=(-40.0, 40.0), value=5.0)
        self._wind = device.sensor("Wind Speed", "meters-per-second", span=(0.0, 60.0), value=3.0)
        self._direction = device.sensor(
            "Wind Direction", "degrees-angular", span=(0.0, 360.0), value=200.0, resolution=1.0
        )
        self._pressure = device.sensor("Air Pressure", "hectopascals", span=(800.0, 1100.0), value=1013.0)
        self._sun = device.sensor("Solar Radiation", "watts-per-square-meter", span=(0.0, 1400.0), value=0.0)
        self._rain_rate = device.sensor(
            "Rain Rate", "millimeters-per-minute", span=(0.0, 10.0), value=0.0, resolution=0.01
        )
        self._rain = device.contact("Rain Detector", ("Dry", "Rain"))
        self._daylight = device.contact("Daylight", ("Night", "Day"))
        self._sky = device.status("Sky", SKY)
        self._tips = device.pulses("Rain Gauge Tips", "no-units")
        device.setpoint("Frost Alarm Limit", "degrees-celsius", span=(-10.0, 12.0), value=3.0, access=Access.WRITABLE)
        device.text("Station", f"Roof mast {random.randint(1, 9)}")
        self._sensors = device.add(
            ObjectType.BIT_STRING_VALUE,
            "Sensor States",
            description="Temperature, humidity, wind, rain: working or not",
            value=(True, True, True, True),
        )

    def step(self, site: Site, dt: float) -> None:
        """Let the weather go on, and set what the site knows of it."""
        day = math.sin((site.hour - 9.0) / 24.0 * math.tau)
        cover = clamp(0.4 + self._clouds.step(dt), 0.0, 1.0)
        site.outdoor = self._mean + 6.0 * day + self._front.step(dt) + self._gust.step(dt)
        site.sun = max(0.0, 850.0 * math.sin((site.hour - 6.0) / 12.0 * math.pi)) * (1.0 - 0.75 * cover)
        site.humidity = clamp(65.0 - 18.0 * day + 15.0 * (cover - 0.4) + 4.0 * self._gust.value, 5.0, 100.0)
        rain = max(0.0, cover - 0.8) * 0.4
        self._fallen_mm += rain * dt / 60.0
        self._temperature.set(site.outdoor)
        self._humidity.set(site.humidity)
        self._dew_point.set(site.outdoor - (100.0 - site.humidity) / 5.0)
        self._wind.set(max(0.0, 3.0 + self._breeze.step(dt)))
        self._direction.set((200.0 + self._turn.step(dt)) % 360.0)
        self._pressure.set(1013.0 + self._tide.step(dt) + 0.3 * self._gust.value)
        self._sun.set(site.sun)
        self._rain_rate.set(rain)
        self._rain.set(rain > 0.0)
        self._daylight.set(site.sun > 5.0)
        self._sky.set(4 if rain > 0.0 else 1 + (cover > 0.3) + (cover > 0.7))
        self._tips.set(int(self._fallen_mm / 0.2))
