"""BACnet's hands: scans, reads and writes, each device by what has been learned of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    WriteResult,
)
from plugins.bacnet.addresses import Station, parse_station
from plugins.bacnet.client import Client
from plugins.bacnet.config import BacnetConfig
from plugins.bacnet.discovery import Discovery
from plugins.bacnet.planner import cost
from plugins.bacnet.points import ruled
from plugins.bacnet.polling import Part, Plan, plan
from plugins.bacnet.profile import Profile, restored
from plugins.bacnet.protocol import IAm
from plugins.bacnet.reader import Reader
from plugins.bacnet.scanning import Scanner, nearest
from plugins.bacnet.windows import together
from plugins.bacnet.writer import Writer


class BacnetDriver:
    """The driver of one instance of the plugin; ``clients`` are its networks, by interface."""

    def __init__(self, config: BacnetConfig, ctx: Context, clients: Mapping[str, Client]) -> None:
        self.scan_interval_s = config.scan.interval
        self._ctx = ctx
        self._clients = clients
        self._config = config
        self._profiles: dict[str, Profile] = {}
        self._plans: WeakKeyDictionary[PointGroup, Plan] = WeakKeyDictionary()
        self._reader = Reader(self._client, ctx.clock)
        self._reader.recovered = self._network_is_back
        self._writer = Writer(self._reader, config.write)
        self._discovery = Discovery(ctx.clock, quiet_s=config.timeout)
        self._scanner = Scanner(config, ctx, clients, self._discovery, self._reader, self._profiles)
        for client in clients.values():
            client.heard = self._heard

    def configured(self, point: Point) -> Point:
        """Apply the configuration's interval and rules to a point that is known from before a restart."""
        return ruled(point, self._config.points, interval=self._config.interval)

    async def scan(self, request: ScanRequest, report: ScanReport) -> None:
        """Find devices and their points; raises Invalid for numbers and targets that make no sense."""
        await self._scanner.scan(request, report)

    async def read(self, group: PointGroup) -> Sequence[ReadingBatch]:
        """Read a group, one batch for each answer; raises DeviceTimeout when the device is silent.

        A device that was silent is asked the least first, so that a dead one costs one small request, and one that
        only cannot stand the large request is told from it.
        """
        profile = self._profile(group.device)
        source = Source.POLL if group.interval else Source.READ
        was_silent = profile.silent
        if was_silent:
            await self._reader.alive(profile)
        first, *rest = self._plan(group, profile).parts
        try:
            batches = [await self._read_part(profile, first, source)]
        except DeviceTimeout as error:
            if not was_silent:
                raise
            batches = [self._unanswered(profile, first, error, source)]
        return [*batches, *await self._read_rest(profile, rest, source)]

    async def write(self, command: Command) -> WriteResult:
        """Write or relinquish, and read back; raises what the contract names."""
        return await self._writer.write(self._profile_of_point(command.point), command)

    async def priorities(self, point: Point) -> Priorities:
        """Read a point's priority array; raises as `write` does."""
        return await self._writer.priorities(self._profile_of_point(point), point)

    async def _read_rest(self, profile: Profile, parts: Sequence[Part], source: Source) -> list[ReadingBatch]:
        """Read further parts at once; after one that is not answered, those that have not left stay here."""
        silence: list[DeviceTimeout] = []

        async def read(part: Part) -> ReadingBatch:
            async with profile.window_of_parts:
                if silence:
                    return part.unanswered(silence[0], time=self._ctx.clock.utc(), source=source)
                try:
                    return await self._read_part(profile, part, source)
                except DeviceTimeout as error:
                    silence.append(error)
                    return self._unanswered(profile, part, error, source)

        return await together(read(part) for part in parts)

    async def _read_part(self, profile: Profile, part: Part, source: Source) -> ReadingBatch:
        answers = await self._reader.chunk(profile, part.refs, profile.values)
        return part.batch(answers, time=self._ctx.clock.utc(), source=source)

    def _unanswered(self, profile: Profile, part: Part, error: DeviceTimeout, source: Source) -> ReadingBatch:
        if len(part.questions) > 1:
            profile.values.shrink(cost(part.refs))
        return part.unanswered(error, time=self._ctx.clock.utc(), source=source)

    def _plan(self, group: PointGroup, profile: Profile) -> Plan:
        known = self._plans.get(group)
        if known is None or known.state != profile.state:
            known = self._plans[group] = plan(group, profile)
        return known

    def _profile_of_point(self, point: Point) -> Profile:
        profile = self._profiles.get(point.device_id)
        if profile is None:
            raise Unavailable(f"{point.device_id} has not been reached since the start; wait for its first poll.")
        return profile

    def _profile(self, device: Device) -> Profile:
        """Return what is known of a device: since it was found, or from what the registry kept over a restart."""
        profile = self._profiles.get(device.id)
        if profile is None:
            try:
                station = parse_station(device.address)
                kept = str(device.attributes.get("interface"))
                client = self._clients.get(kept) or nearest(self._clients, station)
                profile = restored(device, str(client.interface))
            except ValueError as error:
                raise DeviceNotFound(f"{device.id} has no address that can be asked: {error}; scan again.") from error
            self._profiles[device.id] = profile
        return profile

    def _client(self, station: Station) -> Client:
        return self._clients[station.interface]

    def _heard(self, i_am: IAm) -> None:
        self._discovery.note(i_am)
        if i_am.instance != self._config.device.instance:
            self._ctx.seen(f"{self._ctx.name}.{i_am.instance}")

    def _network_is_back(self, profile: Profile) -> None:
        """Have all devices of a network polled at once when the first of them answers again."""
        network = self._reader.windows.network(profile.station)
        for device_id, other in self._profiles.items():
            if other is not profile and self._reader.windows.network(other.station) is network:
                self._ctx.seen(device_id)
