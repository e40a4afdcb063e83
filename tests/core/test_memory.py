"""Settled memory: what stays is taken out of the collector's rounds, once it has come to rest."""

from __future__ import annotations

import asyncio
import gc

import pytest

from core import memory
from core.events import DevicesChanged, EventBus, PluginStateChanged
from core.memory import SettledMemory, settle


@pytest.fixture
def _as_before():
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("_as_before")
async def test_devices_are_settled_some_time_after_the_last_has_come(monkeypatch):
    monkeypatch.setattr(memory, "SETTLED_AFTER_S", 0.02)
    events = EventBus()
    settled = SettledMemory(events)
    thresholds = gc.get_threshold()
    settled.begin()
    events.publish(DevicesChanged(()))
    assert gc.get_freeze_count() == 0
    async with asyncio.timeout(5):
        while not gc.get_freeze_count():
            await asyncio.sleep(0.005)
    await settled.end()
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == thresholds
    await events.close()


@pytest.mark.usefixtures("_as_before")
def test_what_was_settled_is_freed_when_nobody_holds_it_any_more():
    class Device:
        gone = False

        def __del__(self):
            Device.gone = True

    held = [Device()]
    settle()
    held.clear()
    assert Device.gone


@pytest.mark.usefixtures("_as_before")
async def test_what_a_plugin_leaves_behind_in_circles_is_collected_when_it_has_gone(monkeypatch):
    class Driver:
        gone = False

        def __init__(self):
            self.itself = self

        def __del__(self):
            Driver.gone = True

    monkeypatch.setattr(memory, "SETTLED_AFTER_S", 0.02)
    events = EventBus()
    settled = SettledMemory(events)
    driver = Driver()
    settled.begin()
    async with asyncio.timeout(5):
        while not gc.get_freeze_count():
            await asyncio.sleep(0.005)
        del driver
        events.publish(PluginStateChanged("bacnet", "stopped"))
        while not Driver.gone:
            await asyncio.sleep(0.005)
    await settled.end()
    await events.close()
