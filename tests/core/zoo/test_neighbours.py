"""Plugins that are bad neighbours: they take what is another's, need what there is not, or each other."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from core.errors import ConfigError

ROUTE = """
@hookimpl
def register_routes(self): return [Route("GET", {path!r}, self.work, "A")] * {times}
async def work(self, request): return {{}}
"""

TAKEN: Mapping[str, tuple[str, str]] = {
    "its own route": (
        ROUTE.format(path="/a", times=2),
        "bad and bad both answer GET /api/v1/bad/a: rename one",
    ),
    "a route that is none": (
        ROUTE.format(path="/{a", times=1),
        "bad's route GET /api/v1/bad/{a cannot be used: Invalid path '/api/v1/bad/{a'['/api/v1/bad/{a']",
    ),
    "another's device": (
        "@hookimpl\ndef register_points(self): return [Inventory(Device('early.tank', 'early', 'Tank'), [])]",
        "device 'early.tank' is not bad's: make it with ctx.device()",
    ),
    "the kernel's job kind": (
        "@hookimpl\ndef register_jobs(self): return [JobKind('scan', None)]",
        "job kind 'scan' of bad is taken by core",
    ),
    "an interval that is none": (
        "@hookimpl\ndef register_pollers(self): return [Poller('p', 0, None)]",
        "bad.p has an interval of 0 s; give seconds above 0",
    ),
}

PROVIDES = """
@hookimpl
def provide_cache(self): return self
async def get(self, key): return None
async def set(self, key, value, *, ttl_s, tags=()): pass
async def delete(self, key): pass
async def forget(self, tag): pass
"""


@pytest.mark.parametrize("what", TAKEN)
async def test_a_plugin_that_takes_what_it_may_not_have_fails_alone(zoo, what: str):
    body, says = TAKEN[what]
    house = await zoo({"bad": body})
    await house.has_failed("bad", says)
    await house.is_well()


async def test_of_two_plugins_with_one_job_kind_the_second_fails_and_both_are_named(zoo):
    body = "@hookimpl\ndef register_jobs(self): return [JobKind('backup', None)]"
    house = await zoo({"first": body, "second": body})
    await house.runs("first")
    await house.has_failed("second", "job kind 'backup' of second is taken by first")
    await house.is_well()


async def test_readings_for_points_of_another_are_refused(zoo):
    house = await zoo(
        {
            "bad": """
            @hookimpl
            def register_pollers(self): return [Poller("steal", 0.05, self.steal)]
            async def steal(self):
                device = self.ctx.device("tank")
                import attrs
                return {attrs.evolve(device, id="early.tank", plugin="early").point("level"): -1.0}
            """
        }
    )
    says = "bad brought a reading for a point that is not its own"
    await house.until(lambda: house.told("poll_failed", plugin="bad", error=says))
    await house.is_well()


async def test_two_providers_of_one_service_stop_the_start_and_are_both_named(zoo):
    with pytest.raises(ConfigError, match="'redis' and 'memory' both provide the cache: enable one of them"):
        await zoo({"redis": PROVIDES, "memory": PROVIDES})


async def test_a_circle_of_needs_is_named_in_full(zoo):
    house = await zoo({"a": "requires = ('b',)", "b": "requires = ('c',)", "c": "requires = ('a',)"})
    error = (await house.plugin("a"))["error"]
    assert error in {f"{way} need each other in a circle" for way in ("a -> b -> c -> a", "b -> c -> a -> b",
                                                                      "c -> a -> b -> c")}  # fmt: skip
    for name in ("a", "b", "c"):
        await house.has_failed(name, error)
    await house.is_well()


async def test_a_need_that_failed_and_one_that_does_not_exist_are_waited_for(zoo):
    house = await zoo(
        {
            "broken": "def __init__(self, config, ctx): raise RuntimeError('boom')",
            "failed_need": "requires = ('broken',)",
            "no_such_need": "requires = ('hitsory',)",
        }
    )
    for name, need in (("failed_need", "broken"), ("no_such_need", "hitsory")):
        shown = await house.plugin(name)
        assert (shown["state"], shown["error"]) == ("waiting", f"waits for {need}, which does not run")
        await house.keeps_waiting(name)
    await house.is_well()
