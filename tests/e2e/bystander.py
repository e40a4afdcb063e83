"""Another client, who wants nothing but to be served while somebody attacks."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from typing import Any, Self

from e2e.attacker import PATIENCE_S

BYSTANDER = "127.0.0.127"
SLOWEST_S = 3.0
"""What another client waits at most; the machine may be busy, and an attack that holds up the loop lasts longer."""


class Bystander:
    """Another client, at another address, who asks all the while and expects to be answered as ever."""

    def __init__(self, port: int, key: str, context: ssl.SSLContext | None) -> None:
        self.faults: list[str] = []
        self.answered = 0
        self._port = port
        self._key = key
        self._context = context
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask_on(self) -> None:
        over = False
        while not over:
            over = self._over.is_set()  # one is asked after the attack, however short that was
            began = time.monotonic()
            try:
                self._ask()
            except (OSError, http.client.HTTPException) as error:
                self.faults.append(repr(error))
            took = time.monotonic() - began
            if took > SLOWEST_S:
                self.faults.append(f"{took:.1f} s")
            self._over.wait(0.02)

    def _ask(self) -> None:
        place: Any = {"host": "127.0.0.1", "port": self._port, "timeout": PATIENCE_S, "source_address": (BYSTANDER, 0)}
        client = (
            http.client.HTTPConnection(**place)
            if self._context is None
            else http.client.HTTPSConnection(**place, context=self._context)
        )
        try:
            client.request("GET", "/api/v1/devices/mill.stone", headers={"X-API-Key": self._key})
            answer = client.getresponse()
            body = json.loads(answer.read())
        finally:
            client.close()
        self.answered += 1
        if answer.status != 200 or body["id"] != "mill.stone":
            self.faults.append(f"{answer.status} {body}")
