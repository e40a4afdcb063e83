"""Our engine alone reads k present-values a request, for so many seconds: datagrams, invoke ids, learned layouts.

There is no kernel, no planner and no registry: what is left is the way from a request to the numbers in its answer.
"""

import asyncio
from collections.abc import Sequence

from benchmarks.poll_contender import ADDRESS, AT_ONCE, PORT, arguments, contend, numbers
from core.clock import SystemClock
from plugins.bacnet.addresses import Station, parse_interface
from plugins.bacnet.engine import Engine, Outcome, Path, Request, Tally
from plugins.bacnet.link import Link
from plugins.bacnet.objects import Prop
from plugins.bacnet.requests import read_multiple
from plugins.bacnet.template import Template, field_at
from plugins.bacnet.wire import read_property_multiple
from plugins.bacnet.wire.datatypes import ObjectId, Ref

INTERFACE = "127.0.0.58/8:47858"


class Question:
    """One worker's request, asked again and again."""

    def __init__(self, engine: Engine, path: Path, refs: Sequence[Ref]) -> None:
        self._engine = engine
        self._request: Request = read_multiple(path, refs)
        self._request.waits_s = (0.5,) * 4
        self._template: Template | None = None
        self._answer: asyncio.Future[Outcome]

    async def ask(self) -> Sequence[float]:
        self._answer = asyncio.get_running_loop().create_future()
        self._engine.ask(self._request, self)
        octets = await self._answer
        if not isinstance(octets, bytes):
            raise octets
        numbers = self._template.read(octets) if self._template is not None else None
        return self._learn(octets) if numbers is None else numbers

    def answered(self, outcome: Outcome) -> None:
        self._answer.set_result(outcome)

    def overdue(self) -> None:
        """The engine asks again by itself."""

    def _learn(self, octets: bytes) -> Sequence[float]:
        elements = read_property_multiple.read_result(octets)
        fields = [field_at(octets, element.start, element.end) for element in elements]
        self._template = Template(octets, [field for field in fields if field is not None])
        numbers = self._template.read(octets)
        assert numbers is not None
        return numbers


async def main(k: int, seconds: float) -> None:
    link = Link(parse_interface(INTERFACE), option="INTERFACE")
    link.open()
    engine = link.engine = Engine(link.send, Tally(), SystemClock())
    path = Path.to(Station(INTERFACE, ADDRESS, PORT))
    refs = [Ref(ObjectId(0, number), Prop.PRESENT_VALUE) for number in numbers(k)]
    questions = [Question(engine, path, refs) for _ in range(AT_ONCE)]
    await contend(lambda worker: questions[worker].ask(), lambda answer: answer, k=k, seconds=seconds)
    engine.close()
    await link.close()


asyncio.run(main(*arguments()))
