"""What is said of slow devices: for each request, and of polls when it begins and when it is over."""

from __future__ import annotations

from structlog.testing import CapturingLogger

from core.events import DeviceAsked
from plugins.logging.slow import Slow


def asked(seconds: float, *request_ids: str, error: str | None = None) -> DeviceAsked:
    return DeviceAsked("bacnet.1", "bacnet", "read", 10, seconds, request_ids, error)


async def said_of(*events: DeviceAsked, device_s: float | None = 2.0) -> list[tuple[str, str | None]]:
    log = CapturingLogger()
    slow = Slow(log, request_s=None, device_s=device_s)  # type: ignore[arg-type]
    for event in events:
        await slow.note(event)
    return [(call.args[0], call.kwargs.get("request_id")) for call in log.calls]


async def test_of_polls_the_first_slow_one_is_told_and_the_first_that_is_not() -> None:
    events = [asked(1.0), asked(3.0), asked(3.0), asked(1.0), asked(1.0), asked(2.0)]
    assert await said_of(*events) == [("slow_device", None), ("slow_device_over", None), ("slow_device", None)]


async def test_for_requests_each_one_is_told() -> None:
    events = [asked(3.0, "a"), asked(3.0, "b", "c", error="silent"), asked(1.0, "d")]
    assert await said_of(*events) == [("slow_device", "a"), ("slow_device", "b")]


async def test_a_poll_that_is_not_answered_is_no_slow_one() -> None:
    assert await said_of(asked(9.0, error="silent")) == []


async def test_nothing_is_told_where_nothing_is_wanted() -> None:
    assert await said_of(asked(9.0, "a"), device_s=None) == []
