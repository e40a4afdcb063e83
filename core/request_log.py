"""Writes one line for each request: at once where people read along, in batches where machines do."""

from __future__ import annotations

from typing import Any

import structlog

from core.json_lines import JsonLines
from core.policies import Call
from core.principals import ANONYMOUS


class RequestLog:
    """Tells the log of requests; what is noted costs the request next to nothing where the log is JSON lines."""

    def __init__(self) -> None:
        self._processors: list[Any] = []

    def note(self, call: Call, status: int, seconds: float) -> None:
        """Note a request that was answered with a status, so many seconds after it had arrived."""
        lines = self._processors[-1] if self._processors else None
        if not (isinstance(lines, JsonLines) and lines.batches):
            self._processors = structlog.get_config()["processors"]
            lines = self._processors[-1] if self._processors else None
        if isinstance(lines, JsonLines) and lines.batches:
            lines.note(_fields, call, status, seconds)
        else:
            structlog.get_logger().info(**_fields(call, status, seconds))

    def flush(self) -> None:
        """Write what is noted and not written yet."""
        lines = self._processors[-1] if self._processors else None
        if isinstance(lines, JsonLines):
            lines.flush()


def _fields(call: Call, status: int, seconds: float) -> dict[str, Any]:
    """Write down what is told of a request."""
    fields = {
        "event": "request",
        "method": call.method,
        "path": call.path,
        "status": int(status),
        "duration_ms": round(seconds * 1000, 2),
        "client": call.client,
        "request_id": call.request_id,
    }
    principal = call.principal
    if principal is not None and principal is not ANONYMOUS:
        fields["principal"] = str(principal)
    return fields
