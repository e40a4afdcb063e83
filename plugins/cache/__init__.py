"""Keeps answers and values for a short time, so that what many ask for is made once."""

from plugins.cache.plugin import CachePlugin

__all__ = ["CachePlugin"]
