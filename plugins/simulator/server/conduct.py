"""What goes wrong on the way to and from a device: silence, loss, delay, damage, refusals, all by chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from plugins.bacnet.wire import apdu, bvll
from plugins.bacnet.wire.apdu import PduType
from plugins.bacnet.wire.npdu import read_npdu
from plugins.simulator.faults import Fault, FaultKind
from plugins.simulator.standard_names import SERVICES

_HEAD = 3  # octets of an answer by which a client knows whose it is: type, invoke id, service
_ON_THE_WAY = frozenset(
    (
        FaultKind.SILENT,
        FaultKind.DELAY,
        FaultKind.LOSS,
        FaultKind.DUPLICATE,
        FaultKind.REORDER,
        FaultKind.TRUNCATE,
        FaultKind.GARBAGE,
        FaultKind.ABORT,
        FaultKind.REJECT,
        FaultKind.DEAF_COV,
    )
)


def conduct_of(faults: Sequence[Fault], random: Random) -> Conduct | None:
    """Make it of the faults of a device; None, where its messages come and go unharmed."""
    return Conduct(faults, random) if any(fault.kind in _ON_THE_WAY for fault in faults) else None


class Conduct:
    """What becomes of the messages to and from one device; the same random source decides in the same way."""

    def __init__(self, faults: Sequence[Fault], random: Random) -> None:
        self._random = random
        self._faults: Mapping[FaultKind, Sequence[Fault]] = {
            kind: [fault for fault in faults if fault.kind is kind] for kind in _ON_THE_WAY
        }

    @property
    def is_silent(self) -> bool:
        """Whether it takes nothing and sends nothing."""
        return bool(self._faults[FaultKind.SILENT])

    def loses(self) -> bool:
        """Decide whether a message gets lost; each is asked about once."""
        return self._happens(FaultKind.LOSS) is not None

    def keeps_to_itself(self) -> bool:
        """Decide whether a change of value is not told."""
        return self._happens(FaultKind.DEAF_COV) is not None

    def holds(self) -> bool:
        """Decide whether an answer lets the next one go first."""
        return self._happens(FaultKind.REORDER) is not None

    def refusal(self, service: int, invoke_id: int) -> bytes | None:
        """Decide whether a request is refused, and write with what."""
        for kind in (FaultKind.ABORT, FaultKind.REJECT):
            fault = self._happens(kind, service)
            if fault is None:
                continue
            if kind is FaultKind.ABORT:
                return apdu.write_abort(invoke_id, fault.reason_number, from_server=True)
            return bytes((PduType.REJECT << 4, invoke_id, fault.reason_number))
        return None

    def copies(self, datagram: bytes) -> Iterator[tuple[float, bytes]]:
        """Say what is sent in place of a datagram, each with the seconds until then."""
        if self._happens(FaultKind.TRUNCATE) is not None:
            datagram = self._truncated(datagram)
        if self._happens(FaultKind.GARBAGE) is not None:
            datagram = self._garbled(datagram)
        delay_s = sum(
            (fault.seconds or 0.0) + self._random.uniform(0.0, fault.jitter or 0.0)
            for fault in self._faults[FaultKind.DELAY]
        )
        for _ in range(1 if self._happens(FaultKind.DUPLICATE) is None else 2):
            yield delay_s, datagram

    def _happens(self, kind: FaultKind, service: int | None = None) -> Fault | None:
        for fault in self._faults[kind]:
            if service is not None and fault.services and service not in map(SERVICES.get, fault.services):
                continue
            if self._random.random() < fault.chance:
                return fault
        return None

    def _truncated(self, datagram: bytes) -> bytes:
        """Cut a message short; its envelope tells the true length, so that it reaches the decoder."""
        last = len(datagram) - 1
        first = min(read_npdu(datagram, bvll.HEADER).at + 1, last)
        return bvll.unicast(datagram[bvll.HEADER : self._random.randint(first, last)])

    def _garbled(self, datagram: bytes) -> bytes:
        """Put noise behind what says whose answer it is."""
        at = min(read_npdu(datagram, bvll.HEADER).at + _HEAD, len(datagram))
        return datagram[:at] + self._random.randbytes(len(datagram) - at)
