"""Lets pages of other origins use the API from a browser: those that are named, and no others."""

from plugins.cors.plugin import CorsPlugin

__all__ = ["CorsPlugin"]
