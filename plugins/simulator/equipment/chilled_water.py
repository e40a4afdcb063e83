"""The chilled water plant: the pumps and the cooling tower that the chillers share, and the water they send out."""

from __future__ import annotations

from random import Random

from plugins.simulator.device import SimulatedDevice
from plugins.simulator.dynamics import Drift, Stopwatch, approach, clamp
from plugins.simulator.equipment.chiller import Chiller
from plugins.simulator.site import Site


class Pump:
    """One of the plant's pumps, with its speed drive."""

    def __init__(self, device: SimulatedDevice, name: str, random: Random) -> None:
        self._losses = random.uniform(0.98, 1.02)
        self._run_time = Stopwatch(random.randint(30_000, 500_000))
        self._noise = Drift(random, 0.4, lag_s=180)
        self._command = device.relay(f"{name} Command", ("Stop", "Start"))
        self._speed = device.actuator(f"{name} Speed Command")
        self._status = device.contact(f"{name} Status", ("Stopped", "Running"))
        self._speed_read = device.sensor(f"{name} Speed", "percent", span=(0.0, 100.0), value=0.0)
        self._power = device.sensor(f"{name} Power", "kilowatts", span=(0.0, 50.0), value=0.0, resolution=0.01)
        self._minutes = device.runtime(f"{name} Run Time")

    def step(self, dt: float, *, wanted: bool, speed: float) -> float:
        """Run for ``dt`` seconds at a speed in percent; return the speed that is really reached."""
        self._command.set(wanted)
        self._speed.set(clamp(speed) if wanted else 0.0)
        running = self._command.is_on and self._speed.number > 0.0
        target = self._speed.number + self._noise.step(dt) if running else 0.0
        reached = clamp(approach(self._speed_read.number, target, dt=dt, lag_s=20.0))
        self._speed_read.set(reached)
        self._status.set(running)
        self._power.set(15.0 * (reached / 100.0) ** 3 * self._losses)
        self._minutes.set(self._run_time.step(dt, running=running))
        return reached

    @property
    def power_kw(self) -> float:
        """What the drive takes."""
        return self._power.number


class ChilledWaterPlant:
    """Runs a pair of pumps on each side while a chiller runs, and the tower as the weather asks."""

    def __init__(self, device: SimulatedDevice, random: Random, chillers: tuple[Chiller, ...]) -> None:
        self.device = device
        self._chillers = chillers
        self._noise = Drift(random, 0.04, lag_s=240)
        self._level_noise = Drift(random, 2.0, lag_s=1800)
        self._primary = [Pump(device, f"Chilled Water Pump {number}", random) for number in (1, 2)]
        self._condenser = [Pump(device, f"Condenser Water Pump {number}", random) for number in (1, 2)]
        self._make_tower()
        self._make_header()

    def _make_tower(self) -> None:
        device = self.device
        self._fan = device.relay("Tower Fan")
        self._fan_status = device.contact("Tower Fan Status", ("Stopped", "Running"))
        self._fan_speed = device.actuator("Tower Fan Speed Command")
        self._basin = device.temperature("Tower Basin Temperature", span=(0.0, 60.0), value=22.0)
        self._level = device.sensor("Tower Basin Level", "percent", span=(0.0, 100.0), value=75.0)
        self._makeup = device.contact("Tower Make-up Valve", ("Closed", "Open"))
        self._tower_setpoint = device.setpoint(
            "Tower Water Set-point", "degrees-celsius", span=(15.0, 34.0), value=22.0
        )

    def _make_header(self) -> None:
        device = self.device
        self._supply = device.temperature("Supply Header Temperature", span=(-10.0, 60.0), value=7.0)
        self._return = device.temperature("Return Header Temperature", span=(-10.0, 60.0), value=12.0)
        self._difference = device.sensor("Differential Pressure", "kilopascals", span=(0.0, 400.0), value=0.0)
        self._flow = device.sensor(
            "Chilled Water Flow", "liters-per-second", span=(0.0, 100.0), value=0.0, resolution=0.01
        )
        self._difference_setpoint = device.setpoint(
            "Differential Pressure Set-point", "kilopascals", span=(20.0, 200.0), value=80.0
        )
        self._lead = device.mode("Lead Chiller", ("Chiller 1", "Chiller 2"))
        self._state = device.status("Plant State", ("Standby", "One Chiller", "Two Chillers"))
        self._enabled = device.flag("Plant Enable", ("Disabled", "Enabled"), value=True)

    def step(self, site: Site, dt: float) -> None:
        """Move water for ``dt`` seconds; without flow the supply warms up."""
        running = [chiller for chiller in self._chillers if chiller.is_running]
        wanted = bool(running) and self._enabled.is_on
        speed = 100.0 * (self._difference_setpoint.number / 200.0) ** 0.5
        flow = self._pump(self._primary, dt, wanted=wanted, speed=speed)
        self._pump(self._condenser, dt, wanted=wanted, speed=70.0)
        self._tower(site, dt, wanted=wanted)
        noise = self._noise.step(dt)
        source = sum(chiller.water for chiller in running) / len(running) if running and flow > 5.0 else 16.0
        site.chilled_water = approach(site.chilled_water, source, dt=dt, lag_s=240.0 if flow > 5.0 else 7200.0)
        self._supply.set(site.chilled_water + noise)
        self._return.set(site.chilled_water + 1.5 * min(site.cooling_demand, 4.0) + noise)
        self._difference.set(200.0 * (flow / 100.0) ** 2 + (10.0 * noise if flow > 5.0 else 0.0))
        self._flow.set(max(0.0, 0.4 * flow + (noise if flow > 5.0 else 0.0)))
        self._state.set(1 + len(running))
        site.cooling_kw += sum(pump.power_kw for pump in (*self._primary, *self._condenser))

    def _pump(self, pair: list[Pump], dt: float, *, wanted: bool, speed: float) -> float:
        lead = 0 if self._lead.value == 1 else 1
        return max(pump.step(dt, wanted=wanted and number == lead, speed=speed) for number, pump in enumerate(pair))

    def _tower(self, site: Site, dt: float, *, wanted: bool) -> None:
        self._fan.set(wanted and self._basin.number > self._tower_setpoint.number)
        self._fan_speed.set(clamp(20.0 + 20.0 * (self._basin.number - self._tower_setpoint.number)))
        cooled = self._fan.is_on and self._fan_speed.number > 5.0
        self._fan_status.set(cooled)
        target = site.outdoor + (5.0 if cooled else 14.0 if wanted else 4.0)
        noise = self._noise.value
        self._basin.set(approach(self._basin.number, target, dt=dt, lag_s=900.0) + noise)
        self._level.set(clamp(75.0 + self._level_noise.step(dt)))
        self._makeup.set(self._level.number < 74.0)
        site.cooling_kw += 7.5 * (self._fan_speed.number / 100.0) ** 3 if cooled else 0.0
