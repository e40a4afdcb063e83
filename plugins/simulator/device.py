"""A simulated device: how it presents itself on the network, and the objects it has."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from plugins.simulator.objects import Access, Changes, ObjectType, SimulatedObject, Value


@attrs.frozen
class Product:
    """What a device says about its make, and how much of BACnet it can do.

    ``max_apdu`` is in octets (ASHRAE 135, 20.1.2.5). ``segmentation`` is either both ways or none. ``cov_slots`` is how
    many subscriptions it takes at a time.
    """

    vendor: str
    vendor_id: int
    model: str
    firmware: str
    max_apdu: int = 1476
    segmentation: bool = True
    read_property_multiple: bool = True
    subscribe_cov: bool = True
    cov_slots: int = 100


@attrs.define(eq=False)
class SimulatedDevice:
    """One device; the methods below add objects, whose names begin with the device's.

    Instances count from 1 for each object type, in the order of adding, and are not used again. ``changes`` counts what
    changes in any object, ``layout`` how often objects came and went: both may be done while the device is served.
    """

    instance: int
    name: str
    product: Product
    description: str
    location: str
    objects: list[SimulatedObject] = attrs.field(factory=list, init=False)
    changes: Changes = attrs.field(factory=Changes, init=False)
    layout: int = attrs.field(default=0, init=False)
    _counts: Counter[ObjectType] = attrs.field(factory=Counter, init=False)

    def add(self, kind: ObjectType, name: str, *, description: str, value: Value, **fields: Any) -> SimulatedObject:
        """Add an object of any type; ``fields`` are those of `SimulatedObject`."""
        self._counts[kind] += 1
        added = SimulatedObject(
            type=kind,
            instance=self._counts[kind],
            name=f"{self.name} {name}",
            description=description,
            automatic=value,
            changes=self.changes,
            **fields,
        )
        self.objects.append(added)
        self._rearranged()
        return added

    def remove(self, data: SimulatedObject) -> None:
        """Take an object away; raises ValueError where it is not this device's."""
        self.objects.remove(data)
        self._rearranged()

    def _rearranged(self) -> None:
        self.layout += 1
        self.changes.count += 1

    def sensor(
        self, name: str, units: str, *, span: tuple[float, float], value: float, resolution: float = 0.1
    ) -> SimulatedObject:
        """Add an analog input with its measuring range."""
        return self.add(
            ObjectType.ANALOG_INPUT,
            name,
            description=f"{name}, measured",
            value=value,
            units=units,
            minimum=span[0],
            maximum=span[1],
            resolution=resolution,
        )

    def temperature(self, name: str, *, span: tuple[float, float], value: float) -> SimulatedObject:
        """Add an analog input that measures in hundredths of a degree Celsius."""
        return self.sensor(name, "degrees-celsius", span=span, value=value, resolution=0.01)

    def actuator(self, name: str, value: float = 0.0) -> SimulatedObject:
        """Add an analog output of 0 to 100 % that its controller moves and an operator can override."""
        return self.add(
            ObjectType.ANALOG_OUTPUT,
            name,
            description=f"{name}, commanded",
            value=value,
            units="percent",
            minimum=0.0,
            maximum=100.0,
            resolution=0.1,
            access=Access.COMMANDABLE,
        )

    def setpoint(
        self,
        name: str,
        units: str,
        *,
        span: tuple[float, float],
        value: float,
        resolution: float = 0.1,
        access: Access = Access.COMMANDABLE,
    ) -> SimulatedObject:
        """Add an analog value that only clients change; ``span`` is what it takes."""
        return self.add(
            ObjectType.ANALOG_VALUE,
            name,
            description=f"{name}, set by the operator",
            value=value,
            units=units,
            minimum=span[0],
            maximum=span[1],
            resolution=resolution,
            access=access,
        )

    def contact(self, name: str, states: tuple[str, str], *, value: bool = False) -> SimulatedObject:
        """Add a binary input; ``states`` are its inactive and active texts."""
        return self.add(ObjectType.BINARY_INPUT, name, description=f"{name}, sensed", value=value, states=states)

    def relay(self, name: str, states: tuple[str, str] = ("Off", "On"), *, value: bool = False) -> SimulatedObject:
        """Add a binary output that its controller switches and an operator can override."""
        return self.add(
            ObjectType.BINARY_OUTPUT,
            name,
            description=f"{name}, commanded",
            value=value,
            states=states,
            access=Access.COMMANDABLE,
        )

    def flag(self, name: str, states: tuple[str, str], *, value: bool = False) -> SimulatedObject:
        """Add a binary value that a program works out and an operator can override."""
        return self.add(
            ObjectType.BINARY_VALUE,
            name,
            description=f"{name}, by programme",
            value=value,
            states=states,
            access=Access.COMMANDABLE,
        )

    def status(self, name: str, states: tuple[str, ...], *, value: int = 1) -> SimulatedObject:
        """Add a multi-state input."""
        return self.add(ObjectType.MULTI_STATE_INPUT, name, description=f"{name}, reported", value=value, states=states)

    def stage(self, name: str, states: tuple[str, ...], *, value: int = 1) -> SimulatedObject:
        """Add a multi-state output that its controller switches and an operator can override."""
        return self.add(
            ObjectType.MULTI_STATE_OUTPUT,
            name,
            description=f"{name}, commanded",
            value=value,
            states=states,
            access=Access.COMMANDABLE,
        )

    def mode(self, name: str, states: tuple[str, ...], *, value: int = 1) -> SimulatedObject:
        """Add a multi-state value with which an operator chooses a mode."""
        return self.add(
            ObjectType.MULTI_STATE_VALUE,
            name,
            description=f"{name}, chosen by the operator",
            value=value,
            states=states,
            access=Access.COMMANDABLE,
        )

    def pulses(self, name: str, units: str) -> SimulatedObject:
        """Add an accumulator."""
        return self.add(ObjectType.ACCUMULATOR, name, description=f"{name}, counted", value=0, units=units)

    def total(self, name: str, units: str) -> SimulatedObject:
        """Add a large analog value that counts up."""
        return self.add(
            ObjectType.LARGE_ANALOG_VALUE,
            name,
            description=f"{name}, since commissioning",
            value=0.0,
            units=units,
            resolution=0.001,
        )

    def runtime(self, name: str) -> SimulatedObject:
        """Add a positive integer value that counts running minutes."""
        return self.add(
            ObjectType.POSITIVE_INTEGER_VALUE, name, description=f"{name}, counted", value=0, units="minutes"
        )

    def text(self, name: str, value: str) -> SimulatedObject:
        """Add a character string value that an operator can change."""
        return self.add(
            ObjectType.CHARACTER_STRING_VALUE,
            name,
            description=f"{name}, plain text",
            value=value,
            access=Access.WRITABLE,
        )
