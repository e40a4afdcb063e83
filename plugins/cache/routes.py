"""REST: what is kept, to look at and to throw away."""

from __future__ import annotations

import attrs
from aiohttp import web

from core.caches import MemoryCache
from core.plugin import Role, Route, field
from plugins.cache.answers import Answers


@attrs.frozen
class AnswersFigures:
    """The answers that are kept."""

    entries: int = field(description="How many.", example=12, min=0)
    bytes: int = field(description="What they take in memory.", example=310_000, min=0)
    hits: int = field(description="Requests that were answered with one of them.", example=4711, min=0)
    shared: int = field(description="Requests that waited for what was being made already.", example=31, min=0)
    misses: int = field(description="Requests that were not.", example=120, min=0)


@attrs.frozen
class ServiceFigures:
    """The values that plugins keep."""

    entries: int = field(description="How many.", example=40, min=0)
    bytes: int = field(description="What they take in memory.", example=18_000, min=0)
    hits: int = field(description="Look-ups that found one.", example=900, min=0)
    misses: int = field(description="Look-ups that did not.", example=45, min=0)
    evicted: int = field(description="Values that had to make room before their time.", example=0, min=0)


@attrs.frozen
class Figures:
    """Everything that is kept, since the plugin started."""

    answers: AnswersFigures
    service: ServiceFigures


class Routes:
    """The routes; ``service`` is the cache that plugins use, where it is this plugin's."""

    def __init__(self, answers: Answers, service: MemoryCache) -> None:
        self._answers = answers
        self._service = service

    @property
    def all(self) -> list[Route]:
        """Show and clear."""
        return [
            Route(
                "GET", "/figures", self.show, "Show what the cache keeps", answer=Figures,
                description="How much is kept, and how often it was of use.",
            ),
            Route(
                "POST", "/clear", self.clear, "Throw away what the cache keeps", status=204, role=Role.ADMIN,
                description="Answers and the values of plugins; they are made anew when they are asked for.",
            ),
        ]  # fmt: skip

    async def show(self, _request: web.Request) -> Figures:
        """Answer the figures."""
        answers, service, results = self._answers, self._service, self._answers.results
        return Figures(
            AnswersFigures(answers.entries, answers.size, results["hit"], results["shared"], results["miss"]),
            ServiceFigures(
                len(service), service.size, service.figures.hits, service.figures.misses, service.figures.evicted
            ),
        )

    async def clear(self, _request: web.Request) -> None:
        """Forget everything."""
        self._answers.clear()
        self._service.clear()
