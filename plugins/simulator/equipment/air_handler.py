"""An air handling unit: dampers, coils and fans that bring air of the wanted temperature and pressure."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from random import Random

from plugins.simulator.device import SimulatedDevice
from plugins.simulator.dynamics import Drift, Stopwatch, approach, clamp
from plugins.simulator.objects import Access, ObjectType, SimulatedObject
from plugins.simulator.site import Site

COOLING_REACH_K = 14.0
HEATING_REACH_K = 22.0
FAN_HEAT_K = 0.6
FULL_PRESSURE_PA = 700.0
DESIGN_PRESSURE_PA = 250.0


class AirHandler:
    """Mixes, heats or cools, and blows.

    ``opening`` tells how far the dampers of its boxes are open on average, 0 to 1.
    """

    def __init__(self, device: SimulatedDevice, random: Random) -> None:
        self.device = device
        self.opening: Callable[[], float] = lambda: 0.3
        self.supply_temperature = 15.0
        self._return_air = 22.0
        self._dust = random.uniform(20.0, 90.0)
        self._energy_kwh = float(random.randint(10_000, 90_000))
        self._fan_time = Stopwatch(random.randint(50_000, 900_000))
        self._noise = Drift(random, 1.0, lag_s=240)
        self._return_noise = Drift(random, 0.15, lag_s=900)
        self._air_noise = Drift(random, 15.0, lag_s=900)
        self._make_sensors()
        self._make_outputs()
        self._make_settings()
        self._make_states()

    def _make_sensors(self) -> None:
        device = self.device

        def temperature(name: str, value: float) -> SimulatedObject:
            return device.temperature(name, span=(-40.0, 90.0), value=value)

        self._supply = temperature("Supply Air Temperature", 15.0)
        self._return = temperature("Return Air Temperature", 22.0)
        self._mixed = temperature("Mixed Air Temperature", 18.0)
        self._outdoor = temperature("Outdoor Air Temperature", 12.0)
        self._coil = temperature("Heating Coil Leaving Temperature", 18.0)
        self._humidity = device.sensor(
            "Supply Air Humidity", "percent-relative-humidity", span=(0.0, 100.0), value=50.0
        )
        self._co2 = device.sensor(
            "Return Air CO2", "parts-per-million", span=(0.0, 5000.0), value=550.0, resolution=1.0
        )
        self._pressure = device.sensor("Duct Static Pressure", "pascals", span=(0.0, 1000.0), value=DESIGN_PRESSURE_PA)
        self._flow = device.sensor("Supply Air Flow", "cubic-meters-per-hour", span=(0.0, 30_000.0), value=6000.0)
        self._filter = device.sensor("Filter Differential Pressure", "pascals", span=(0.0, 500.0), value=80.0)
        self._supply_speed_read = device.sensor("Supply Fan Speed", "percent", span=(0.0, 100.0), value=45.0)
        self._return_speed_read = device.sensor("Return Fan Speed", "percent", span=(0.0, 100.0), value=40.0)
        self._current = device.sensor("Supply Fan Current", "amperes", span=(0.0, 50.0), value=6.0, resolution=0.01)
        self._power = device.sensor("Supply Fan Power", "kilowatts", span=(0.0, 30.0), value=3.0, resolution=0.01)

    def _make_outputs(self) -> None:
        device = self.device
        self._cooling_valve = device.actuator("Cooling Valve Command")
        self._heating_valve = device.actuator("Heating Valve Command")
        self._outdoor_damper = device.actuator("Outdoor Air Damper Command", 20.0)
        self._exhaust_damper = device.actuator("Exhaust Air Damper Command", 20.0)
        self._supply_speed = device.actuator("Supply Fan Speed Command", 45.0)
        self._return_speed = device.actuator("Return Fan Speed Command", 40.0)
        self._supply_fan = device.relay("Supply Fan", value=True)
        self._return_fan = device.relay("Return Fan", value=True)
        self._wheel = device.relay("Heat Recovery Wheel")
        self._wheel_stage = device.stage("Heat Recovery Stage", ("Off", "Low", "High"))

    def _make_settings(self) -> None:
        device = self.device
        self._temperature_setpoint = device.setpoint(
            "Supply Air Temperature Set-point", "degrees-celsius", span=(9.0, 30.0), value=15.0
        )
        self._pressure_setpoint = device.setpoint(
            "Duct Static Pressure Set-point", "pascals", span=(50.0, 500.0), value=DESIGN_PRESSURE_PA, resolution=1.0
        )
        self._minimum_outdoor = device.setpoint(
            "Minimum Outdoor Air Set-point", "percent", span=(0.0, 100.0), value=20.0
        )
        self._co2_setpoint = device.setpoint(
            "Return CO2 Set-point", "parts-per-million", span=(400.0, 2000.0), value=800.0, resolution=1.0
        )
        self._filter_limit = device.setpoint(
            "Filter Alarm Limit", "pascals", span=(50.0, 400.0), value=180.0, resolution=1.0, access=Access.WRITABLE
        )
        self._mode = device.mode("Unit Mode", ("Automatic", "Off"))
        device.text("Service Note", "Belts checked")
        device.add(
            ObjectType.TIME_VALUE,
            "Occupied From",
            description="Start of the time programme on working days",
            value=dt.time(6, 30),
            access=Access.WRITABLE,
        )

    def _make_states(self) -> None:
        device = self.device
        self._supply_status = device.contact("Supply Fan Status", ("Stopped", "Running"), value=True)
        self._return_status = device.contact("Return Fan Status", ("Stopped", "Running"), value=True)
        self._filter_alarm = device.contact("Filter Alarm", ("Normal", "Dirty"))
        self._frost_alarm = device.contact("Frost Alarm", ("Normal", "Frost"))
        device.contact("Smoke Detector", ("Normal", "Smoke"))
        self._occupied = device.flag("Occupied", ("Unoccupied", "Occupied"))
        self._economizer = device.flag("Economizer", ("Inactive", "Active"))
        self._state = device.status("Unit State", ("Off", "Heating", "Ventilating", "Cooling"), value=3)
        self._minutes = device.runtime("Supply Fan Run Time")
        self._energy = device.total("Supply Fan Energy", "kilowatt-hours")
        self._boxes = device.add(
            ObjectType.INTEGER_VALUE, "Damper Trend", description="Average damper opening in percent", value=30
        )

    @property
    def air_available(self) -> float:
        """How much air the ducts offer: 1 at design pressure."""
        return clamp(math.sqrt(self._pressure.number / DESIGN_PRESSURE_PA), 0.0, 1.3)

    def step(self, site: Site, dt: float) -> None:
        """Mix, heat or cool, and blow for ``dt`` seconds."""
        opening = self.opening()
        self._boxes.set(round(100.0 * opening))
        self._switch(site)
        self._blow(site, opening, dt)
        mixed = self._mix(site, dt)
        self._condition(site, mixed, dt)
        self._report(site, dt)

    def _switch(self, site: Site) -> None:
        on = self._mode.value == 1
        self._supply_fan.set(on)
        self._return_fan.set(on)
        self._occupied.set(site.working_hours)
        self._economizer.set(site.outdoor < self._return_air - 2.0)
        cold = site.outdoor < 6.0
        self._wheel.set(on and cold)
        self._wheel_stage.set((3 if site.outdoor < 0.0 else 2) if cold else 1)

    def _blow(self, site: Site, opening: float, dt: float) -> None:
        resistance = 0.3 + 0.7 * opening
        needed = math.sqrt(self._pressure_setpoint.number * resistance / FULL_PRESSURE_PA)
        self._supply_speed.set(clamp(100.0 * needed))
        self._return_speed.set(clamp(92.0 * needed))
        self._supply_status.set(self._supply_fan.is_on)
        self._return_status.set(self._return_fan.is_on)
        speed = self._supply_speed.number if self._supply_fan.is_on else 0.0
        extract = self._return_speed.number if self._return_fan.is_on else 0.0
        noise = self._noise.step(dt)
        self._supply_speed_read.set(approach(self._supply_speed_read.number, speed, dt=dt, lag_s=15.0))
        self._return_speed_read.set(approach(self._return_speed_read.number, extract, dt=dt, lag_s=15.0))
        reached = FULL_PRESSURE_PA * (self._supply_speed_read.number / 100.0) ** 2 / resistance
        self._pressure.set(max(0.0, reached + (noise if reached > 1.0 else 0.0)))
        power = 18.0 * (self._supply_speed_read.number / 100.0) ** 3 * (1.0 + 0.005 * noise)
        site.fans_kw += power
        self._energy_kwh += power * dt / 3600.0
        self._power.set(power)
        self._current.set(power * 1.9)
        self._flow.set(14_000.0 * opening * self.air_available)

    def _mix(self, site: Site, dt: float) -> float:
        stale = (self._co2.number - self._co2_setpoint.number) / 4.0
        recovered = 0.6 if self._wheel.is_on else 0.0
        outdoor = site.outdoor + recovered * max(0.0, self._return_air - site.outdoor)
        free_cooling = 0.0
        if self._economizer.is_on and outdoor < self._return_air - 1.0:
            wanted = self._temperature_setpoint.number - FAN_HEAT_K
            free_cooling = 100.0 * (self._return_air - wanted) / (self._return_air - outdoor)
        minimum = self._minimum_outdoor.number if self._occupied.is_on else 0.5 * self._minimum_outdoor.number
        self._outdoor_damper.set(clamp(max(minimum, stale, free_cooling)))
        self._exhaust_damper.set(self._outdoor_damper.number)
        fresh = self._outdoor_damper.number / 100.0
        mixed = fresh * outdoor + (1.0 - fresh) * self._return_air
        self._mixed.set(approach(self._mixed.number, mixed, dt=dt, lag_s=60.0))
        return mixed

    def _condition(self, site: Site, mixed: float, dt: float) -> None:
        lack = self._temperature_setpoint.number - FAN_HEAT_K - mixed
        self._heating_valve.set(clamp(100.0 * lack / (HEATING_REACH_K * max(site.heat_quality, 0.2))))
        self._cooling_valve.set(clamp(-100.0 * lack / (COOLING_REACH_K * max(site.cold_quality, 0.2))))
        heat = self._heating_valve.number / 100.0 * site.heat_quality
        cold = self._cooling_valve.number / 100.0 * site.cold_quality
        target = mixed + HEATING_REACH_K * heat - COOLING_REACH_K * cold + FAN_HEAT_K
        self.supply_temperature = approach(self.supply_temperature, target, dt=dt, lag_s=120.0)
        self._coil.set(mixed + HEATING_REACH_K * heat)
        flow = self._flow.number / 6000.0
        site.heating_demand += heat * flow
        site.cooling_demand += cold * flow
        self._state.set(1 if not self._supply_fan.is_on else 2 if heat > 0.02 else 4 if cold > 0.02 else 3)

    def _report(self, site: Site, dt: float) -> None:
        noise = self._noise.value
        self._return_air = 21.8 + self._return_noise.step(dt) + 0.8 * site.occupancy
        self._supply.set(self.supply_temperature + 0.05 * noise)
        self._return.set(self._return_air)
        self._outdoor.set(site.outdoor + 0.1 * noise)
        self._humidity.set(clamp(48.0 + 0.5 * noise + 0.2 * (site.humidity - 60.0)))
        self._co2.set(480.0 + 280.0 * site.occupancy + self._air_noise.step(dt))
        self._dust += dt / 86_400.0
        self._filter.set(self._dust * self.air_available + 0.3 * noise)
        self._filter_alarm.set(self._filter.number > self._filter_limit.number)
        self._frost_alarm.set(self._coil.number < 4.0)
        self._minutes.set(self._fan_time.step(dt, running=self._supply_status.is_on))
        self._energy.set(self._energy_kwh)
