"""One scan from the first Who-Is to the last point, with everything that is worth a warning on the way."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence

import attrs

from core.errors import FieldFault, Invalid
from core.plugin import Context, DeviceTimeout, ScanReport, ScanRequest
from plugins.bacnet.addresses import Station, parse_station
from plugins.bacnet.client import Client
from plugins.bacnet.config import BacnetConfig, parse_range
from plugins.bacnet.discovery import Discovery, RollCall, chosen
from plugins.bacnet.errors import Refusal
from plugins.bacnet.examination import Examination
from plugins.bacnet.profile import Profile
from plugins.bacnet.profiles import Profiles
from plugins.bacnet.protocol import IAm
from plugins.bacnet.reader import Reader
from plugins.bacnet.together import together

_AT_ONCE = 32


class Scanner:
    """Scans; ``profiles`` are those that the driver reads by, renewed as devices are examined."""

    def __init__(
        self,
        config: BacnetConfig,
        ctx: Context,
        clients: Mapping[str, Client],
        discovery: Discovery,
        reader: Reader,
        profiles: Profiles,
    ) -> None:
        self._config = config
        self._ctx = ctx
        self._clients = clients
        self._discovery = discovery
        self._profiles = profiles
        self._examination = Examination(reader, ctx, config.points, interval=config.interval)

    async def scan(self, request: ScanRequest, report: ScanReport) -> None:
        """Find devices and examine them; raises Invalid for a request that makes no sense."""
        ranges = _ranges(request.instances) or [parse_range(text) for text in self._config.scan.instances]
        asked = self._asked(request.targets)
        report.progress("who-is", 0)
        broadcast = () if request.targets else self._clients.values()
        call = await self._discovery.call(ranges, broadcast, asked or self._configured())
        found = self._chosen(call, report)
        self._warn_of_silence(call, asked or self._configured(), report)
        if not found and not asked:
            self._warn_of_nothing(report)
        await self._examine(found, report)

    async def _examine(self, found: Sequence[IAm], report: ScanReport) -> None:
        done = 0
        window = asyncio.Semaphore(_AT_ONCE)
        report.progress("examine", 0, len(found))

        async def examine(i_am: IAm) -> None:
            nonlocal done
            async with window:
                await self._examine_one(i_am, report)
            done += 1
            report.progress("examine", done, len(found))

        await together(examine(i_am) for i_am in found)

    async def _examine_one(self, i_am: IAm, report: ScanReport) -> None:
        name = f"{self._ctx.name}.{i_am.instance}"
        profile = self._profiles.met(i_am)
        try:
            inventory = await self._examination.inventory(i_am, profile)
        except (DeviceTimeout, Refusal) as error:
            report.warn(
                "device.unreadable",
                f"{name} at {i_am.station} answered Who-Is but cannot be read: {error}",
                "Check whether a router or firewall on the way back drops its answers, then scan again.",
            )
        except Exception as error:  # a stranger's device can answer anything; it must not end the scan of the others
            self._ctx.log.exception("examination_failed", device=name)
            report.warn(
                "device.unreadable",
                f"{name} at {i_am.station} gave an answer that cannot be used: {error!r}",
                "Report it with the log.",
            )
        else:
            self._profiles.put(profile)
            report.found(inventory)

    def _chosen(self, call: RollCall, report: ScanReport) -> list[IAm]:
        """Take one device for each number; warn of numbers that more than one has."""
        found = []
        for instance, places in sorted(call.answers.items()):
            if instance == self._config.device.instance:
                self._warn_of_our_number(list(places), report)
                continue
            known = self._profiles.get(f"{self._ctx.name}.{instance}")
            first = chosen(places, _is_at(known))
            if len(places) > 1:
                others = ", ".join(str(place) for place in places)
                report.warn(
                    "device.duplicate",
                    f"Device number {instance} is used at {others}; only {first.station} is listed.",
                    "Give each device a number of its own, then scan again.",
                )
            found.append(first)
        return found

    def _asked(self, texts: Sequence[str]) -> list[tuple[Client, Station]]:
        targets = []
        for index, text in enumerate(texts):
            try:
                station = parse_station(text)
            except ValueError as error:
                fault = FieldFault(f"targets.{index}", Invalid.code, str(error))
                raise Invalid(f"A target cannot be asked: {error}.", errors=[fault]) from error
            targets.append((nearest(self._clients, station), station))
        return targets

    def _configured(self) -> list[tuple[Client, Station]]:
        return [
            (self._clients[str(network.interface)], parse_station(target))
            for network in self._config.networks
            for target in network.targets
        ]

    def _warn_of_our_number(self, places: Sequence[Station], report: ScanReport) -> None:
        ours = {(client.interface.ip, client.interface.port) for client in self._clients.values()}
        strangers = [str(place) for place in places if (place.ip, place.port) not in ours]
        if strangers:
            report.warn(
                "device.own_number",
                f"{', '.join(strangers)} has the device number {self._config.device.instance}, which is ours.",
                f"Change plugins.{self._ctx.name}.device.instance to a number that no device has.",
            )

    def _warn_of_silence(self, call: RollCall, targets: Sequence[tuple[Client, Station]], report: ScanReport) -> None:
        for _client, target in targets:
            if not call.heard_from(target):
                report.warn(
                    "target.silent",
                    f"Nothing answered Who-Is at {target}.",
                    "Check the address and port, the device's power, and firewalls for UDP in both directions.",
                )

    def _warn_of_nothing(self, report: ScanReport) -> None:
        networks = ", ".join(str(client.interface) for client in self._clients.values())
        report.warn(
            "scan.nothing_found",
            f"No device answered Who-Is on {networks}.",
            "Check that this is the interface and prefix of the BACnet network (`ip address`), that its UDP port is "
            "right, and that no firewall drops UDP. Devices in other subnets need `targets` or `foreign`; a container "
            "needs the host's network.",
        )


def nearest(clients: Mapping[str, Client], station: Station) -> Client:
    """Return the client that reaches an address: the one whose subnet it is in, or the first."""
    for client in clients.values():
        if ipaddress.IPv4Address(station.ip) in client.interface.network:
            return client
    return next(iter(clients.values()))


def _is_at(known: Profile | None) -> Callable[[Station], bool]:
    def check(place: Station) -> bool:
        return known is not None and attrs.evolve(known.station, interface="") == place

    return check


def _ranges(instances: Sequence[int | str]) -> list[tuple[int, int]]:
    ranges = []
    for index, instance in enumerate(instances):
        try:
            ranges.append(parse_range(instance))
        except ValueError as error:
            fault = FieldFault(f"instances.{index}", Invalid.code, str(error))
            raise Invalid(f"Such devices cannot be looked for: {error}.", errors=[fault]) from error
    return ranges
