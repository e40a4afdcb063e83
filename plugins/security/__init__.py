"""Tells browsers what they must not do with our answers, in headers on each of them."""

from plugins.security.plugin import SecurityPlugin

__all__ = ["SecurityPlugin"]
