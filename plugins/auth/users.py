"""All users, in memory by name, and how they are made, changed and removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from core.plugin import Principal, PrincipalKind, Role, Scope, Store
from plugins.auth.errors import LastAdmin, NameTaken, UserNotFound
from plugins.auth.ledger import Ledger, Write
from plugins.auth.tables import Row, Statement, scope_in, scope_text

NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
NO_TOTP: Mapping[str, Any] = {"totp_secret": None, "totp_begun": None, "recovery_codes": frozenset()}
"""What to change of a user whose second factor is taken off."""


@attrs.frozen(kw_only=True)
class User:
    """A person; ``name`` is in lower case and never changes. Times are seconds since the epoch.

    ``totp_secret`` is that of the second factor that is on, ``totp_begun`` of one that is not confirmed yet;
    ``totp_step`` counts the last time step whose code was used. ``recovery_codes`` are digests.
    """

    name: str
    role: Role
    scope: Scope | None = None
    password_hash: str = attrs.field(repr=False)
    disabled: bool = False
    created_at: float
    created_by: str
    password_changed_at: float
    signed_in_at: float | None = None
    totp_secret: str | None = attrs.field(default=None, repr=False)
    totp_begun: str | None = attrs.field(default=None, repr=False)
    totp_step: int = 0
    recovery_codes: frozenset[bytes] = attrs.field(default=frozenset(), repr=False)

    @property
    def principal(self) -> Principal:
        """Who a request of this user is from."""
        return Principal(f"user:{self.name}", self.name, self.role, PrincipalKind.USER, self.scope)

    @property
    def password_set(self) -> tuple[float, float]:
        """Which of this name's passwords it is, however it is hashed."""
        return self.created_at, self.password_changed_at

    @property
    def is_whole_admin(self) -> bool:
        """Whether the user may manage everything."""
        return not self.disabled and self.role is Role.ADMIN and self.scope is None


class Users:
    """The users of the tables."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self._principals: dict[str, Principal] = {}

    def __iter__(self) -> Iterator[User]:
        return iter(self._users.values())

    def __len__(self) -> int:
        return len(self._users)

    def get(self, name: str) -> User:
        """Return a user; raises UserNotFound."""
        user = self._users.get(name)
        if user is None:
            raise UserNotFound(f"No user is called {name!r}; GET /api/v1/auth/users lists them.")
        return user

    def find(self, name: str) -> User | None:
        """Return a user by what was typed as the name."""
        return self._users.get(folded(name))

    def principal(self, name: str) -> Principal | None:
        """Return who requests of a user are from; None where the user is disabled or gone."""
        return self._principals.get(name)

    @property
    def has_whole_admin(self) -> bool:
        """Whether somebody can manage the house by a password."""
        return any(user.is_whole_admin for user in self)

    # changes

    async def make(self, ledger: Ledger, user: User) -> User:
        """Keep a new user; raises NameTaken."""
        async with ledger.changing() as write:
            if user.name in self._users:
                raise NameTaken(f"There is a user called {user.name!r} already.")
            await write(inserting(user))
            self._put(user)
        return user

    async def change(
        self,
        ledger: Ledger,
        name: str,
        changes: Mapping[str, Any],
        *,
        unless_last: bool = False,
        also: Statement | None = None,
    ) -> User:
        """Change fields of a user; raises UserNotFound.

        ``unless_last`` where nobody else could manage the house: raises LastAdmin instead of taking the last admin's
        rights. ``also`` is done in the same transaction.
        """
        async with ledger.changing() as write:
            before = self.get(name)
            if unless_last and not attrs.evolve(before, **changes).is_whole_admin:
                self._insist_on_another(before)
            return await self.update(write, before, also=also, **changes)

    async def update(self, write: Write, user: User, *, also: Statement | None = None, **changes: Any) -> User:
        """Write changes of a user while the ledger is held."""
        new = attrs.evolve(user, **changes)
        await write(*updating(new, codes="recovery_codes" in changes), *([] if also is None else [also]))
        self._put(new)
        return new

    async def remove(self, ledger: Ledger, name: str, *, unless_last: bool) -> None:
        """Remove a user with sessions and all; raises as `change` does."""
        async with ledger.changing() as write:
            if unless_last:
                self._insist_on_another(self.get(name))
            self.get(name)
            await write(deleting(name))
            del self._users[name]
            self._principals.pop(name, None)

    def _insist_on_another(self, leaving: User) -> None:
        if leaving.is_whole_admin and not any(user.is_whole_admin for user in self if user.name != leaving.name):
            raise LastAdmin(f"{leaving.name!r} is the last admin, and no admin's key works; make another one first.")

    # memory and tables

    async def load(self, store: Store) -> None:
        """Read all users anew."""
        codes: dict[str, set[bytes]] = {}
        for name, digest in await store.read("SELECT user, digest FROM auth_recovery_codes"):
            codes.setdefault(name, set()).add(digest)
        users = [user_in(row) for row in await store.read(ALL_USERS)]
        self._users.clear()
        self._principals.clear()
        for user in users:
            self._put(attrs.evolve(user, recovery_codes=frozenset(codes.get(user.name, ()))))

    def _put(self, user: User) -> None:
        self._users[user.name] = user
        if user.disabled:
            self._principals.pop(user.name, None)
        else:
            self._principals[user.name] = user.principal


def folded(name: str) -> str:
    """Return a name as it is kept: capital letters do not count; letters that no name has are left as they are."""
    return name.lower() if name.isascii() else name


def fresh(name: str, role: Role, *, password_hash: str, now: float, created_by: str, **fields: Any) -> User:
    """Describe a user that is to be made; ``fields`` are others of `User`."""
    return User(
        name=folded(name),
        role=role,
        password_hash=password_hash,
        created_at=now,
        created_by=created_by,
        password_changed_at=now,
        **fields,
    )


# statements

_COLUMNS = (
    "name, role, scope, password_hash, disabled, created_at, created_by, password_changed_at, signed_in_at, "
    "totp_secret, totp_begun, totp_step"
)
ALL_USERS = f"SELECT {_COLUMNS} FROM auth_users ORDER BY name"  # noqa: S608  # our own names


def user_in(row: Row) -> User:
    """Read a user from a row, but for the recovery codes."""
    fields = dict(zip(_COLUMNS.split(", "), row, strict=True))
    fields |= {"role": Role(fields["role"]), "scope": scope_in(fields["scope"]), "disabled": bool(fields["disabled"])}
    return User(**fields)


def inserting(user: User) -> Statement:
    """Write a new user."""
    row = attrs.asdict(user) | {"role": user.role.value, "scope": scope_text(user.scope)}
    marks = ", ".join("?" for _ in _COLUMNS.split(", "))
    return (
        f"INSERT INTO auth_users ({_COLUMNS}) VALUES ({marks})",  # noqa: S608  # our own names
        [tuple(row[name] for name in _COLUMNS.split(", "))],
    )


_UPDATE = """UPDATE auth_users SET role = ?, scope = ?, password_hash = ?, disabled = ?, password_changed_at = ?,
    signed_in_at = ?, totp_secret = ?, totp_begun = ?, totp_step = ? WHERE name = ?"""


def updating(user: User, *, codes: bool = False) -> tuple[Statement, ...]:
    """Write what may change of a user; with ``codes`` the recovery codes as well."""
    row = (
        *(user.role.value, scope_text(user.scope), user.password_hash, user.disabled, user.password_changed_at),
        *(user.signed_in_at, user.totp_secret, user.totp_begun, user.totp_step, user.name),
    )
    if not codes:
        return ((_UPDATE, [row]),)
    rows: list[Row] = [(user.name, each) for each in sorted(user.recovery_codes)]
    return (
        (_UPDATE, [row]),
        ("DELETE FROM auth_recovery_codes WHERE user = ?", [(user.name,)]),
        ("INSERT INTO auth_recovery_codes (user, digest) VALUES (?, ?)", rows),
    )


def deleting(name: str) -> Statement:
    """Remove a user with sessions, recovery codes and known addresses."""
    return "DELETE FROM auth_users WHERE name = ?", [(name,)]
