"""What users of other gateways complain of when devices are looked for, each so that it cannot happen here."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket

import pytest
from bacpypes3.local.multistate import MultiStateValueObject

from core.errors import PlantroomError
from plugins.bacnet.config import Bbmd, Foreign, Network
from plugins.bacnet.objects import Prop
from plugins.bacnet.wire import apdu, bvll, npdu, primitives, read_property, who_is
from plugins.bacnet.wire import read_property_multiple as rpm
from plugins.bacnet.wire.apdu import PropertyError, Service
from plugins.bacnet.wire.datatypes import ObjectId
from plugins.bacnet.wire.errors import DecodeError

HERE = "127.0.0.90/8:47980"
AT = ("127.0.0.91", 47980)
TARGET = "127.0.0.91:47980"

KERNEL = f"""
plugins:
  bacnet:
    networks: [{{address: "{HERE}", targets: ["{TARGET}"]}}]
    scan: {{interval: null}}
    interval: 3600
    timeout: 0.2
    retries: 0
"""


@pytest.fixture
async def controller():
    async with contextlib.AsyncExitStack() as stack:

        async def put(inputs, *, instance=2001, address=AT, **options):
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.create_datagram_endpoint(
                lambda: Controller(instance, inputs, **options), local_addr=address
            )
            stack.callback(transport.close)
            return protocol

        yield put


async def scan(house, **body):
    """Scan through REST, and answer the job when it has ended."""
    started = await house.api.post("/api/v1/scans", body)
    assert started.status == 202

    async def ended():
        job = (await house.api.get(started.headers["Location"])).json
        return job if job["state"] in ("succeeded", "failed") else None

    job = await house.until(ended, seconds=30)
    assert job["state"] == "succeeded", job
    return job


def counts(job, *names):
    return {name: job["result"][name] for name in names or ("added", "changed", "vanished", "returned")}


UNKNOWN_OBJECT, UNKNOWN_PROPERTY = PropertyError(1, 31), PropertyError(2, 32)
BUSY = PropertyError(0, 3)  # device device-busy
_SEGMENTATION_NOT_SUPPORTED = 4


class Controller(asyncio.DatagramProtocol):
    """A device in a few octets of our own codec, fast, without segmentation, and as forgetful as a test wants it.

    Analog inputs by number; ``loses`` and ``fails`` say of a property whether it is left unanswered or an error.

    After ``falls_silent_after`` more requests it answers no more.
    """

    def __init__(self, instance, inputs, *, max_apdu=480):
        self.device = ObjectId(8, instance)
        self.inputs = list(inputs)
        self.max_apdu = max_apdu
        self.requests = self.aborts = 0
        self.falls_silent_after = None
        self.loses = lambda _ref: False
        self.fails = lambda _ref: False

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        header = npdu.read_npdu(data, bvll.CARRIES_NPDU[data[1]])
        if header.control & npdu.NETWORK_MESSAGE:
            return
        if data[header.at] >> 4:
            try:
                limits = who_is.read_who_is(data, header.at)
            except DecodeError:
                return
            if limits is None or limits[0] <= self.device.instance <= limits[1]:
                i_am = who_is.IAm(self.device, self.max_apdu, who_is.Segmentation.NONE, 999)
                self._send(who_is.write_i_am(i_am), address)
            return
        self.requests += 1
        if self.falls_silent_after is not None:
            self.falls_silent_after -= 1
            if self.falls_silent_after < 0:
                return
        self._answer(data, header.at, address)

    def _answer(self, data, at, address):
        request = apdu.read_request(data, at)
        single = request.service == Service.READ_PROPERTY
        parameters = data[request.at :]
        refs = [read_property.read_parameters(parameters)] if single else rpm.read_parameters(parameters)
        if any(self.loses(ref) for ref in refs):
            return
        values = [self._value(ref) for ref in refs]
        if single and isinstance(values[0], PropertyError):
            self._send(apdu.write_error(Service.READ_PROPERTY, request.invoke_id, values[0]), address)
            return
        if single:
            result = read_property.write_result(refs[0], values[0])
        else:
            elements = zip(refs, values, strict=True)
            result = b"".join(
                rpm.write_object(thing, b"".join(rpm.write_element(ref, value) for ref, value in group))
                for thing, group in itertools.groupby(elements, key=lambda element: element[0].object)
            )
        answer = apdu.write_complex_ack(request.service, request.invoke_id, result)
        if len(answer) > self.max_apdu:
            self.aborts += 1
            answer = apdu.write_abort(request.invoke_id, _SEGMENTATION_NOT_SUPPORTED, from_server=True)
        self._send(answer, address)

    def _value(self, ref):
        if self.fails(ref):
            return BUSY
        if ref.object == self.device:
            return self._about_device(ref)
        if ref.object.type != 0 or ref.object.instance not in self.inputs:
            return UNKNOWN_OBJECT
        values = {
            Prop.OBJECT_NAME: primitives.encode_character_string(f"Room {ref.object.instance}"),
            Prop.UNITS: primitives.encode_enumerated(62),
            Prop.PRESENT_VALUE: primitives.encode_real(21.5),
            Prop.STATUS_FLAGS: b"\x82\x04\x00",
        }
        return values.get(ref.property, UNKNOWN_PROPERTY)

    def _about_device(self, ref):
        if ref.property == Prop.OBJECT_NAME:
            return primitives.encode_character_string(f"controller-{self.device.instance}")
        if ref.property != Prop.OBJECT_LIST:
            return UNKNOWN_PROPERTY
        objects = [self.device, *(ObjectId(0, number) for number in self.inputs)]
        if ref.index is None:
            return b"".join(primitives.encode_object_id(each) for each in objects)
        if ref.index == 0:
            return primitives.encode_unsigned(len(objects))
        return (
            primitives.encode_object_id(objects[ref.index - 1]) if ref.index <= len(objects) else PropertyError(2, 42)
        )

    def _send(self, message, address):
        self.transport.sendto(bvll.unicast(npdu.write_npdu() + message), address)


UNCHANGED = {"added": 0, "changed": 0, "vanished": 0, "returned": 0}


async def points(house):
    return {
        point["id"]: (point["name"], point["unit"], point["vanished"], house.point(point["id"]).slot)
        for point in (await house.get("/api/v1/points", limit="1000"))["items"]
    }


async def test_a_huge_object_list_of_a_device_that_cannot_segment_is_read_and_shows_movement(start, controller):
    device = await controller(range(1, 3001))
    house = await start(HERE, targets=[TARGET], timeout=1.0)
    report = await house.scan()
    assert report.warnings == []
    found = report.inventories["bacnet.2001"].points
    assert len(found) == 3000
    assert {(point.name, point.unit) for point in found} == {
        (f"Room {number}", "degrees-celsius") for number in range(1, 3001)
    }
    assert device.aborts < 20
    examined = [(done, total) for phase, done, total in report.steps if phase == "examine"]
    assert examined[0] == (0, 1)
    assert examined[-1] == (3001, 3001)
    assert len(examined) > 30, "a single device shows that it gets on"
    assert examined == sorted(examined)
    assert report.counts[-1] == (1, 3000)
    assert [read for _devices, read in report.counts] == sorted(read for _devices, read in report.counts)


async def test_progress_estimates_devices_whose_objects_have_not_been_counted(start, controller):
    for number in range(1, 41):
        await controller(range(1, 61), instance=2000 + number, address=(f"127.0.1.{number}", 47980))
    house = await start(HERE, timeout=2.0)
    report = await house.scan(targets=[f"127.0.1.{number}:47980" for number in range(1, 41)])
    assert len(report.inventories) == 40
    examined = [(done, total) for phase, done, total in report.steps if phase == "examine"]
    assert examined[-1] == (40 * 61, 40 * 61)
    assert all(done <= total for done, total in examined)
    assert report.counts[-1] == (40, 40 * 60)


async def test_new_points_come_without_delete_and_add_and_no_id_changes(plantroom, controller):
    device = await controller(range(1, 101))
    house = await plantroom(KERNEL)
    first = await scan(house)
    assert counts(first, "devices", "points", "devices_added", "added") == {
        "devices": 1,
        "points": 100,
        "devices_added": 1,
        "added": 100,
    }
    assert first["counts"] == {"devices": 1, "points": 100}
    before = await points(house)
    await house.client.patch("/api/v1/points/bacnet.2001.analog-input.50", json={"name": "Mine"})
    assert counts(await scan(house)) == UNCHANGED
    device.inputs = [*range(11, 101), *range(201, 211)]
    job = await scan(house)
    assert counts(job) == {"added": 10, "changed": 0, "vanished": 10, "returned": 0}
    assert job["result"]["added_ids"] == [f"bacnet.2001.analog-input.{number}" for number in range(201, 211)]
    assert job["result"]["vanished_ids"] == [f"bacnet.2001.analog-input.{number}" for number in range(1, 11)]
    after = await points(house)
    assert {name: slot for name, (*_rest, slot) in after.items() if name in before} == {
        name: slot for name, (*_rest, slot) in before.items()
    }
    assert [name for name, (_name, _unit, vanished, _slot) in after.items() if vanished] == sorted(
        job["result"]["vanished_ids"]
    )
    assert after["bacnet.2001.analog-input.50"][0] == "Mine"
    device.inputs = list(range(1, 101))
    assert counts(await scan(house)) == {"added": 0, "changed": 0, "vanished": 10, "returned": 10}
    again = await points(house)
    assert {name: again[name][3] for name in before} == {name: slot for name, (*_rest, slot) in before.items()}
    done = house.logged("scan_done", vanished=10, returned=10)
    assert len(done) == 1


async def test_a_scan_that_a_device_falls_silent_in_makes_nothing_vanish(plantroom, controller):
    device = await controller(range(1, 201))
    house = await plantroom(KERNEL)
    await scan(house)
    before = await points(house)
    device.requests = 0
    assert counts(await scan(house)) == UNCHANGED
    whole = device.requests
    assert whole > 20
    for requests in sorted({1, 2, 3, whole // 4, whole // 2}):
        device.falls_silent_after = requests
        job = await scan(house)
        assert counts(job) == UNCHANGED
        assert [warning["code"] for warning in job["warnings"]] == ["device.unreadable"]
        device.falls_silent_after = None
    assert await points(house) == before
    assert counts(await scan(house)) == UNCHANGED


@pytest.mark.parametrize("fault", ["loses", "fails"])
async def test_entries_of_an_object_list_that_are_not_answered_make_nothing_vanish(plantroom, controller, fault):
    device = await controller(range(1, 151))
    house = await plantroom(KERNEL)
    await scan(house)
    before = await points(house)
    setattr(device, fault, lambda ref: ref.property == Prop.OBJECT_LIST and ref.index in (7, 90))
    job = await scan(house)
    assert counts(job) == UNCHANGED
    assert [warning["code"] for warning in job["warnings"]] == ["device.incomplete"]
    assert await points(house) == before


@pytest.mark.parametrize("fault", ["loses", "fails"])
async def test_objects_that_tell_nothing_of_themselves_stay_what_they_were(plantroom, controller, fault):
    device = await controller(range(1, 31))
    house = await plantroom(KERNEL)
    await scan(house)
    before = await points(house)
    setattr(device, fault, lambda ref: ref.object.type == 0 and ref.object.instance in (3, 30))
    job = await scan(house)
    assert counts(job) == UNCHANGED
    assert await points(house) == before


async def test_a_device_that_moved_is_polled_and_listed_at_its_new_address(plantroom, controller):
    device = await controller(range(1, 4))
    house = await plantroom(KERNEL.replace(f'"{TARGET}"', f'"{TARGET}", "127.0.0.92:47980"'))
    await scan(house)
    device.transport.close()
    await controller(range(1, 4), address=("127.0.0.92", 47980))
    answer = await house.api.post("/api/v1/bacnet/who-is", {})
    assert [each["address"] for each in answer.json["items"]] == ["127.0.0.92:47980"]

    async def moved():
        return (await house.get("/api/v1/devices/bacnet.2001"))["address"] == "127.0.0.92:47980"

    await house.until(moved)
    assert (await house.api.get("/api/v1/points/bacnet.2001.analog-input.1/value", max_age="0")).json["value"] == 21.5


async def test_a_broadcast_that_does_not_reach_is_made_up_for_by_targets_and_by_foreign_registration(
    bench, start, until
):
    bench.device("127.0.0.93/8:47981", 2001, [bench.analog_input(1)])
    house = await start(HERE)
    nothing = await house.scan()
    assert nothing.codes == ["scan.nothing_found"]
    assert "`targets` or `foreign`" in nothing.warnings[0][2]
    assert list((await house.scan(targets=("127.0.0.93:47981",))).inventories) == ["bacnet.2001"]
    await start("127.0.0.94/8:47981", bbmd=Bbmd())
    foreign = await start("127.0.0.89/8:47982", foreign=Foreign("127.0.0.94:47981", 60))
    (client,) = foreign.plugin.clients.values()
    await until(lambda: client.state == ("up", ""))
    assert list((await foreign.scan()).inventories) == ["bacnet.2001"]


async def test_many_devices_on_one_address_behind_a_router_are_each_found(bench, start):
    bench.router("127.0.0.92/8:47980", 2001, range(3001, 3051), lambda: [bench.analog_input(1)])
    house = await start(HERE, timeout=1.0)
    report = await house.scan()
    assert sorted(report.inventories) == [f"bacnet.{number}" for number in range(3001, 3051)]
    addresses = {found.device.address for found in report.inventories.values()}
    assert addresses == {f"2001:{mac}@127.0.0.92:47980" for mac in range(1, 51)}
    assert report.warnings == []


async def test_of_several_cards_the_one_whose_port_is_taken_is_named(start):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.89", 47980))
        with pytest.raises(PlantroomError, match=r"47980 of 127\.0\.0\.89.*networks\[1\]\.address"):
            await start(HERE, networks=(Network(HERE), Network("127.0.0.89/8:47980")))
    house = await start(HERE, networks=(Network(HERE), Network("127.0.0.89/8:47980")))
    assert [client.state[0] for client in house.plugin.clients.values()] == ["up", "up"]


async def test_units_and_state_texts_that_are_wrong_or_missing_are_made_the_best_of(bench, start):
    modes = [
        MultiStateValueObject(
            objectIdentifier=("multi-state-value", number),
            objectName=f"mode-{number}",
            presentValue=1,
            numberOfStates=3,
            **({"stateText": texts} if texts else {}),
            **bench.ok,
        )
        for number, texts in enumerate((None, ["Off", "On"], ["Off\0\0", "", "Auto "]), 1)
    ]
    inputs = [
        bench.analog_input(1, units="no-units"),
        bench.analog_input(2, units=47),
        bench.analog_input(3, units=1000),
        bench.analog_input(4, minPresValue=100.0, maxPresValue=0.0),
    ]
    bench.device("127.0.0.91/8:47980", 2001, [*modes, *inputs])
    house = await start(HERE)
    report = await house.scan()
    states = [report.point(f"bacnet.2001.multi-state-value.{number}").states for number in (1, 2, 3)]
    assert states == [
        {"1": "State 1", "2": "State 2", "3": "State 3"},
        {"1": "Off", "2": "On", "3": "State 3"},
        {"1": "Off", "2": "State 2", "3": "Auto"},
    ]
    first, second, third, fourth = (report.point(f"bacnet.2001.analog-input.{number}") for number in (1, 2, 3, 4))
    assert (first.unit, first.symbol) == (None, None)
    assert second.unit == "watts"
    assert third.unit
    assert (fourth.min, fourth.max) == (None, None)


async def test_two_instances_each_find_their_own_devices_of_one_number(plantroom, bench):
    bench.device("127.0.0.91/8:47980", 2001, [bench.analog_input(1, 1.0)])
    bench.device("127.0.0.92/8:47981", 2001, [bench.analog_input(1, 2.0)])
    house = await plantroom(
        f"""
        plugins:
          bacnet: {{networks: [{{address: "{HERE}"}}], timeout: 0.3}}
          campus: {{use: bacnet, networks: [{{address: "127.0.0.90/8:47981"}}], timeout: 0.3}}
        """
    )
    values = [await house.value_of(f"{name}.2001.analog-input.1") for name in ("bacnet", "campus")]
    assert values == [1.0, 2.0]
    assert house.device_ids() == ["bacnet.2001", "campus.2001"]
    for name, address in (("bacnet", "127.0.0.91:47980"), ("campus", "127.0.0.92:47981")):
        assert (await house.get(f"/api/v1/{name}/duplicates"))["items"] == []
        (network,) = (await house.get(f"/api/v1/{name}/networks"))["items"]
        assert (network["state"], network["devices"]) == ("up", 1)
        answer = await house.api.post(f"/api/v1/{name}/who-is", {"instances": [2001]})
        assert [(each["address"], each["known"]) for each in answer.json["items"]] == [(address, f"{name}.2001")]
        assert (await house.api.get(f"/api/v1/{name}/bbmds/10.0.0.1:47808")).status == 504
        assert (await house.api.get(f"/api/v1/{name}/bbmds/nowhere")).status == 422
    ready = await house.get("/readyz")
    assert ready["status"] == "ok"
