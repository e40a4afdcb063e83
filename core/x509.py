"""Reads of a certificate what says until when it counts, and who vouches for it (RFC 5280, 4.1)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

import attrs

_VERSION, _UTC_TIME = 0xA0, 0x17
_ISSUER, _VALIDITY, _SUBJECT = 2, 3, 4
_END = "-----END CERTIFICATE-----"


@attrs.frozen
class Facts:
    """What a certificate says; times are in seconds since the Unix epoch."""

    begins: float
    expires: float
    self_signed: bool


def facts_of(pem: str) -> Facts:
    """Read the first certificate of a PEM file; raises ValueError for what is none."""
    begin, end, _rest = pem.partition(_END)
    if not end:
        raise ValueError("there is no certificate in it")
    der = ssl.PEM_cert_to_DER_cert(begin[begin.index("-----BEGIN CERTIFICATE-----") :] + end)
    try:
        [(_tag, certificate)] = _values(der)
        _tag, signed = next(_values(certificate))
        fields = [(tag, value) for tag, value in _values(signed) if tag != _VERSION]
        begins, expires = [_time(tag, value) for tag, value in _values(fields[_VALIDITY][1])]
    except (IndexError, StopIteration) as error:
        raise ValueError("it is cut off, or no certificate") from error
    return Facts(begins, expires, self_signed=fields[_ISSUER] == fields[_SUBJECT])


def _values(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Take a run of values in DER apart (X.690, 8.1): each with its tag."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length >= 0x80:
            octets = length - 0x80
            length, at = int.from_bytes(der[at : at + octets]), at + octets
        if at + length > len(der):
            raise ValueError("it is cut off")
        yield tag, der[at : at + length]
        at += length


def _time(tag: int, value: bytes) -> float:
    """Read a time; two digits of a year are from 1950 to 2049 (RFC 5280, 4.1.2.5.1)."""
    text = value.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
