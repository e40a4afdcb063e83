"""`plantroom bacnet`: looks at the network and at devices from a terminal, by way of the Plantroom that runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp

DONE, FAILED = 0, 1
DEFAULT_URL = "http://127.0.0.1:8080"
KEY_VARIABLE, URL_VARIABLE = "PLANTROOM_API_KEY", "PLANTROOM_URL"
SUMMARY = "look for devices, read and write their properties, through the Plantroom that runs"

_LONGEST_S = 60.0
_PAGE = 1000
_COLUMNS: Mapping[str, Sequence[str]] = {
    "who-is": ("instance", "address", "max_apdu", "segmentation", "vendor_id", "known"),
    "who-has": ("instance", "address", "object_id", "name", "known"),
    "networks": ("interface", "state", "reason", "number", "devices", "routers"),
    "subscriptions": ("point_id", "state", "why", "notifications", "notified_at"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands and their arguments."""
    url = os.environ.get(URL_VARIABLE, DEFAULT_URL)
    parser.add_argument("--url", default=url, help=f"where Plantroom runs (default: {URL_VARIABLE}, or {DEFAULT_URL})")
    parser.add_argument("--plugin", default="bacnet", metavar="NAME", help="which instance of the plugin to ask")
    parser.add_argument("--json", action="store_true", help="print the answer as it is")
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")

    who_is = commands.add_parser("who-is", help="ask who is there")
    who_is.add_argument("instances", nargs="*", metavar="NUMBER", help="device numbers or ranges like 3000-3999")
    who_is.add_argument("--target", action="append", default=[], metavar="ADDRESS", help="ask this address only")

    who_has = commands.add_parser("who-has", help="ask who has an object, by its id or name")
    who_has.add_argument("wanted", metavar="OBJECT", help="like analog-input.1, or a name")

    commands.add_parser("networks", help="show networks, routers, and whether we are registered")

    objects = commands.add_parser("objects", help="list the objects of a device")
    objects.add_argument("instance", metavar="DEVICE", help="its number")

    read = commands.add_parser("read", help="read a property of an object, or all of them")
    _add_place(read)
    read.add_argument("property", nargs="?", metavar="PROPERTY", help="like present-value; all unless given")
    read.add_argument("--index", type=int, help="the element of an array; 0 is its length")

    write = commands.add_parser("write", help="write a property; `null` relinquishes")
    _add_place(write)
    write.add_argument("property", metavar="PROPERTY", help="like present-value")
    write.add_argument("value", metavar="VALUE", help="JSON; what is none is taken for text")
    write.add_argument("--index", type=int, help="the element of an array")
    write.add_argument("--priority", type=int, help="1 to 16; what the configuration says unless given")

    subscriptions = commands.add_parser("subscriptions", help="show which points their devices tell of by themselves")
    subscriptions.add_argument("--device", metavar="DEVICE", help="those of one device, by its number")


def run(options: argparse.Namespace) -> int:
    """Ask, and print what is answered; return the exit code."""
    try:
        status, answer = asyncio.run(_answer(options))
    except (aiohttp.ClientError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        sys.stderr.write(
            f"plantroom bacnet: {options.url} cannot be asked: {why}; start Plantroom, or name it by --url\n"
        )
        return FAILED
    if status >= HTTPStatus.BAD_REQUEST:
        sys.stderr.writelines(f"plantroom bacnet: {line}\n" for line in _complaints(answer))
        return FAILED
    if options.json:
        sys.stdout.writelines(
            f"{_plain(line)}\n" for line in json.dumps(answer, indent=2, ensure_ascii=False).split("\n")
        )
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(options.what, answer))
    return DONE


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instance", metavar="DEVICE", help="its number")
    parser.add_argument("object", metavar="OBJECT", help="like analog-input.1")


async def _answer(options: argparse.Namespace) -> tuple[int, Any]:
    method, path, query, body = _request(options)
    key = os.environ.get(KEY_VARIABLE)
    async with (
        aiohttp.ClientSession(
            headers={"X-API-Key": key} if key else None, timeout=aiohttp.ClientTimeout(total=_LONGEST_S)
        ) as session,
        session.request(
            method, f"{options.url.rstrip('/')}/api/v1/{quote(options.plugin)}/{path}", params=query, json=body
        ) as answer,
    ):
        text = await answer.text()
        try:
            return answer.status, json.loads(text)
        except ValueError:  # not Plantroom, or a proxy before it
            return HTTPStatus.BAD_GATEWAY, f"{options.url} answers {answer.status}, and not as Plantroom does"


def _request(options: argparse.Namespace) -> tuple[str, str, Mapping[str, str | int], Any]:
    """Return method, path, query and body of what is asked."""
    match options.what:
        case "who-is":
            return "POST", "who-is", {}, {"instances": options.instances, "targets": options.target}
        case "who-has":
            kind, _, number = options.wanted.rpartition(".")
            by = "object_id" if kind and number.isdigit() else "name"
            return "POST", "who-has", {}, {by: options.wanted}
        case "networks":
            return "GET", "networks", {}, None
        case "subscriptions":
            query = {"limit": _PAGE}
            return "GET", "subscriptions", query | ({} if options.device is None else _of_device(options)), None
        case "objects":
            return "GET", f"devices/{quote(options.instance, safe='')}/objects", {}, None
    place = f"devices/{quote(options.instance, safe='')}/objects/{quote(options.object, safe='')}"
    index = {} if options.index is None else {"index": options.index}
    if options.property is None:
        return "GET", place, {}, None
    place += f"/properties/{quote(options.property, safe='')}"
    if options.what == "read":
        return "GET", place, index, None
    priority = {} if options.priority is None else {"priority": options.priority}
    return "PUT", place, {}, {"value": _value(options.value), **index, **priority}


def _of_device(options: argparse.Namespace) -> dict[str, Any]:
    return {"device_id": f"{options.plugin}.{options.device}"}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _complaints(answer: Any) -> Iterable[str]:
    if not isinstance(answer, dict):
        yield str(answer)
        return
    yield _plain(f"{answer.get('title')}: {answer.get('detail')} ({answer.get('code')})")
    for fault in answer.get("errors", ()):
        yield f"  {fault['field']}: {_plain(fault['message'])}"


def _lines(what: str, answer: Any) -> Iterable[str]:
    """Write an answer for people: lists as tables, an object's properties and everything else one a line."""
    if "properties" in answer:
        shown = answer["properties"]
        yield from _table([[each["property"], _cell(each.get("value", each.get("error")))] for each in shown])
        return
    rows = answer.get("items")
    if rows is None:
        for name, value in answer.items():
            yield f"{name.replace('_', ' ')}: {_cell(value)}"
        return
    if not rows:
        yield "nobody answers" if what.startswith("who-") else "there are none"
        return
    names = _COLUMNS.get(what) or tuple(rows[0])
    yield from _table(
        [[name.replace("_", " ") for name in names], *([_cell(row[name]) for name in names] for row in rows)]
    )
    if answer.get("next_cursor"):
        yield f"... and more; the first {len(rows)} are shown"


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case str() | {"detail": str()}:
            return _plain(value if isinstance(value, str) else value["detail"])
    return _plain(json.dumps(value, ensure_ascii=False))


def _plain(text: str) -> str:
    """Write a text so that it shows and does nothing: names in devices may hold what commands a terminal."""
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
