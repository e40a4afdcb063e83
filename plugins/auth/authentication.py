"""Knows who a request is from: by its key, by its session, or by the network that may read the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import attrs

from core.plugin import Authenticator, Call, Clock, Principal, PrincipalKind, Role, within
from plugins.auth.config import Network
from plugins.auth.csrf import SAFE_METHODS, insist_on_own_site, insist_on_token
from plugins.auth.errors import CsrfRefused
from plugins.auth.key_store import Keys, Use
from plugins.auth.keys import id_in
from plugins.auth.sessions import Session, Sessions, brought_value
from plugins.auth.users import Users

KEY_HEADER, BEARER_HEADER = "X-API-Key", "Authorization"
SCHEME = "bearer "
REMEMBERED = 4096
NOTED_EVERY_S = 1.0
METRICS_PATH = "/metrics"


@attrs.define(eq=False)
class _Verified:
    """What a header's text was found to stand for; ``until`` and ``noted`` are seconds since the epoch."""

    principal: Principal
    until: float
    networks: tuple[Network, ...]
    key_id: str
    noted: float = 0.0


class KeyAuthenticator:
    """Knows requests by X-API-Key, or by ``Authorization: Bearer``.

    A header that was found to hold a key is remembered as it was sent, until any key is changed: the next one like it
    costs a look into a dictionary.
    """

    def __init__(self, keys: Keys, clock: Clock, failures: Counter[str]) -> None:
        self._keys = keys
        self._utc = clock.utc
        self._failures = failures
        self._version = keys.version
        self._by_key: dict[str, _Verified] = {}
        self._by_bearer: dict[str, _Verified] = {}

    def authenticate(self, call: Call) -> Principal | None:
        """Return whose key came along; None where none did that works from there."""
        headers = call.headers
        if self._version != self._keys.version:
            self._forget()
        text = only(headers, KEY_HEADER)
        if text is not None:
            verified = self._by_key.get(text) or self._verify(text, text, self._by_key)
        else:
            text = only(headers, BEARER_HEADER)
            if text is None:
                return None
            verified = self._by_bearer.get(text) or self._verify_bearer(text)
        if verified is None:
            return None
        now = self._utc()
        if now >= verified.until or (verified.networks and not within(call.client, verified.networks)):
            self._failures["key"] += 1
            return None
        if not 0 <= now - verified.noted < NOTED_EVERY_S:
            verified.noted = now
            self._keys.used(verified.key_id, Use(now, call.client))
        return verified.principal

    def _verify_bearer(self, header: str) -> _Verified | None:
        if header[: len(SCHEME)].lower() != SCHEME:
            return None
        return self._verify(header[len(SCHEME) :].strip(), header, self._by_bearer)

    def _verify(self, text: str, header: str, remembered: dict[str, _Verified]) -> _Verified | None:
        found = self._keys.find(text) if id_in(text) is not None or self._keys.has_free_form else None
        if found is None:
            self._failures["key"] += 1
            return None
        key, secret = found
        verified = _Verified(key.principal, key.works_until(secret), key.parsed_networks, key.id)
        if len(remembered) >= REMEMBERED:
            remembered.clear()
        remembered[header] = verified
        return verified

    def _forget(self) -> None:
        self._version = self._keys.version
        self._by_key.clear()
        self._by_bearer.clear()


class SessionAuthenticator:
    """Knows requests by a browser's cookie, and refuses those that another site made it send."""

    def __init__(self, sessions: Sessions, users: Users, *, origins: Collection[str], failures: Counter[str]) -> None:
        self._sessions = sessions
        self._users = users
        self._origins = origins
        self._failures = failures

    def authenticate(self, call: Call) -> Principal | None:
        """Return whose session it is; None where there is none, or a key came along. Raises CsrfRefused."""
        if "Cookie" not in call.headers or brings_key(call.headers):
            return None
        value = brought_value(call.headers)
        session = None if value is None else self._sessions.find(value)
        principal = None if session is None else self._users.principal(session.user)
        if value is None or session is None or principal is None:
            return None
        if call.method not in SAFE_METHODS:
            try:
                insist_on_own_site(call, self._origins)
                insist_on_token(call, value)
            except CsrfRefused:
                self._failures["csrf"] += 1
                raise
        self._sessions.used(session)
        return principal

    def session_of(self, headers: Mapping[str, str]) -> tuple[Session, str] | None:
        """Return the session that a request is made in, with its secret id."""
        value = None if brings_key(headers) else brought_value(headers)
        session = None if value is None else self._sessions.find(value)
        return None if session is None or value is None else (session, value)


class MetricsAuthenticator:
    """Lets programs that collect figures read them without credentials, from networks that the configuration names."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks
        self._principal = Principal("network:metrics", "metrics", Role.VIEWER, PrincipalKind.NETWORK)

    def authenticate(self, call: Call) -> Principal | None:
        """Return the principal of a request for the figures from one of these networks."""
        asked = call.route is not None and call.route.path == METRICS_PATH and call.method in SAFE_METHODS
        return self._principal if asked and within(call.client, self._networks) else None


def brings_key(headers: Mapping[str, str]) -> bool:
    """Tell whether a request brings a key, right or wrong: a cookie beside it does not count then."""
    return KEY_HEADER in headers or headers.get(BEARER_HEADER, "")[: len(SCHEME)].lower() == SCHEME


def authenticators(
    keys: KeyAuthenticator, sessions: SessionAuthenticator, metrics: Sequence[Network]
) -> list[Authenticator]:
    """Name the ways in which a request is known, in the order in which they are asked."""
    known = [Authenticator("keys", keys.authenticate), Authenticator("sessions", sessions.authenticate)]
    return [*known, Authenticator("metrics", MetricsAuthenticator(metrics).authenticate)] if metrics else known


def only(headers: Mapping[str, str], name: str) -> str | None:
    """Return the value of a header; of one that comes twice nobody knows which is meant, so that it says nothing."""
    text = headers.get(name)
    if text is not None:
        every = getattr(headers, "getall", None)
        if every is not None and len(every(name)) > 1:
            return ""
    return text
