"""What a request asks for, checked: ranges of device numbers, addresses, and which of our interfaces reaches them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from core.errors import FieldFault, Invalid
from plugins.bacnet.addresses import Station, parse_target
from plugins.bacnet.client import Client
from plugins.bacnet.config import BacnetConfig, parse_range


def ranges_of(instances: Sequence[int | str]) -> list[tuple[int, int]]:
    """Read device numbers and ranges of them; raises Invalid, which names the fields."""
    ranges = []
    for index, instance in enumerate(instances):
        try:
            ranges.append(parse_range(instance))
        except ValueError as error:
            fault = FieldFault(f"instances.{index}", Invalid.code, str(error))
            raise Invalid(f"Such devices cannot be looked for: {error}.", errors=[fault]) from error
    return ranges


def targets_of(clients: Mapping[str, Client], texts: Sequence[str]) -> list[tuple[Client, Station]]:
    """Read addresses to ask, each with the client that reaches it; raises Invalid, which names the fields."""
    targets = []
    for index, text in enumerate(texts):
        try:
            station = parse_target(text)
        except ValueError as error:
            fault = FieldFault(f"targets.{index}", Invalid.code, str(error))
            raise Invalid(f"A target cannot be asked: {error}.", errors=[fault]) from error
        targets.append((nearest(clients, station), station))
    return targets


def configured_targets(config: BacnetConfig, clients: Mapping[str, Client]) -> list[tuple[Client, Station]]:
    """Return the addresses that the configuration has asked always."""
    return [
        (clients[str(network.interface)], parse_target(target))
        for network in config.networks
        for target in network.targets
    ]


def nearest(clients: Mapping[str, Client], station: Station) -> Client:
    """Return the client that reaches an address: the one whose subnet it is in, or the first."""
    for client in clients.values():
        if ipaddress.IPv4Address(station.ip) in client.interface.network:
            return client
    return next(iter(clients.values()))
