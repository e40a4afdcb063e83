"""Knows who a request is from by a bearer token that the configured issuer has signed for us."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Mapping
from typing import Any

import attrs

from core.plugin import Call, Clock, PermissionDenied, Principal, PrincipalKind, Role
from plugins.auth.authentication import BEARER_HEADER, KEY_HEADER, REMEMBERED, SCHEME, only
from plugins.auth.config import OidcOptions
from plugins.auth.oidc.issuer import Issuer

_NAMES = ("preferred_username", "email", "name", "sub")


@attrs.define(eq=False)
class _Verified:
    """Whom a token that was found good speaks for, and from when until when it is good."""

    principal: Principal | None
    starts: float
    ends: float


class TokenAuthenticator:
    """Checks a token once: by its signature, issuer, audience and times; then it is remembered until it ends."""

    def __init__(self, options: OidcOptions, issuer: Issuer, clock: Clock, failures: Counter[str]) -> None:
        self._options = options
        self._issuer = issuer
        self._utc = clock.utc
        self._failures = failures
        self._version = issuer.version
        self._verified: dict[str, _Verified] = {}

    def authenticate(self, call: Call) -> Principal | None | Awaitable[Principal | None]:
        """Return whom the token speaks for; None where there is none that is good. Raises PermissionDenied, IssuerAway.

        Awaited where the issuer has to be asked for its keys.
        """
        header = only(call.headers, BEARER_HEADER)
        if header is None or KEY_HEADER in call.headers:
            return None
        if self._version != self._issuer.version:
            self._version = self._issuer.version
            self._verified.clear()
        verified = self._verified.get(header)
        if verified is not None and self._issuer.is_fresh:
            return self._admitted(verified)
        token = header[len(SCHEME) :].strip()
        if header[: len(SCHEME)].lower() != SCHEME or token.count(".") != 2:
            return None
        return self._with_key(header, token)

    async def _with_key(self, header: str, token: str) -> Principal | None:
        from jwt import PyJWTError, get_unverified_header

        try:
            said = get_unverified_header(token)
        except PyJWTError:
            return None
        algorithm, key_id = said.get("alg"), said.get("kid")
        if algorithm not in self._options.algorithms:
            self._failures["token"] += 1
            return None
        jwk = self._issuer.known(key_id) if self._issuer.is_fresh else None
        jwk = jwk or await self._issuer.key(key_id)
        claims = None if jwk is None else self._claims(token, jwk, str(algorithm))
        if claims is None:
            self._failures["token"] += 1
            return None
        verified = self._read(claims)
        if len(self._verified) >= REMEMBERED:
            self._verified.clear()
        self._verified[header] = verified
        return self._admitted(verified)

    def _claims(self, token: str, jwk: Mapping[str, Any], algorithm: str) -> Mapping[str, Any] | None:
        """Return what a token says, where its signature, issuer and audience are right; times are seen to later.

        The key says what algorithm it is for; the header is believed only where the configuration allows it, and never
        chooses between a signature and a shared secret (RFC 8725, 3.1).
        """
        from jwt import PyJWK, PyJWTError, decode

        try:
            if jwk.get("alg", algorithm) != algorithm:
                return None
            claims: Mapping[str, Any] = decode(
                token,
                PyJWK(dict(jwk), algorithm),
                algorithms=[algorithm],
                audience=self._options.audience,
                issuer=self._options.issuer,
                options={
                    "require": ["exp", "sub", "iss", "aud"],
                    "verify_exp": False,  # by our own clock
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (PyJWTError, TypeError, ValueError):
            return None
        times = [claims.get(name, 0) for name in ("exp", "nbf", "iat")]
        return claims if all(type(time) in (int, float) for time in times) else None

    def _read(self, claims: Mapping[str, Any]) -> _Verified:
        leeway = self._options.leeway
        role = self._role(claims)
        name = next(str(claims[each]) for each in _NAMES if claims.get(each))
        principal = None if role is None else Principal(f"token:{claims['sub']}", name, role, PrincipalKind.TOKEN)
        starts = max(claims.get("nbf", 0), claims.get("iat", 0)) - leeway
        return _Verified(principal, starts, claims["exp"] + leeway)

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        """Return the highest role that the claim's values stand for."""
        found: Any = claims
        for part in self._options.claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        values = found if isinstance(found, list) else [found]
        roles = [
            Role(self._options.roles[each]) for each in values if isinstance(each, str) and each in self._options.roles
        ]
        return next((role for role in reversed(Role) if role in roles), None)

    def _admitted(self, verified: _Verified) -> Principal | None:
        if not verified.starts <= self._utc() < verified.ends:
            self._failures["token"] += 1
            return None
        if verified.principal is None:
            raise PermissionDenied(f"The token's `{self._options.claim}` has none of the roles that the house knows.")
        return verified.principal
