"""A boiler: keeps the hot water at its set-point."""

from __future__ import annotations

from random import Random

from plugins.simulator.device import SimulatedDevice
from plugins.simulator.dynamics import Drift, approach, clamp
from plugins.simulator.site import Site

FULL_HEAT_KW = 240.0
RESTING_WATER_C = 30.0


class Boiler:
    """Fires while the heating demand, counted in consumers at full load, reaches ``threshold``."""

    def __init__(self, device: SimulatedDevice, random: Random, *, threshold: float) -> None:
        self.device = device
        self.water = 65.0
        self._threshold = threshold
        self._gas_m3 = float(random.randint(5_000, 80_000))
        self._starts = random.randint(1_000, 20_000)
        self._was_firing = False
        self._noise = Drift(random, 0.15, lag_s=200)
        self._supply = device.temperature("Supply Water Temperature", span=(0.0, 110.0), value=65.0)
        self._return = device.temperature("Return Water Temperature", span=(0.0, 110.0), value=55.0)
        self._flue = device.temperature("Flue Gas Temperature", span=(0.0, 400.0), value=90.0)
        self._rate_read = device.sensor("Firing Rate", "percent", span=(0.0, 100.0), value=0.0)
        self._pressure = device.sensor("Water Pressure", "kilopascals", span=(0.0, 600.0), value=180.0)
        self._gas_flow = device.sensor(
            "Gas Flow", "cubic-meters-per-hour", span=(0.0, 60.0), value=0.0, resolution=0.01
        )
        self._rate = device.actuator("Firing Rate Command")
        self._setpoint = device.setpoint("Hot Water Set-point", "degrees-celsius", span=(40.0, 85.0), value=65.0)
        self._flame = device.contact("Flame", ("Out", "Burning"))
        device.contact("Common Alarm", ("Normal", "Alarm"))
        self._enable = device.relay("Enable", ("Disabled", "Enabled"))
        self._state = device.status("State", ("Off", "Standby", "Low Fire", "High Fire"), value=2)
        self._mode = device.mode("Control Mode", ("Automatic", "Off"))
        self._start_count = device.pulses("Burner Starts", "no-units")
        self._gas = device.total("Gas Volume", "cubic-meters")

    @property
    def is_enabled(self) -> bool:
        """Whether its controller, or an operator, lets it fire."""
        return self._enable.is_on

    def step(self, site: Site, dt: float) -> None:
        """Fire for ``dt`` seconds if enabled."""
        threshold = self._threshold * (0.5 if self._enable.is_on else 1.0)
        self._enable.set(self._mode.value == 1 and site.heating_demand >= threshold)
        lack = self._setpoint.number - self.water
        self._rate.set(clamp(10.0 + 8.0 * site.heating_demand + 5.0 * lack) if self._enable.is_on else 0.0)
        firing = self._enable.is_on and self._rate.number > 0.0
        self._starts += firing and not self._was_firing
        self._was_firing = firing
        rate = self._rate.number if firing else 0.0
        noise = self._noise.step(dt)
        hot = self._setpoint.number if firing else RESTING_WATER_C
        self.water = approach(self.water, hot, dt=dt, lag_s=400.0 if firing else 10_800.0)
        flow = 24.0 * rate / 100.0 * (1.0 + 0.1 * noise)
        self._gas_m3 += flow * dt / 3600.0
        site.heat_kw += FULL_HEAT_KW * rate / 100.0
        self._supply.set(self.water + noise)
        self._return.set(self.water - 3.0 - 0.1 * rate + noise)
        self._flue.set(approach(self._flue.number, 40.0 + 1.2 * rate, dt=dt, lag_s=300.0) + noise)
        self._rate_read.set(clamp(rate + (noise if firing else 0.0)))
        self._pressure.set(180.0 + 0.2 * (self.water - 60.0) + noise)
        self._gas_flow.set(flow)
        self._flame.set(firing)
        self._state.set(4 if rate > 60.0 else 3 if firing else 2 if self._mode.value == 1 else 1)
        self._start_count.set(self._starts)
        self._gas.set(self._gas_m3)


class HotWaterPlant:
    """The boilers together: the building's hot water is that of those that may fire."""

    def __init__(self, boilers: tuple[Boiler, ...]) -> None:
        self._boilers = boilers

    def step(self, site: Site, dt: float) -> None:
        """Let all boilers run for ``dt`` seconds, and mix their water."""
        for boiler in self._boilers:
            boiler.step(site, dt)
        sources = [boiler.water for boiler in self._boilers if boiler.is_enabled] or [RESTING_WATER_C]
        lag_s = 300.0 if sources[0] != RESTING_WATER_C else 7200.0
        site.hot_water = approach(site.hot_water, sum(sources) / len(sources), dt=dt, lag_s=lag_s)
