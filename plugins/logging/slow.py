"""Tells of requests and devices that took longer than they should."""

from __future__ import annotations

import time
from typing import Any

from structlog.typing import FilteringBoundLogger

from core.events import DeviceAsked
from core.plugin import Call, Phase, Policy, Route, Steps


class Slow:
    """Writes lines about requests and devices that took so many seconds or longer; None: about none."""

    def __init__(self, log: FilteringBoundLogger, *, request_s: float | None, device_s: float | None) -> None:
        self._log = log
        self._request_s = request_s
        self._device_s = device_s
        self._slow: set[str] = set()

    @property
    def policies(self) -> list[Policy]:
        """What looks at requests."""
        return [] if self._request_s is None else [Policy(Phase.LOG, self._compile)]

    def _compile(self, _route: Route | None) -> Steps:
        limit = self._request_s

        def answered(call: Call, status: int) -> None:
            seconds = time.perf_counter() - call.started
            if limit is not None and seconds >= limit:
                self._tell_of(call, status, seconds)

        return Steps(after=answered)

    def _tell_of(self, call: Call, status: int, seconds: float) -> None:
        self._log.warning(
            "slow_request", method=call.method, path=call.path, route=call.route.path if call.route else None,
            status=int(status), duration_ms=_ms(seconds), client=call.client, request_id=call.request_id,
        )  # fmt: skip

    async def note(self, event: DeviceAsked) -> None:
        """Look at how long a device took: each time for a request, and for polls when it begins and when it is over.

        A poll that was not answered is no matter: that the device went offline is told already.
        """
        if self._device_s is None:
            return
        is_slow = event.seconds >= self._device_s
        if event.request_ids:
            if is_slow:
                self._tell_of_device(event)
        elif event.error is None and is_slow is not (event.device_id in self._slow):
            if is_slow:
                self._slow.add(event.device_id)
                self._tell_of_device(event)
            else:
                self._slow.discard(event.device_id)
                self._log.info("slow_device_over", device=event.device_id, duration_ms=_ms(event.seconds))

    def _tell_of_device(self, event: DeviceAsked) -> None:
        told: dict[str, Any] = {"device": event.device_id, "what": event.what, "points": event.points}
        if event.request_ids:
            told["request_id"] = event.request_ids[0]
        if len(event.request_ids) > 1:
            told["request_ids"] = list(event.request_ids)
        if event.error is not None:
            told["error"] = event.error
        self._log.warning("slow_device", **told, duration_ms=_ms(event.seconds))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
