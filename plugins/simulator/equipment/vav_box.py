"""A variable-air-volume box and the room it serves: what a person feels when a set-point is changed."""

from __future__ import annotations

from random import Random

from plugins.simulator.device import SimulatedDevice
from plugins.simulator.dynamics import Drift, Presence, Stopwatch, approach, clamp
from plugins.simulator.equipment.air_handler import AirHandler
from plugins.simulator.objects import ObjectType
from plugins.simulator.site import Site

HEAT_K_PER_H = 15.0
AIR_CHANGE_S = 2200.0
ENVELOPE_S = 40 * 3600.0
MODES = ("Automatic", "Occupied", "Standby", "Unoccupied")
CONTROLLER_STATES = ("Off", "Heating", "Satisfied", "Cooling")


class VavBox:
    """A damper, a reheat valve and their controller, and the room behind them.

    The set-point holds day and night; the time programme changes only how much fresh air comes in.
    """

    def __init__(self, device: SimulatedDevice, random: Random, air_handler: AirHandler) -> None:
        self.device = device
        self._air_handler = air_handler
        self._gains = random.uniform(0.4, 1.2)
        self._full_flow = random.uniform(150.0, 320.0)
        self._room = random.uniform(20.0, 22.5)
        self._carbon_dioxide = 450.0
        self._integral = 0.0
        self._presence = Presence(random)
        self._window = Presence(random, lag_s=3000.0)
        self._temperature_noise = Drift(random, 0.04, lag_s=300)
        self._flow_noise = Drift(random, 0.02, lag_s=120)
        self._air_noise = Drift(random, 12.0, lag_s=600)
        self._humidity_noise = Drift(random, 1.5, lag_s=1800)
        self._fan_time = Stopwatch(random.randint(20_000, 400_000))
        self._seats = random.randint(2, 12)
        self._make_sensors()
        self._make_settings(random)

    def _make_sensors(self) -> None:
        device = self.device
        self._temperature = device.temperature("Room Temperature", span=(0.0, 50.0), value=self._room)
        self._discharge = device.temperature("Discharge Air Temperature", span=(0.0, 60.0), value=16.0)
        self._flow = device.sensor("Air Flow", "liters-per-second", span=(0.0, 500.0), value=50.0)
        self._co2 = device.sensor("Room CO2", "parts-per-million", span=(0.0, 5000.0), value=450.0, resolution=1.0)
        self._humidity = device.sensor("Room Humidity", "percent-relative-humidity", span=(0.0, 100.0), value=45.0)
        self._position = device.sensor("Damper Position", "percent", span=(0.0, 100.0), value=20.0)
        self._damper = device.actuator("Damper Command", 20.0)
        self._reheat = device.actuator("Reheat Valve Command")
        self._motion = device.contact("Room Motion", ("Vacant", "Occupied"))
        self._window_contact = device.contact("Window Contact", ("Closed", "Open"))
        self._fan = device.relay("Terminal Fan", value=True)

    def _make_settings(self, random: Random) -> None:
        device = self.device
        start = round(random.uniform(20.5, 22.5) * 2) / 2
        self.setpoint = device.setpoint("Room Temperature Set-point", "degrees-celsius", span=(14.0, 30.0), value=start)
        self._co2_setpoint = device.setpoint(
            "CO2 Set-point", "parts-per-million", span=(400.0, 2000.0), value=850.0, resolution=1.0
        )
        self._minimum_flow = device.setpoint("Minimum Damper Set-point", "percent", span=(0.0, 60.0), value=15.0)
        self._occupied = device.flag("Occupied", ("Unoccupied", "Occupied"))
        self._purge = device.flag("Purge", ("Normal", "Purge"))
        self._state = device.status("Controller State", CONTROLLER_STATES, value=3)
        self._fan_stage = device.stage("Terminal Fan Speed", ("Off", "Low", "High"), value=2)
        self._mode = device.mode("Occupancy Mode", MODES)
        self._people = device.add(
            ObjectType.INTEGER_VALUE, "People Count", description="People in the room, estimated", value=0
        )
        self._minutes = device.runtime("Terminal Fan Run Time")
        device.text("Room Name", f"Office {device.location.rsplit(' ', 1)[-1]}")

    @property
    def damper_fraction(self) -> float:
        """How far the damper really is open, 0 to 1."""
        return self._position.number / 100.0

    def step(self, site: Site, dt: float) -> None:
        """Control, then let air, heat and people act on the room."""
        self._notice_people(site, dt)
        self._control(dt)
        self._move_air(site, dt)
        self._report(dt)

    def _notice_people(self, site: Site, dt: float) -> None:
        present = self._presence.step(dt, share=0.03 + 0.75 * site.occupancy)
        count = round(self._seats * (0.3 + 0.7 * site.occupancy)) if present else 0
        site.people += count
        self._motion.set(present)
        self._people.set(count)
        self._window_contact.set(self._window.step(dt, share=0.15 if present and site.outdoor > 12.0 else 0.0))
        mode = self._mode.value
        self._occupied.set(mode == 2 or (mode == 1 and (site.working_hours or present)))

    def _control(self, dt: float) -> None:
        error = self.setpoint.number - self._temperature.number
        if abs(error) < 1.0:  # far away, the proportional part alone brings it near, and nothing winds up
            self._integral = clamp(self._integral + error * dt / 3600.0, -0.5, 0.5)
        demand = clamp(0.8 * error + self._integral, -1.0, 1.0)
        minimum = self._minimum_flow.number * (1.0 if self._occupied.is_on else 0.5)
        stale = clamp((self._carbon_dioxide - self._co2_setpoint.number) / 3.0)
        wanted = 100.0 if self._purge.is_on else max(minimum, stale, -100.0 * demand)
        self._damper.set(clamp(wanted))
        self._reheat.set(100.0 * max(0.0, demand))
        self._state.set(2 if demand > 0.05 else 4 if demand < -0.05 else 3)
        self._fan.set(True)
        self._fan_stage.set(3 if abs(demand) > 0.5 else 2)

    def _move_air(self, site: Site, dt: float) -> None:
        opening = approach(self._position.number, self._damper.number, dt=dt, lag_s=40.0)
        self._position.set(opening)
        flow = opening / 100.0 * self._air_handler.air_available
        supply = self._air_handler.supply_temperature
        heat = self._reheat.number / 100.0 * site.heat_quality
        people = self._people.number / self._seats
        gains = self._gains * (people + 0.2) + site.sun / 1400.0
        rate = (site.outdoor - self._room) / ENVELOPE_S + flow * (supply - self._room) / AIR_CHANGE_S
        rate += (gains + heat * HEAT_K_PER_H) / 3600.0
        self._room += rate * dt
        fresh = 420.0 + 650.0 * people / (0.25 + 2.0 * flow)
        self._carbon_dioxide = approach(self._carbon_dioxide, fresh, dt=dt, lag_s=1200.0)
        warmed = approach(self._discharge.number, supply + 18.0 * heat, dt=dt, lag_s=90.0)
        self._discharge.set(warmed)
        self._flow.set(max(0.0, self._full_flow * flow * (1.0 + self._flow_noise.step(dt))))
        site.heating_demand += heat

    def _report(self, dt: float) -> None:
        self._temperature.set(self._room + self._temperature_noise.step(dt))
        self._co2.set(self._carbon_dioxide + self._air_noise.step(dt))
        self._humidity.set(45.0 + self._humidity_noise.step(dt))
        self._minutes.set(self._fan_time.step(dt, running=self._fan.is_on))
