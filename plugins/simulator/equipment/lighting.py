"""A lighting controller of one floor: six zones that follow presence and daylight."""

from __future__ import annotations

import datetime as dt
from random import Random

from plugins.simulator.device import SimulatedDevice
from plugins.simulator.dynamics import Drift, Presence, approach
from plugins.simulator.objects import Access, ObjectType
from plugins.simulator.site import Site

ZONE_KW = 1.2
SCENES = ("Automatic", "Off", "Presentation", "Full")


class Zone:
    """One zone: level, relay, motion, brightness, and the scene an operator chose."""

    def __init__(self, device: SimulatedDevice, name: str, random: Random) -> None:
        self._presence = Presence(random, lag_s=1200.0)
        self._noise = Drift(random, 6.0, lag_s=300)
        self._window = random.uniform(0.2, 1.0)
        self._level = device.actuator(f"{name} Light Level")
        self._relay = device.relay(f"{name} Light Relay")
        self._motion = device.contact(f"{name} Motion", ("Vacant", "Occupied"))
        self._brightness = device.sensor(f"{name} Brightness", "luxes", span=(0.0, 10_000.0), value=10.0)
        self._setpoint = device.setpoint(
            f"{name} Brightness Set-point", "luxes", span=(0.0, 1000.0), value=500.0, resolution=1.0
        )
        self._scene = device.mode(f"{name} Scene", SCENES)

    @property
    def is_lit(self) -> bool:
        """Whether the light is on."""
        return self._relay.is_on

    def step(self, site: Site, dt: float, *, night: bool) -> float:
        """Follow presence and daylight for ``dt`` seconds; return the power taken in kW."""
        present = self._presence.step(dt, share=0.05 + 0.8 * site.occupancy)
        self._motion.set(present)
        daylight = site.sun * self._window
        wanted = (self._setpoint.number - daylight) / 7.0
        scene = self._scene.value
        fixed = {2: 0.0, 3: 25.0, 4: 100.0}
        level = fixed[scene] if isinstance(scene, int) and scene in fixed else wanted if present else 0.0
        self._level.set(min(max(level, 0.0), 30.0 if night else 100.0))
        self._relay.set(self._level.number > 0.5)
        lit = self._level.number if self._relay.is_on else 0.0
        bright = 7.0 * lit + daylight + 10.0
        seen = approach(self._brightness.number, bright, dt=dt, lag_s=20.0)
        self._brightness.set(max(0.0, seen + self._noise.step(dt)))
        return ZONE_KW * lit / 100.0


class LightingController:
    """The zones of a floor, and what they have in common."""

    def __init__(self, device: SimulatedDevice, random: Random) -> None:
        self.device = device
        self._zones = [Zone(device, f"Zone {number}", random) for number in range(1, 7)]
        self._energy_kwh = float(random.randint(3_000, 40_000))
        self._night = device.flag("Night Mode", ("Day", "Night"))
        self._power = device.sensor("Lighting Power", "kilowatts", span=(0.0, 20.0), value=0.0, resolution=0.01)
        self._energy = device.total("Lighting Energy", "kilowatt-hours")
        self._lit = device.add(
            ObjectType.BIT_STRING_VALUE, "Zones Lit", description="One bit for each zone", value=(False,) * 6
        )
        self._count = device.add(
            ObjectType.POSITIVE_INTEGER_VALUE, "Zones Lit Count", description="How many zones are lit", value=0
        )
        for name, time in (("Night Mode From", dt.time(22, 0)), ("Night Mode Until", dt.time(5, 30))):
            device.add(ObjectType.TIME_VALUE, name, description="Time programme", value=time, access=Access.WRITABLE)

    def step(self, site: Site, dt: float) -> None:
        """Follow presence and daylight for ``dt`` seconds."""
        self._night.set(not 5.5 <= site.hour < 22.0)
        power = sum(zone.step(site, dt, night=self._night.is_on) for zone in self._zones)
        lit = tuple(zone.is_lit for zone in self._zones)
        self._energy_kwh += power * dt / 3600.0
        site.lighting_kw += power
        self._power.set(power)
        self._energy.set(self._energy_kwh)
        self._lit.set(lit)
        self._count.set(sum(lit))
