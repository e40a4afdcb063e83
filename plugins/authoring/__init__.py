"""The command that begins a plugin of your own: `plantroom new-plugin`."""

from plugins.authoring.plugin import AuthoringPlugin

__all__ = ["AuthoringPlugin"]
