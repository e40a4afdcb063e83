"""What can go wrong with the simulator.

PlantroomError
├── SimulatorError
│   └── AddressTaken
├── NotFound
│   └── FaultNotFound    404
└── Unavailable
    └── BuildingAway     503
"""

from __future__ import annotations

from core.errors import Example, NotFound, Unavailable, any_of
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


class FaultNotFound(NotFound):
    """No fault has this id."""

    code = "simulator.fault_not_found"
    title = "No such fault"
    causes = any_of(
        "It was taken back already, alone or with all others.",
        "Plantroom was started anew since: only the faults of the configuration are there again.",
    )
    remedy = "See `GET /api/v1/simulator/faults` for those that there are."
    example = Example("There is no fault 7; see GET faults for those that there are.", "/api/v1/simulator/faults/7")


class BuildingAway(Unavailable):
    """The simulated building does not run now; it is started again by itself."""

    code = "simulator.not_running"
    title = "The simulated building is away"
    causes = any_of(
        "Its process has ended and is about to be started again: the plugin's health says why.",
        "It is so busy that it did not answer within 5 s.",
    )
    remedy = "Try again after the seconds in Retry-After; where it stays so, look at GET /api/v1/plugins."
    example = Example("the simulated building ended by itself with code -9", "/api/v1/simulator/faults")
