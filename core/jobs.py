"""One-off background work with progress, priority and retries; kept in memory behind the interface of `Jobs`."""

from __future__ import annotations

import asyncio
import enum
import functools
import heapq
import itertools
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

import attrs
import structlog

from core.clock import Clock
from core.errors import Invalid, JobNotFound, PlantroomError, PluginError, TooManyRequests
from core.events import EventBus, JobChanged
from core.owner import owned_by
from core.plugin import JobKind
from core.request_ids import request_id, working_for
from core.tasks import end_tasks

WORKERS = 4
QUEUED_MOST = 1000
ENDED_KEPT = 200
WARNINGS_KEPT = 100
RETRY_DELAY_S = 2.0
RETRY_LATER = {"Retry-After": "2"}


class JobState(enum.StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@attrs.frozen
class JobWarning:
    """Something that went less well, and what to do about it."""

    code: str
    detail: str
    remedy: str


@attrs.define(eq=False)
class Job:
    """One piece of work; times are UTC seconds, ``progress`` is 0 to 1, a lower ``priority`` runs first.

    ``time_left_s`` is what its phase will take if it goes on as it did so far, None while that cannot be told.
    ``request_id`` is that of the request that made it: it is on all that the job logs.
    """

    id: str
    kind: str
    params: Mapping[str, Any]
    priority: int
    created_at: float
    state: JobState = JobState.QUEUED
    phase: str = ""
    progress: float = 0.0
    done: int = 0
    total: int | None = None
    found: int = 0
    counts: Mapping[str, int] = attrs.field(factory=dict)
    time_left_s: float | None = None
    warnings: list[JobWarning] = attrs.field(factory=list)
    attempts: int = 0
    result: Any = None
    error: PlantroomError | None = None
    started_at: float | None = None
    ended_at: float | None = None
    request_id: str | None = attrs.field(factory=request_id)


class Jobs(Protocol):
    """What the house asks of its jobs, wherever they are kept."""

    def submit(self, kind: str, params: Mapping[str, Any] | None = None, *, priority: int = 5, key: str = "") -> Job:
        """Queue a job; one with the same kind and ``key`` that has not ended is answered instead."""
        ...

    def get(self, job_id: str) -> Job:
        """Return a job; raises JobNotFound."""
        ...

    def all(self) -> tuple[Job, ...]:
        """All jobs that are known, oldest first."""
        ...

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended; one that has is answered as it is."""
        ...


class _Progress:
    """What a running job tells about itself (`core.plugin.JobContext`)."""

    def __init__(self, job: Job, events: EventBus, clock: Clock) -> None:
        self._job = job
        self._events = events
        self._clock = clock
        self._began_at = 0.0
        self._began_with = 0

    def progress(self, phase: str, done: int, total: int | None = None) -> None:
        job = self._job
        if phase != job.phase or done < job.done:
            self._began_at, self._began_with = self._clock.monotonic(), done
        job.phase, job.done, job.total = phase, done, total
        job.progress = min(1.0, done / total) if total else 0.0
        job.time_left_s = self._time_left_s(done, total)
        self.tell()

    def _time_left_s(self, done: int, total: int | None) -> float | None:
        took_s, did = self._clock.monotonic() - self._began_at, done - self._began_with
        if total is None or did <= 0 or took_s <= 0:
            return None
        return round(max(total - done, 0) * took_s / did, 1)

    def found(self, count: int) -> None:
        self._job.found += count
        self.tell()

    def counted(self, counts: Mapping[str, int]) -> None:
        self._job.counts = dict(counts)
        self.tell()

    def warn(self, code: str, detail: str, remedy: str) -> None:
        if len(self._job.warnings) < WARNINGS_KEPT:
            self._job.warnings.append(JobWarning(code, detail, remedy))

    def tell(self) -> None:
        job = self._job
        self._events.publish(
            JobChanged(
                job.id,
                job.kind,
                job.state,
                job.phase,
                job.progress,
                job.done,
                job.total,
                job.found,
                job.counts,
                job.time_left_s,
            )
        )


class MemoryJobs:
    """Runs jobs by priority, a few at a time; remembers the last that ended."""

    def __init__(self, clock: Clock, events: EventBus, *, workers: int = WORKERS) -> None:
        self._clock = clock
        self._events = events
        self._workers = workers
        self._kinds: dict[str, tuple[str, JobKind]] = {}
        self._jobs: dict[str, Job] = {}
        self._keys: dict[tuple[str, str], Job] = {}
        self._queue: list[tuple[int, int, Job]] = []
        self._order = itertools.count()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    def register(self, kind: JobKind, *, owner: str) -> None:
        """Make a kind of job known; raises PluginError where its name is taken."""
        if kind.name in self._kinds:
            raise PluginError(f"job kind {kind.name!r} of {owner} is taken by {self._kinds[kind.name][0]}")
        self._kinds[kind.name] = (owner, kind)

    def unregister(self, owner: str) -> None:
        """Forget an owner's kinds, and cancel its jobs."""
        gone = {name for name, (registered_by, _kind) in self._kinds.items() if registered_by == owner}
        for job in self.all():
            if job.kind in gone and job.id in self._running:
                self._running[job.id].cancel()
            elif job.kind in gone and not job.state.ended:
                self._withdraw(job)
        for name in gone:
            del self._kinds[name]

    def submit(self, kind: str, params: Mapping[str, Any] | None = None, *, priority: int = 5, key: str = "") -> Job:
        """Queue a job; one with the same kind and ``key`` that has not ended is answered instead.

        Raises Invalid for an unknown kind, and TooManyRequests where ``QUEUED_MOST`` are waiting.
        """
        if kind not in self._kinds:
            raise Invalid(f"No job is of the kind {kind!r}; known: {', '.join(sorted(self._kinds))}.")
        known = self._keys.get((kind, key)) if key else None
        if known is not None and not known.state.ended:
            return known
        if len(self._queue) >= QUEUED_MOST:
            raise TooManyRequests(
                f"{QUEUED_MOST} jobs are waiting; cancel some, or wait until they have run.", headers=RETRY_LATER
            )
        job = Job(str(uuid.uuid4()), kind, dict(params or {}), priority, self._clock.utc())
        self._jobs[job.id] = job
        if key:
            self._keys[kind, key] = job
        heapq.heappush(self._queue, (priority, next(self._order), job))
        self._fill()
        return job

    def get(self, job_id: str) -> Job:
        """Return a job; raises JobNotFound."""
        try:
            return self._jobs[job_id]
        except KeyError:
            raise JobNotFound(f"No job has the id {job_id!r}; GET /api/v1/jobs lists those kept.") from None

    def all(self) -> tuple[Job, ...]:
        """All jobs that are known, oldest first."""
        return tuple(self._jobs.values())

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job that has not ended; one that has is answered as it is."""
        job = self.get(job_id)
        task = self._running.get(job_id)
        if task is not None:
            await end_tasks([task])
        elif job.state is JobState.QUEUED:
            self._withdraw(job)
        return job

    async def close(self) -> None:
        """Cancel what runs and start nothing more."""
        self._closed = True
        await end_tasks(self._running.values())

    def _withdraw(self, job: Job) -> None:
        """Cancel a job that waits."""
        self._queue = [waiting for waiting in self._queue if waiting[2] is not job]
        heapq.heapify(self._queue)
        self._end(job, JobState.CANCELLED)

    def _fill(self) -> None:
        while self._queue and len(self._running) < self._workers and not self._closed:
            _priority, _order, job = heapq.heappop(self._queue)
            job.state = JobState.RUNNING
            with (
                owned_by(None),
                working_for(job.request_id),
            ):  # whoever asks, or has just ended: the run is the kernel's
                task = asyncio.create_task(self._run(job), name=f"job:{job.kind}")
            self._running[job.id] = task
            task.add_done_callback(functools.partial(self._ended, job))

    async def _run(self, job: Job) -> None:
        owner, kind = self._kinds[job.kind]
        log = structlog.get_logger().bind(plugin=owner, job=job.id, kind=job.kind)
        context = _Progress(job, self._events, self._clock)
        job.started_at = self._clock.utc()
        context.tell()
        while not await self._attempt(job, kind, context, log):
            await self._clock.sleep(RETRY_DELAY_S * 2 ** (job.attempts - 1))

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        del self._running[job.id]
        if task.cancelled():
            self._end(job, JobState.CANCELLED)
        else:
            self._end(job, JobState.FAILED if job.error else JobState.SUCCEEDED)
        self._fill()

    async def _attempt(self, job: Job, kind: JobKind, context: _Progress, log: Any) -> bool:
        """Run once; answer whether the job has ended by it, well or not."""
        job.attempts += 1
        try:
            job.result, job.error = await kind.run(context, job.params), None
        except PlantroomError as error:
            job.error = error
            log.warning("job_failed", attempt=job.attempts, error=str(error))
        except Exception as error:  # a plugin's code: its failure stays with the job
            job.error = PluginError(f"The job failed: {type(error).__name__}.")
            log.exception("job_failed", attempt=job.attempts, error=str(error))
        return job.error is None or job.attempts >= kind.attempts

    def _end(self, job: Job, state: JobState) -> None:
        job.state, job.ended_at = state, self._clock.utc()
        if state is JobState.SUCCEEDED:
            job.progress = 1.0
        job.time_left_s = None
        _Progress(job, self._events, self._clock).tell()
        ended = [known.id for known in self._jobs.values() if known.state.ended]
        for job_id in ended[: max(0, len(ended) - ENDED_KEPT)]:
            del self._jobs[job_id]
        self._keys = {key: known for key, known in self._keys.items() if not known.state.ended}
