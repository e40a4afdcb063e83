"""The BACnet face of the building: a UDP link, a virtual router, and one small application for each device."""
