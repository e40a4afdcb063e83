"""Every error that Plantroom answers with, in one tree.

PlantroomError                    500
├── ConfigError                        the configuration cannot be used; lists every problem
├── PluginError                        a plugin broke its promise to the kernel
├── RequestError                       the caller can mend it
│   ├── MalformedBody             400  InvalidCursor                   400
│   ├── CredentialsRequired       401  PermissionDenied                403
│   ├── PriorityNotAllowed        403
│   ├── NotFound                  404  route, device, point, plugin, job, error
│   ├── MethodNotAllowed          405  Conflict, NotWritable           409
│   ├── BodyTooLarge              413  UnsupportedMediaType            415
│   ├── Invalid, ValueNotSuitable 422  TooManyRequests                 429
├── DeviceError                        the equipment's fault
│   ├── DeviceRefused             502
│   └── DeviceTimeout, DeviceOffline   504
└── Unavailable                   503  PluginNotRunning                503
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import attrs


@attrs.frozen
class FieldFault:
    """What is wrong with one field of a request: its dotted name, a stable code, a sentence."""

    field: str
    code: str
    message: str


class PlantroomError(Exception):
    """Something failed inside Plantroom; the log has the details under the request's id.

    ``detail`` says what to do next. ``extra`` are further members of the problem document.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    remedy: ClassVar[str] = "Look the request id up in the log; report it if it happens again."

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


class ConfigError(PlantroomError):
    """The configuration cannot be used. ``problems`` has a line for each mistake: ``file:line: path: what``."""

    code = "config.invalid"
    title = "The configuration cannot be used"
    remedy = "Correct the named lines; `plantroom check` shows whether it helped."

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class PluginError(PlantroomError):
    """A plugin broke its promise to the kernel: a wrong answer to a hook, a name that is taken."""

    code = "plugin.failed"
    title = "A plugin failed"
    remedy = "See the plugin's error in GET /api/v1/plugins; mend or disable it."


class RequestError(PlantroomError):
    """The request cannot be answered as it is; the caller can mend it."""

    code = "request.bad"
    status = 400
    title = "Bad request"
    remedy = "Send a well-formed HTTP request."


class MalformedBody(RequestError):
    """The body is not the JSON that its Content-Type promises."""

    code = "request.malformed"
    title = "Malformed JSON"
    remedy = "Send one valid UTF-8 JSON document."


class InvalidCursor(RequestError):
    """The cursor was not made by this list, with this sort, or it is damaged."""

    code = "cursor.invalid"
    title = "Invalid cursor"
    remedy = "Start again without a cursor, and pass next_cursor on unchanged with the same sort."


class CredentialsRequired(RequestError):
    """No credentials came with the request, or none that are valid."""

    code = "auth.required"
    status = 401
    title = "Credentials required"
    remedy = "Send a valid X-API-Key or Authorization: Bearer header."


class PermissionDenied(RequestError):
    """The principal's role does not allow this."""

    code = "auth.forbidden"
    status = 403
    title = "Not allowed"
    remedy = "Use a key with the role that the detail names."


class PriorityNotAllowed(RequestError):
    """The configuration forbids writing at this priority."""

    code = "write.priority_not_allowed"
    status = 403
    title = "Priority not allowed"
    remedy = "Write at a priority that the plugin's `write` section allows."


class NotFound(RequestError):
    """Nothing is at this address."""

    code = "route.not_found"
    status = 404
    title = "Not found"
    remedy = "Check the path; GET /api/v1 tells what is there."


class DeviceNotFound(NotFound):
    """No device has this id."""

    code = "device.not_found"
    title = "Unknown device"
    remedy = "GET /api/v1/devices lists the devices; a scan finds new ones."


class PointNotFound(NotFound):
    """No point has this id, or its device no longer has the object or property."""

    code = "point.not_found"
    title = "Unknown point"
    remedy = "GET /api/v1/points lists the points; a scan refreshes them."


class PluginNotFound(NotFound):
    """No plugin has this name."""

    code = "plugin.not_found"
    title = "Unknown plugin"
    remedy = "GET /api/v1/plugins lists the plugins."


class JobNotFound(NotFound):
    """No job has this id, or it ended long ago."""

    code = "job.not_found"
    title = "Unknown job"
    remedy = "GET /api/v1/jobs lists the jobs."


class ErrorNotFound(NotFound):
    """No error has this code."""

    code = "error.not_found"
    title = "Unknown error code"
    remedy = "GET /api/v1/errors lists the codes."


class MethodNotAllowed(RequestError):
    """The address exists, but not for this method; Allow lists those it takes."""

    code = "request.method_not_allowed"
    status = 405
    title = "Method not allowed"
    remedy = "Use a method that the Allow header lists."


class Conflict(RequestError):
    """The request does not fit the present state of what it names."""

    code = "request.conflict"
    status = 409
    title = "Conflict"
    remedy = "Look at the present state and decide anew."


class NotWritable(Conflict):
    """The point cannot be written, or the device denies it."""

    code = "point.not_writable"
    title = "Not writable"
    remedy = "Write to a point whose `writable` is true; check the device's own access rights."


class BodyTooLarge(RequestError):
    """The body is longer than the limit (1 MiB unless configured)."""

    code = "request.too_large"
    status = 413
    title = "Body too large"
    remedy = "Split the request."


class UnsupportedMediaType(RequestError):
    """The body is not declared as JSON."""

    code = "request.media_type"
    status = 415
    title = "Unsupported media type"
    remedy = "Send Content-Type: application/json."


class Invalid(RequestError):
    """A parameter or field is unknown, missing, of the wrong type or out of range; `errors` names each."""

    code = "request.invalid"
    status = 422
    title = "Invalid request"
    remedy = "Correct the fields listed in `errors`."


class ValueNotSuitable(Invalid):
    """The value does not suit the point: wrong type, out of range, unknown state. Nothing was changed."""

    code = "value.not_suitable"
    title = "Value does not suit the point"
    remedy = "Look at the point's kind, states, min and max."


class TooManyRequests(RequestError):
    """More requests than the limit allows."""

    code = "request.too_many"
    status = 429
    title = "Too many requests"
    remedy = "Wait as long as Retry-After says."


class DeviceError(PlantroomError):
    """A device did not do what it was asked."""

    code = "device.error"
    status = 502
    title = "Device error"
    remedy = "Look at the device's last_error and at the device itself."


class DeviceRefused(DeviceError):
    """The device answered with an error, a reject or an abort; the `bacnet` member has its words."""

    code = "device.refused"
    title = "The device refused"
    remedy = "See the device's own error class and code in the answer."


class DeviceTimeout(DeviceError):
    """The device did not answer in time."""

    code = "device.timeout"
    status = 504
    title = "The device did not answer"
    remedy = "Check the device's power, network and address."


class DeviceOffline(DeviceTimeout):
    """The device has not answered for a while and is being probed; it was not asked again for this request."""

    code = "device.offline"
    title = "The device is offline"
    remedy = "Wait for it to come back, or ask with on_error=last for its last reading."


class Unavailable(PlantroomError):
    """Plantroom is starting or stopping."""

    code = "system.unavailable"
    status = 503
    title = "Not available now"
    remedy = "Try again after the seconds in Retry-After."

    def __init__(self, detail: str, *, retry_after_s: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)})


class PluginNotRunning(Unavailable):
    """The plugin that this needs does not run."""

    code = "plugin.not_running"
    title = "A needed plugin does not run"
    remedy = "See its error in GET /api/v1/plugins."


def every_error(root: type[PlantroomError] = PlantroomError) -> Iterator[type[PlantroomError]]:
    """Walk the tree of errors that are imported now, plugins' own included, parents first."""
    yield root
    for child in root.__subclasses__():
        yield from every_error(child)
