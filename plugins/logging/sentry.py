"""Reports errors that are logged to Sentry: what the line says, redacted as it is, and nothing more."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from core import __version__
from core.errors import PluginError
from plugins.logging.config import SentryConfig

if TYPE_CHECKING:
    from sentry_sdk import Client

CLOSE_WITHIN_S = 0.4
LEVELS = {"error": "error", "critical": "fatal"}
MARKS = tuple(f'"level":"{level}"' for level in LEVELS)
NOT_REPORTED = ("sentry_sdk", "urllib3")
"""Loggers of what reports: an error of theirs would be reported by them."""
TAGS = ("request_id", "plugin", "device", "job")

_FRAME = re.compile(r'^ +File "(?P<file>[^"\n]+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE)
_HEAD = "Traceback (most recent call last):\n"
_RAISED = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:: (?P<value>.*))?\Z", re.MULTILINE | re.DOTALL)


class Sentry:
    """A target of lines (`plugins.logging.outlet.Target`) that reports those that are errors.

    The library sends in a thread of its own, from a bounded queue: what finds it full, or cannot be sent, is lost.
    """

    name = "sentry"

    def __init__(self, config: SentryConfig) -> None:
        self._config = config
        self._client: Client | None = None

    def open(self) -> None:
        """Load the library; raises PluginError where it is missing, or the address is none."""
        try:
            import sentry_sdk
            from sentry_sdk.utils import BadDsn
        except ImportError as error:
            raise PluginError("`sentry` needs a library that is missing: pip install 'plantroom[sentry]'") from error
        try:
            self._client = sentry_sdk.Client(
                dsn=self._config.dsn.reveal(),
                environment=self._config.environment,
                release=f"plantroom@{__version__}",
                default_integrations=False,
                auto_enabling_integrations=False,
                auto_session_tracking=False,
                enable_backpressure_handling=False,
                include_local_variables=False,
                max_breadcrumbs=0,
                send_client_reports=False,
                server_name="plantroom",
                shutdown_timeout=CLOSE_WITHIN_S,
            )
        except BadDsn:
            raise PluginError("`sentry.dsn` is not the address of a project: https://KEY@HOST/PROJECT") from None

    def write(self, data: bytes) -> None:
        """Report the errors among some lines; raises OSError once it is closed."""
        client = self._client
        if client is None:
            raise OSError(0, "it is closed")
        for line in data.decode().splitlines():
            if is_error(line):
                event = event_of(json.loads(line))
                if event is not None:
                    client.capture_event(event)  # type: ignore[arg-type]  # a dictionary of their form

    def close(self) -> None:
        if self._client is not None:
            self._client.close(timeout=CLOSE_WITHIN_S)
            self._client = None


def is_error(text: str) -> bool:
    """Tell whether a line is an error, or one of some lines may be."""
    return any(mark in text for mark in MARKS)


def event_of(line: dict[str, Any]) -> dict[str, Any] | None:
    """Make of a line of the log what Sentry takes; None for what is not to be reported."""
    logger = str(line.get("plugin") or line.get("logger") or "core")
    level = LEVELS.get(line.get("level", ""))
    if level is None or logger.partition(".")[0] in NOT_REPORTED:
        return None
    rest = {key: value for key, value in line.items() if key not in ("event", "level", "time", "exception")}
    event: dict[str, Any] = {
        "level": level,
        "timestamp": line.get("time"),
        "logger": logger,
        "logentry": {"formatted": str(line.get("event"))},
        "tags": {name: str(rest[name]) for name in TAGS if name in rest},
        "extra": rest,
    }
    if isinstance(line.get("exception"), str):
        event["exception"] = {"values": [exception_of(line["exception"])]}
    return event


def exception_of(traceback: str) -> dict[str, Any]:
    """Read a traceback as it is logged; of several, the last one."""
    last = traceback.rpartition(_HEAD)[2]
    frames = [
        {
            "filename": match["file"],
            "lineno": int(match["line"]),
            "function": match["function"],
            "in_app": "site-packages" not in match["file"],
        }
        for match in _FRAME.finditer(last)
    ]
    raised = _RAISED.search(last)
    exception: dict[str, Any] = {
        "type": raised["type"] if raised else "Error",
        "value": (raised and raised["value"]) or "",
    }
    return exception | {"stacktrace": {"frames": frames}} if frames else exception
