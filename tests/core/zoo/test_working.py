"""Plugins that are bad at their work, one at a time: in a poll, a job, a handler, a request, a driver, a log line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import pytest

ENDS: Mapping[str, tuple[str, str]] = {
    "raises": ("raise RuntimeError('boom')", "boom"),
    "exits": ("sys.exit(3)", "it called sys.exit()"),
    "interrupts": ("raise KeyboardInterrupt", "it raised KeyboardInterrupt"),
}
"""How a plugin's code ends where it should not, and what is said about it."""

POLLS = """
@hookimpl
def register_pollers(self): return [Poller("bad", 0.05, self.work)]
async def work(self): {}
"""

JOBS = """
@hookimpl
def register_jobs(self): return [JobKind("bad", self.work)]
async def work(self, context, params): {}
"""

LISTENS = """
@hookimpl
def register_event_handlers(self):
    from core.events import PluginStateChanged
    return [EventHandler(PluginStateChanged, self.work)]
async def work(self, event): {}
"""

ANSWERS = """
@hookimpl
def register_routes(self): return [Route("GET", "/bad", self.work, "Be bad")]
async def work(self, request): {}
"""

WRAPS = """
@hookimpl
def register_middlewares(self): return [Middleware(Phase.CACHE, self.wrap)]
def wrap(self, route, handler):
    async def call(request):
        if request.path.endswith("/tank"):
            {}
        return await handler(request)
    return call
"""

BUILDS = """
@hookimpl
def register_middlewares(self): return [Middleware(Phase.CACHE, self.wrap)]
def wrap(self, route, handler): {}
"""

LOOKS = """
@hookimpl
def register_health_checks(self): return [HealthCheck("bad", self.work)]
@hookimpl
def register_metrics(self): return [Metric("bad", "gauge", "Bad.", self.work)]
def work(self): {}
"""

LOGS = """
@hookimpl
def register_log_processors(self): return [self.work]
def work(self, logger, method, event): {}
"""

DRIVES = """
scan_interval_s = {interval}
priorities = None
def __init__(self, config, ctx):
    super().__init__(config, ctx)
    self.point = ctx.device("a").point("x", writable=True)
@hookimpl
def register_driver(self): return self
@hookimpl
def register_points(self): return [Inventory(self.ctx.device("a"), [self.point])]
async def scan(self, request, report): {scan}
async def read(self, group): {read}
async def write(self, command): {write}
"""


@pytest.mark.parametrize("how", ENDS)
async def test_a_poll_that_ends_badly_is_named_once_and_tried_again(zoo, how: str):
    does, says = ENDS[how]
    house = await zoo({"bad": POLLS.format(f"self.polls = getattr(self, 'polls', 0) + 1; {does}")})
    bad = house.kernel.manager.plugins["bad"].instance
    await house.until(lambda: getattr(bad, "polls", 0) >= 2)
    assert len(house.told("poll_failed", plugin="bad", poller="bad.bad", error=says)) == 1
    assert (await house.plugin("bad"))["health"] == [{"check": "poller bad", "status": "degraded", "detail": says}]
    await house.runs("bad")
    await house.is_well()


@pytest.mark.parametrize("how", ENDS)
async def test_a_job_that_ends_badly_has_failed(zoo, how: str):
    does, says = ENDS[how]
    house = await zoo({"bad": JOBS.format(does)})
    job = house.kernel.jobs.submit("bad")
    await house.until(lambda: job.state.ended)
    assert job.state == "failed"
    assert says in house.told("job_failed", plugin="bad", kind="bad")[0]["error"]
    await house.runs("bad")
    await house.is_well()


@pytest.mark.parametrize("how", ENDS)
async def test_an_event_handler_that_ends_badly_loses_that_event_and_is_named_once(zoo, how: str):
    does, says = ENDS[how]
    house = await zoo({"bad": LISTENS.format(does)})
    await house.until(lambda: house.told("event_handler_failed", plugin="bad"))
    assert [line["error"] for line in house.told("event_handler_failed", plugin="bad")] == [says]
    await house.runs("bad")
    await house.is_well()


@pytest.mark.parametrize("how", ENDS)
async def test_a_route_that_ends_badly_answers_500_without_internals(zoo, how: str):
    house = await zoo({"bad": ANSWERS.format(ENDS[how][0])})
    status, problem = await house.ask("/api/v1/bad/bad")
    assert status == 500
    assert problem["code"] in ("internal", "plugin.failed")
    assert "boom" not in str(problem)
    assert house.told("request_failed", request_id=problem["request_id"])
    await house.runs("bad")
    await house.is_well()


async def test_a_route_that_answers_what_cannot_be_written_answers_500(zoo):
    house = await zoo({"bad": ANSWERS.format("return object()")})
    assert (await house.ask("/api/v1/bad/bad"))[0] == 500
    await house.runs("bad")
    await house.is_well()


@pytest.mark.parametrize("how", ENDS)
async def test_a_middleware_that_ends_badly_fails_the_requests_that_it_spoils(zoo, how: str):
    house = await zoo({"bad": WRAPS.format(ENDS[how][0])})
    status, problem = await house.ask("/api/v1/devices/early.tank")
    assert status == 200, "only what ends like this is spoiled"
    status, problem = await house.ask("/api/v1/nowhere/tank")
    assert (status, problem["status"]) == (500, 500)
    await house.runs("bad")
    await house.is_well()


@pytest.mark.parametrize("how", ENDS)
async def test_a_middleware_that_cannot_wrap_fails_before_it_is_used(zoo, how: str):
    does, says = ENDS[how]
    house = await zoo({"bad": BUILDS.format(does)})
    await house.has_failed("bad", f"RuntimeError: {says}" if how == "raises" else says)
    await house.is_well()


@pytest.mark.parametrize("how", ENDS)
async def test_a_health_check_and_a_metric_that_end_badly_are_named_and_left_out(zoo, how: str):
    does, says = ENDS[how]
    house = await zoo({"bad": LOOKS.format(does)})
    (check,) = (await house.plugin("bad"))["health"]
    assert (check["check"], check["status"]) == ("bad", "degraded")
    status, text = await house.ask("/metrics")
    assert status == 200
    assert 'plugin="bad"' not in "".join(line for line in text.splitlines() if line.startswith("bad"))
    assert house.told("health_check_failed", plugin="bad", check="bad", error=says)
    assert house.told("metric_failed", plugin="bad", metric="bad", error=says)
    await house.runs("bad")
    await house.is_well()


@pytest.mark.parametrize("how", ENDS)
async def test_a_log_processor_that_ends_badly_is_told_once_and_silences_nothing(zoo, how: str):
    does, says = ENDS[how]
    house = await zoo({"bad": LOGS.format(does)})
    await house.is_well()
    (line,) = house.told("log_processor_failed", error=says)
    assert "Bad.work" in line["processor"]
    assert house.told("ready")
    await house.runs("bad")


@pytest.mark.parametrize("how", ENDS)
async def test_a_driver_that_ends_badly_fails_what_was_asked_of_it(zoo, how: str):
    does, says = ENDS[how]
    house = await zoo({"bad": DRIVES.format(interval=60, scan=does, read=does, write=does)})
    await house.until(lambda: house.told("poll_failed", plugin="bad"))
    assert house.told("poll_failed", plugin="bad")[0]["error"] == says
    status, problem = await house.ask("/api/v1/points/bad.a.x/value?max_age=0")
    assert (status >= 500, "boom" in str(problem)) == (True, False)
    status, problem = await house.ask("/api/v1/points/bad.a.x/value", "PUT", json={"value": 1})
    assert (status >= 500, "boom" in str(problem)) == (True, False)
    await house.until(lambda: house.told("job_failed", kind="scan"))
    assert says in house.told("job_failed", kind="scan")[0]["error"]
    await house.runs("bad")
    await house.is_well()


@pytest.mark.parametrize("answer", ["None", "3", "[3]", "'text'"])
async def test_a_driver_that_answers_nonsense_fails_what_was_asked_of_it(zoo, answer: str):
    does = f"return {answer}"
    house = await zoo({"bad": DRIVES.format(interval=None, scan=does, read=does, write=does)})
    await house.until(lambda: house.told("poll_failed", plugin="bad"))
    assert (await house.ask("/api/v1/points/bad.a.x/value?max_age=0"))[0] >= 500
    assert (await house.ask("/api/v1/points/bad.a.x/value", "PUT", json={"value": 1}))[0] >= 500
    await house.runs("bad")
    await house.is_well()


@pytest.mark.parametrize("body", [POLLS, LISTENS], ids=["poll", "event handler"])
async def test_work_that_never_ends_delays_nobody_and_does_not_hold_up_the_end(zoo, body: str):
    house = await zoo({"bad": body.format("await asyncio.Event().wait()")})
    await house.runs("bad")
    await house.is_well()


async def test_a_loop_that_is_blocked_is_told_with_who_blocks_it_and_where(zoo):
    house = await zoo({"bad": POLLS.format("time.sleep(0 if hasattr(self, 'slept') else 0.8); self.slept = True")})
    await house.until(lambda: any(told["plugin"] == "bad" for told in house.told("event_loop_resumed")))
    (blocked,) = [told for told in house.told("event_loop_blocked") if told["plugin"] == "bad"]
    assert blocked["task"] == "poll:bad.bad"
    assert re.search(r"custom_plugins/bad\.py:\d+ work$", blocked["stack"])
    _status, text = await house.ask("/metrics")
    assert 'plantroom_event_loop_blocked_total{plugin="bad"} 1' in text
    await house.runs("bad")
    await house.is_well()


FLOODS = """
@hookimpl
def register_pollers(self): return [Poller("flood", 60, self.flood)]
async def flood(self):
    from core.events import ClockStepped
    event = ClockStepped(1.0)
    for _ in range(1_000_000):
        self.ctx.events.publish(event)
    self.done = True
"""

HEARS = """
@hookimpl
def register_event_handlers(self):
    from core.events import ClockStepped
    return [EventHandler(ClockStepped, self.hear)]
async def hear(self, event): self.heard = getattr(self, "heard", 0) + 1
"""


async def test_a_million_events_are_bounded_and_listener_and_publisher_are_named_once(zoo):
    house = await zoo({"hearer": HEARS, "flooder": FLOODS})
    hearer = house.kernel.manager.plugins["hearer"].instance
    await house.until(lambda: getattr(hearer, "heard", 0) >= 1000)
    await house.is_well()
    assert hearer.heard == 1000
    (dropped,) = house.told("events_dropped")
    assert (dropped["plugin"], dropped["publisher"], dropped["event_type"]) == ("hearer", "flooder", "ClockStepped")
    _status, text = await house.ask("/metrics")
    assert 'plantroom_events_dropped_total{plugin="hearer",event="ClockStepped"} 999000' in text


ECHOES = """
@hookimpl
def register_event_handlers(self):
    from core.events import ClockStepped
    return [EventHandler(ClockStepped, self.echo)]
async def echo(self, event):
    self.ctx.events.publish(event)
"""


async def test_a_listener_that_feeds_itself_for_ever_leaves_everybody_their_turn(zoo):
    house = await zoo({"bad": ECHOES})
    from core.events import ClockStepped

    house.kernel.events.publish(ClockStepped(1.0))
    await asyncio.sleep(0)
    await house.is_well()
    await house.runs("bad")
