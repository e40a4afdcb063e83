"""Who-Has of ours, answered by other people's devices."""

from __future__ import annotations

from plugins.bacnet.wire.datatypes import ObjectId

from .test_npm_device import SET_POINT, TEMPERATURE


async def test_devices_of_both_stacks_say_that_they_have_an_object(house, serve, serve_npm):
    def fill(server):
        server.add_analog_input(1, "temperature", 62, 21.0)
        server.add_analog_input(2, "only here", 62, 21.0)

    await serve(1, fill)
    await serve_npm(2, [TEMPERATURE, SET_POINT])

    async def has(wanted, *instances):
        found = await house.driver.inquiry.who_has(wanted, instances)
        return [(each.device.instance, each.object, each.name) for each, _station in found]

    both = [(5001, ObjectId(0, 1), "temperature"), (6002, ObjectId(0, 1), "temperature")]
    assert await has("temperature") == both
    assert await has(ObjectId(0, 1)) == both
    assert await has("temperature", "6000-7000") == both[1:]
    assert await has("only here") == [(5001, ObjectId(0, 2), "only here")]
    assert await has("set-point") == [(6002, ObjectId(2, 1), "set-point")]
    assert await has("nowhere") == []
