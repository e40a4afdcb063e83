"""BACnet/IP: finds devices, polls and writes their points."""

from plugins.bacnet.plugin import BacnetPlugin

__all__ = ["BacnetPlugin"]
