"""Which faults there are at present: those of the configuration and those that were added since."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from core.errors import Conflict
from core.serialize import dumps
from plugins.simulator.errors import FaultNotFound
from plugins.simulator.faults import Fault

MOST_FAULTS = 1000
MOST_OCTETS = 1 << 20


class InjectedFaults:
    """Faults by their ids, which count up and are not used again."""

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        self._numbers = itertools.count(1)
        self._faults = {str(next(self._numbers)): fault for fault in faults}

    @property
    def all(self) -> Mapping[str, Fault]:
        """All of them, in the order of their ids."""
        return self._faults

    @property
    def plain(self) -> list[dict[str, object]]:
        """All of them as plain data."""
        return [fault.plain for fault in self._faults.values()]

    def get(self, fault_id: str) -> Fault:
        """Return a fault; raises FaultNotFound."""
        if fault_id not in self._faults:
            raise FaultNotFound(f"There is no fault {fault_id}; see GET faults for those that there are.")
        return self._faults[fault_id]

    def add(self, fault: Fault) -> str:
        """Add a fault and return its id; raises Conflict where there are too many."""
        octets = sum(len(dumps(each)) for each in (*self.plain, fault.plain))
        if len(self._faults) >= MOST_FAULTS or octets > MOST_OCTETS:
            raise Conflict(f"There are {len(self._faults)} faults already: take some back first.")
        fault_id = str(next(self._numbers))
        self._faults[fault_id] = fault
        return fault_id

    def remove(self, fault_id: str) -> None:
        """Take a fault back; raises FaultNotFound."""
        self.get(fault_id)
        del self._faults[fault_id]

    def replace(self, faults: Mapping[str, Fault]) -> None:
        """Have these, and no others."""
        self._faults = dict(faults)
