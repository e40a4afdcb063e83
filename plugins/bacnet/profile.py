"""What has been learned of a device: where it is, what fits its answers, what it cannot do, how fast it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs

from core.plugin import Clock
from plugins.bacnet.addresses import Station
from plugins.bacnet.engine import Path
from plugins.bacnet.pace import Latency
from plugins.bacnet.planner import SMALLEST_BUDGET, budget_of
from plugins.bacnet.protocol import IAm
from plugins.bacnet.traffic import PER_DEVICE, Lane, Traffic
from plugins.bacnet.wire.datatypes import Ref

TRIED_AGAIN_AFTER_S = 3600.0
"""After so long, what a device refused is asked of it once more: it may have been mended."""

DEFAULT_APDU = 480
"""What is assumed of a device whose limit is not known."""

_GOOD_BEFORE_GROWTH = 8
_WORTH_IT = 8  # octets: a smaller step is not worth new requests


@attrs.define
class Budget:
    """How many octets of answer are asked for at once, ``longest`` at most.

    It is halved when that was too much, and grows again, half of the way to what was ``refused``, after answers that
    filled it. Times are monotonic seconds.
    """

    octets: int
    longest: int
    refused: int | None = None
    _forgets_at: float = 0.0
    _good: int = 0

    def shrink(self, cost: int, now: float) -> None:
        """Ask for half of what an answer of ``cost`` octets was from now on."""
        self.refused = cost if self.refused is None else min(cost, self.refused)
        self.octets = max(min(self.octets, cost) // 2, SMALLEST_BUDGET)
        self._forgets_at = now + TRIED_AGAIN_AFTER_S
        self._good = 0

    def fits(self, cost: int, clock: Clock) -> None:
        """Note a good answer of ``cost`` octets; one that left much room says nothing."""
        if self.octets >= self.longest or cost < self.octets // 2:
            return
        self._good += 1
        if self._good < _GOOD_BEFORE_GROWTH:
            return
        self._good = 0
        if clock.monotonic() >= self._forgets_at:
            self.refused = None
        target = self.longest if self.refused is None else min(self.refused, self.longest)
        grown = self.octets + (target - self.octets + 1) // 2
        if grown - self.octets >= _WORTH_IT:
            self.octets = grown


@attrs.define(eq=False)
class Profile:
    """A device as requests see it.

    ``multiple`` says whether it knows ReadPropertyMultiple, ``write_multiple`` whether WritePropertyMultiple,
    ``whole_list`` whether it tells its object list at once (None: it has not been asked). ``loners`` are properties
    that make a whole request fail and are asked for alone, with the (monotonic) time from which on they are tried with
    others again; ``suspects`` are those that did so once, and were not answered with others since. Values and texts
    have budgets of their own, since only the size of values is known beforehand. ``renumbered`` is the number under
    which its place answers by now, where that is another one: nothing is read or written there any more.
    """

    instance: int
    station: Station
    max_apdu: int
    can_segment: bool
    lane: Lane
    path: Path
    latency: Latency = attrs.field(factory=Latency)
    multiple: bool = True
    multiple_again_at: float = 0.0
    write_multiple: bool = True
    write_multiple_again_at: float = 0.0
    whole_list: bool | None = None
    loners: dict[Ref, float] = attrs.field(factory=dict)
    suspects: set[Ref] = attrs.field(factory=set)
    cov_slots: int | None = None
    renumbered: int | None = None
    values: Budget = attrs.field()
    texts: Budget = attrs.field()

    @values.default
    @texts.default
    def _whole_answer(self) -> Budget:
        octets = budget_of(self.max_apdu)
        return Budget(octets, octets)

    @classmethod
    def begin(cls, instance: int, station: Station, max_apdu: int, traffic: Traffic, *, can_segment: bool) -> Profile:
        """Begin with what a device says of itself."""
        return cls(instance, station, max_apdu, can_segment, traffic.lane(station), Path.to(station))

    @property
    def silent(self) -> bool:
        """Whether it did not answer the last request."""
        return self.lane.silent

    @property
    def list_name(self) -> str:
        """How its object list is read."""
        return _LIST_NAMES[self.whole_list]

    @property
    def state(self) -> tuple[Station, int, bool, frozenset[Ref]]:
        """What a plan depends on: a plan made under another state is made anew."""
        return self.station, self.values.octets, self.multiple, frozenset(self.loners)

    def refuses_multiple(self, now: float) -> None:
        """Note that it does not know ReadPropertyMultiple."""
        self.multiple = False
        self.multiple_again_at = now + TRIED_AGAIN_AFTER_S

    def refuses_write_multiple(self, now: float) -> None:
        """Note that it does not know WritePropertyMultiple."""
        self.write_multiple = False
        self.write_multiple_again_at = now + TRIED_AGAIN_AFTER_S

    def writes_multiple(self, now: float) -> bool:
        """Tell whether to write several properties at once: also after a refusal long ago."""
        return self.write_multiple or now >= self.write_multiple_again_at

    def isolate(self, ref: Ref, now: float) -> None:
        """Note that a property makes a whole request fail."""
        self.loners[ref] = now + TRIED_AGAIN_AFTER_S

    def suspect(self, refs: Collection[Ref], now: float) -> None:
        """Note that a request for one object's properties failed; once may be noise, twice in a row isolates them."""
        if not self.suspects.issuperset(refs):
            self.suspects.update(refs)
            return
        self.suspects.difference_update(refs)
        for ref in refs:
            self.isolate(ref, now)

    def trust(self, refs: Iterable[Ref]) -> None:
        """Note that properties were answered with one request."""
        if self.suspects:
            self.suspects.difference_update(refs)

    def forgive(self, refs: Iterable[Ref]) -> None:
        """Isolate none of these properties: what failed was not theirs."""
        for ref in refs:
            self.suspects.discard(ref)
            self.loners.pop(ref, None)

    def reconsider(self, clock: Clock) -> None:
        """Try again what was refused long ago."""
        if self.multiple and not self.loners:
            return
        now = clock.monotonic()
        if now >= self.multiple_again_at:
            self.multiple = True
        if self.loners:
            self.loners = {ref: until for ref, until in self.loners.items() if now < until}

    def is_of(self, i_am: IAm) -> bool:
        """Tell whether a device still describes itself as it did when this was learned."""
        known = self.instance, self.station, self.max_apdu, self.can_segment
        return known == (i_am.instance, i_am.station, i_am.max_apdu, i_am.can_segment)

    def learned(self) -> dict[str, Any]:
        """Return what has been learned, as JSON values; seconds and octets."""
        return {
            "max_apdu": self.max_apdu,
            "segmentation": self.can_segment,
            "read_property_multiple": self.multiple,
            "write_property_multiple": self.write_multiple,
            "object_list": self.list_name,
            "value_octets": self.values.octets,
            "text_octets": self.texts.octets,
            "concurrency": self.lane.pace.limit,
            "cov_slots": self.cov_slots,
            "latency_s": round(self.latency.average_s, 6),
            "latency_deviation_s": round(self.latency.deviation_s, 6),
        }

    def recall(self, learned: Mapping[str, Any], now: float) -> None:
        """Take over what `learned` returned before a restart, as far as the device still describes itself the same."""
        if (learned["max_apdu"], learned["segmentation"]) != (self.max_apdu, self.can_segment):
            return
        if not learned["read_property_multiple"]:
            self.refuses_multiple(now)
        if not learned.get("write_property_multiple", True):
            self.refuses_write_multiple(now)
        self.whole_list = _LISTS[learned["object_list"]]
        for budget, octets in ((self.values, learned["value_octets"]), (self.texts, learned["text_octets"])):
            budget.octets = min(max(int(octets), SMALLEST_BUDGET), budget.longest)
        self.lane.pace.limit = min(max(int(learned["concurrency"]), 1), PER_DEVICE)
        slots = learned.get("cov_slots")
        self.cov_slots = None if slots is None else max(int(slots), 0)
        self.latency = Latency(float(learned["latency_s"]), float(learned["latency_deviation_s"]))


_LIST_NAMES = {None: "unknown", True: "whole", False: "by-index"}
_LISTS = {name: whole for whole, name in _LIST_NAMES.items()}


def attributes_of(profile: Profile) -> dict[str, Any]:
    """Return what finds the device again after a restart, as JSON values."""
    station = profile.station
    return {
        "instance": profile.instance,
        "interface": station.interface,
        "network": station.network,
        "mac": station.mac.hex() or None,
        "max_apdu": profile.max_apdu,
        "segmentation": profile.can_segment,
    }
