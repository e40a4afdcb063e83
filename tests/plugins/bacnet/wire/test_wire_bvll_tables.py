"""What a BBMD is told and asked, against bacpypes3's."""

from __future__ import annotations

import ipaddress

import pytest
from bacpypes3.ipv4.bvll import (
    DeleteForeignDeviceTableEntry,
    FDTEntry,
    ReadBroadcastDistributionTable,
    ReadBroadcastDistributionTableAck,
    ReadForeignDeviceTable,
    ReadForeignDeviceTableAck,
    RegisterForeignDevice,
    Result,
    WriteBroadcastDistributionTable,
)
from bacpypes3.pdu import IPv4Address
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import bvll_tables as tables
from plugins.bacnet.wire.bvll_tables import BdtEntry, End, FdtEntry, ResultCode
from plugins.bacnet.wire.errors import DecodeError

IPS = st.ip_addresses(v=4).map(str)
ENDS = st.builds(End, IPS, st.integers(1, 65535))
MASKS = st.integers(0, 32).map(lambda bits: str(ipaddress.IPv4Network(f"0.0.0.0/{bits}").netmask))
BDTS = st.lists(st.builds(BdtEntry, ENDS, MASKS), max_size=20)
NUMBERS = st.integers(0, 65535)
FDTS = st.lists(st.builds(FdtEntry, ENDS, NUMBERS, NUMBERS), max_size=20)


def octets_of(message):
    return bytes(message.encode().pduData)


def theirs(entry):
    return IPv4Address(f"{entry.address.ip}/{entry.mask}:{entry.address.port}")


def foreign(entry):
    made = FDTEntry()
    made.fdAddress, made.fdTTL, made.fdRemain = IPv4Address(tuple(entry.address)), entry.ttl_s, entry.remaining_s
    return made


@given(BDTS)
def test_a_broadcast_distribution_table_is_the_same_as_bacpypes3_s(entries):
    written, told = tables.write_bdt(entries), tables.write_bdt_ack(entries)
    assert octets_of(WriteBroadcastDistributionTable([theirs(each) for each in entries])) == written
    assert octets_of(ReadBroadcastDistributionTableAck([theirs(each) for each in entries])) == told
    assert tables.read_bdt(written) == tables.read_bdt(told) == tuple(entries)


@given(FDTS)
def test_a_foreign_device_table_is_the_same_as_bacpypes3_s(entries):
    told = tables.write_fdt_ack(entries)
    assert octets_of(ReadForeignDeviceTableAck([foreign(each) for each in entries])) == told
    assert tables.read_fdt(told) == tuple(entries)


@given(ENDS, NUMBERS)
def test_requests_are_the_same_as_bacpypes3_s(end, ttl_s):
    assert tables.write_read_bdt() == octets_of(ReadBroadcastDistributionTable())
    assert tables.write_read_fdt() == octets_of(ReadForeignDeviceTable())
    assert tables.write_delete_foreign(end) == octets_of(DeleteForeignDeviceTableEntry(IPv4Address(tuple(end))))
    assert tables.write_register(ttl_s) == octets_of(RegisterForeignDevice(ttl_s))


@given(NUMBERS)
def test_a_result_is_the_same_as_bacpypes3_s(code):
    octets = tables.write_result(code)
    assert octets_of(Result(code)) == octets
    assert tables.read_result(octets) == code


def test_each_request_has_a_refusal_of_its_own():
    assert [int(code) for code in ResultCode] == [0, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60]


@pytest.mark.parametrize(
    ("reader", "datagram"),
    [
        (tables.read_bdt, b"\x81\x03\x00\x05\x00"),
        (tables.read_bdt, b"\x81\x07\x00\x04"),
        (tables.read_bdt, b"\x81\x03\x00\x0e\x00"),
        (tables.read_fdt, b"\x81\x07\x00\x0d" + bytes(9)),
        (tables.read_fdt, b"\x81\x03\x00\x04"),
        (tables.read_result, b"\x81\x00\x00\x05\x00"),
        (tables.read_result, b"\x81\x0a\x00\x06\x00\x00"),
        (tables.read_result, b""),
    ],
)
def test_what_is_none_is_refused(reader, datagram):
    with pytest.raises(DecodeError):
        reader(datagram)
