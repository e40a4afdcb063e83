"""Starts scans, and shows and cancels jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import attrs
from aiohttp import web

from core import problem
from core.api.idempotency import KEY, Idempotency
from core.api.lists import SORT, ListAnswer, ListQuery, envelope, found, page
from core.callers import spend
from core.cursors import Cursors
from core.errors import FieldFault, Invalid, InvalidCursor, JobNotFound, PluginNotRunning, TooManyRequests
from core.jobs import Job, Jobs, JobState, JobWarning
from core.model import rfc3339
from core.operations import ProblemDocument
from core.policies import Work
from core.principals import Role
from core.replies import Answer
from core.routes import Header, Link, Route
from core.scans import Scans
from core.serialize import FieldInfo, dumps, field

NAME = "jobs"
LARGEST_NUMBER = 2**32 - 1
EXAMPLE = "6f1f2f0e-3c5e-4c53-9d0a-7a2f7c1b8d11"
PARAMETERS = {"job_id": FieldInfo(description="The job's id, as the answer that started it has it.", example=EXAMPLE)}
LOCATION = Header("Location", FieldInfo(description="Where the job is.", example=f"/api/v1/jobs/{EXAMPLE}"))


@attrs.frozen
class ScanBody:
    """What to scan for; nothing given: everything."""

    plugin: str | None = field(
        default=None, description="The plugin to scan with; all that can, otherwise.", example="bacnet"
    )
    instances: tuple[int | str, ...] = field(
        default=(), min=0, max=LARGEST_NUMBER, pattern=r"[0-9]{1,10}(-[0-9]{1,10})?", max_items=1000,
        example=[2001, "3000-3999"],
        description="Device numbers, or ranges of them, to look for; all, otherwise.",
    )  # fmt: skip
    targets: tuple[str, ...] = field(
        default=(), min_length=1, max_length=200, max_items=1000, example=[],
        description="Addresses to ask beside those of the configuration.",
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class JobsQuery(ListQuery):
    """Which jobs to list; a filter given several times takes any of its values."""

    sort: Literal["id", "-id", "created_at", "-created_at"] = field(default="id", description=SORT)
    kind: tuple[str, ...] = field(default=(), description="Kinds of jobs.", example="scan")
    state: tuple[JobState, ...] = field(default=(), description="How the jobs are.", example="succeeded")


@attrs.frozen(kw_only=True)
class JobAnswer:
    """A piece of background work."""

    id: str = field(example=EXAMPLE)
    kind: str = field(example="scan")
    params: Mapping[str, Any] = field(description="What it was started with.", example={"plugins": ["bacnet"]})
    state: JobState = field(example="succeeded")
    phase: str = field(description="What it is at, in its own words.", example="examine")
    progress: float = field(description="From 0 to 1.", min=0, max=1, example=1.0)
    done: int = field(description="How much of `total` is done.", example=29)
    total: int | None = field(description="How much there is to do; null while that is unknown.", example=29)
    found: int = field(description="How many things it found.", example=29)
    counts: Mapping[str, int] = field(
        description="How many of each sort so far; a scan counts devices that answered, and points it has read about.",
        example={"devices": 29, "points": 707},
    )
    time_left_s: float | None = field(
        description="Seconds that the present phase will take if it goes on as it did; null while that is unknown.",
        example=2.5,
    )
    warnings: Collection[JobWarning] = field(
        description="What went less well.",
        example=[{"code": "scan.nothing_found", "detail": "No device answered.", "remedy": "Check the network."}],
    )
    attempts: int = field(description="How often it was tried.", example=1)
    result: Any = field(
        description="What came of it, once it has succeeded; of a scan, what it found and what changed.",
        example={
            "devices": 29, "points": 707, "devices_added": 0, "devices_vanished": 0, "added": 1, "changed": 0,
            "vanished": 0, "returned": 0, "added_ids": ["bacnet.2001.analog-value.7"], "vanished_ids": [],
        },
    )  # fmt: skip
    error: ProblemDocument | None = field(description="Why it failed, if it did.")
    created_at: str = field(format="date-time", example="2026-01-31T12:00:00.000Z")
    started_at: str | None = field(format="date-time", example="2026-01-31T12:00:00.010Z")
    ended_at: str | None = field(format="date-time", example="2026-01-31T12:00:04.120Z")


def _links(id_: str) -> tuple[Link, ...]:
    """What can be asked about a job whose id is found there in an answer."""
    return (Link("GET", "/api/v1/jobs/{job_id}", {"job_id": id_}),)


LINKS = _links("$response.body#/id")


class JobRoutes:
    """The resources /api/v1/scans and /api/v1/jobs."""

    def __init__(self, jobs: Jobs, scans: Scans, cursors: Cursors, idempotency: Idempotency) -> None:
        self._jobs = jobs
        self._scans = scans
        self._cursors = cursors
        self._idempotency = idempotency

    @property
    def routes(self) -> list[Route]:
        """The routes of these resources."""
        at, one = "/api/v1/jobs", "/api/v1/jobs/{job_id}"
        return [
            Route(
                "POST", "/api/v1/scans", self.scan, "Start a scan for devices",
                body=ScanBody, answer=JobAnswer, status=202, role=Role.OPERATOR,
                errors=(PluginNotRunning, TooManyRequests), takes=(KEY,), sends=(LOCATION,), links=LINKS,
                description="Answers the job that scans; the same scan is not queued twice.",
            ),
            Route(
                "GET", at, self.list, "List jobs", query=JobsQuery, answer=ListAnswer[JobAnswer],
                errors=(InvalidCursor,), links=_links("$response.body#/items/0/id"),
                description="Jobs that wait or run, and the last that ended.",
            ),
            Route(
                "GET", one, self.get, "Show a job", answer=JobAnswer, errors=(JobNotFound,), parameters=PARAMETERS,
                description="How far a job is, and what came of it.",
            ),
            Route(
                "DELETE", one, self.cancel, "Cancel a job", answer=JobAnswer, role=Role.OPERATOR,
                errors=(JobNotFound,), parameters=PARAMETERS, links=LINKS,
                description="Answers what became of it; one that has ended stays as it is.",
            ),
        ]  # fmt: skip

    async def scan(self, request: web.Request, *, body: ScanBody) -> Answer:
        """Start a scan and answer its job."""

        async def run() -> Answer:
            await spend(request, Work.SCAN, 1)
            job = self._start(body)
            return Answer(dumps(job_answer(job)), headers={"Location": f"/api/v1/jobs/{job.id}"})

        return await self._idempotency.once(request, body, run)

    def _start(self, body: ScanBody) -> Job:
        try:
            return self._scans.start(body.plugin, instances=body.instances, targets=body.targets)
        except Invalid as error:
            raise Invalid(error.detail, errors=[FieldFault("plugin", "unknown", error.detail)]) from error

    async def list(self, _request: web.Request, *, query: JobsQuery) -> ListAnswer[JobAnswer]:
        """Answer a page of jobs."""
        jobs = {job.id: job for job in self._jobs.all()}

        def pick(key: tuple[str | float, ...]) -> Job | None:
            job = jobs[str(key[-1])]
            wanted = (not query.kind or job.kind in query.kind) and (not query.state or job.state in query.state)
            return job if wanted and found(query.q, job.id, job.kind, job.phase) else None

        by_time = query.sort.endswith("created_at")
        keys = sorted((job.created_at, job.id) if by_time else (job.id,) for job in jobs.values())
        listed = page(self._cursors, NAME, query, keys=keys, pick=pick)
        return envelope(listed, [job_answer(job) for job in listed.rows])

    async def get(self, _request: web.Request, *, job_id: str) -> JobAnswer:
        """Answer a job."""
        return job_answer(self._jobs.get(job_id))

    async def cancel(self, _request: web.Request, *, job_id: str) -> JobAnswer:
        """Cancel a job and answer what became of it."""
        return job_answer(await self._jobs.cancel(job_id))


def job_answer(job: Job) -> JobAnswer:
    """Show a job as it is now."""
    return JobAnswer(
        id=job.id,
        kind=job.kind,
        params=job.params,
        state=job.state,
        phase=job.phase,
        progress=job.progress,
        done=job.done,
        total=job.total,
        found=job.found,
        counts=job.counts,
        time_left_s=job.time_left_s,
        warnings=job.warnings,
        attempts=job.attempts,
        result=job.result,
        error=None if job.error is None else problem.document(job.error),
        created_at=str(rfc3339(job.created_at)),
        started_at=rfc3339(job.started_at),
        ended_at=rfc3339(job.ended_at),
    )
