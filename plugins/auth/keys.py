"""The form of an API key: people and scanners know it when they see it, and a slip of the pen shows by itself."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "plr_"
ID_LENGTH = 12
SECRET_LENGTH = 32
"""Characters of base62: 190 bits."""
CHECKSUM_LENGTH = 6

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID = string.digits + string.ascii_lowercase
_FORM = re.compile(rf"{PREFIX}([0-9a-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}}")


def new_id() -> str:
    """Make an id: of a key, or of anything else that is listed."""
    return "".join(secrets.choice(_ID) for _ in range(ID_LENGTH))


def new_key(key_id: str) -> str:
    """Make a key of this id: ``plr_<id>_<secret><checksum>``."""
    body = f"{PREFIX}{key_id}_" + "".join(secrets.choice(_BASE62) for _ in range(SECRET_LENGTH))
    return body + _checksum(body)


def id_in(text: str) -> str | None:
    """Return the id in a key, None for a text that cannot be one: another form, or mistyped."""
    match = _FORM.fullmatch(text)
    if match is None or _checksum(text[:-CHECKSUM_LENGTH]) != text[-CHECKSUM_LENGTH:]:
        return None
    return match[1]


def digest(text: str) -> bytes:
    """Return what is kept of a secret that is too random to be guessed, so that no slow hash is needed."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _checksum(body: str) -> str:
    """Write the CRC-32 of what stands before it, which any single wrong character changes."""
    rest, written = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        rest, index = divmod(rest, len(_BASE62))
        written = _BASE62[index] + written
    return written
