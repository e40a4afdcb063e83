"""Starts scans, and shows and cancels jobs."""

from __future__ import annotations

from typing import Any, Literal

import attrs
from aiohttp import web

from core import problem
from core.api.idempotency import Idempotency
from core.api.lists import ListQuery, envelope, found, page
from core.cursors import Cursors
from core.errors import FieldFault, Invalid, InvalidCursor, JobNotFound, PluginNotRunning
from core.jobs import Job, Jobs, JobState
from core.model import rfc3339
from core.routes import Role, Route
from core.scans import Scans
from core.serialize import dumps, field
from core.web import Answer

NAME = "jobs"


@attrs.frozen
class ScanBody:
    """What to scan for; nothing given: everything."""

    plugin: str | None = field(default=None, description="The plugin to scan with; all that can, otherwise.")
    instances: tuple[int | str, ...] = field(
        default=(), min=0, pattern=r"[0-9]+(-[0-9]+)?", max_items=1000, example=[2001, "3000-3999"]
    )
    targets: tuple[str, ...] = field(default=(), min_length=1, max_length=200, max_items=1000)


@attrs.frozen(kw_only=True)
class JobsQuery(ListQuery):
    """Which jobs to list; a filter given several times takes any of its values."""

    sort: Literal["id", "-id", "created_at", "-created_at"] = field(default="id")
    kind: tuple[str, ...] = field(default=())
    state: tuple[JobState, ...] = field(default=())


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
                body=ScanBody, status=202, role=Role.OPERATOR, errors=(PluginNotRunning,),
            ),
            Route("GET", at, self.list, "List jobs", query=JobsQuery, errors=(InvalidCursor,)),
            Route("GET", one, self.get, "Show a job", errors=(JobNotFound,)),
            Route("DELETE", one, self.cancel, "Cancel a job", role=Role.OPERATOR, errors=(JobNotFound,)),
        ]  # fmt: skip

    async def scan(self, request: web.Request, *, body: ScanBody) -> Answer:
        """Start a scan and answer its job."""

        async def run() -> Answer:
            job = self._start(body)
            return Answer(dumps(job_json(job)), headers={"Location": f"/api/v1/jobs/{job.id}"})

        return await self._idempotency.once(request, body, run)

    def _start(self, body: ScanBody) -> Job:
        try:
            return self._scans.start(body.plugin, instances=body.instances, targets=body.targets)
        except Invalid as error:
            raise Invalid(error.detail, errors=[FieldFault("plugin", "unknown", error.detail)]) from error

    async def list(self, _request: web.Request, *, query: JobsQuery) -> dict[str, object]:
        """Answer a page of jobs."""
        jobs = {job.id: job for job in self._jobs.all()}

        def pick(key: tuple[str | float, ...]) -> Job | None:
            job = jobs[str(key[-1])]
            wanted = (not query.kind or job.kind in query.kind) and (not query.state or job.state in query.state)
            return job if wanted and found(query.q, job.id, job.kind, job.phase) else None

        by_time = query.sort.endswith("created_at")
        keys = sorted((job.created_at, job.id) if by_time else (job.id,) for job in jobs.values())
        listed = page(self._cursors, NAME, query, keys=keys, pick=pick)
        return envelope(listed, [job_json(job) for job in listed.rows])

    async def get(self, _request: web.Request, *, job_id: str) -> dict[str, Any]:
        """Answer a job."""
        return job_json(self._jobs.get(job_id))

    async def cancel(self, _request: web.Request, *, job_id: str) -> dict[str, Any]:
        """Cancel a job and answer what became of it."""
        return job_json(await self._jobs.cancel(job_id))


def job_json(job: Job) -> dict[str, Any]:
    """Write a job as plain data."""
    return {
        "id": job.id,
        "kind": job.kind,
        "params": job.params,
        "state": job.state,
        "phase": job.phase,
        "progress": job.progress,
        "done": job.done,
        "total": job.total,
        "found": job.found,
        "warnings": job.warnings,
        "attempts": job.attempts,
        "result": job.result,
        "error": None if job.error is None else problem.document(job.error),
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339(job.started_at),
        "ended_at": rfc3339(job.ended_at),
    }
