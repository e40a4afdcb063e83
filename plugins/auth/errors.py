"""What can go wrong with signing in, and with what is managed of keys, users and sessions.

PlantroomError
├── CredentialsRequired
│   └── SignInFailed          401
├── PermissionDenied
│   ├── CsrfRefused           403
│   └── WrongPassword         403
├── NotFound
│   ├── UserNotFound          404
│   ├── KeyNotFound           404
│   └── SessionNotFound       404
├── Conflict
│   ├── NameTaken             409
│   ├── LastAdmin             409
│   ├── TotpConflict          409
│   └── KeyOfEnvironment      409
├── Invalid
│   └── PasswordUnfit         422
├── TooManyRequests
│   └── Locked                429
└── Unavailable
    ├── SignInBusy            503
    ├── ExtraMissing          503
    └── IssuerAway            503
"""

from __future__ import annotations

import math

from core.errors import Conflict, Unavailable
from core.plugin import (
    CredentialsRequired,
    Example,
    FieldFault,
    Invalid,
    NotFound,
    PermissionDenied,
    TooManyRequests,
    any_of,
)

_USERS, _KEYS = "/api/v1/auth/users", "/api/v1/auth/api-keys"
_LOGIN = "/api/v1/auth/login"


class SignInFailed(CredentialsRequired):
    """Nobody is signed in by these: the name, the password or the code is wrong. Which of them, nobody is told."""

    code = "auth.sign_in_failed"
    title = "Not signed in"
    causes = any_of(
        "The name or the password is misspelt; capital letters count in the password only.",
        "The user has a second factor, and the code is missing, is an older one, or was used already.",
        "The clock of this machine, or of the telephone that shows the codes, is wrong by more than half a minute.",
        "The user is disabled, or does not exist.",
    )
    remedy = "Check name, password and code; `plantroom users password NAME` sets a new password from a shell."
    example = Example("The name, the password or the code is wrong.", _LOGIN)

    def __init__(self) -> None:
        super().__init__(
            "The name, the password or the code is wrong.", headers={"WWW-Authenticate": 'Bearer realm="plantroom"'}
        )


class CsrfRefused(PermissionDenied):
    """A browser sent this with its session's cookie, and nothing shows that its own page meant to."""

    code = "auth.csrf"
    title = "Not from our own page"
    causes = any_of(
        "The X-CSRF-Token header is missing, or is another session's: each sign-in makes a new one.",
        "Another site's page sent the request, as Origin or Sec-Fetch-Site say.",
        "A proxy serves Plantroom under another name than it passes on; `origins` names that one.",
    )
    remedy = "Send the `csrf_token` of GET /api/v1/auth/me as X-CSRF-Token, from a page of this origin."
    example = Example("The X-CSRF-Token is missing, or is not this session's.", "/api/v1/auth/logout")


class WrongPassword(PermissionDenied):
    """The password that was given to confirm a change is not the user's."""

    code = "auth.wrong_password"
    title = "Wrong password"
    causes = any_of("It is misspelt.", "It was changed meanwhile, perhaps by an admin.")
    remedy = "Give the present password; an admin can set another one."
    example = Example("This is not your present password.", "/api/v1/auth/me/password")


class UserNotFound(NotFound):
    """No user has this name."""

    code = "auth.user_not_found"
    title = "Unknown user"
    causes = any_of("The name is misspelt.", "The user was removed, here or by `plantroom users revoke`.")
    remedy = "GET /api/v1/auth/users lists the users."
    example = Example("No user is called 'eve'; GET /api/v1/auth/users lists them.", f"{_USERS}/eve")


class KeyNotFound(NotFound):
    """No API key has this id."""

    code = "auth.key_not_found"
    title = "Unknown API key"
    causes = any_of(
        "The id is misspelt: it is the part of the key behind `plr_`, not the whole key.",
        "The key was revoked, here or by `plantroom keys revoke`.",
    )
    remedy = "GET /api/v1/auth/api-keys lists the keys."
    example = Example("No key has the id 'k7f3'; GET /api/v1/auth/api-keys lists them.", f"{_KEYS}/k7f3")


class SessionNotFound(NotFound):
    """No session that you may see has this id."""

    code = "auth.session_not_found"
    title = "Unknown session"
    causes = any_of(
        "It has ended: by signing out, by its age, or because the password was changed.",
        "It is another user's, and only an admin of the whole house sees those.",
    )
    remedy = "GET /api/v1/auth/sessions lists the sessions."
    example = Example(
        "No session has the id 'q0zt'; GET /api/v1/auth/sessions lists them.", "/api/v1/auth/sessions/q0zt"
    )


class NameTaken(Conflict):
    """A user of this name exists already."""

    code = "auth.name_taken"
    title = "The name is taken"
    causes = any_of("Names are compared without regard to capital letters.")
    remedy = "Choose another name, or change the user that there is."
    example = Example("There is a user called 'ada' already.", _USERS)


class LastAdmin(Conflict):
    """Nobody would be left who may manage users and keys."""

    code = "auth.last_admin"
    title = "The last admin"
    causes = any_of(
        "This is the only admin of the whole house who is not disabled, and no key of an admin works.",
        "A key of an admin there was has expired, or was disabled.",
    )
    remedy = "Make another admin first; or use `plantroom users` on the machine itself."
    example = Example("'ada' is the last admin, and no admin's key works; make another one first.", f"{_USERS}/ada")


class TotpConflict(Conflict):
    """The second factor is not in the state that this needs."""

    code = "auth.totp_conflict"
    title = "Second factor in another state"
    causes = any_of(
        "It is on already: it must be taken off before a new one is begun.",
        "It was not begun, or not since it was taken off or reset: POST /api/v1/auth/me/totp begins.",
    )
    remedy = "See `totp` in GET /api/v1/auth/me."
    example = Example(
        "No second factor was begun; POST /api/v1/auth/me/totp begins one.", "/api/v1/auth/me/totp/confirm"
    )


class KeyOfEnvironment(Conflict):
    """The key named bootstrap is the value of an environment variable, and is changed only there."""

    code = "auth.key_of_environment"
    title = "The environment's key"
    causes = any_of("Plantroom was started with PLANTROOM_API_KEY, whose value is the key named `bootstrap`.")
    remedy = "Change or unset PLANTROOM_API_KEY, and start Plantroom again."
    example = Example(
        "This key is the value of PLANTROOM_API_KEY; change or unset that, and start again.", f"{_KEYS}/bootstrap"
    )

    def __init__(self) -> None:
        super().__init__("This key is the value of PLANTROOM_API_KEY; change or unset that, and start again.")


class PasswordUnfit(Invalid):
    """The password is too short, too long, or one that is soon guessed."""

    code = "auth.password_unfit"
    title = "Password not fit"
    causes = any_of(
        "It is shorter than `password: {min_length: ...}`, or longer than 256 characters.",
        "It is among the most common ones, or is made of names, dates, words and rows of keys.",
        "It is made of the user's own name or of this product's.",
    )
    remedy = "Take a longer one: four words that have nothing to do with each other, or what a password manager makes."
    example = Example(
        "Take another password: it must have 12 to 256 characters.",
        _USERS,
        errors=(FieldFault("password", "length", "must have 12 to 256 characters"),),
    )


class Locked(TooManyRequests):
    """Too many sign-ins failed, from this address or to this account; each further failure takes longer to forget."""

    code = "auth.locked"
    title = "Too many failed sign-ins"
    causes = any_of(
        "Five or more passwords in a row were wrong for this account from this address.",
        "Twenty or more sign-ins failed from this address, whatever the account.",
        "The account is being attacked: an address that never signed in to it has one attempt at a time then.",
    )
    remedy = "Wait as long as Retry-After says; the right password is refused until then, too."
    example = Example("Too many sign-ins failed; try again in 8 s.", _LOGIN)

    def __init__(self, wait_s: float) -> None:
        seconds = max(1, math.ceil(wait_s))
        super().__init__(f"Too many sign-ins failed; try again in {seconds} s.", headers={"Retry-After": str(seconds)})


class SignInBusy(Unavailable):
    """So many passwords are being checked already that this one would wait too long."""

    code = "auth.busy"
    title = "Too many sign-ins at once"
    causes = any_of(
        "Somebody floods the sign-in: the log's `sign_in_failed` lines name addresses.",
        "The parameters under `password` are too much for this machine.",
    )
    remedy = "Try again after the seconds in Retry-After; keys and sessions work on meanwhile."
    example = Example("Too many passwords are being checked; try again in 2 s.", _LOGIN)


class ExtraMissing(Unavailable):
    """Passwords and second factors need libraries that are not installed; keys work without."""

    code = "auth.extra_missing"
    title = "Libraries for users are missing"
    causes = any_of("Plantroom was installed without its extra `auth`.")
    remedy = "pip install 'plantroom[auth]', then start Plantroom again."
    example = Example("Users need libraries that are missing: pip install 'plantroom[auth]'.", _USERS)

    def __init__(self) -> None:
        super().__init__("Users need libraries that are missing: pip install 'plantroom[auth]'.", retry_after_s=3600)


class IssuerAway(Unavailable):
    """The issuer of tokens has not been reached since the start, so that no token can be checked."""

    code = "auth.issuer_away"
    title = "The issuer of tokens is away"
    causes = any_of(
        "`oidc: {issuer: ...}` or `jwks_url` is misspelt, or cannot be reached from here: the log says `issuer_away`.",
        "The issuer is down, or its certificate is none that this machine trusts.",
    )
    remedy = "Try again after the seconds in Retry-After; keys and sessions work meanwhile."
    example = Example("The issuer of tokens cannot be asked for its keys; the log says why.", "/api/v1/devices")

    def __init__(self) -> None:
        super().__init__("The issuer of tokens cannot be asked for its keys; the log says why.", retry_after_s=30)
