"""The application layer's headers, against bacpypes3's: requests, answers, Errors, Rejects, Aborts."""

from __future__ import annotations

import pytest
from bacpypes3.apdu import (
    APDU,
    AbortPDU,
    AbortReason,
    APCISequence,
    ComplexAckPDU,
    ConfirmedRequestPDU,
    Error,
    ErrorPDU,
    RejectPDU,
    RejectReason,
    SimpleAckPDU,
    encode_max_apdu_length_accepted,
)
from bacpypes3.basetypes import ErrorClass, ErrorCode
from bacpypes3.pdu import PDU
from hypothesis import given
from hypothesis import strategies as st

from plugins.bacnet.wire import apdu, tags
from plugins.bacnet.wire.apdu import PduType, PropertyError, Service
from plugins.bacnet.wire.enumerations import ABORT_REASONS, ERROR_CLASSES, ERROR_CODES, REJECT_REASONS
from plugins.bacnet.wire.errors import DecodeError

OCTET = st.integers(0, 255)
ERRORS = st.builds(PropertyError, st.integers(0, 65535), st.integers(0, 65535))


def by_bacpypes3(octets):
    return APDU.decode(PDU(octets))


@given(st.sampled_from(Service), OCTET, st.binary(max_size=40))
def test_a_request_is_one_to_bacpypes3(service, invoke_id, parameters):
    written = apdu.write_request(service, parameters, invoke_id=invoke_id)
    theirs = by_bacpypes3(written)
    assert isinstance(theirs, ConfirmedRequestPDU)
    assert (theirs.apduService, theirs.apduInvokeID, bytes(theirs.pduData)) == (service, invoke_id, parameters)
    assert (theirs.apduSeg, theirs.apduMor, theirs.apduSA, theirs.apduMaxSegs) == (False, False, False, 0)
    assert theirs.apduMaxResp == encode_max_apdu_length_accepted(1476)
    assert bytes(theirs.encode().pduData) == written
    assert apdu.read_request(written) == (False, 1476, invoke_id, service, 4)


@given(st.booleans(), st.integers(0, 7), st.integers(0, 15), OCTET, OCTET, OCTET, OCTET)
def test_a_request_of_bacpypes3_is_read(segmented, most_segments, longest, invoke_id, service, sequence, window):
    theirs = ConfirmedRequestPDU(service, invoke_id, b"xyz")
    theirs.apduSeg, theirs.apduMor, theirs.apduSA = segmented, False, True
    theirs.apduMaxSegs, theirs.apduMaxResp = most_segments, longest
    theirs.apduSeq, theirs.apduWin = sequence, window
    octets = bytes(theirs.encode().pduData)
    found = apdu.read_request(b"?" + octets, 1)
    assert found[:4] == (segmented, apdu.APDU_LENGTHS[min(longest, 5)], invoke_id, service)
    assert octets[found.at - 1 :] == b"xyz"


@pytest.mark.parametrize("octets", ["", "00", "0005", "000507", "080507", "08050700 04", "10080c0c", "30070c", "ff"])
def test_what_is_no_request_is_refused(octets):
    with pytest.raises(DecodeError):
        apdu.read_request(bytes.fromhex(octets))


@given(OCTET, OCTET, st.binary(max_size=40))
def test_an_answer_is_one_to_bacpypes3(service, invoke_id, result):
    written = apdu.write_complex_ack(service, invoke_id, result)
    theirs = by_bacpypes3(written)
    assert isinstance(theirs, ComplexAckPDU)
    assert (theirs.apduService, theirs.apduInvokeID, bytes(theirs.pduData)) == (service, invoke_id, result)
    assert not theirs.apduSeg
    assert bytes(theirs.encode().pduData) == written


PLAIN_ERROR = [service for service in Service if service is not Service.WRITE_PROPERTY_MULTIPLE]


@given(st.sampled_from(Service), OCTET)
def test_an_answer_without_result_is_one_to_bacpypes3(service, invoke_id):
    theirs = by_bacpypes3(apdu.write_simple_ack(service, invoke_id))
    assert isinstance(theirs, SimpleAckPDU)
    assert (theirs.apduService, theirs.apduInvokeID) == (service, invoke_id)


@given(st.sampled_from(PLAIN_ERROR), OCTET, ERRORS)
def test_an_error_is_one_to_bacpypes3_and_back(service, invoke_id, error):
    written = apdu.write_error(service, invoke_id, error)
    theirs = by_bacpypes3(written)
    assert isinstance(theirs, ErrorPDU)
    decoded = APCISequence.decode(theirs)
    assert (int(decoded.errorClass), int(decoded.errorCode)) == error
    assert apdu.read_error(written, 3) == error
    again = Error(service_choice=service, errorClass=error.error_class, errorCode=error.code)
    again.apduInvokeID = invoke_id
    assert bytes(again.encode().encode().pduData) == written


@given(ERRORS, st.integers(0, 254), st.binary(max_size=8))
def test_an_error_in_a_group_is_read_as_well(error, number, behind):
    group = tags.opening(number) + apdu.encode_error(error) + tags.closing(number) + behind
    assert apdu.read_error(group) == error


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "91",
        "9101",
        "910191",
        "9100 9000",
        "2101 9101",
        "9101 2101",
        "0901 1901",
        "0e0f",
        "95ff00",
        "9509" + "00" * 9,
    ],
)
def test_what_is_no_class_and_code_is_refused(octets):
    with pytest.raises(DecodeError):
        apdu.read_error(bytes.fromhex(octets))


@given(st.binary(max_size=24))
def test_any_octets_are_an_error_or_a_decode_error(octets):
    for read in (apdu.read_error, apdu.read_request):
        try:
            found = read(octets)
        except DecodeError:
            continue
        assert str(found)


@given(OCTET, st.integers(0, 63), st.booleans())
def test_an_abort_is_one_to_bacpypes3(invoke_id, reason, from_server):
    theirs = by_bacpypes3(apdu.write_abort(invoke_id, reason, from_server=from_server))
    assert isinstance(theirs, AbortPDU)
    assert (theirs.apduInvokeID, int(theirs.apduAbortRejectReason)) == (invoke_id, reason)
    assert bool(theirs.apduSrv) is from_server


def test_the_kinds_of_messages_have_the_numbers_of_bacpypes3():
    assert (ConfirmedRequestPDU.pduType, ComplexAckPDU.pduType) == (PduType.CONFIRMED_REQUEST, PduType.COMPLEX_ACK)
    assert (ErrorPDU.pduType, RejectPDU.pduType, AbortPDU.pduType) == (PduType.ERROR, PduType.REJECT, PduType.ABORT)


# Names that the editions of the standard spell otherwise, by the table and the number: ours first.
SPELT_OTHERWISE: dict[tuple[str, int], str] = {}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ERROR_CLASSES, ErrorClass),
        (ERROR_CODES, ErrorCode),
        (REJECT_REASONS, RejectReason),
        (ABORT_REASONS, AbortReason),
    ],
)
def test_reasons_have_the_names_and_numbers_of_bacpypes3(ours, theirs):
    names = {number: name for name, number in theirs._enum_map.items()}
    differing = {}
    for number, name in ours.items():
        other = names.get(number)
        if other is not None and other.replace("-", "").lower() != name.replace("-", ""):
            differing[theirs.__name__, number] = (name, other)
    assert differing == {}


def test_a_reason_that_has_no_name_is_its_number():
    assert (apdu.reject_reason(4), apdu.reject_reason(200)) == ("invalid-tag", "200")
    assert (apdu.abort_reason(4), apdu.abort_reason(200)) == ("segmentation-not-supported", "200")
    assert str(PropertyError(2, 32)) == "property unknown-property"
    assert str(PropertyError(80, 2**63)) == "80 9223372036854775808"
