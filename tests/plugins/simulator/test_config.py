"""The plugin's options."""

from __future__ import annotations

from typing import Any

import pytest
import voluptuous as vol

from plugins.simulator import SimulatorPlugin
from plugins.simulator.config import SCHEMA, SimulatorConfig
from plugins.simulator.trunks import TrunkOptions


def test_every_option_has_a_default() -> None:
    assert vol.Schema(SCHEMA)({}) == {}
    assert SimulatorConfig() == SimulatorConfig(
        seed=1, speed=60, host="127.0.0.1", port=47809, network=2001, controllers=0, points=100, changing=0.1
    )
    assert SimulatorPlugin.config_class is SimulatorConfig


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 0},
        {"speed": 1},
        {"speed": 0.5},
        {"host": "10.0.0.1", "port": 47810},
        {"network": 65534},
        {"controllers": 10_000, "points": 1, "changing": 1},
        {"changing": 0},
        {"trunks": [{"network": 3001}, {"network": 3002, "controllers": 127, "points": 1, "latency": 0, "baud": 1200}]},
        {"trunks": [], "faults": []},
    ],
)
def test_sensible_options_are_taken(options: dict[str, Any]) -> None:
    assert vol.Schema(SCHEMA)(options) == options


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"seed": True},
        {"seed": "one"},
        {"speed": 0},
        {"speed": float("nan")},
        {"host": "localhost"},
        {"host": "::1"},
        {"host": 5},
        {"port": 0},
        {"port": 65536},
        {"port": 1.5},
        {"network": 65535},
        {"controllers": -1},
        {"controllers": 10_001},
        {"points": 0},
        {"points": 1001},
        {"changing": 1.1},
        {"changing": -0.1},
        {"colour": "red"},
        {"trunks": [{"controllers": 8}]},
        {"trunks": [{"network": 3001, "controllers": 128}]},
        {"trunks": [{"network": 3001, "latency": -1}]},
        {"trunks": [{"network": 3001, "baud": 300}]},
        {"trunks": [{"network": number} for number in range(1, 66)]},
        {"trunks": {"network": 3001}},
        {"faults": {"kind": "silent"}},
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(vol.Invalid):
        vol.Schema(SCHEMA)(options)


def test_each_network_has_a_number_of_its_own() -> None:
    for numbers in ((2001,), (3001, 3001)):
        with pytest.raises(ValueError, match=f"network {numbers[-1]} is there twice"):
            SimulatorConfig(trunks=tuple(TrunkOptions(network=number) for number in numbers))
