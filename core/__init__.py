"""The Plantroom kernel: knows plugins, devices, points and readings, and no protocol."""

__version__ = "0.1.0"
