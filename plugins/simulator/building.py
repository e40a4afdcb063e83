"""The building: which devices there are, made from a seed; the same seed gives the same building."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import attrs

from plugins.simulator.controllers import make_controllers
from plugins.simulator.device import Product, SimulatedDevice
from plugins.simulator.equipment.air_handler import AirHandler
from plugins.simulator.equipment.boiler import Boiler
from plugins.simulator.equipment.chilled_water import ChilledWaterPlant
from plugins.simulator.equipment.chiller import Chiller
from plugins.simulator.equipment.lighting import LightingController
from plugins.simulator.equipment.meters import ElectricityMeter, HeatMeter, WaterMeter
from plugins.simulator.equipment.vav_box import VavBox
from plugins.simulator.equipment.weather import WeatherStation
from plugins.simulator.site import Site
from plugins.simulator.trunks import Trunk, TrunkOptions, make_trunks

FIRST_INSTANCE = 2001
BOXES = (5, 5, 4)

AHU = Product("Halden Automation", 64001, "AirMaster 400", "4.2.1")
VAV = Product("Northgate Controls", 64002, "RoomBox 20", "1.9", max_apdu=480, segmentation=False)
OLD_VAV = Product("Northgate Controls", 64002, "RoomBox 10", "1.3", max_apdu=206, segmentation=False)
CHILLER = Product("Kestrel Cooling", 64003, "Glacier 300", "2.0.7", max_apdu=480)
PLANT = Product("Halden Automation", 64001, "PlantMaster", "4.2.1")
BOILER = Product("Aquaterm", 64004, "Condensa 240", "7.11", max_apdu=480, segmentation=False)
METER = Product("Brightwell Metering", 64005, "PowerSense 3", "3.3")
SIMPLE_METER = Product(
    "Brightwell Metering", 64005, "Pulse 1", "1.0", max_apdu=206, segmentation=False, read_property_multiple=False
)
LIGHTING = Product("Lumen & Lowe", 64006, "DayLine 6", "2.8")
OLD_LIGHTING = Product("Lumen & Lowe", 64006, "DayLine 6 Classic", "1.4", max_apdu=206, segmentation=False)
WEATHER = Product("Skyward Instruments", 64007, "Mast 8", "1.2", max_apdu=480, segmentation=False)


@attrs.frozen(eq=False, kw_only=True)
class Building:
    """All equipment, by kind; ``devices`` are in the order of their instance numbers.

    ``controllers`` are the last of those on the building's own network, and those on ``trunks`` come behind them.
    """

    seed: int
    devices: tuple[SimulatedDevice, ...]
    air_handlers: tuple[AirHandler, ...]
    vav_boxes: tuple[VavBox, ...]
    chillers: tuple[Chiller, ...]
    chilled_water: ChilledWaterPlant
    boilers: tuple[Boiler, ...]
    meters: tuple[ElectricityMeter | WaterMeter | HeatMeter, ...]
    lighting: tuple[LightingController, ...]
    weather: WeatherStation
    controllers: tuple[SimulatedDevice, ...] = ()
    trunks: tuple[Trunk, ...] = ()

    @property
    def on_own_network(self) -> Sequence[SimulatedDevice]:
        """The devices that are on no trunk."""
        return self.devices[: len(self.devices) - len(self.on_trunks)]

    @property
    def on_trunks(self) -> Sequence[SimulatedDevice]:
        """The devices on trunks."""
        return [device for trunk in self.trunks for device in trunk.devices]

    @property
    def point_count(self) -> int:
        """How many objects with a present value there are."""
        return sum(len(device.objects) for device in self.devices)


class _Roll:
    """Hands out device instances, and for each device a random source of its own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.devices: list[SimulatedDevice] = []

    def add(self, name: str, product: Product, *, description: str, location: str) -> tuple[SimulatedDevice, Random]:
        device = SimulatedDevice(FIRST_INSTANCE + len(self.devices), name, product, description, location)
        self.devices.append(device)
        return device, Random(f"{self._seed}/{name}")


def make_building(
    seed: int, *, controllers: int = 0, points: int = 100, trunks: Sequence[TrunkOptions] = ()
) -> Building:
    """Make all devices with their objects at rest; `plugins.simulator.physics.Physics` brings them to life.

    So many ``controllers`` with so many ``points`` each stand beside it (`plugins.simulator.controllers`), and those on
    ``trunks``.
    """
    roll = _Roll(seed)
    air_handlers = tuple(
        AirHandler(*roll.add(f"AHU-{n}", AHU, description=f"Air handling unit of floor {n}", location=f"Roof, bay {n}"))
        for n in range(1, len(BOXES) + 1)
    )
    boxes = tuple(_boxes(roll, floor, air_handler) for floor, air_handler in enumerate(air_handlers, 1))
    for air_handler, own in zip(air_handlers, boxes, strict=True):
        air_handler.opening = _average_opening(own)
    cellar = "Basement plant room"
    chillers = tuple(
        Chiller(*roll.add(f"CH-{n}", CHILLER, description=f"Chiller {n}", location=cellar), threshold=threshold)
        for n, threshold in ((1, 0.04), (2, 1.6))
    )
    plant = roll.add("CHW-1", PLANT, description="Pumps, tower and headers of the chilled water", location=cellar)
    boilers = tuple(
        Boiler(*roll.add(f"B-{n}", BOILER, description=f"Gas boiler {n}", location=cellar), threshold=threshold)
        for n, threshold in ((1, 0.0), (2, 5.0))
    )
    field = make_controllers(controllers, points=points)
    slow = make_trunks(trunks)
    return Building(
        seed=seed,
        air_handlers=air_handlers,
        vav_boxes=tuple(box for own in boxes for box in own),
        chillers=chillers,
        chilled_water=ChilledWaterPlant(*plant, chillers),
        boilers=boilers,
        meters=_meters(roll),
        lighting=_lighting(roll),
        weather=WeatherStation(*roll.add("WS-1", WEATHER, description="Weather station", location="Roof, mast")),
        devices=(*roll.devices, *field, *(device for trunk in slow for device in trunk.devices)),
        controllers=field,
        trunks=slow,
    )


def _boxes(roll: _Roll, floor: int, air_handler: AirHandler) -> tuple[VavBox, ...]:
    product = OLD_VAV if floor == len(BOXES) else VAV
    return tuple(
        VavBox(
            *roll.add(
                f"VAV-{floor}-{n:02}",
                product,
                description=f"Variable air volume box {n} of floor {floor}, fed by AHU-{floor}",
                location=f"Floor {floor}, room {floor}.{n:02}",
            ),
            air_handler,
        )
        for n in range(1, BOXES[floor - 1] + 1)
    )


def _average_opening(boxes: tuple[VavBox, ...]) -> Callable[[], float]:
    return lambda: sum(box.damper_fraction for box in boxes) / len(boxes)


def _total_load(site: Site) -> float:
    return 8.0 + 0.12 * site.people + site.lighting_kw + site.fans_kw + site.cooling_kw


def _plug_load(site: Site) -> float:
    return 4.0 + 0.12 * site.people + site.lighting_kw


def _meters(roll: _Roll) -> tuple[ElectricityMeter | WaterMeter | HeatMeter, ...]:
    room = "Basement meter room"
    return (
        ElectricityMeter(
            *roll.add("EM-1", METER, description="Main electricity meter", location=room), load=_total_load
        ),
        ElectricityMeter(
            *roll.add("EM-2", SIMPLE_METER, description="Sub-meter of light and sockets", location=room),
            load=_plug_load,
        ),
        WaterMeter(*roll.add("WM-1", SIMPLE_METER, description="Cold water meter", location=room)),
        HeatMeter(*roll.add("HM-1", METER, description="Heat meter behind the boilers", location=room)),
    )


def _lighting(roll: _Roll) -> tuple[LightingController, ...]:
    return tuple(
        LightingController(
            *roll.add(f"LC-{n}", product, description=f"Lighting of floor {n}", location=f"Floor {n}, riser")
        )
        for n, product in ((1, LIGHTING), (2, OLD_LIGHTING))
    )
