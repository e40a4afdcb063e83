"""What can go wrong with the simulator.

PlantroomError
└── SimulatorError
    └── AddressTaken
"""

from __future__ import annotations

from core.errors import any_of
from core.plugin import PlantroomError


class SimulatorError(PlantroomError):
    """The simulated building could not be started."""

    code = "simulator.failed"
    title = "The simulated building does not run"
    causes = any_of(
        "Its process ended before it served; the log lines `simulator_stderr` have its own words.",
        "It took longer than 15 s to start: the machine is busy, or short of memory.",
    )
    remedy = "Read the detail and the log lines of the simulator; run `plantroom simulate` to see it on its own."


class AddressTaken(SimulatorError):
    """The simulator's UDP port is in use, or its address is not one of this machine's."""

    code = "simulator.address_taken"
    title = "The simulator's UDP address cannot be used"
    causes = any_of(
        "Another program has the UDP port, perhaps a second demo: `ss -lunp` names it.",
        "`host` is not an address of this machine.",
    )
    remedy = "Stop what uses the port, or set the plugin's `host` and `port` to an address that is free."
