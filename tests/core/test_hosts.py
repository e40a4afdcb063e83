"""The names that a server answers to: those that are listed, wherever it listens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import application, get, hello, serving, wire_to

from core.errors import RequestError
from core.hosts import Hosts
from core.problem import Misdirected
from core.routes import Route
from core.serving import Http

NAMES = ("bms.example", "*.plant.example", "192.0.2.7", "2001:db8::7")


def hosts(listens_on: str = "0.0.0.0") -> Hosts:
    from aiohttp import HttpVersion11

    found = Hosts(listens_on, url=lambda: "https://bms.example", names=NAMES)
    found.version = HttpVersion11
    return found


def asked(host: str | None, target: str = "/", listens_on: str = "0.0.0.0") -> None:
    found = hosts(listens_on)
    for _ in range(2):  # what was found is remembered
        found.check(host, target, found.version)
    assert host is None or found.known(host)


@pytest.mark.parametrize(
    "host",
    [
        *("bms.example", "BMS.Example:8443", "bms.example.", "a.plant.example", "b.a.plant.example:1", "192.0.2.7:80"),
        *("[2001:db8::7]:8443", "[2001:DB8::7]"),
    ],
)
def test_a_name_of_the_list_is_answered_to_in_any_case_and_at_any_port(host: str) -> None:
    asked(host)


@pytest.mark.parametrize(
    "host",
    [
        *("example", "plant.example", "evil-plant.example", "bms.example.evil", "evilbms.example", "bms.example@evil"),
        *("localhost", "127.0.0.1", "[::1]", "192.0.2.8", "bms.example..", "", " ", "[", "a b", ".plant.example.x"),
    ],
)
@pytest.mark.parametrize("listens_on", ["0.0.0.0", "127.0.0.1"])
def test_every_other_name_is_misdirected_loopback_s_too(host: str, listens_on: str) -> None:
    with pytest.raises(Misdirected, match=r"use https://bms\.example"):
        asked(host, listens_on=listens_on)


def test_a_target_that_names_another_server_is_misdirected_whatever_the_header_says() -> None:
    asked("bms.example", "http://bms.example/x")
    with pytest.raises(Misdirected):
        asked("bms.example", "http://evil.example/x")
    with pytest.raises(RequestError):
        asked(None)


@given(st.text())
def test_whatever_text_it_is_a_host_is_ours_or_misdirected(text: str) -> None:
    try:
        asked(text)
    except Misdirected:
        return
    assert text.lower().partition(":")[0].removesuffix(".").endswith((".example", "192.0.2.7")) or "2001" in text


async def test_a_server_with_a_list_answers_421_to_what_is_not_on_it() -> None:
    async with serving(application(Route("GET", "/hello", hello, "")), hosts=("127.0.0.1", "*.example")) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        for host, status in (("127.0.0.1", 200), ("a.example", 200), ("localhost", 421), ("evil", 421)):
            async with wire_to(server) as wire:
                for _ in range(2):
                    answer = await wire.ask(get("/hello").replace(b"localhost", host.encode()))
                    assert answer.status == status, host
                    assert status == 200 or answer.json["code"] == "request.misdirected"


def test_without_a_list_all_names_are_answered_to_but_on_loopback() -> None:
    assert Http().hosts == ()
    plain = Hosts("0.0.0.0", url=lambda: "")
    plain.check("whatever.example", "/", hosts().version)
    with pytest.raises(Misdirected):
        Hosts("127.0.0.1", url=lambda: "").check("whatever.example", "/", hosts().version)
