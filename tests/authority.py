"""A certification authority of a test, and what clients that trust it, or do not, say to a server."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.serving import Tls

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


@attrs.frozen
class Pair:
    """A certificate, with what it is signed with behind it, and its key, in PEM."""

    certificate: bytes
    key: bytes
    expires: dt.datetime

    def into(self, folder: Path) -> Tls:
        """Write both, each at once, as a program that renews certificates does."""
        tls = Tls(folder / "certificate.pem", folder / "key.pem")
        for file, content in ((tls.key, self.key), (tls.certificate, self.certificate)):
            new = file.with_suffix(".new")
            new.write_bytes(content)
            new.chmod(0o600)
            new.replace(file)
        return tls


class Authority:
    """Signs certificates for this machine; a client that trusts it takes them."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("an authority")
        self._certificate = (
            _begun(self._name, self._name, self._key, NOW + dt.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(PEM)

    def pair(self, *, days: int = 90, password: str | None = None, self_signed: bool = False) -> Pair:
        """Make a certificate for localhost and 127.0.0.1 that counts for so many days, or since so many no more."""
        key = ec.generate_private_key(ec.SECP256R1())
        expires = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=days, minutes=5)
        name = _name("a plant room")
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        signed = (
            _begun(name, name if self_signed else self._name, key, expires)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key if self_signed else self._key, hashes.SHA256())
        )
        sealed = (
            serialization.NoEncryption()
            if password is None
            else serialization.BestAvailableEncryption(password.encode())
        )
        return Pair(
            signed.public_bytes(PEM) + (b"" if self_signed else self.pem),
            key.private_bytes(PEM, PKCS8, sealed),
            expires,
        )

    def client(self, **options: object) -> ssl.SSLContext:
        """Make the context of a client that trusts this authority alone; ``options`` are set on it."""
        context = ssl.create_default_context(cadata=self.pem.decode())
        for name, value in options.items():
            setattr(context, name, value)
        return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begun(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, expires: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(NOW, expires) - dt.timedelta(days=1))
        .not_valid_after(expires)
    )
