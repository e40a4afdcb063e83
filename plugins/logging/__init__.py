"""Keeps the log in files that are rotated, tells what was slow, and lets its levels be changed while all runs."""

from plugins.logging.plugin import LoggingPlugin

__all__ = ["LoggingPlugin"]
