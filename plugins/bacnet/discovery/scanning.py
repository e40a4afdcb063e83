"""One scan from the first Who-Is to the last point, with everything that is worth a warning on the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from core.plugin import Context, Device, DeviceTimeout, Inventory, ScanReport, ScanRequest
from plugins.bacnet.addresses import Station, parse_station
from plugins.bacnet.client import Client
from plugins.bacnet.config import BacnetConfig, parse_range
from plugins.bacnet.discovery.calls import MOST_ANSWERS, Discovery, RollCall
from plugins.bacnet.discovery.claims import Claims
from plugins.bacnet.discovery.duplicates import MOST_PLACES, Duplicates
from plugins.bacnet.discovery.examination import Examination
from plugins.bacnet.discovery.progress import Effort, Progress
from plugins.bacnet.discovery.requested import configured_targets, nearest, ranges_of, targets_of
from plugins.bacnet.errors import Refusal
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
        duplicates: Duplicates,
    ) -> None:
        self._config = config
        self._ctx = ctx
        self._clients = clients
        self._discovery = discovery
        self._profiles = profiles
        self._duplicates = duplicates
        self.claims = Claims(ctx, profiles, reader, duplicates, self.follow)
        self._examination = Examination(reader, ctx, config.points, interval=config.interval)

    async def scan(self, request: ScanRequest, report: ScanReport) -> None:
        """Find devices and examine them; raises Invalid for a request that makes no sense."""
        wanted = ranges_of(request.instances)
        ranges = wanted or [parse_range(text) for text in self._config.scan.instances]
        asked = targets_of(self._clients, request.targets)
        targets = asked or configured_targets(self._config, self._clients)
        broadcast = () if asked else tuple(self._clients.values())
        self._recall(request.known)
        report.progress("who-is", 0)
        started = self._ctx.clock.monotonic()
        call = await self._discovery.call(ranges, broadcast, targets)
        found = await self._chosen(call, {low for low, high in wanted if low == high}, report)
        await self.claims.note_renumbered(call.answers)
        self._warn_of_conflicts(started, report)
        if call.left_out:
            report.warn(
                "scan.too_many",
                f"{call.left_out} answers to Who-Is were left out: more than {MOST_ANSWERS} came, or more than "
                f"{MOST_PLACES} from different places with one device number.",
                "Scan by ranges of device numbers (`instances`), and look for what floods the network with I-Am.",
            )
        self._warn_of_silence(call, targets, report)
        if not call.answers and not asked:
            self._warn_of_nothing(report)
        await self._examine(found, report)

    async def follow(self, i_am: IAm) -> None:
        """Examine a device that is somewhere else by now, and list it there if it can be read."""
        profile = self._profiles.met(i_am)
        try:
            inventory = await self._examination.inventory(i_am, profile)
        except (DeviceTimeout, Refusal) as error:
            self._ctx.log.warning("device_not_followed", instance=i_am.instance, error=str(error))
        except Exception:  # as in a scan: a stranger's device can answer anything
            self._ctx.log.exception("examination_failed", instance=i_am.instance)
        else:
            self._take(profile, inventory)
            self._ctx.found(inventory)

    def _recall(self, devices: Sequence[Device]) -> None:
        """Know again where devices were before a restart, so that a newcomer is not taken for one of them."""
        for device in devices:
            if self._profiles.get(device.id) is None:
                with contextlib.suppress(ValueError):
                    recalled(self._profiles, self._clients, device)

    async def _examine(self, found: Sequence[IAm], report: ScanReport) -> None:
        window = asyncio.Semaphore(_AT_ONCE)
        progress = Progress(report, len(found))

        async def examine(i_am: IAm) -> None:
            async with window:
                effort = Effort(progress)
                await self._examine_one(i_am, report, effort)
                effort.end()

        await together(examine(i_am) for i_am in found)

    async def _examine_one(self, i_am: IAm, report: ScanReport, effort: Effort) -> None:
        name = f"{self._ctx.name}.{i_am.instance}"
        profile = self._profiles.met(i_am)
        try:
            inventory = await self._examination.inventory(i_am, profile, effort)
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
            self._take(profile, inventory)
            report.found(inventory)
            if not inventory.complete:
                report.warn(
                    "device.incomplete",
                    f"{name} at {i_am.station} did not tell all of its object list; the rest stays as it was.",
                    "Scan again; if it stays so, look at how busy the device and its network are.",
                )

    def _take(self, profile: Profile, inventory: Inventory) -> None:
        """Have a device read where it was examined from now on."""
        before = self._profiles.get(inventory.device.id)
        if before is not None and before.station.place != profile.station.place:
            event = "device_moved" if self.claims.is_listed_as(inventory.device) else "device_replaced"
            self._ctx.log.info(event, device=inventory.device.id, before=str(before.station), now=str(profile.station))
        self._profiles.put(profile)

    async def _chosen(self, call: RollCall, named: AbstractSet[int], report: ScanReport) -> list[IAm]:
        """Take one device for each number; warn of numbers that more than one has."""
        own = self._config.device.instance
        if own in call.answers:
            self._warn_of_our_number(list(call.answers[own]), report)
        others = [(instance, places) for instance, places in sorted(call.answers.items()) if instance != own]
        judged = await together(
            self.claims.judge(instance, places, named=instance in named) for instance, places in others
        )
        for (instance, places), chosen in zip(others, judged, strict=True):
            if self._duplicates.get(instance) is not None:
                self._warn_of_duplicate(instance, report)
            elif chosen is None and self._profiles.get(f"{self._ctx.name}.{instance}") is not None:
                self._warn_of_pretender(instance, places, report)
        return [i_am for i_am in judged if i_am is not None]

    def _warn_of_duplicate(self, instance: int, report: ScanReport) -> None:
        duplicate = self._duplicates.get(instance)
        if duplicate is None:
            return
        listed = "none of them is listed, since a write might reach the wrong one"
        if duplicate.kept is not None:
            listed = f"the one at {duplicate.kept}, which was there first, stays, and no other is listed"
        if duplicate.kept_is_silent:
            report.warn(
                "device.duplicate",
                f"Device number {instance} is claimed at {duplicate.claimed} by another device than the one at "
                f"{duplicate.kept}, which is listed and does not answer; it is not taken for that one.",
                f"Where it is its replacement, scan with instances [{instance}]; else give it a number of its own.",
            )
            return
        report.warn(
            "device.duplicate",
            f"Device number {instance} is used at {duplicate}; {listed}.",
            "Give each device a number of its own, then scan again.",
        )

    def _warn_of_pretender(self, instance: int, places: Mapping[Station, IAm], report: ScanReport) -> None:
        report.warn(
            "device.unreadable",
            f"{' and '.join(map(str, places))} answered Who-Is as device {instance}, which is silent where it is "
            "listed, but does not say who it is; it is not taken for that one.",
            "Check whether a router or firewall on the way back drops its answers, then scan again.",
        )

    def _warn_of_conflicts(self, started: float, report: ScanReport) -> None:
        for client in self._clients.values():
            for network, stations in client.routers.conflicts(started).items():
                report.warn(
                    "router.conflict",
                    f"Network {network} is behind {' and '.join(str(station) for station in stations)}, as both say.",
                    "Give each network a number of its own on its router, or remove one of two ways to the same one.",
                )

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


def recalled(profiles: Profiles, clients: Mapping[str, Client], device: Device) -> Profile:
    """Begin with what was kept of a device over a restart; raises ValueError where that is not enough to ask it."""
    kept = str(device.attributes.get("interface"))
    client = clients.get(kept) or nearest(clients, parse_station(device.address))
    return profiles.restored(device, str(client.interface))
