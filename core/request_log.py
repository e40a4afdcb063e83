"""Writes one line for each request: at once where people read along, in batches where machines do."""

from __future__ import annotations

import functools
from typing import Any

import structlog

from core.json_lines import JsonLines
from core.policies import Call
from core.principals import ANONYMOUS, Principal


class RequestLog:
    """Tells the log of requests; what is noted costs the request next to nothing where the log is JSON lines."""

    def __init__(self) -> None:
        self._processors: list[Any] = []

    def note(self, call: Call, status: int, seconds: float, size: int | None = None) -> None:
        """Note a request that was answered with a status, so many seconds after it had arrived.

        ``size`` is the answer's body in bytes, None where that is not known.
        """
        lines = self._processors[-1] if self._processors else None
        if not (isinstance(lines, JsonLines) and lines.batches):
            self._processors = structlog.get_config()["processors"]
            lines = self._processors[-1] if self._processors else None
        if isinstance(lines, JsonLines) and lines.batches:
            lines.note(_fields, call, status, seconds, size)
        else:
            structlog.get_logger().info(**_fields(call, status, seconds, size))

    def flush(self) -> None:
        """Write what is noted and not written yet."""
        lines = self._processors[-1] if self._processors else None
        if isinstance(lines, JsonLines):
            lines.flush()


@functools.lru_cache(maxsize=1024)
def _name_of(principal: Principal) -> str:
    return str(principal)


def _fields(call: Call, status: int, seconds: float, size: int | None) -> dict[str, Any]:
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
    if call.route is not None:
        fields["route"] = call.route.path
    if size is not None:
        fields["bytes"] = size
    principal = call.principal
    if principal is not None and principal is not ANONYMOUS:
        fields["principal"] = _name_of(principal)
    for name, text in call.remarks:
        fields.setdefault(name, text)
    return fields
