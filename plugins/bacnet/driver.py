"""BACnet's hands: scans, reads and writes, each device by what has been learned of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from weakref import WeakKeyDictionary

from core.errors import DeviceNotFound, Unavailable
from core.plugin import (
    Command,
    Context,
    Device,
    DeviceTimeout,
    Point,
    PointGroup,
    Priorities,
    ReadingBatch,
    ScanReport,
    ScanRequest,
    Source,
    Taken,
    WriteResult,
)
from plugins.bacnet.addresses import Station
from plugins.bacnet.client import Client
from plugins.bacnet.config import BacnetConfig
from plugins.bacnet.cov.ear import Ear
from plugins.bacnet.cov.subscriptions import Subscriptions
from plugins.bacnet.discovery.calls import Discovery
from plugins.bacnet.discovery.duplicates import Duplicates
from plugins.bacnet.discovery.inquiry import Inquiry
from plugins.bacnet.discovery.scanning import Scanner, recalled
from plugins.bacnet.errors import NetworkBusy, Refusal
from plugins.bacnet.points import ruled
from plugins.bacnet.polling import Part, Plan, plan_of
from plugins.bacnet.profile import Profile
from plugins.bacnet.profiles import Profiles
from plugins.bacnet.protocol import Answer, IAm
from plugins.bacnet.reader import Reader
from plugins.bacnet.round import Round
from plugins.bacnet.traffic import Traffic
from plugins.bacnet.writing.writer import Result, Writer

# A poll is cut off by the kernel after 60 s, a read on demand after 15: before that, what there is is handed over.
POLL_PATIENCE_S = 45.0
READ_PATIENCE_S = 12.0


class BacnetDriver:
    """The driver of one instance of the plugin; ``clients`` are its networks, by interface."""

    overrides_inputs = True

    def __init__(self, config: BacnetConfig, ctx: Context, clients: Mapping[str, Client]) -> None:
        self.scan_interval_s = config.scan.interval
        self.longest_probe_delay_s = config.probe_delay
        self._ctx = ctx
        self._clients = clients
        self._config = config
        self._plans: WeakKeyDictionary[PointGroup, Plan] = WeakKeyDictionary()
        traffic = Traffic(ctx.clock)
        self.profiles = Profiles(ctx, traffic)
        self._reader = Reader(self._client, traffic, ctx.clock, timeout_s=config.timeout, retries=config.retries)
        self._reader.recovered = self._network_is_back
        self._writer = Writer(self._reader, config.write)
        self._discovery = Discovery(ctx.clock, quiet_s=config.timeout)
        self.duplicates = Duplicates(ctx)
        self._scanner = Scanner(config, ctx, clients, self._discovery, self._reader, self.profiles, self.duplicates)
        self.claims = self._scanner.claims
        self.inquiry = Inquiry(config, ctx.clock, clients, self._discovery, self.claims)
        self.subscriptions = Subscriptions(config, ctx, self._reader, self._profile)
        for client in clients.values():
            client.heard = self._heard
            client.told = self._discovery.note_object
            client.link.hearers.append(Ear(str(client.interface), client.link.send, self.subscriptions.hear).hear)

    @property
    def reader(self) -> Reader:
        """What asks its devices."""
        return self._reader

    def profile_of(self, device: Device) -> Profile:
        """Return what is known of a device, also of one that was found before a restart; raises DeviceNotFound."""
        return self._profile(device)

    def configured(self, point: Point) -> Point:
        """Apply the configuration's interval and rules to a point that is known from before a restart."""
        return ruled(point, self._config.points, interval=self._config.interval)

    async def scan(self, request: ScanRequest, report: ScanReport) -> None:
        """Find devices and their points; raises Invalid for numbers and targets that make no sense."""
        await self._scanner.scan(request, report)

    def watch(self, group: PointGroup) -> None:
        """Subscribe to changes of those of a device's points for which the configuration wants it."""
        self.subscriptions.watch(group)

    async def read(self, group: PointGroup) -> Sequence[ReadingBatch]:
        """Read a group, one batch for each answer; raises DeviceTimeout when the device is silent.

        A device that was silent is asked the least first, so that a dead one costs one small request, and one that
        only cannot stand the large request is told from it.
        """
        profile = self._profile(group.device)
        was_silent = profile.silent
        if was_silent:
            await self._reader.alive(profile)
        batches = await self._read(group, profile, was_silent=was_silent)
        self.subscriptions.polled(group, batches, was_silent=was_silent)
        return batches

    async def _read(self, group: PointGroup, profile: Profile, *, was_silent: bool) -> list[ReadingBatch]:
        source = Source.POLL if group.interval else Source.READ
        plan = self._plan(group, profile)
        round_ = Round(self._reader, profile, self._ctx.clock, source)
        if plan.asked:
            await round_.run(plan.asked, patience_s=POLL_PATIENCE_S if group.interval else READ_PATIENCE_S)
        batches, silence = round_.batches, round_.silence
        if silence is None and not round_.refused and not round_.left and not plan.singly:
            return batches
        heard = was_silent or bool(batches) or bool(round_.refused)
        if round_.left:
            plan.put_first(round_.left)
            if not heard and silence is None:
                raise NetworkBusy(
                    f"{group.device.id} was not asked: its network is busy with the others'.", retry_after_s=10
                )
        if silence is not None:
            if not heard:
                raise silence
            batches += self._unanswered(profile, round_, silence, source)
        otherwise = [*round_.refused, *((part, None) for part in plan.singly)]
        batches += await self._otherwise(profile, otherwise, source, heard=heard)
        return batches

    async def write(self, command: Command) -> WriteResult | Taken:
        """Write or relinquish, and read back; raises what the contract names."""
        return await self._writer.write(self._profile_of_point(command.point), command)

    def write_many(self, commands: Sequence[Command]) -> AsyncIterator[Mapping[int, Result]]:
        """Carry out commands for one device in their order, and read back; tell of each when that is done."""
        return self._writer.write_many(self._profile_of_point(commands[0].point), commands)

    async def priorities(self, point: Point) -> Priorities:
        """Read a point's priority array; raises as `write` does."""
        return await self._writer.priorities(self._profile_of_point(point), point)

    async def _otherwise(
        self, profile: Profile, parts: Sequence[tuple[Part, Refusal | None]], source: Source, *, heard: bool
    ) -> list[ReadingBatch]:
        """Read parts whose requests were refused, or that are none, in the way that the device takes.

        After one that gets no answer the others are not asked; raises DeviceTimeout where the device was not ``heard``
        and says nothing now either.
        """
        batches: list[ReadingBatch] = []
        silence: DeviceTimeout | None = None
        for part, refusal in parts:
            if silence is None:
                try:
                    answers = await self._answers(profile, part, refusal)
                except DeviceTimeout as error:
                    if not heard:
                        raise
                    silence = error
                else:
                    heard = True
                    batches.append(part.batch(answers, time=self._ctx.clock.utc(), source=source))
                    continue
            batches.append(part.unanswered(silence, time=self._ctx.clock.utc(), source=source))
        return batches

    async def _answers(self, profile: Profile, part: Part, refusal: Refusal | None) -> Sequence[Answer]:
        if refusal is None:
            return await self._reader.chunk(profile, part.refs, profile.values)
        return await self._reader.torn(profile, part.refs, profile.values, refusal)

    def _unanswered(
        self, profile: Profile, round_: Round, silence: DeviceTimeout, source: Source
    ) -> list[ReadingBatch]:
        """Make the batches of requests that got no answer from a device that is there, and ask for less next time."""
        now = self._ctx.clock.monotonic()
        self._reader.lost(profile)
        for part in round_.unanswered[:1]:
            if len(part.questions) > 1:
                profile.values.shrink(part.cost, now)
        return [part.unanswered(silence, time=self._ctx.clock.utc(), source=source) for part in round_.unanswered]

    def _plan(self, group: PointGroup, profile: Profile) -> Plan:
        profile.reconsider(self._ctx.clock)
        known = self._plans.get(group)
        if known is None or known.state != profile.state:
            known = self._plans[group] = plan_of(group, profile)
        return known

    def _profile_of_point(self, point: Point) -> Profile:
        profile = self.profiles.get(point.device_id)
        if profile is None:
            raise Unavailable(f"{point.device_id} has not been reached since the start; wait for its first poll.")
        return _itself(profile, point.device_id)

    def _profile(self, device: Device) -> Profile:
        """Return what is known of a device: since it was found, or from what the registry kept over a restart."""
        profile = self.profiles.get(device.id)
        if profile is None:
            try:
                profile = recalled(self.profiles, self._clients, device)
            except ValueError as error:
                raise DeviceNotFound(f"{device.id} has no address that can be asked: {error}; scan again.") from error
        return _itself(profile, device.id)

    def _client(self, station: Station) -> Client:
        return self._clients[station.interface]

    def _heard(self, i_am: IAm) -> None:
        if i_am.is_absurd or i_am.station.ip == self._client(i_am.station).interface.broadcast:
            return
        solicited = self._discovery.asks
        self._discovery.note(i_am)
        if i_am.instance != self._config.device.instance:
            device_id = f"{self._ctx.name}.{i_am.instance}"
            if not solicited:  # whoever calls judges what is answered
                self.claims.note(i_am)
            self._ctx.seen(device_id)
            self.subscriptions.announced(device_id, solicited=solicited)

    def _network_is_back(self, profile: Profile) -> None:
        """Have all devices of a network polled at once when the first of them answers again."""
        for device_id, other in self.profiles:
            if other is not profile and other.lane.network is profile.lane.network:
                self._ctx.seen(device_id)


def _itself(profile: Profile, device_id: str) -> Profile:
    """Return a profile; raises DeviceTimeout where the device of this number is not at its place any more."""
    if profile.renumbered is not None:
        raise DeviceTimeout(f"At the address of {device_id} answers device number {profile.renumbered} now.")
    return profile
