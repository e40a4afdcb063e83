"""Keeps the registry and the last readings over restarts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from typing import Any

import attrs
import orjson
from cattrs.preconf.orjson import make_converter

from core.clock import Clock
from core.model import Device, Point
from core.plugin import Migration
from core.readings import StoredReading
from core.registry import DeviceEntry, Overrides, PointEntry, Registry
from core.storage import Storage

OWNER = "core"
SLOTS_RESERVED = 1024
MIGRATIONS = (
    Migration(
        1,
        """
        CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE devices (
            id TEXT PRIMARY KEY, device TEXT NOT NULL, overrides TEXT NOT NULL, last_seen REAL,
            vanished INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE points (
            slot INTEGER PRIMARY KEY, device_id TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
            point TEXT NOT NULL, overrides TEXT NOT NULL, vanished INTEGER NOT NULL
        );
        CREATE INDEX points_of_device ON points (device_id);
        CREATE TABLE readings (
            slot INTEGER PRIMARY KEY, value REAL, text TEXT, integer TEXT, reason INTEGER NOT NULL,
            flags INTEGER NOT NULL, source INTEGER NOT NULL, time REAL NOT NULL, changed_at REAL NOT NULL
        );
        CREATE TABLE commands (
            id TEXT PRIMARY KEY, principal TEXT NOT NULL, origin TEXT NOT NULL, point_id TEXT NOT NULL,
            request TEXT NOT NULL, result TEXT NOT NULL, at REAL NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX commands_by_time ON commands (at)
        """,
    ),
)

_converter = make_converter()


class Persistence:
    """Loads the registry at start and saves what changed, in few large transactions."""

    def __init__(self, storage: Storage, registry: Registry, clock: Clock) -> None:
        self._storage = storage
        self._registry = registry
        self._clock = clock
        self._reserved = 0

    async def load(self) -> None:
        """Fill the registry with what was stored: devices of unknown status, readings marked restored."""
        registry = self._registry
        for _id, device, overrides, last_seen, vanished in await self._storage.read("SELECT * FROM devices"):
            registry.add_device(
                DeviceEntry(
                    _structure(device, Device),
                    overrides=_structure(overrides, Overrides),
                    status_since=self._clock.utc(),
                    last_seen=last_seen,
                    vanished=bool(vanished),
                )
            )
        for slot, device_id, point, overrides, vanished in await self._storage.read("SELECT * FROM points"):
            entry = PointEntry(slot, _structure(point, Point), registry.device(device_id))
            entry.overrides, entry.vanished = _structure(overrides, Overrides), bool(vanished)
            registry.add_point(entry)
        registry.next_slot = max(registry.next_slot, int(await self.fact("next_slot", lambda: "1")))
        await self._storage.write((_UPSERT_NEXT_SLOT, [(str(self._reserve()),)]))
        for row in await self._storage.read("SELECT * FROM readings"):
            if registry.by_slot(row[0]) is not None:
                registry.current.restore(StoredReading(*row))

    def _reserve(self, *, closing: bool = False) -> int:
        """Return the first slot that is free for certain after a crash, with some in reserve until the next save."""
        next_slot = self._registry.next_slot
        if closing:
            return next_slot
        if next_slot + SLOTS_RESERVED // 2 > self._reserved:
            self._reserved = next_slot + SLOTS_RESERVED
        return self._reserved

    async def fact(self, name: str, make: Callable[[], object]) -> str:
        """Return one stored fact of the installation, made on first use."""
        rows = await self._storage.read("SELECT value FROM facts WHERE name = ?", (name,))
        if rows:
            return str(rows[0][0])
        value = str(make())
        await self._storage.write(("INSERT INTO facts VALUES (?, ?)", [(name, value)]))
        return value

    async def installation_id(self) -> str:
        """Return the installation's UUID, made once in its data directory."""
        return await self.fact("installation_id", uuid.uuid4)

    async def sink_names(self) -> set[str]:
        """Return the names of the sinks that have a cursor in the history."""
        return set(orjson.loads(await self.fact("sinks", lambda: "[]")))

    async def keep_sink_names(self, names: Collection[str]) -> None:
        """Note the names of the sinks that have one from now on."""
        await self._storage.write(("INSERT OR REPLACE INTO facts VALUES ('sinks', ?)", [(_text(sorted(names)),)]))

    async def save(self, *, everything: bool = False) -> None:
        """Write what changed since the last call; with ``everything`` also when each reading was last confirmed."""
        registry = self._registry
        device_ids, registry.unsaved = registry.unsaved, set()
        known = {entry.id: entry for entry in registry.devices()}
        gone = [(device_id,) for device_id in device_ids if device_id not in known]
        changed = [known[device_id] for device_id in device_ids if device_id in known]
        rows = registry.current.all_rows() if everything else registry.current.unsaved()
        if everything:
            changed = list(known.values())
        if not (gone or changed or rows):
            return
        outdated = [(device_id, registry.next_slot) for (device_id,) in gone]
        outdated += [
            (entry.id, min((point.slot for point in entry.points.values()), default=registry.next_slot))
            for entry in changed
        ]
        try:
            await self._storage.write(
                (_DELETE_OUTDATED_READINGS, outdated),
                (_DELETE_OUTDATED_POINTS, outdated),
                ("DELETE FROM devices WHERE id = ?", gone),
                (_UPSERT_DEVICE, [_device_row(entry) for entry in changed]),
                (_UPSERT_POINT, [_point_row(point) for entry in changed for point in entry.points.values()]),
                (_UPSERT_NEXT_SLOT, [(str(self._reserve(closing=everything)),)]),
                (_UPSERT_READING, [attrs.astuple(row) for row in rows]),
            )
        except BaseException:
            registry.unsaved |= device_ids
            registry.current.mark_unsaved(row.slot for row in rows)
            raise


# the points of a device that was deleted, and perhaps found again since: those have new, higher slots
_DELETE_OUTDATED_READINGS = (
    "DELETE FROM readings WHERE slot IN (SELECT slot FROM points WHERE device_id = ? AND slot < ?)"
)
_DELETE_OUTDATED_POINTS = "DELETE FROM points WHERE device_id = ? AND slot < ?"
_UPSERT_DEVICE = """INSERT INTO devices VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    device = excluded.device, overrides = excluded.overrides,
    last_seen = excluded.last_seen, vanished = excluded.vanished"""
_UPSERT_POINT = """INSERT INTO points VALUES (?, ?, ?, ?, ?) ON CONFLICT (slot) DO UPDATE SET
    point = excluded.point, overrides = excluded.overrides, vanished = excluded.vanished"""
_UPSERT_NEXT_SLOT = "INSERT OR REPLACE INTO facts VALUES ('next_slot', ?)"
_UPSERT_READING = "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _structure(text: str, cls: type[Any]) -> Any:
    return _converter.structure(orjson.loads(text), cls)


def _text(value: object) -> str:
    return _converter.dumps(value).decode()


def _device_row(entry: DeviceEntry) -> tuple[Any, ...]:
    return entry.id, _text(entry.device), _text(entry.overrides), entry.last_seen, entry.vanished


def _point_row(entry: PointEntry) -> tuple[Any, ...]:
    return entry.slot, entry.device.id, _text(entry.point), _text(entry.overrides), entry.vanished
