"""BACnet on the wire: what octets stand for, and back. Knows nothing of the rest of Plantroom."""
