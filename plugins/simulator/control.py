"""What the plugin and the building's process say to each other while it runs: JSON, a line each."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from core.serialize import dumps, loads
from plugins.simulator.errors import BuildingAway, SimulatorError

ANSWER_TIMEOUT_S = 5.0
LONGEST_LINE = 4 << 20
"""Octets of the longest line that either side takes."""


class Control:
    """The plugin's side: asks one thing after the other over the pipes of the child."""

    def __init__(self, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        self._writer = writer
        self._reader = reader
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()

    async def ask(self, what: str, **parameters: Any) -> Any:
        """Let the child do something and return its answer.

        Raises BuildingAway where none comes in time, SimulatorError where the child cannot do it.
        """
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S), self._turn:
                answer = await self._ask(what, parameters)
        except (TimeoutError, OSError, ValueError) as error:
            raise BuildingAway(
                "the simulated building did not answer; if it has ended or hangs, it is started again"
            ) from error
        if "error" in answer:
            raise SimulatorError(answer["error"])
        return answer["result"]

    async def _ask(self, what: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        number = next(self._numbers)
        self._writer.write(dumps({"id": number, "do": what, "with": parameters}) + b"\n")
        await self._writer.drain()
        while line := await self._reader.readline():
            answer = loads(line)
            if isinstance(answer, dict) and answer.get("id") == number:  # else it is late, for one that was given up
                return answer
        raise ConnectionResetError("the child has ended")


class Commands:
    """The child's side: takes octets as they come and answers each line that is complete."""

    def __init__(self, actions: Mapping[str, Callable[..., Any]]) -> None:
        self._actions = actions
        self._rest = b""

    def take(self, octets: bytes) -> list[bytes]:
        """Carry out what is complete by now; return the lines that answer it."""
        *lines, self._rest = (self._rest + octets).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            self._rest = b""
        return [dumps(self._obey(line)) + b"\n" for line in lines if line]

    def _obey(self, line: bytes) -> Mapping[str, Any]:
        number = None
        try:
            command = loads(line)
            number = command["id"]
            return {"id": number, "result": self._actions[command["do"]](**command["with"])}
        except Exception as error:  # whatever is wrong with a command must not end the building
            return {"id": number, "error": f"{type(error).__name__}: {error}"}
