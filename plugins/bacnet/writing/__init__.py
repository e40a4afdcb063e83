"""Writing points: what a command is on the wire, how it gets to the device, and what came of it."""
