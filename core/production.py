"""Says what in a valid configuration is unfit for a building that people depend on."""

from __future__ import annotations

from core.settings import Settings
from core.source import Fault, Source

SIMULATOR = "simulator"


def unfit(source: Source, settings: Settings) -> list[Fault]:
    """List what should not go into production, each with what to do about it."""
    faults = []
    if settings.log.level == "debug":
        faults.append(source.fault(("log", "level"), "debug logs too much for production; use info"))
    if not settings.http.loopback and not settings.authenticated:
        faults.append(
            source.fault(
                ("http", "allow_unauthenticated"),
                f"whoever reaches {settings.http.host} may read and write; enable the auth plugin, or use 127.0.0.1",
            )
        )
    faults.extend(
        source.fault(
            entry.path, f"this is a simulated building; remove it, or write `{entry.name}: {{enabled: false}}`"
        )
        for entry in settings.plugins
        if entry.enabled and entry.use == SIMULATOR
    )
    return faults
