"""The plugin's section: what it takes, and what it says to what it does not."""

from __future__ import annotations

import contextlib

import pytest
import voluptuous as vol
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.addresses import Interface, Station, parse_interface, parse_station
from plugins.bacnet.config import SCHEMA, Foreign, Network, parse_range

NETWORKS = {"networks": [{"address": "192.168.1.10/24:47808"}]}


def mistakes(section):
    with pytest.raises(vol.MultipleInvalid) as caught:
        vol.Schema(SCHEMA)(section)
    return [(".".join(str(part) for part in error.path), error.msg) for error in caught.value.errors]


def test_the_whole_section_is_taken():
    section = NETWORKS | {
        "device": {"instance": 599, "name": "Plantroom"},
        "interval": 5,
        "points": [{"match": "bacnet.2001.*", "interval": 60}, {"match": "*.binary-*", "enabled": False}],
        "scan": {"interval": None, "instances": [2001, "3000-3999"]},
        "timeout": 2,
        "retries": 0,
        "write": {"priorities": [8, 16], "default_priority": 16},
    }
    section["networks"] = [
        {"address": "10.0.0.2", "targets": ["10.0.5.7:47808"], "foreign": {"bbmd": "10.0.0.1", "ttl": 300}}
    ]
    checked = vol.Schema(SCHEMA)(section)
    assert checked["scan"]["instances"] == ["2001", "3000-3999"]


def test_a_missing_network_says_what_to_write():
    ((path, message),) = mistakes({})
    assert path == "networks"
    assert "192.168.1.10/24:47808" in message


@pytest.mark.parametrize(
    ("section", "path", "words"),
    [
        ({"networks": []}, "networks", "at least one network"),
        ({"networks": [{"address": "eth0"}]}, "networks.0.address", "not an IPv4 address"),
        ({"networks": [{"address": "10.0.0.1/99"}]}, "networks.0.address", "prefix length"),
        ({"networks": [{"address": "10.0.0.1:0"}]}, "networks.0.address", "UDP port"),
        ({"networks": [{"address": "0.0.0.0"}]}, "networks.0.address", "no single machine"),
        ({"networks": [{"address": "10.0.0.1"}, {"address": "10.0.0.1/8"}]}, "networks", "same address"),
        ({"networks": [{"address": "10.0.0.1", "targets": ["x"]}]}, "networks.0.targets.0", "not an address"),
        (
            {"networks": [{"address": "10.0.0.1", "foreign": {"bbmd": "x"}}]},
            "networks.0.foreign.bbmd",
            "not an address",
        ),
        (NETWORKS | {"device": {"instance": 4194303}}, "device.instance", "4194302"),
        (NETWORKS | {"interval": 0}, "interval", "0.1"),
        (NETWORKS | {"intervall": 5}, "intervall", "extra keys"),
        (NETWORKS | {"scan": {"instances": ["9-1"]}}, "scan.instances.0", "range"),
        (NETWORKS | {"write": {"priorities": [0]}}, "write.priorities.0", "from 1 to 16"),
        (NETWORKS | {"write": {"priorities": [9]}}, "write", "default_priority 16"),
    ],
)
def test_a_mistake_is_told_at_its_place_with_what_would_be_right(section, path, words):
    assert [(path, True)] == [(where, words in message) for where, message in mistakes(section)]


@pytest.mark.parametrize(
    ("text", "interface"),
    [
        ("192.168.1.10/16:47809", Interface("192.168.1.10", 16, 47809)),
        ("192.168.1.10", Interface("192.168.1.10", 24, 47808)),
        ("127.0.0.2:47900", Interface("127.0.0.2", 8, 47900)),
    ],
)
def test_an_interface_is_read_with_its_defaults(text, interface):
    assert parse_interface(text) == interface
    assert parse_interface(str(interface)) == interface


def test_broadcasts_go_to_the_whole_subnet():
    assert parse_interface("127.0.0.2:47900").broadcast == "127.255.255.255"
    assert parse_interface("192.168.1.10").broadcast == "192.168.1.255"
    assert parse_interface("192.168.1.10/32").broadcast is None


@given(
    st.ip_addresses(v=4).filter(lambda ip: not (ip.is_unspecified or ip.is_multicast or int(ip) == 0xFFFFFFFF)),
    st.integers(1, 65535),
    st.one_of(st.none(), st.integers(1, 65534)),
    st.binary(min_size=1, max_size=7),
)
def test_a_station_survives_its_text(ip, port, network, mac):
    station = Station("here", str(ip), port, network, b"" if network is None else mac)
    assert parse_station(str(station), interface="here") == station


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_value_error(text):
    for parse in (parse_interface, parse_station, parse_range):
        with contextlib.suppress(ValueError):
            parse(text)


@pytest.mark.parametrize(
    "text", ["70000:1@10.0.0.1", "1:300@10.0.0.1", "1:0xabc@10.0.0.1", "10.0.0.1:99999", "300.0.0.1"]
)
def test_a_station_that_cannot_be_is_refused(text):
    with pytest.raises(ValueError, match="is not"):
        parse_station(text)


def test_config_classes_give_parsed_addresses():
    assert Network("10.0.0.2/16").interface == Interface("10.0.0.2", 16, 47808)
    assert Foreign("10.0.0.1").station == Station("", "10.0.0.1", 47808)
