"""What can go wrong with the simulator.

PlantroomError
└── SimulatorError
    └── AddressTaken
"""

from __future__ import annotations

from core.plugin import PlantroomError


class SimulatorError(PlantroomError):
    """The simulated building could not be started."""

    code = "simulator.failed"
    title = "The simulated building does not run"
    remedy = "Read the detail and the log lines of the simulator; run `plantroom simulate` to see it on its own."


class AddressTaken(SimulatorError):
    """The simulator's UDP port is in use, or its address is not one of this machine's."""

    code = "simulator.address_taken"
    title = "The simulator's UDP address cannot be used"
    remedy = "Stop what uses the port, or set the plugin's `host` and `port` to an address that is free."
