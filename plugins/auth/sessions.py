"""All browsers' sessions, in memory by the digests of their ids, and how they begin and end."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from core.plugin import Call, Clock, Store
from plugins.auth.config import SessionOptions
from plugins.auth.keys import digest, new_id
from plugins.auth.ledger import Ledger
from plugins.auth.tables import Row, Statement

COOKIE = "plantroom_session"
MOST = 10_000
LONGEST_AGENT = 200

_VALUE = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 octets in base64url
_PURPOSE = b"plantroom csrf token"


@attrs.define(eq=False, kw_only=True)
class Session:
    """A browser in which somebody is signed in; ``id`` names it in lists and is no credential."""

    digest: bytes = attrs.field(repr=False)
    id: str
    user: str
    created_at: float
    used_at: float
    address: str
    agent: str


def csrf_token(value: str) -> str:
    """Return the token that shows that a request comes from the session's own page.

    It is made of the session's secret id, which no page can read; the id cannot be made of it.
    """
    return hmac.digest(value.encode(), _PURPOSE, hashlib.sha256).hex()


def value_in(cookies: str) -> str | None:
    """Return the value of the session's cookie in a Cookie header; None where there is none, or more than one.

    Of two with one name a browser does not say which is ours: one may have been put there to be taken for it.
    """
    found: str | None = None
    for part in cookies.split(";"):
        name, equals, value = part.partition("=")
        if name.strip() == COOKIE and equals:
            if found is not None and found != value.strip():
                return None
            found = value.strip()
    return found if found is not None and _VALUE.fullmatch(found) else None


def brought_value(headers: Mapping[str, str]) -> str | None:
    """Return the value of the session's cookie in a request; there may be several Cookie lines, which count as one."""
    if "Cookie" not in headers:
        return None
    every = getattr(headers, "getall", None)
    return value_in(headers["Cookie"] if every is None else ";".join(every("Cookie")))


def agent_of(call: Call) -> str:
    """Return what a browser calls itself, as far as it is kept."""
    return call.headers.get("User-Agent", "")[:LONGEST_AGENT]


class Sessions:
    """The sessions of the tables; what a request looks up is in memory, when they were used is saved now and then."""

    def __init__(self, clock: Clock, options: SessionOptions, *, most: int = MOST) -> None:
        self._clock = clock
        self._options = options
        self._most = most
        self._by_digest: dict[bytes, Session] = {}
        self._unsaved: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._by_digest)

    def __iter__(self) -> Iterator[Session]:
        """Give those that have not run out."""
        now = self._clock.utc()
        return (session for session in list(self._by_digest.values()) if self._lasts(session, now))

    def find(self, value: str) -> Session | None:
        """Return the session of a cookie's value; None where it has ended."""
        session = self._by_digest.get(digest(value))
        return session if session is not None and self._lasts(session, self._clock.utc()) else None

    def used(self, session: Session) -> None:
        """Note that a session is used now."""
        session.used_at = self._clock.utc()
        self._unsaved.add(session.digest)

    def ends_at(self, session: Session) -> float:
        """Return when a session ends, however much it is used."""
        return session.created_at + self._options.absolute

    def idle_at(self, session: Session) -> float:
        """Return when it ends if it is not used any more."""
        return min(session.used_at + self._options.idle, self.ends_at(session))

    def _lasts(self, session: Session, now: float) -> bool:
        return session.created_at + self._options.absolute > now and session.used_at + self._options.idle > now

    # changes

    async def begin(
        self, ledger: Ledger, user: str, *, address: str, agent: str, still: Callable[[], object]
    ) -> tuple[Session, str]:
        """Begin a session, and return it with its secret id; of a user's others, or of all, the oldest may have to go.

        ``still`` is asked before anything is changed, and raises where the user may not sign in any more.
        """
        value, now = secrets.token_urlsafe(32), self._clock.utc()
        session = Session(
            digest=digest(value), id=new_id(), user=user, created_at=now, used_at=now, address=address,
            agent=agent,
        )  # fmt: skip
        async with ledger.changing() as write:
            still()
            displaced = list(self._displaced(user))
            await write(deleting(displaced), inserting(session))
            self._drop(displaced)
            self._by_digest[session.digest] = session
        return session, value

    async def end(self, ledger: Ledger, which: Callable[[Session], bool]) -> list[Session]:
        """End sessions, effective at once; answers which."""
        async with ledger.changing() as write:
            ended = [session for session in self._by_digest.values() if which(session)]
            if ended:
                await write(deleting(ended))
                self._drop(ended)
        return ended

    def forget(self, which: Callable[[Session], bool]) -> None:
        """Drop sessions from memory that are in the tables no more."""
        self._drop([session for session in self._by_digest.values() if which(session)])

    def is_over(self, session: Session) -> bool:
        """Tell whether a session has run out."""
        return not self._lasts(session, self._clock.utc())

    def _displaced(self, user: str) -> Iterable[Session]:
        """Choose who has to make room for one more: those unused for longest."""
        oldest = sorted(self._by_digest.values(), key=lambda session: session.used_at)
        own = [session for session in oldest if session.user == user]
        chosen = own[: max(0, len(own) + 1 - self._options.per_user)]
        too_many = len(oldest) + 1 - self._most - len(chosen)
        others = [session for session in oldest if session not in chosen]
        return [*chosen, *others[: max(0, too_many)]]

    def _drop(self, sessions: Iterable[Session]) -> None:
        for session in sessions:
            self._by_digest.pop(session.digest, None)
            self._unsaved.discard(session.digest)

    # memory and tables

    async def load(self, store: Store) -> None:
        """Read all sessions anew; what is known of when they were used stays."""
        rows = await store.read(f"SELECT {_COLUMNS} FROM auth_sessions")  # noqa: S608  # our own names
        before, self._by_digest = self._by_digest, {}
        for row in rows:
            session = Session(**dict(zip(_COLUMNS.split(", "), row, strict=True)))
            known = before.get(session.digest)
            if known is not None:
                session.used_at = max(session.used_at, known.used_at)
            self._by_digest[session.digest] = session
        self._unsaved &= self._by_digest.keys()

    def saving(self) -> list[Statement]:
        """Return how to write down which sessions were used since the last time."""
        unsaved, self._unsaved = self._unsaved, set()
        rows: list[Row] = [
            (session.used_at, each) for each in unsaved if (session := self._by_digest.get(each)) is not None
        ]
        return [("UPDATE auth_sessions SET used_at = ? WHERE digest = ?", rows)] if rows else []


# statements

_COLUMNS = "digest, id, user, created_at, used_at, address, agent"


def inserting(session: Session) -> Statement:
    """Write a new session."""
    return (
        f"INSERT INTO auth_sessions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  # our own names
        [attrs.astuple(session)],
    )


def deleting(sessions: Iterable[Session]) -> Statement:
    """Remove sessions."""
    return "DELETE FROM auth_sessions WHERE digest = ?", [(session.digest,) for session in sessions]


def deleting_all_of(user: str) -> Statement:
    """Remove all sessions of a user."""
    return "DELETE FROM auth_sessions WHERE user = ?", [(user,)]
