"""Requests that no device understands, which bacpypes3 would leave without an answer (ASHRAE 135, 5.4.5.1)."""

from __future__ import annotations

from typing import Any

from bacpypes3.apdu import APDU, APCISequence, RejectPDU, confirmed_request_types
from bacpypes3.errors import RejectException
from bacpypes3.pdu import PDU

from plugins.bacnet.wire.apdu import read_request
from plugins.bacnet.wire.errors import DecodeError


def rejected(message: bytes) -> Any:
    """Make the Reject that answers a confirmed request; None: it can be decoded, or it is something else."""
    try:
        request = read_request(message)
    except DecodeError:
        return None
    if request.service not in confirmed_request_types:
        return RejectPDU(request.invoke_id, "unrecognizedService")
    if request.segmented:
        return None
    try:
        APCISequence.decode(APDU.decode(PDU(message)))
    except RejectException as error:
        return RejectPDU(request.invoke_id, error.rejectReason)
    except Exception:  # bacpypes3 raises what it likes where parameters make no sense
        return RejectPDU(request.invoke_id, "invalidTag")
    return None
