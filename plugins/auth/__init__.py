"""Sign-in: API keys for programs, users with passwords and sessions for people, roles and scopes for both."""

from plugins.auth.plugin import AuthPlugin

__all__ = ["AuthPlugin"]
