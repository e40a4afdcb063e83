"""The plugin: opens its networks while it runs, and hands the kernel its driver."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from core.plugin import CliCommand, Context, Health, HealthCheck, Metric, Migration, Plugin, Route, hookimpl
from core.tasks import end_tasks
from plugins.bacnet import commands
from plugins.bacnet.client import Client, Identity
from plugins.bacnet.config import SCHEMA, BacnetConfig, Network
from plugins.bacnet.cov.subscription import State
from plugins.bacnet.cov.subscriptions import Subscriptions
from plugins.bacnet.discovery.bbmd import named
from plugins.bacnet.discovery.registration import Registration
from plugins.bacnet.driver import BacnetDriver
from plugins.bacnet.profiles import MIGRATIONS
from plugins.bacnet.properties.errand import Errands
from plugins.bacnet.routes.bbmds import BbmdRoutes
from plugins.bacnet.routes.inquiries import InquiryRoutes
from plugins.bacnet.routes.networks import NetworkRoutes
from plugins.bacnet.routes.profiles import ProfileRoutes
from plugins.bacnet.routes.properties import PropertyRoutes
from plugins.bacnet.routes.subscriptions import SubscriptionRoutes


class BacnetPlugin(Plugin[BacnetConfig]):
    """BACnet/IP: finds devices, polls and writes their points."""

    schema = SCHEMA
    config_class = BacnetConfig

    def __init__(self, config: BacnetConfig, ctx: Context) -> None:
        super().__init__(config, ctx)
        self.clients = {
            str(network.interface): self._client(index, network) for index, network in enumerate(config.networks)
        }
        self.driver = BacnetDriver(config, ctx, self.clients)

    @hookimpl
    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Hold all networks open."""
        return self._open()

    @hookimpl
    def register_driver(self) -> BacnetDriver:
        return self.driver

    @hookimpl
    def register_routes(self) -> Iterable[Route]:
        errands = Errands(self.ctx, self.driver, self.config.write)
        return [
            *ProfileRoutes(self.ctx.name, self.driver.profiles).routes,
            *PropertyRoutes(self.ctx, errands).routes,
            *SubscriptionRoutes(self.driver.subscriptions, self.ctx.clock).routes,
            *NetworkRoutes(self.driver, self.clients).routes,
            *InquiryRoutes(self.ctx.name, self.driver).routes,
            *BbmdRoutes(self.clients).routes,
        ]

    @hookimpl
    def register_commands(self) -> Iterable[CliCommand]:
        return [CliCommand("bacnet", commands.SUMMARY, commands.run, commands.add_arguments)]

    @hookimpl
    def register_migrations(self) -> Iterable[Migration]:
        return MIGRATIONS

    @hookimpl
    def register_health_checks(self) -> Iterable[HealthCheck]:
        links = [HealthCheck(f"link {name}", _check(client)) for name, client in self.clients.items()]
        return [*links, HealthCheck("device numbers", self.driver.duplicates.health)]

    @hookimpl
    def register_metrics(self) -> Iterable[Metric]:
        duplicates = self.driver.duplicates
        return [
            *(
                Metric(f"plantroom_bacnet_{name}_total", "counter", text, self._collect(figure))
                for name, text, figure in _FIGURES
            ),
            *(
                Metric(f"plantroom_bacnet_cov_{name}_total", "counter", text, self._of_cov(figure))
                for name, text, figure in _COV_FIGURES
            ),
            Metric(
                "plantroom_bacnet_cov_subscriptions", "gauge", "Subscriptions to changes of value, by how they stand",
                self._collect_states,
            ),
            Metric(
                "plantroom_bacnet_duplicate_device_numbers", "gauge", "Device numbers that more than one device has",
                lambda: [({"plugin": self.ctx.name}, len(duplicates))],
            ),
        ]  # fmt: skip

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        profiles = self.driver.profiles
        await profiles.load()
        async with AsyncExitStack() as stack:
            for client in self.clients.values():
                await client.open()
                stack.push_async_callback(client.close)
                self.ctx.log.info("link_open", interface=str(client.interface))
            stack.push_async_callback(profiles.save)
            stack.push_async_callback(self.driver.claims.close)
            keeping = [
                asyncio.create_task(profiles.keep(), name="bacnet:profiles"),
                asyncio.create_task(self.driver.claims.keep(), name="bacnet:claims"),
            ]
            stack.push_async_callback(end_tasks, keeping)
            stack.push_async_callback(self.driver.subscriptions.close)
            yield

    def _client(self, index: int, network: Network) -> Client:
        identity = Identity(
            self.config.device.instance, self.config.device.name, self.config.timeout, self.config.retries
        )
        option = f"plugins.{self.ctx.name}.networks[{index}].address"
        foreign = None if network.foreign is None else (network.foreign.station, network.foreign.ttl)
        bbmd = None if network.bbmd is None else network.bbmd.stations
        client = Client(network.interface, identity, option=option, foreign=foreign, bbmd=bbmd, clock=self.ctx.clock)
        client.noticed = self._registration_changed
        return client

    def _registration_changed(self, registration: Registration) -> None:
        bbmd = named(registration.bbmd)
        if registration.registered:
            self.ctx.log.info("foreign_device_registered", bbmd=bbmd)
        else:
            self.ctx.log.warning("foreign_device_unregistered", bbmd=bbmd, reason=registration.reason)

    def _collect(self, figure: Callable[[Client], float]) -> Callable[[], Iterable[tuple[Mapping[str, str], float]]]:
        def collect() -> Iterable[tuple[Mapping[str, str], float]]:
            for name, client in self.clients.items():
                yield {"plugin": self.ctx.name, "network": name}, figure(client)

        return collect

    def _of_cov(
        self, figure: Callable[[Subscriptions], int]
    ) -> Callable[[], Iterable[tuple[Mapping[str, str], float]]]:
        return lambda: [({"plugin": self.ctx.name}, figure(self.driver.subscriptions))]

    def _collect_states(self) -> Iterable[tuple[Mapping[str, str], float]]:
        counts = Counter(each.state for each in self.driver.subscriptions)
        return [({"plugin": self.ctx.name, "state": state}, counts[state]) for state in State]


def _check(client: Client) -> Callable[[], tuple[Health, str]]:
    def check() -> tuple[Health, str]:
        state, reason = client.state
        return (Health.OK, "up") if state == "up" else (Health.DEGRADED, f"{state}: {reason}")

    return check


_FIGURES: tuple[tuple[str, str, Callable[[Client], float]], ...] = (
    ("repeats", "Requests sent again because no answer came", lambda client: client.tally.repeats),
    ("late_answers", "Answers that came after they were given up", lambda client: client.tally.late),
    ("requests", "Confirmed requests sent", lambda client: client.tally.requests),
    ("timeouts", "Requests that were not answered", lambda client: client.tally.timeouts),
    ("refusals", "Requests answered with an error, a reject or an abort", lambda client: client.tally.refusals),
    ("datagrams_in", "Datagrams received", lambda client: client.link.traffic.datagrams_in),
    ("datagrams_out", "Datagrams sent", lambda client: client.link.traffic.datagrams_out),
    ("received_bytes", "Octets received", lambda client: client.link.traffic.octets_in),
    ("sent_bytes", "Octets sent", lambda client: client.link.traffic.octets_out),
    (
        "datagrams_dropped",
        "Datagrams dropped because too many came at once",
        lambda client: client.link.traffic.dropped,
    ),
    ("datagrams_broken", "Datagrams that made no sense", lambda client: client.link.traffic.broken),
)

_COV_FIGURES: tuple[tuple[str, str, Callable[[Subscriptions], int]], ...] = (
    ("notifications", "Notifications of our subscriptions", lambda all_: all_.notifications),
    ("strays", "Notifications of subscriptions that are not ours any more", lambda all_: all_.strays),
    ("renewals", "Subscriptions that devices took, again or for the first time", lambda all_: all_.renewals),
    ("refusals", "Subscriptions that devices refused", lambda all_: all_.refusals),
    ("missed", "Changes that a poll found and no notification told of", lambda all_: all_.missed),
)
