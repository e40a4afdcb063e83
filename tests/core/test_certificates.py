"""Certificates: what is read of them, what is refused, and how they are followed."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import structlog
from authority import Authority
from hypothesis import example, given
from hypothesis import strategies as st

from core.certificates import Certificate, CertificateUnusable, load
from core.routes import Health
from core.security import Secret
from core.x509 import facts_of

AUTHORITY = Authority()
PAIR = AUTHORITY.pair()


def test_of_a_certificate_is_known_until_when_it_counts_and_whether_it_vouches_for_itself() -> None:
    facts = facts_of(PAIR.certificate.decode())
    assert (facts.expires, facts.self_signed) == (PAIR.expires.timestamp(), False)
    assert facts.begins < PAIR.expires.timestamp() - 90 * 86_400
    assert facts_of(AUTHORITY.pair(self_signed=True).certificate.decode()).self_signed
    assert facts_of(AUTHORITY.pem.decode()).self_signed


@pytest.mark.parametrize("year", [1950, 1999, 2049, 2050, 2200])
def test_years_of_two_and_of_four_digits_are_read(year: int) -> None:
    days = (dt.datetime(year, 7, 1, tzinfo=dt.UTC) - dt.datetime.now(dt.UTC)).days
    pair = AUTHORITY.pair(days=days)
    assert facts_of(pair.certificate.decode()).expires == pair.expires.timestamp()


@given(st.data())
def test_whatever_a_file_holds_it_is_a_certificate_or_none_and_never_something_unforeseen(data: st.DataObject) -> None:
    der = bytearray(
        ssl.PEM_cert_to_DER_cert(PAIR.certificate.decode().partition("-----END")[0] + "-----END CERTIFICATE-----")
    )
    at = data.draw(st.integers(0, len(der) - 1))
    der[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(at, len(der)))
    try:
        facts = facts_of(ssl.DER_cert_to_PEM_cert(bytes(der[:cut])))
    except ValueError:
        return
    assert isinstance(facts.expires, float)


@given(st.text())
@example("-----END CERTIFICATE-----")
@example("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----")
def test_what_is_no_pem_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        facts_of(text)


def test_a_certificate_with_its_key_is_taken_and_so_is_a_key_with_a_password(tmp_path: Path) -> None:
    context, facts = load(PAIR.into(tmp_path))
    assert facts.expires == PAIR.expires.timestamp()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    locked = attrs.evolve(AUTHORITY.pair(password="correct horse").into(tmp_path), key_password=Secret("correct horse"))
    load(locked)
    assert load(attrs.evolve(locked, min_version="1.3"))[0].minimum_version is ssl.TLSVersion.TLSv1_3


def test_of_tls_1_2_only_ciphers_with_forward_secrecy_that_seal_are_offered(tmp_path: Path) -> None:
    context, _facts = load(PAIR.into(tmp_path))
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert len(names) > 5
    for name in names:
        assert name.startswith(("ECDHE-", "TLS_")) and ("GCM" in name or "CHACHA20" in name), name


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda tls: tls.certificate.unlink(), r"certificate\.pem cannot be read: No such file"),
        (lambda tls: tls.key.unlink(), r"key\.pem cannot be read: No such file"),
        (lambda tls: tls.key.write_bytes(AUTHORITY.pair().key), "the key is not this certificate's"),
        (lambda tls: tls.key.write_bytes(AUTHORITY.pair(password="x").key), "the key takes another password"),
        (lambda tls: tls.key.write_bytes(PAIR.key[:60]), "one of them is no PEM, or only half written"),
        (lambda tls: tls.key.write_bytes(b""), "one of them is no PEM, or only half written"),
        (
            lambda tls: tls.certificate.write_bytes(PAIR.certificate[:300]),
            "one of them is no PEM, or only half written",
        ),
        (
            lambda tls: tls.certificate.write_bytes(PAIR.certificate[:-80]),
            "one of them is no PEM, or only half written",
        ),
        (lambda tls: tls.certificate.write_bytes(b"\xff\xfe"), "one of them is no PEM, or only half written"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_is_wrong_with_it(
    tmp_path: Path, spoil: Callable[[object], object], said: str
) -> None:
    tls = PAIR.into(tmp_path)
    spoil(tls)
    with pytest.raises(CertificateUnusable, match=said):
        Certificate(tls)


def test_files_that_change_are_followed_and_what_is_wrong_with_them_is_told_once(tmp_path: Path) -> None:
    tls, other = PAIR.into(tmp_path), AUTHORITY.pair(days=20)
    certificate = Certificate(tls)
    first = certificate.context
    with structlog.testing.capture_logs() as log:
        certificate.follow()
        assert (certificate.context, log) == (first, [])
        for half in (100, 300, len(other.certificate) // 2):
            tls.certificate.write_bytes(other.certificate[:half])
            certificate.follow()
        tls.certificate.write_bytes(other.certificate)
        certificate.follow()
        assert certificate.context is first, "the new one does not go with the old key"
        assert [line["event"] for line in log] == ["certificate_refused"]
        assert certificate.check(lambda: 0.0).check()[0] is Health.DEGRADED
        tls.key.write_bytes(other.key)
        certificate.follow()
        assert [line["event"] for line in log] == ["certificate_refused", "certificate_replaced"]
    assert certificate.context is not first
    assert certificate.facts.expires == other.expires.timestamp()
    assert "PRIVATE KEY" not in str(log)


@pytest.mark.parametrize(
    ("days", "health", "said"),
    [
        (90, Health.OK, "expires in 90 days"),
        (31, Health.OK, "expires in 31 days"),
        (29, Health.DEGRADED, "expires in 29 days"),
        (-3, Health.DEGRADED, "expired 3 days ago"),
    ],
)
def test_thirty_days_before_a_certificate_expires_its_health_says_so(
    tmp_path: Path, days: int, health: Health, said: str
) -> None:
    certificate = Certificate(AUTHORITY.pair(days=days).into(tmp_path))
    found, sentence = certificate.check(lambda: dt.datetime.now(dt.UTC).timestamp()).check()
    assert found is health and said in sentence
    [metric] = certificate.metrics()
    assert list(metric.collect()) == [({}, certificate.facts.expires)]
