"""Change of value: tells subscribers when a present value has moved far enough (ASHRAE 135, 13.1)."""

from __future__ import annotations

from typing import Any

from bacpypes3.local.cov import COVDetection


class ChangeOfValue(COVDetection):  # type: ignore[misc]
    """Watches one object for bacpypes3's subscriptions; `check` is called after each step and each write."""

    properties_tracked = ()
    properties_reported = ("presentValue", "statusFlags")

    def __init__(self, obj: Any) -> None:
        super().__init__(obj)
        self._reported = self._state()

    def check(self) -> None:
        """Notify all subscribers if the value has moved by the COV increment, or any flag has changed."""
        old, new = self._reported, self._state()
        if new == old:
            return
        increment = self.obj.data.cov_increment
        if increment and new[1] == old[1] and abs(new[0] - old[0]) < increment:
            return
        self.send_cov_notifications()

    def send_cov_notifications(self, subscription: Any = None) -> None:
        """Send the present state to one subscriber, or to all."""
        if subscription is None:
            self._reported = self._state()
        self.presentValue = self.obj.present_value()
        self.statusFlags = self.obj.status_flags()
        super().send_cov_notifications(subscription)

    def _state(self) -> tuple[Any, bool]:
        return self.obj.data.value, self.obj.data.out_of_service
