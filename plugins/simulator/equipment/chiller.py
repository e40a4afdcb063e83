"""A chiller: makes chilled water while there is a demand for it."""

from __future__ import annotations

from random import Random

from plugins.simulator.device import SimulatedDevice
from plugins.simulator.dynamics import Drift, Stopwatch, approach, clamp
from plugins.simulator.site import Site

FULL_POWER_KW = 90.0
RESTING_WATER_C = 16.0


class Chiller:
    """Starts when the cooling demand passes its threshold, 0 to 1, and stops at half of that."""

    def __init__(self, device: SimulatedDevice, random: Random, *, threshold: float) -> None:
        self.device = device
        self.water = 7.0
        self._threshold = threshold
        self._energy_kwh = float(random.randint(40_000, 300_000))
        self._starts = random.randint(400, 4000)
        self._run_time = Stopwatch(random.randint(100_000, 600_000))
        self._noise = Drift(random, 0.05, lag_s=200)
        self._was_running = False
        self._make_sensors()
        self._make_settings()

    def _make_sensors(self) -> None:
        device = self.device
        self._supply = device.temperature("Leaving Chilled Water Temperature", span=(-10.0, 60.0), value=7.0)
        self._return = device.temperature("Entering Chilled Water Temperature", span=(-10.0, 60.0), value=12.0)
        self._condenser_in = device.temperature("Entering Condenser Water Temperature", span=(0.0, 60.0), value=24.0)
        self._condenser_out = device.temperature("Leaving Condenser Water Temperature", span=(0.0, 60.0), value=28.0)
        self._load = device.sensor("Load", "percent", span=(0.0, 120.0), value=0.0)
        self._power = device.sensor("Power", "kilowatts", span=(0.0, 200.0), value=0.0, resolution=0.01)
        self._current = device.sensor("Compressor Current", "amperes", span=(0.0, 400.0), value=0.0)
        self._evaporator = device.sensor("Evaporator Pressure", "kilopascals", span=(0.0, 2000.0), value=350.0)
        self._condenser = device.sensor("Condenser Pressure", "kilopascals", span=(0.0, 3000.0), value=800.0)
        self._running = device.contact("Run Status", ("Stopped", "Running"))
        device.contact("Common Alarm", ("Normal", "Alarm"))
        self._state = device.status("State", ("Off", "Ready", "Running", "Full Load"), value=2)

    def _make_settings(self) -> None:
        device = self.device
        self._capacity = device.actuator("Compressor Capacity Command")
        self._setpoint = device.setpoint("Chilled Water Set-point", "degrees-celsius", span=(1.0, 18.0), value=7.0)
        self._limit = device.setpoint("Demand Limit", "percent", span=(30.0, 110.0), value=100.0, resolution=1.0)
        self._enable = device.relay("Enable", ("Disabled", "Enabled"))
        self._mode = device.mode("Control Mode", ("Automatic", "Off", "Ice Making"))
        self._start_count = device.pulses("Compressor Starts", "no-units")
        self._energy = device.total("Energy", "kilowatt-hours")
        self._minutes = device.runtime("Compressor Run Time")
        device.text("Service Contact", "Plant room desk, extension 4711")

    @property
    def is_running(self) -> bool:
        """Whether the compressor runs."""
        return self._running.is_on

    def step(self, site: Site, dt: float) -> None:
        """Run for ``dt`` seconds if enabled."""
        threshold = self._threshold * (0.5 if self._enable.is_on else 1.0)
        self._enable.set(self._mode.value != 2 and site.cooling_demand > threshold)
        running = self._enable.is_on
        self._starts += running and not self._was_running
        self._was_running = running
        share = clamp(100.0 * site.cooling_demand / 3.0, 15.0, self._limit.number) if running else 0.0
        self._capacity.set(clamp(share))
        load = self._capacity.number if running else 0.0
        self.water = approach(
            self.water, self._setpoint.number if load > 0.0 else RESTING_WATER_C, dt=dt, lag_s=300.0 if load else 7200.0
        )
        noise = self._noise.step(dt)
        power = FULL_POWER_KW * load / 100.0 * (0.9 + noise)
        site.cooling_kw += power
        self._energy_kwh += power * dt / 3600.0
        self._show(site, load, power, noise)
        self._minutes.set(self._run_time.step(dt, running=running))

    def _show(self, site: Site, load: float, power: float, noise: float) -> None:
        running = load > 0.0
        self._running.set(running)
        self._state.set(4 if load > 95.0 else 3 if running else 2 if self._mode.value != 2 else 1)
        self._supply.set(self.water + noise)
        self._return.set(self.water + 0.06 * load + noise)
        tower = max(18.0, site.outdoor + 6.0)
        self._condenser_in.set(tower + 2.0 * noise)
        self._condenser_out.set(tower + 0.05 * load + 2.0 * noise)
        self._load.set(load * (1.0 + 0.2 * noise))
        self._power.set(power)
        self._current.set(power * 1.6)
        self._evaporator.set(520.0 - 1.6 * load + 20.0 * noise)
        self._condenser.set(760.0 + 4.0 * load + 60.0 * noise)
        self._start_count.set(self._starts)
        self._energy.set(self._energy_kwh)
