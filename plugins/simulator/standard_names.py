"""The standard's names that faults are given with, and their numbers (ASHRAE 135, clauses 18 and 21)."""

from __future__ import annotations

from collections.abc import Mapping

ABORT_REASONS = (
    "other",
    "buffer-overflow",
    "invalid-apdu-in-this-state",
    "preempted-by-higher-priority-task",
    "segmentation-not-supported",
    "security-error",
    "insufficient-security",
    "window-size-out-of-range",
    "application-exceeded-reply-time",
    "out-of-resources",
    "tsm-timeout",
    "apdu-too-long",
)
"""BACnetAbortReason by number (ASHRAE 135, 18.10)."""

REJECT_REASONS = (
    "other",
    "buffer-overflow",
    "inconsistent-parameters",
    "invalid-parameter-datatype",
    "invalid-tag",
    "missing-required-parameter",
    "parameter-out-of-range",
    "too-many-arguments",
    "undefined-enumeration",
    "unrecognized-service",
)
"""BACnetRejectReason by number (18.9)."""

ERROR_CLASSES = ("device", "object", "property", "resources", "security", "services", "vt", "communication")
"""The classes of Error by number (clause 18)."""

ERROR_CODES: Mapping[str, int] = {
    "other": 0,
    "configuration-in-progress": 2,
    "device-busy": 3,
    "inconsistent-parameters": 7,
    "no-space-to-add-list-element": 19,
    "no-space-to-write-property": 20,
    "operational-problem": 25,
    "password-failure": 26,
    "read-access-denied": 27,
    "service-request-denied": 29,
    "timeout": 30,
    "unknown-object": 31,
    "unknown-property": 32,
    "value-out-of-range": 37,
    "write-access-denied": 40,
    "optional-functionality-not-supported": 45,
    "datatype-not-supported": 47,
    "unknown-device": 70,
    "value-not-initialized": 72,
    "busy": 82,
    "communication-disabled": 83,
    "access-denied": 85,
    "internal-error": 131,
    "not-configured": 132,
    "out-of-memory": 133,
    "value-too-long": 134,
}
"""The codes of Error that a device may have for what is asked here, with their numbers (clause 18)."""

SERVICES: Mapping[str, int] = {
    "subscribe-cov": 5,
    "read-property": 12,
    "read-property-multiple": 14,
    "write-property": 15,
    "write-property-multiple": 16,
}
"""The services that a device can be made to refuse, with their numbers (clause 21)."""
