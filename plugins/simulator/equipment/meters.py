"""The meters of the building: electricity, water and heat; what they count only ever grows."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from random import Random

from plugins.simulator.device import SimulatedDevice
from plugins.simulator.dynamics import Drift, clamp
from plugins.simulator.objects import Access, ObjectType
from plugins.simulator.site import Site

TARIFFS = ("Night", "Day", "Peak")


def _nameplate(device: SimulatedDevice, random: Random) -> None:
    device.text("Serial Number", f"{random.randint(10**7, 10**8 - 1)}")
    device.add(
        ObjectType.DATE_VALUE,
        "Calibrated On",
        description="Date of the last calibration",
        value=dt.date(2021 + random.randint(0, 3), random.randint(1, 12), random.randint(1, 28)),
        access=Access.WRITABLE,
    )


class ElectricityMeter:
    """A three-phase meter; ``load`` tells from the site how many kW flow through it."""

    def __init__(self, device: SimulatedDevice, random: Random, load: Callable[[Site], float]) -> None:
        self.device = device
        self._load = load
        self._kwh = float(random.randint(100_000, 900_000))
        self._peak = 0.0
        self._shares = [random.uniform(0.9, 1.1) for _ in range(3)]
        self._noise = Drift(random, 0.02, lag_s=120)
        self._voltage_noise = [Drift(random, 1.2, lag_s=300) for _ in range(3)]
        self._frequency_noise = Drift(random, 0.02, lag_s=60)
        self._voltages = [device.sensor(f"Voltage L{n}", "volts", span=(0.0, 300.0), value=230.0) for n in (1, 2, 3)]
        self._currents = [device.sensor(f"Current L{n}", "amperes", span=(0.0, 2000.0), value=50.0) for n in (1, 2, 3)]
        self._power = device.sensor("Active Power", "kilowatts", span=(0.0, 1000.0), value=50.0, resolution=0.01)
        self._reactive = device.sensor("Reactive Power", "kilovolt-amperes-reactive", span=(0.0, 1000.0), value=10.0)
        self._apparent = device.sensor("Apparent Power", "kilovolt-amperes", span=(0.0, 1000.0), value=51.0)
        self._factor = device.sensor("Power Factor", "power-factor", span=(0.0, 1.0), value=0.97, resolution=0.001)
        self._frequency = device.sensor("Frequency", "hertz", span=(40.0, 70.0), value=50.0, resolution=0.001)
        self._energy_pulses = device.pulses("Energy Import Pulses", "watt-hours")
        self._energy = device.total("Energy Import", "kilowatt-hours")
        self._peak_kw = device.add(
            ObjectType.POSITIVE_INTEGER_VALUE, "Peak Demand", description="Highest power yet", value=0, units="watts"
        )
        self._limit = device.setpoint(
            "Demand Alarm Limit", "kilowatts", span=(10.0, 1000.0), value=220.0, access=Access.WRITABLE
        )
        self._over = device.contact("Demand Alarm", ("Normal", "Exceeded"))
        self._tariff = device.status("Tariff", TARIFFS)
        _nameplate(device, random)

    def step(self, site: Site, dt: float) -> None:
        """Count what flows in ``dt`` seconds."""
        power = max(0.0, self._load(site) * (1.0 + self._noise.step(dt)))
        factor = clamp(0.955 + self._noise.value, 0.0, 1.0)
        apparent = power / factor
        self._kwh += power * dt / 3600.0
        self._peak = max(self._peak, power)
        for share, noise, voltage, current in zip(
            self._shares, self._voltage_noise, self._voltages, self._currents, strict=True
        ):
            voltage.set(230.0 + noise.step(dt))
            current.set(share * apparent * 1000.0 / 3.0 / voltage.number)
        self._power.set(power)
        self._apparent.set(apparent)
        self._reactive.set(math.sqrt(max(0.0, apparent * apparent - power * power)))
        self._factor.set(factor)
        self._frequency.set(50.0 + self._frequency_noise.step(dt))
        self._energy_pulses.set(int(self._kwh * 1000.0))
        self._energy.set(self._kwh)
        self._peak_kw.set(int(self._peak * 1000.0))
        self._over.set(power > self._limit.number)
        self._tariff.set(1 if not 6.0 <= site.hour < 22.0 else 3 if 11.0 <= site.hour < 13.0 else 2)


class WaterMeter:
    """The building's cold water."""

    def __init__(self, device: SimulatedDevice, random: Random) -> None:
        self.device = device
        self._litres = float(random.randint(1_000_000, 9_000_000))
        self._noise = Drift(random, 0.05, lag_s=300)
        self._pressure_noise = Drift(random, 4.0, lag_s=600)
        self._flow = device.sensor("Flow", "liters-per-minute", span=(0.0, 500.0), value=5.0, resolution=0.01)
        self._pressure = device.sensor("Pressure", "kilopascals", span=(0.0, 1000.0), value=420.0)
        self._temperature = device.temperature("Temperature", span=(0.0, 60.0), value=11.0)
        self._pulses = device.pulses("Volume Pulses", "liters")
        self._volume = device.total("Volume", "cubic-meters")
        self._leak = device.contact("Leak Alarm", ("Normal", "Leak"))
        self._limit = device.setpoint(
            "Leak Alarm Limit", "liters-per-minute", span=(10.0, 500.0), value=200.0, access=Access.WRITABLE
        )
        _nameplate(device, random)

    def step(self, site: Site, dt: float) -> None:
        """Count what flows in ``dt`` seconds."""
        noise = self._noise.step(dt)
        flow = max(0.5, 1.5 + 0.25 * site.people + 5.0 * noise)
        self._litres += flow * dt / 60.0
        self._flow.set(flow)
        self._pressure.set(420.0 - 0.5 * flow + self._pressure_noise.step(dt))
        self._temperature.set(11.0 + 2.0 * noise)
        self._pulses.set(int(self._litres))
        self._volume.set(self._litres / 1000.0)
        self._leak.set(flow > self._limit.number)


class HeatMeter:
    """The heat that the boilers send into the building."""

    def __init__(self, device: SimulatedDevice, random: Random) -> None:
        self.device = device
        self._kwh = float(random.randint(100_000, 2_000_000))
        self._m3 = float(random.randint(10_000, 200_000))
        self._noise = Drift(random, 0.1, lag_s=200)
        self._supply = device.temperature("Supply Temperature", span=(0.0, 130.0), value=65.0)
        self._return = device.temperature("Return Temperature", span=(0.0, 130.0), value=50.0)
        self._spread = device.sensor(
            "Temperature Difference", "delta-degrees-kelvin", span=(0.0, 60.0), value=15.0, resolution=0.01
        )
        self._flow = device.sensor("Flow", "cubic-meters-per-hour", span=(0.0, 60.0), value=4.0, resolution=0.01)
        self._power = device.sensor("Heat Power", "kilowatts", span=(0.0, 600.0), value=70.0, resolution=0.01)
        self._pulses = device.pulses("Energy Pulses", "kilowatt-hours")
        self._energy = device.total("Energy", "kilowatt-hours")
        self._volume = device.total("Volume", "cubic-meters")
        device.contact("Fault", ("Normal", "Fault"))
        _nameplate(device, random)

    def step(self, site: Site, dt: float) -> None:
        """Count what flows in ``dt`` seconds."""
        noise = self._noise.step(dt)
        power = max(0.0, site.heat_kw * (1.0 + 0.1 * noise))
        spread = 15.0 + noise
        flow = power / (1.163 * spread)
        self._kwh += power * dt / 3600.0
        self._m3 += flow * dt / 3600.0
        self._supply.set(site.hot_water + noise)
        self._return.set(site.hot_water + noise - spread)
        self._spread.set(spread)
        self._flow.set(flow)
        self._power.set(power)
        self._pulses.set(int(self._kwh))
        self._energy.set(self._kwh)
        self._volume.set(self._m3)
