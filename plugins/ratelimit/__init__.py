"""Limits how often a client may ask, by the generic cell rate algorithm, and says so in every answer."""

from plugins.ratelimit.plugin import RatelimitPlugin

__all__ = ["RatelimitPlugin"]
