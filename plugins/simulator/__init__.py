"""A simulated building with its BACnet devices behind one UDP port, in a process of its own."""

from plugins.simulator.plugin import SimulatorPlugin

__all__ = ["SimulatorPlugin"]
