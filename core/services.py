"""What the kernel consumes and a plugin can be: drivers, and the services of which there is one each."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import attrs

from core.aggregation import Buckets
from core.model import Command, Device, Inventory, Point, Priorities, Taken, WriteResult
from core.readings import PointGroup, ReadingBatch
from core.samples import Committed, Gap, Lost, PointSamples, Position, Samples


@attrs.frozen
class ScanRequest:
    """What to look for; all empty: everything.

    ``instances`` are device numbers or ranges (``2001``, ``"3000-3999"``), ``targets`` addresses to ask directly.
    ``known`` are the plugin's devices that are listed already.
    """

    instances: tuple[int | str, ...] = ()
    targets: tuple[str, ...] = ()
    known: tuple[Device, ...] = attrs.field(default=(), eq=False, repr=False)


class ScanReport(Protocol):
    """Where a driver tells what a scan finds, as it finds it."""

    def progress(self, phase: str, done: int, total: int | None = None) -> None:
        """Tell how far the scan is."""
        ...

    def found(self, inventory: Inventory) -> None:
        """Hand over a device with all its points: they are listed and polled from now on."""
        ...

    def counted(self, *, devices: int = 0, points: int = 0) -> None:
        """Tell how many devices and points are known of so far, where that is more than was handed over."""
        ...

    def warn(self, code: str, detail: str, remedy: str) -> None:
        """Tell what is wrong or may be so, and what to do about it."""
        ...


class Driver(Protocol):
    """A protocol's hands: scans, reads and writes, in batches.

    ``scan_interval_s`` is the time between scans in seconds, the first at start; None: only when asked.
    """

    scan_interval_s: float | None

    async def scan(self, request: ScanRequest, report: ScanReport) -> None:
        """Find devices and their points; raises what the request makes impossible."""
        ...

    async def read(self, group: PointGroup) -> Sequence[ReadingBatch]:
        """Read all points of a group from their device, within bounded time.

        A point that cannot be read is a row with its error. Raises DeviceTimeout when the device is silent.
        """
        ...

    async def write(self, command: Command) -> WriteResult | Taken:
        """Write or relinquish, and read back; `Taken` where the device took it and could not be read back.

        Raises NotWritable, ValueNotSuitable, PriorityNotAllowed, PointNotFound, DeviceRefused; DeviceTimeout where it
        may have been carried out, NotSent where not.
        """
        ...

    async def priorities(self, point: Point) -> Priorities:
        """Read a commandable point's priority array; raises as `write` does."""
        ...


@runtime_checkable
class BatchWriter(Protocol):
    """What a driver also has that writes several points of a device at once."""

    def write_many(self, commands: Sequence[Command]) -> AsyncIterator[Mapping[int, WriteResult | Taken | Exception]]:
        """Carry out commands for one device in their order, and read back; tell of each as soon as that is known.

        Each answer has, by the index of the command, what `write` answers or raises for some of them; what was told is
        on record then, also where the rest takes too long. After one that got no answer none is sent: NotSent.
        """
        ...


@runtime_checkable
class InputOverride(Protocol):
    """What a driver also has that asks the device whether a point takes a value that is not `writable` as a rule.

    Where ``overrides_inputs`` is true, `write` gets commands for such points too, and raises NotWritable itself.
    """

    overrides_inputs: bool


@runtime_checkable
class PointConfiguration(Protocol):
    """What a driver also has whose configuration says how its points are polled."""

    def configured(self, point: Point) -> Point:
        """Apply the present configuration to a point that is known from before a restart."""
        ...


@runtime_checkable
class Patience(Protocol):
    """What a driver also has that says how many seconds at most pass before a silent device is tried again."""

    longest_probe_delay_s: float


@runtime_checkable
class Watching(Protocol):
    """What a driver also has whose devices can tell of changes by themselves; see `core.plugin.Context.live`."""

    def watch(self, group: PointGroup) -> None:
        """Hear which of a device's points are polled, at first and whenever these change; none: leave it alone."""
        ...


class Cache(Protocol):
    """Values by key, each with a time to live in seconds; what is not there any more was never promised."""

    async def get(self, key: str) -> bytes | None:
        """Return a value; None where there is none, or its time is over."""
        ...

    async def set(self, key: str, value: bytes, *, ttl_s: float, tags: Collection[str] = ()) -> None:
        """Keep a value for so long, or less where there is no room."""
        ...

    async def delete(self, key: str) -> None:
        """Forget a value, if there is one."""
        ...

    async def forget(self, tag: str) -> None:
        """Forget all that was set with a tag."""
        ...


@attrs.define
class Allowance:
    """A limiter's answer: whether to go on, what is left, and when (seconds) to try again or be full again.

    It is not frozen: each request has one made, and freezing it takes as long as all that is counted for it.
    """

    allowed: bool
    remaining: int
    retry_after_s: float
    reset_after_s: float


class RateLimitStore(Protocol):
    """Counts what each key has used."""

    def take(self, key: str, *, rate: float, burst: float, cost: float = 1.0) -> Allowance | Awaitable[Allowance]:
        """Take ``cost`` of a budget of ``burst`` that refills at ``rate`` a second, all of it or nothing.

        A cost of 0 only looks. A store that is in memory answers at once, any other something to await.
        """
        ...


class History(Protocol):
    """Past readings, by slot and time; times are UTC milliseconds.

    A point has one sample for each millisecond: the one that came last. What was recorded is safe after the next
    `flush`, and otherwise within a second or so; it is found by all that follows at once.
    """

    @property
    def newest(self) -> Position:
        """Where the batch stands that was committed last; seq 0 before the first of an epoch."""
        ...

    def record(self, batch: ReadingBatch, rows: Sequence[int]) -> None:
        """Keep these rows of a batch; never waits, and never raises for what is wrong with the store."""
        ...

    async def flush(self) -> None:
        """Return when all that was recorded is safe; raises PlantroomError where it cannot be kept."""
        ...

    async def add(self, slot: int, samples: Samples, *, only_gaps: bool = False) -> int:
        """Keep a point's samples from elsewhere, and return how many were new, when they are safe.

        With ``only_gaps`` none is kept that falls between what was recorded, but only where `gaps` are. Raises
        PlantroomError where they cannot be kept.
        """
        ...

    async def samples(self, slot: int, start_ms: int, end_ms: int, *, limit: int) -> Samples:
        """Return a point's samples with start <= time < end, oldest first, the first ``limit`` of them."""
        ...

    async def latest(self, slots: Sequence[int], before_ms: int) -> PointSamples:
        """Return the last sample before a time of each point that has one."""
        ...

    async def gaps(self, start_ms: int, end_ms: int) -> Sequence[Gap]:
        """Return when nothing was recorded between two times, oldest first, cut to these."""
        ...

    async def read_after(self, position: Position, limit: int) -> Sequence[Committed | Lost]:
        """Return the batches that were committed after a position, in order, the first ``limit`` of them."""
        ...

    async def register(self, name: str) -> Position:
        """Return the position that a named cursor has passed; a new one has passed all that is committed by now.

        What it has not passed is kept for it, within bounds.
        """
        ...

    async def advance(self, name: str, position: Position) -> None:
        """Note that a registered cursor has passed a position, for good."""
        ...

    async def forget(self, name: str) -> None:
        """Keep nothing for a cursor any more."""
        ...


@runtime_checkable
class Aggregating(Protocol):
    """What a history also has that sums samples up itself, faster than `core.aggregation` does it, and to the same."""

    async def aggregate(self, slot: int, edges: array[int], *, now_ms: int, states: bool) -> Buckets:
        """Sum up a point's samples from each edge to the next; ``states`` where the times in each are wanted."""
        ...


@attrs.frozen
class Lease:
    """The right to poll and write under a name.

    ``fence`` grows with each owner; ``valid_until`` is monotonic seconds.
    """

    name: str
    fence: int
    valid_until: float


class Leadership(Protocol):
    """Which of several processes owns which name."""

    async def hold(self, names: Iterable[str]) -> Sequence[Lease]:
        """Ask for names; answers the leases that this process has now."""
        ...

    async def release(self, names: Iterable[str]) -> None:
        """Give names back."""
        ...

    def changes(self) -> AsyncIterator[Lease]:
        """Give each lease as it is won, renewed or (with valid_until in the past) lost."""
        ...


@attrs.define
class Services:
    """The one provider of each service: a plugin's, or the kernel's in-memory default."""

    cache: Cache
    rate_limit_store: RateLimitStore
    history: History
    leadership: Leadership
