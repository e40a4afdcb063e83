"""The certificate that the server shows: read from its files, checked, and followed as they change."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from core.errors import PlantroomError, any_of
from core.routes import Health, HealthCheck, Metric
from core.serving import Tls
from core.x509 import Facts, facts_of

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
"""Of TLS 1.2 those that keep what was said secret when the key gets out, and seal it; those of 1.3 all do."""
DAY_S = 86_400
WARNED_BEFORE_S = 30 * DAY_S

_Signature = tuple[tuple[int, ...], ...]


class CertificateUnusable(PlantroomError):
    """The certificate and the key that the configuration names cannot be used, for the reason that the detail gives."""

    code = "tls.certificate_unusable"
    title = "The certificate cannot be used"
    causes = any_of(
        "`http.tls.certificate` or `http.tls.key` names no file, or one that Plantroom's user may not read.",
        "The key is another certificate's, or takes a password that `http.tls.key_password` is not.",
        "A file is no PEM, or only half written.",
    )
    remedy = "Name a certificate in PEM, what it is signed with behind it, and its key; `plantroom check` tries them."


class Certificate:
    """What new connections are encrypted with: ``context``; ``facts`` tell of it what it says itself.

    `follow` takes the files over as they change; what cannot be used is refused, and the old ones go on.
    """

    def __init__(self, tls: Tls) -> None:
        self.tls = tls
        self._tried = _signature(tls)
        self._failing = False
        self.context, self.facts = load(tls)

    def follow(self) -> None:
        """Look whether the files have changed, and take them over; what is wrong with them is logged once."""
        signature = _signature(self.tls)
        if signature == self._tried:
            return
        self._tried, log = signature, structlog.get_logger()
        try:
            self.context, self.facts = load(self.tls)
        except CertificateUnusable as error:
            if not self._failing:
                log.warning("certificate_refused", error=error.detail)
            self._failing = True
            return
        self._failing = False
        log.info("certificate_replaced", file=str(self.tls.certificate), days_left=self._days_left(time.time()))

    def check(self, now: Callable[[], float]) -> HealthCheck:
        """Make the look at how long it still counts; ``now`` tells UTC in seconds."""

        def look() -> tuple[Health, str]:
            days = self._days_left(now())
            if days < 0:
                return Health.DEGRADED, f"the certificate expired {-days} days ago"
            if self._failing:
                return Health.DEGRADED, "its files have changed and cannot be used; the one before them is shown"
            soon = self.facts.expires - now() < WARNED_BEFORE_S
            return Health.DEGRADED if soon else Health.OK, f"the certificate expires in {days} days"

        return HealthCheck("certificate", look)

    def metrics(self) -> list[Metric]:
        """Make the figures about it."""
        help_text = "When the certificate expires, in seconds since the Unix epoch."
        name = "plantroom_tls_certificate_expires_timestamp_seconds"
        return [Metric(name, "gauge", help_text, lambda: [({}, self.facts.expires)])]

    def _days_left(self, now: float) -> int:
        return int((self.facts.expires - now) // DAY_S)


def load(tls: Tls) -> tuple[ssl.SSLContext, Facts]:
    """Read the files; raises CertificateUnusable where they are not what they should be."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    password = "" if tls.key_password is None else tls.key_password.reveal()
    pem, key = _content(tls.certificate), _content(tls.key)
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: password)  # never asked of a terminal
        return context, facts_of(pem)
    except ssl.SSLError as error:
        raise CertificateUnusable(f"{tls.certificate} and {tls.key} cannot be used: {_said(error, key)}.") from error
    except (OSError, ValueError) as error:
        raise CertificateUnusable(f"{tls.certificate} cannot be used: {error}.") from error


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise CertificateUnusable(f"{path} cannot be read: {error.strerror}.") from error


def _said(error: ssl.SSLError, key: str) -> str:
    """Say in words what OpenSSL says in its own, or not at all."""
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return "the key is not this certificate's"
    if "ENCRYPTED" in key:
        return "the key takes another password; see http.tls.key_password"
    return "one of them is no PEM, or only half written"


def _signature(tls: Tls) -> _Signature:
    """Tell a file from what it was before, without reading it."""
    return tuple(_of_file(path) for path in (tls.certificate, tls.key))


def _of_file(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
