"""The second factor: codes of an authenticator (RFC 6238), each good once, and recovery codes for when it is lost."""

from __future__ import annotations

import hmac
import secrets

from plugins.auth.errors import ExtraMissing
from plugins.auth.keys import digest

STEP_S = 30
STEPS_OFF = 1
RECOVERY_CODES = 10
ISSUER = "Plantroom"

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # without those that look like others
_GROUPS, _GROUP = 4, 4  # 79 bits


def new_secret() -> str:
    """Make a secret, in base32; raises ExtraMissing."""
    try:
        from pyotp import random_base32
    except ImportError as error:
        raise ExtraMissing from error
    return random_base32()


def uri_of(secret: str, user: str) -> str:
    """Write what an authenticator takes in, as text or as a QR code."""
    from pyotp import TOTP

    return TOTP(secret).provisioning_uri(name=user, issuer_name=ISSUER)


def step_of(secret: str, code: str, now: float, *, after: int) -> int | None:
    """Return the time step that a code is of, None where it is wrong.

    The step before and the one behind the present are taken too (RFC 6238, 5.2); none up to ``after``, so that a code
    that was seen cannot be used once more. Raises ExtraMissing.
    """
    try:
        from pyotp import TOTP
    except ImportError as error:
        raise ExtraMissing from error
    given, present, found = code.strip().replace(" ", ""), int(now // STEP_S), None
    for step in range(present - STEPS_OFF, present + STEPS_OFF + 1):
        due = TOTP(secret).generate_otp(step)
        if hmac.compare_digest(due.encode(), given.encode("utf-8", "surrogatepass")) and step > after:
            found = step
    return found


def new_recovery_codes() -> list[str]:
    """Make codes that are good once each, in groups for people to copy."""
    return [
        "-".join("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
        for _ in range(RECOVERY_CODES)
    ]


def recovery_digest(code: str) -> bytes:
    """Return what is kept of a recovery code; spaces, dashes and capital letters do not count."""
    return digest(code.strip().replace("-", "").replace(" ", "").lower())
