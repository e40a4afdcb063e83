"""What `plantroom users` and `plantroom keys` take on the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

import voluptuous as vol

from core.plugin import Role
from plugins.auth.config import network
from plugins.auth.key_table import LONGEST_OVERLAP_S
from plugins.auth.users import NAME_PATTERN

LONGEST_NAME = 100


def user_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `plantroom users` takes."""
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    add = what.add_parser("add", help="make a user; the password is asked for")
    add.add_argument("name", metavar="NAME", type=_user_name)
    _add_rights(add)
    _add_listing(what, "list the users")
    what.add_parser("revoke", help="remove a user, and end all sessions").add_argument("name", metavar="NAME")
    password = what.add_parser("password", help="set a user's password, enable the user, and end all sessions")
    password.add_argument("name", metavar="NAME")
    for each in (add, password):
        each.add_argument("--password-stdin", action="store_true", help="read it from standard input")
    reset = what.add_parser("reset-totp", help="take a user's second factor off")
    reset.add_argument("name", metavar="NAME")


def key_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `plantroom keys` takes."""
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    add = what.add_parser("add", help="make a key, and print it this once")
    add.add_argument("name", metavar="NAME", type=_key_name, help="what it is for")
    _add_rights(add)
    add.add_argument("--days", type=_number(36_500.0), help="in how many days it ends to work (default: never)")
    add.add_argument(
        "--network", action="append", default=[], type=_network, help="from where it works (default: from anywhere)"
    )
    _add_listing(what, "list the keys, without their values")
    rotate = what.add_parser("rotate", help="give a key a new value, and print it this once")
    rotate.add_argument("id", metavar="ID")
    rotate.add_argument(
        "--overlap", type=_number(LONGEST_OVERLAP_S), default=0.0, metavar="SECONDS",
        help="for how long the present value works on (default: 0)",
    )  # fmt: skip
    what.add_parser("revoke", help="end a key at once").add_argument("id", metavar="ID")


def _add_rights(parser: argparse.ArgumentParser) -> None:
    roles = [role.value for role in Role]
    parser.add_argument("--role", choices=roles, default=Role.VIEWER.value, help="(default: viewer)")
    for name, what in (("plugin", "plugin instances"), ("device", "ids of devices, * for any"), ("tag", "tags")):
        parser.add_argument(f"--{name}", action="append", default=[], help=f"limit to these {what}; repeatable")


def _add_listing(what: Any, help_: str) -> None:
    what.add_parser("list", help=help_).add_argument("--json", action="store_true", help="as JSON")


def _user_name(text: str) -> str:
    if re.fullmatch(NAME_PATTERN, text) is None:
        raise argparse.ArgumentTypeError("a name has up to 64 of a-z, 0-9, dot, dash and underscore")
    return text


def _key_name(text: str) -> str:
    if not 1 <= len(text) <= LONGEST_NAME:
        raise argparse.ArgumentTypeError(f"a name has 1 to {LONGEST_NAME} characters")
    return text


def _network(text: str) -> str:
    try:
        return network(text)
    except vol.Invalid as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not 0 <= value <= most:
            raise argparse.ArgumentTypeError(f"expected a number from 0 to {most:g}")
        return value

    return number
