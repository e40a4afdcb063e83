"""Every error that Plantroom answers with, in one tree.

PlantroomError                    500
├── ConfigError                        the configuration cannot be used; lists every problem
├── PluginError                        a plugin broke its promise to the kernel
├── RequestError                       the caller can mend it (core/refusals.py)
│   ├── MalformedBody             400  InvalidCursor                   400
│   ├── CredentialsRequired       401  PermissionDenied                403
│   ├── PriorityNotAllowed        403
│   ├── NotFound                  404  route, device, point, plugin, job, error
│   ├── MethodNotAllowed          405  NotAcceptable                   406
│   ├── Conflict, NotWritable     409
│   ├── BodyTooLarge              413  UnsupportedMediaType            415
│   ├── Invalid, ValueNotSuitable 422  TooManyRequests                 429
├── DeviceError                        the equipment's fault
│   ├── DeviceRefused             502
│   └── DeviceTimeout, DeviceOffline   504  NotSent: nothing was sent to it
└── Unavailable                   503  PluginNotRunning                503
"""

from __future__ import annotations

from collections.abc import Sequence

from core.faults import Example, FieldFault, PlantroomError, any_of, every_error
from core.refusals import (
    BodyTooLarge,
    Conflict,
    CredentialsRequired,
    DeviceNotFound,
    ErrorNotFound,
    Invalid,
    InvalidCursor,
    JobNotFound,
    MalformedBody,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    NotWritable,
    PermissionDenied,
    PluginNotFound,
    PointNotFound,
    PriorityNotAllowed,
    RequestError,
    TooManyRequests,
    UnsupportedMediaType,
    ValueNotSuitable,
)

__all__ = [
    "BodyTooLarge",
    "ConfigError",
    "Conflict",
    "CredentialsRequired",
    "DeviceError",
    "DeviceNotFound",
    "DeviceOffline",
    "DeviceRefused",
    "DeviceTimeout",
    "ErrorNotFound",
    "Example",
    "FieldFault",
    "Invalid",
    "InvalidCursor",
    "JobNotFound",
    "MalformedBody",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "NotSent",
    "NotWritable",
    "PermissionDenied",
    "PlantroomError",
    "PluginError",
    "PluginNotFound",
    "PluginNotRunning",
    "PointNotFound",
    "PriorityNotAllowed",
    "RequestError",
    "TooManyRequests",
    "Unavailable",
    "UnsupportedMediaType",
    "ValueNotSuitable",
    "any_of",
    "every_error",
]

_VALUE = "/api/v1/points/bacnet.2001.analog-input.1/value"


class ConfigError(PlantroomError):
    """The configuration cannot be used; there is a line for each mistake, ``file:line: path: what``.

    ``problems`` are these lines.
    """

    code = "config.invalid"
    title = "The configuration cannot be used"
    causes = any_of(
        "The YAML file is missing, cannot be read, or is not well-formed: a tab, a wrong indent, a key given twice.",
        "An option is unknown, missing, of the wrong type or out of range; the line says which, and what is near.",
        "A secret, an environment variable or an included file that it names is not there.",
        "It names a plugin that does not exist, or two plugins that provide the same service.",
    )
    remedy = "Correct the named lines; `plantroom check` shows whether it helped."

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class PluginError(PlantroomError):
    """A plugin broke its promise to the kernel: it did not start, a hook answered wrongly, its code raised."""

    code = "plugin.failed"
    title = "A plugin failed"
    causes = any_of(
        "Its module cannot be imported, or it did not start or answer a hook within its time.",
        "It answered a hook with what is not asked for, or with a name, route, device or point that is not its own.",
        "Its code raised while it read, polled or ran a job: the log has the traceback beside `..._failed`.",
        "It needs itself through others in a circle; its error names them.",
    )
    remedy = "See the plugin's error in GET /api/v1/plugins; mend or disable it."


class DeviceError(PlantroomError):
    """A device did not do what it was asked."""

    code = "device.error"
    status = 502
    title = "Device error"
    causes = any_of("The driver of the device says so, and has no closer word for it; the detail is the driver's.")
    remedy = "Look at the device's last_error and at the device itself."
    example = Example("The lamp answered with a fault.", "/api/v1/points/lamps.hall.level/value")


class DeviceRefused(DeviceError):
    """The device answered with an error, a reject or an abort; the `bacnet` member has its words."""

    code = "device.refused"
    title = "The device refused"
    causes = any_of(
        "The device is busy, being configured, or out of resources: the same request may do later.",
        "It does not know the service or the property that is needed.",
        "It says that the object cannot be read or written now, for a reason that only its vendor's manual tells.",
        "It took a write, and refuses to show what came of it: the detail says so, and the write is on record.",
        "It is asked as a BBMD and is none, or does not let its tables be changed: `kind` is `result` then.",
    )
    remedy = "See the device's own error class and code in the answer."
    example = Example(
        "The device refused bacnet.2001.analog-input.1: error device operational-problem.",
        _VALUE,
        extra={"bacnet": {"kind": "error", "class": "device", "code": "operational-problem"}},
    )


class DeviceTimeout(DeviceError):
    """The device did not answer in time."""

    code = "device.timeout"
    status = 504
    title = "The device did not answer"
    causes = any_of(
        "It is switched off, restarting, unplugged, or has another address by now.",
        "A router, a firewall or a gateway between here and there drops the requests or the answers.",
        "It is slower than the plugin's `timeout` and `retries` allow; a bus with many devices may be.",
        "It fell silent at a write: the detail says whether it had taken it, may have, or was sent nothing.",
        "A poller of a plugin without driver failed at its last turn; the detail has its words.",
    )
    remedy = "Check the device's power, network and address."
    example = Example("2001:1@127.0.0.1:47809 did not answer within 1.5 s.", _VALUE)


class DeviceOffline(DeviceTimeout):
    """The device has not answered for a while and is being probed; it was not asked again for this request."""

    code = "device.offline"
    title = "The device is offline"
    causes = any_of(
        "It is switched off, restarting, unplugged, or has another address by now; a scan finds the new one.",
        "The router or gateway that it stands behind is down: then its neighbours are offline too.",
        "Our own link is down: then all devices of the plugin are offline, and its health says so.",
    )
    remedy = "Wait for it to come back, or ask with on_error=last for its last reading."
    example = Example(
        "bacnet.2001 has been offline since its last poll: 2001:1@127.0.0.1:47809 did not answer within 1.5 s.",
        _VALUE,
    )


class NotSent(DeviceTimeout):
    """A device was silent before a write or a deed could be sent to it: nothing was changed."""

    def __init__(
        self, detail: str = "The device did not answer the write before this one, so that this one was not sent."
    ) -> None:
        super().__init__(detail)


class Unavailable(PlantroomError):
    """What is asked for cannot be answered now, but soon may be."""

    code = "system.unavailable"
    status = 503
    title = "Not available now"
    causes = any_of(
        "Plantroom is starting or stopping.",
        "/readyz: a plugin that is marked `required: true` does not run.",
        "A point is to be written whose device has not been reached since the start.",
        "The request repeats one by its Idempotency-Key, and that one was given up.",
    )
    remedy = "Try again after the seconds in Retry-After; where it stays so, look at GET /api/v1/plugins."
    example = Example("Plantroom is starting.", "/api/v1/devices")

    def __init__(self, detail: str, *, retry_after_s: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)})


class PluginNotRunning(Unavailable):
    """The plugin that this needs does not run."""

    code = "plugin.not_running"
    title = "A needed plugin does not run"
    causes = any_of(
        "It failed, or waits for another plugin that did: its `error` says why.",
        "It is disabled, or no longer in the configuration, and its points are known from before.",
        "It runs, but has no driver, so that its points cannot be written.",
        "Another Plantroom process owns the plugin's devices.",
        "It was stopped while the request was under way; a write may have been carried out.",
    )
    remedy = "See its error in GET /api/v1/plugins."
    example = Example("bacnet does not run; see GET /api/v1/plugins.", _VALUE)
