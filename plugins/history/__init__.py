"""Keeps past readings for good: bounded, compressed, safe against a cut of power."""

from plugins.history.plugin import HistoryPlugin

__all__ = ["HistoryPlugin"]
