"""Tells whoever finds a hole whom to tell: security.txt (RFC 9116)."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from core.plugin import Answer, Health, Route
from plugins.security.config import SecurityTxt

PATH = "/.well-known/security.txt"
DAY_S = 86_400
WARNED_BEFORE_S = 30 * DAY_S


def security_txt(found: SecurityTxt) -> Route:
    """Make the route that everybody may ask."""
    answer = Answer(written(found).encode())

    async def show(_request: web.Request) -> Answer:
        return answer

    return Route(
        "GET", PATH, show, "Tell whom to tell of a hole", role=None, at_once=lambda: answer, media_type="text/plain",
        example="Contact: mailto:security@bms.example\nExpires: 2027-06-30T00:00:00Z\n",
        description="Contacts and what else the operator says about reports of vulnerabilities (RFC 9116).",
    )  # fmt: skip


def written(found: SecurityTxt) -> str:
    """Write the file: a line for each value, the preferred ones first (RFC 9116, 2.5)."""
    expires = datetime.fromtimestamp(found.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = [
        *(("Contact", each) for each in found.contact),
        ("Expires", expires),
        *(("Encryption", each) for each in found.encryption),
        *(("Acknowledgments", each) for each in found.acknowledgments),
        *(("Preferred-Languages", each) for each in [", ".join(found.preferred_languages)] if each),
        *(("Canonical", each) for each in found.canonical),
        *(("Policy", each) for each in found.policy),
    ]
    return "".join(f"{name}: {value}\n" for name, value in fields)


def health(found: SecurityTxt, now: float) -> tuple[Health, str]:
    """Say whether it still counts: nobody is to trust one that has expired (RFC 9116, 2.5.5)."""
    days = int((found.expires - now) // DAY_S)
    if days < 0:
        return Health.DEGRADED, f"it expired {-days} days ago: set another `expires`"
    soon = found.expires - now < WARNED_BEFORE_S
    return Health.DEGRADED if soon else Health.OK, f"it expires in {days} days"
