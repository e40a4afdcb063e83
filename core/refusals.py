"""Why a request is refused: everything that whoever sent it can mend."""

from __future__ import annotations

from core.faults import Example, FieldFault, PlantroomError, any_of

_POINT = "/api/v1/points/bacnet.2001.analog-output.1"
_KEY_REUSED = "The Idempotency-Key was used for another request before; each needs a key of its own."


class RequestError(PlantroomError):
    """The request cannot be answered as it is; the caller can mend it."""

    code = "request.bad"
    status = 400
    title = "Bad request"
    causes = any_of(
        "It is not well-formed HTTP: a line, a header or a chunk is broken, too long, or contradicts another.",
        "It has no Host header, which HTTP/1.1 requires.",
        "The connection broke off, or the body is shorter or otherwise encoded than its headers announce.",
        "A proxy on the way rewrote it; ask Plantroom directly to tell.",
    )
    remedy = "Send a well-formed HTTP request."
    example = Example("The request is not well-formed HTTP: Missing 'Host' header in request.", "/api/v1/devices")


class MalformedBody(RequestError):
    """The body is not what its Content-Type promises, which is JSON on nearly all addresses."""

    code = "request.malformed"
    title = "Malformed body"
    causes = any_of(
        "The body is empty, cut short, or has a comma, quote or brace too many; the detail names line and column.",
        "It has NaN, Infinity, single quotes or comments, which JSON has not.",
        "A shell took its quotes away: with curl put the whole document into single quotes.",
        "It is not encoded in UTF-8.",
    )
    remedy = "Send one valid UTF-8 JSON document."
    example = Example(
        "The body is not valid JSON: unexpected end of data: line 1 column 11 (char 10).", f"{_POINT}/value"
    )


class InvalidCursor(RequestError):
    """The cursor was not made by this list, with this sort and these filters, or it is damaged."""

    code = "cursor.invalid"
    title = "Invalid cursor"
    causes = any_of(
        "A filter, `q` or `sort` changed between two pages; only `limit` and `count` may.",
        "The cursor is another list's, was cut short, or was decoded and encoded anew on the way.",
        "The data directory is a new one: cursors are signed with a secret that is kept there.",
    )
    remedy = "Start again without a cursor, and pass next_cursor on unchanged with the same sort and filters."
    example = Example("This cursor is not one of this list with this sort and these filters.", "/api/v1/points")


class CredentialsRequired(RequestError):
    """No credentials came with the request, or none that are valid."""

    code = "auth.required"
    status = 401
    title = "Credentials required"
    causes = any_of(
        "Neither an X-API-Key nor an Authorization: Bearer header came along; a proxy may have removed it.",
        "The key is misspelt, was revoked, or is another installation's.",
        "A browser's session has ended.",
    )
    remedy = "Send a valid X-API-Key or Authorization: Bearer header."
    example = Example("No key came along; send a valid X-API-Key or Authorization: Bearer header.", "/api/v1/devices")


class PermissionDenied(RequestError):
    """The principal's role does not allow this."""

    code = "auth.forbidden"
    status = 403
    title = "Not allowed"
    causes = any_of(
        "The key is a viewer's, and writing points and running scans takes an operator's.",
        "The key is not an admin's, which changing devices and points, plugins, users and keys takes.",
    )
    remedy = "Use a key with the role that the detail names."
    example = Example("Writing a point takes the role operator, and this key is a viewer's.", f"{_POINT}/value")


class PriorityNotAllowed(RequestError):
    """The configuration forbids writing at this priority."""

    code = "write.priority_not_allowed"
    status = 403
    title = "Priority not allowed"
    causes = any_of(
        "The plugin's `write: {priorities: [...]}` leaves this priority out.",
        "Nothing is configured there: 1 and 2 are then kept for the safety of life.",
    )
    remedy = "Write at a priority that the plugin's `write` section allows, or add this one there and restart."
    example = Example("Priority 1 is not allowed; write at one of 8, 9, 10, 16.", f"{_POINT}/value")


class NotFound(RequestError):
    """Nothing is at this address."""

    code = "route.not_found"
    status = 404
    title = "Not found"
    causes = any_of(
        "The path is misspelt, lacks `/api/v1`, or has a slash too many at its end.",
        "An id in the path is not percent-encoded: a slash in it must be written %2F.",
        "It is a plugin's own path, `/api/v1/<plugin>/...`, and no plugin of that name runs.",
    )
    remedy = "Check the path; GET /api/v1 tells what is there, GET /api/v1/plugins which plugins run."
    example = Example("Nothing is at /api/v1/device; GET /api/v1 tells what there is.", "/api/v1/device")


class DeviceNotFound(NotFound):
    """No device has this id, or none that can be asked."""

    code = "device.not_found"
    title = "Unknown device"
    causes = any_of(
        "The id is misspelt, or its plugin has another name in the configuration: ids begin with that name.",
        "No scan has found the device yet, or it was deleted after it had vanished.",
        "What is stored of the device has no address that its plugin can read.",
        "Plantroom was started with another data directory.",
    )
    remedy = "GET /api/v1/devices lists the devices; a scan finds new ones."
    example = Example(
        "No device has the id 'bacnet.2099'; GET /api/v1/devices lists them.", "/api/v1/devices/bacnet.2099"
    )


class PointNotFound(NotFound):
    """No point has this id, or its device no longer has the object or property."""

    code = "point.not_found"
    title = "Unknown point"
    causes = any_of(
        "The id is misspelt, or its plugin has another name in the configuration: ids begin with that name.",
        "The device has not been scanned since the point was added to it.",
        "The device answers unknown-object or unknown-property: it was reprogrammed, and the point is gone.",
        "Plantroom was started with another data directory.",
    )
    remedy = "GET /api/v1/points lists the points; a scan refreshes them."
    example = Example(
        "No point has the id 'bacnet.2001.analog-input.99'; GET /api/v1/points lists them.",
        "/api/v1/points/bacnet.2001.analog-input.99",
    )


class PluginNotFound(NotFound):
    """No plugin has this name."""

    code = "plugin.not_found"
    title = "Unknown plugin"
    causes = any_of(
        "The name is not a key under `plugins:`; a second instance has its own key, not its `use`.",
        "The plugin was added to the configuration after Plantroom had read it.",
    )
    remedy = "GET /api/v1/plugins lists the plugins; `plantroom plugins` also those that could be enabled."
    example = Example("No plugin is called 'bacnet2'; GET /api/v1/plugins lists them.", "/api/v1/plugins/bacnet2")


class JobNotFound(NotFound):
    """No job has this id, or it ended long ago."""

    code = "job.not_found"
    title = "Unknown job"
    causes = any_of(
        "The id is misspelt.",
        "Plantroom was restarted: jobs are not kept over a restart.",
        "The job has ended, and 200 others after it: only the last 200 are kept.",
    )
    remedy = "GET /api/v1/jobs lists the jobs."
    example = Example("No job has the id '0b7c3f0e'; GET /api/v1/jobs lists those kept.", "/api/v1/jobs/0b7c3f0e")


class ErrorNotFound(NotFound):
    """No error has this code."""

    code = "error.not_found"
    title = "Unknown error code"
    causes = any_of(
        "The code is misspelt.",
        "It is the code of a plugin that is not enabled here, or of another version of Plantroom.",
    )
    remedy = "GET /api/v1/errors lists the codes."
    example = Example("No error has the code 'point.gone'; GET /api/v1/errors lists them.", "/api/v1/errors/point.gone")


class MethodNotAllowed(RequestError):
    """The address exists, but not for this method; Allow lists those it takes."""

    code = "request.method_not_allowed"
    status = 405
    title = "Method not allowed"
    causes = any_of(
        "The method is another one's: values are written by PUT, names and tags changed by PATCH.",
        "A redirect or a proxy turned a POST into a GET.",
    )
    remedy = "Use a method that the Allow header lists."
    example = Example("This address takes GET, HEAD.", "/api/v1/devices")


class NotAcceptable(RequestError):
    """The answer cannot be given in any of the media types that the Accept header takes."""

    code = "request.not_acceptable"
    status = 406
    title = "Not acceptable"
    causes = any_of(
        "The Accept header names only types that this address does not answer, or is misspelt.",
        "Parquet is asked for, and the package that writes it, an extra of Plantroom's, is not installed.",
    )
    remedy = "Accept one of the types that the detail names."
    example = Example(
        "Accept application/json, application/x-ndjson, text/csv or application/vnd.apache.parquet.",
        "/api/v1/points/bacnet.2001.analog-input.1/history",
    )


class Conflict(RequestError):
    """The request does not fit the present state of what it names."""

    code = "request.conflict"
    status = 409
    title = "Conflict"
    causes = any_of(
        "A device is to be deleted that has not vanished: only one that the last full scan missed can go.",
        "The write waited for its device longer than it was good for; nothing was sent.",
    )
    remedy = "Look at the present state and decide anew."
    example = Example(
        "bacnet.2001 has not vanished; only a device that the last full scan missed can go.",
        "/api/v1/devices/bacnet.2001",
    )


class NotWritable(Conflict):
    """The point cannot be written, or the device denies it."""

    code = "point.not_writable"
    title = "Not writable"
    causes = any_of(
        "The point is an input or a measured value: its `writable` is false; BACnet's take a value out of service.",
        "A point without priority array (`commandable` is false) was to be relinquished, or its priorities read.",
        "A `priority` was given for one without priority array: leave it out.",
        "A priority array was to be written itself; write the present value at a priority.",
        "The device answers write-access-denied: its own program or access rights protect the object.",
    )
    remedy = "Write to a point whose `writable` is true, or do first what the detail says; check the device's rights."
    example = Example("bacnet.2001.analog-input.1 is read-only.", "/api/v1/points/bacnet.2001.analog-input.1/value")


class BodyTooLarge(RequestError):
    """The body is longer than the route takes, or `http.max_body` allows: 1 MiB, unless something else is said."""

    code = "request.too_large"
    status = 413
    title = "Body too large"
    causes = any_of(
        "A batch with very long ids or values comes to more than 1 MiB, although 1,000 items are allowed.",
        "Something else than the JSON document was uploaded.",
        "The route takes less than others do: its description in the API document says how much.",
    )
    remedy = "Split the request."
    example = Example("Maximum request body size 1048576 exceeded. Split the request.", "/api/v1/writes")


class UnsupportedMediaType(RequestError):
    """The body is not declared as JSON in UTF-8."""

    code = "request.media_type"
    status = 415
    title = "Unsupported media type"
    causes = any_of(
        "The Content-Type header is missing or another one's; curl's `--data` alone sends a form: use `--json`.",
        "The header names another charset than UTF-8.",
    )
    remedy = "Send Content-Type: application/json."
    example = Example("Send the body as application/json in UTF-8.", f"{_POINT}/value")


class Invalid(RequestError):
    """A parameter or field is unknown, missing, of the wrong type or out of range; `errors` names each."""

    code = "request.invalid"
    status = 422
    title = "Invalid request"
    causes = any_of(
        "A query parameter or field is misspelt, missing, of another type or out of range.",
        "A body was sent where none is taken.",
        "A scan names a plugin that cannot scan or does not run, or a target or device number that makes no sense.",
        _KEY_REUSED,
    )
    remedy = "Correct the fields listed in `errors`."
    example = Example(
        "Correct these: limit.", "/api/v1/points", errors=(FieldFault("limit", "range", "must be 1 to 1000"),)
    )


class ValueNotSuitable(Invalid):
    """The value does not suit the point: wrong type, out of range, unknown state. Nothing was changed."""

    code = "value.not_suitable"
    title = "Value does not suit the point"
    causes = any_of(
        'The value is of another kind than the point, such as the text "21" for a number.',
        "It is below the point's `min` or above its `max`, or none of its `states`.",
        "It is null, which releases nothing: DELETE the value to relinquish.",
        "The device itself refused it as out of range or of another datatype; its words are in the detail.",
    )
    remedy = "Look at the point's kind, states, min and max."
    example = Example(
        "bacnet.2001.analog-output.1 takes at most 100 %.",
        f"{_POINT}/value",
        errors=(FieldFault("value", "value.not_suitable", "must be at most 100 %"),),
    )


class TooManyRequests(RequestError):
    """More requests than the limit allows."""

    code = "request.too_many"
    status = 429
    title = "Too many requests"
    causes = any_of(
        "A scan was asked for while 1,000 jobs wait: something starts them faster than they can run.",
        "A rate limiter is enabled, and this client asks more often than it allows.",
    )
    remedy = "Wait as long as Retry-After says, or until GET /api/v1/jobs?state=queued has become shorter."
    example = Example("1000 jobs are waiting; cancel some, or wait until they have run.", "/api/v1/scans")
