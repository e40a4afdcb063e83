"""The in-memory services."""

from __future__ import annotations

import asyncio
import math
from array import array

from core.clock import ManualClock
from core.defaults import SoleLeadership, in_memory_services
from core.model import Source
from core.readings import Chunk, Row, batch_of


async def test_a_process_that_is_alone_owns_everything_for_ever():
    leadership = SoleLeadership()
    leases = await leadership.hold(["a", "b"])
    assert [(lease.name, lease.fence, lease.valid_until) for lease in leases] == [
        ("a", 1, math.inf),
        ("b", 1, math.inf),
    ]
    await leadership.release(["a"])
    nothing = asyncio.ensure_future(anext(leadership.changes()))
    await asyncio.sleep(0)
    assert not nothing.done()
    nothing.cancel()


async def test_there_is_one_of_each_service(clock: ManualClock):
    services = in_memory_services(clock)
    await services.cache.set("key", b"value", ttl_s=1)
    assert await services.cache.get("key") == b"value"
    assert services.rate_limit_store.take("key", rate=1, burst=1).allowed
    assert [lease.name for lease in await services.leadership.hold(["a"])] == ["a"]
    services.history.record(batch_of(Chunk(array("I", [1])), [Row(1.0)], time=1.0, source=Source.COV), [0])
    assert (await services.history.samples(1, 0, 9000, limit=9)).values.tolist() == [1.0]
