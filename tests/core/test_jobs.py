"""One-off background work."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from core.clock import ManualClock
from core.errors import DeviceTimeout, Invalid, JobNotFound, PluginError, TooManyRequests
from core.events import EventBus, EventHandler, JobChanged
from core.jobs import ENDED_KEPT, QUEUED_MOST, WARNINGS_KEPT, Job, JobState, MemoryJobs
from core.plugin import JobContext, JobKind


class Bench:
    """A bench with kinds of work that tests can steer."""

    def __init__(self, clock: ManualClock, *, workers: int = 1) -> None:
        self.events = EventBus()
        self.jobs = MemoryJobs(clock, self.events, workers=workers)
        self.begun: list[Any] = []
        self.gate = asyncio.Event()
        self.fails: list[Exception] = []
        self.jobs.register(JobKind("wait", self._wait, "Waits for the gate"), owner="demo")
        self.jobs.register(JobKind("fail", self._fail, "Fails as often as told", attempts=3), owner="demo")

    async def _wait(self, context: JobContext, params: Mapping[str, Any]) -> str:
        self.begun.append(params.get("name"))
        await self.gate.wait()
        return f"did {params.get('name')}"

    async def _fail(self, _context: JobContext, _params: Mapping[str, Any]) -> str:
        self.begun.append("fail")
        if self.fails:
            raise self.fails.pop(0)
        return "done"

    def wait(self, name: str, **how: Any) -> Job:
        return self.jobs.submit("wait", {"name": name}, **how)


@pytest.fixture
async def bench(clock: ManualClock) -> AsyncIterator[Bench]:
    bench = Bench(clock)
    yield bench
    await bench.jobs.close()
    await bench.events.close()


async def test_a_job_runs_and_keeps_its_result(bench: Bench, clock: ManualClock):
    start = clock.utc()
    job = bench.wait("it")
    assert (job.state, job.created_at, job.progress) == (JobState.RUNNING, start, 0.0)
    await clock.advance(5)
    bench.gate.set()
    await clock.advance(0)
    assert (job.state, job.result, job.error, job.attempts) == (JobState.SUCCEEDED, "did it", None, 1)
    assert (job.started_at, job.ended_at, job.progress) == (start, start + 5, 1.0)
    assert bench.jobs.get(job.id) is job


async def test_jobs_wait_for_a_free_hand_and_the_urgent_go_first_then_the_oldest(bench: Bench, clock: ManualClock):
    first = bench.wait("first")
    waiting = [bench.wait("a"), bench.wait("b"), bench.wait("urgent", priority=1), bench.wait("whenever", priority=9)]
    await clock.advance(0)
    assert first.state is JobState.RUNNING
    assert {job.state for job in waiting} == {JobState.QUEUED}
    bench.gate.set()
    await clock.advance(0)
    assert bench.begun == ["first", "urgent", "a", "b", "whenever"]
    assert [job.params["name"] for job in bench.jobs.all()] == ["first", "a", "b", "urgent", "whenever"], "oldest first"


async def test_no_more_run_at_a_time_than_there_are_hands(clock: ManualClock):
    bench = Bench(clock, workers=3)
    for name in "abcde":
        bench.wait(name)
    await clock.advance(0)
    assert bench.begun == ["a", "b", "c"]
    bench.gate.set()
    await clock.advance(0)
    assert bench.begun == ["a", "b", "c", "d", "e"]
    await bench.jobs.close()


async def test_a_job_that_fails_is_tried_again_ever_later(bench: Bench, clock: ManualClock):
    bench.fails = [DeviceTimeout("silence"), RuntimeError("secret detail")]
    with capture_logs() as logs:
        job = bench.jobs.submit("fail")
        await clock.advance(0)
        assert (job.attempts, job.state, str(job.error)) == (1, JobState.RUNNING, "silence")
        await clock.advance(2)
        assert (job.attempts, str(job.error)) == (2, "The job failed: RuntimeError.")
        await clock.advance(3.9)
        assert job.attempts == 2
        await clock.advance(0.1)
    assert (job.attempts, job.state, job.result, job.error) == (3, JobState.SUCCEEDED, "done", None)
    assert [(line["event"], line["plugin"], line["attempt"]) for line in logs] == [
        ("job_failed", "demo", 1), ("job_failed", "demo", 2),
    ]  # fmt: skip


async def test_a_job_that_keeps_failing_ends_with_its_last_error_and_hurts_nobody(bench: Bench, clock: ManualClock):
    bench.fails = [RuntimeError("no")] * 9
    bench.gate.set()
    failing, well = bench.jobs.submit("fail"), bench.wait("well")
    with capture_logs():
        await clock.advance(60)
    assert (failing.state, failing.attempts) == (JobState.FAILED, 3)
    assert isinstance(failing.error, PluginError)
    assert failing.ended_at is not None
    assert well.state is JobState.SUCCEEDED


async def test_a_running_job_can_be_cancelled(bench: Bench, clock: ManualClock):
    job, next_job = bench.wait("it"), bench.wait("next")
    await clock.advance(0)
    assert (await bench.jobs.cancel(job.id)).state is JobState.CANCELLED
    assert job.ended_at is not None
    await clock.advance(0)
    assert next_job.state is JobState.RUNNING


async def test_a_job_can_be_cancelled_before_its_first_step(bench: Bench, clock: ManualClock):
    job = bench.wait("it")
    assert (await bench.jobs.cancel(job.id)).state is JobState.CANCELLED
    following = bench.wait("next")
    await clock.advance(0)
    assert bench.begun == ["next"]
    assert following.state is JobState.RUNNING


async def test_a_waiting_job_can_be_cancelled_and_never_runs(bench: Bench, clock: ManualClock):
    bench.wait("first")
    waiting, last = bench.wait("waiting"), bench.wait("last")
    assert (await bench.jobs.cancel(waiting.id)).state is JobState.CANCELLED
    bench.gate.set()
    await clock.advance(0)
    assert bench.begun == ["first", "last"]
    assert last.state is JobState.SUCCEEDED


async def test_a_job_can_be_cancelled_while_it_waits_for_its_next_attempt(bench: Bench, clock: ManualClock):
    bench.fails = [RuntimeError("no")]
    with capture_logs():
        job = bench.jobs.submit("fail")
        await clock.advance(1)
    await bench.jobs.cancel(job.id)
    await clock.advance(10)
    assert (job.state, job.attempts) == (JobState.CANCELLED, 1)


async def test_a_job_that_has_ended_is_answered_as_it_is(bench: Bench, clock: ManualClock):
    bench.gate.set()
    job = bench.wait("it")
    await clock.advance(0)
    assert (await bench.jobs.cancel(job.id)).state is JobState.SUCCEEDED


async def test_the_same_work_is_not_queued_twice_but_again_after_it_has_ended(bench: Bench, clock: ManualClock):
    running = bench.wait("it", key="k")
    assert bench.wait("it", key="k") is running
    waiting = bench.wait("other", key="o")
    assert bench.wait("other", key="o") is waiting
    assert bench.jobs.submit("fail", key="k") is not running, "another kind"
    assert bench.wait("it") is not running, "no key"
    bench.gate.set()
    await clock.advance(0)
    assert bench.wait("it", key="k") is not running


async def test_unknown_kinds_and_jobs_are_errors_that_name_what_is_known(bench: Bench):
    with pytest.raises(Invalid, match="'tidy'; known: fail, wait"):
        bench.jobs.submit("tidy")
    with pytest.raises(JobNotFound, match="GET /api/v1/jobs"):
        bench.jobs.get("nobody")
    with pytest.raises(JobNotFound):
        await bench.jobs.cancel("nobody")


async def test_two_plugins_cannot_have_the_same_kind(bench: Bench):
    with pytest.raises(PluginError, match="'wait' of other is taken by demo"):
        bench.jobs.register(JobKind("wait", bench._wait), owner="other")


async def test_when_a_plugin_leaves_its_jobs_are_cancelled_and_told_of_and_others_go_on(
    bench: Bench, clock: ManualClock
):
    told: list[tuple[str, str]] = []

    async def tell(event: JobChanged) -> None:
        told.append((event.id, event.state))

    async def work(_context: JobContext, _params: Mapping[str, Any]) -> str:
        return "done"

    bench.events.subscribe(EventHandler(JobChanged, tell), owner="test")
    bench.jobs.register(JobKind("other", work), owner="other")
    running, waiting = bench.wait("running"), bench.wait("waiting", key="k")
    other = bench.jobs.submit("other")
    await clock.advance(0)
    bench.jobs.unregister("demo")
    await clock.advance(0)
    assert [job.state for job in (running, waiting, other)] == [
        JobState.CANCELLED, JobState.CANCELLED, JobState.SUCCEEDED,
    ]  # fmt: skip
    assert running.ended_at == waiting.ended_at == clock.utc()
    assert {(running.id, "cancelled"), (waiting.id, "cancelled")} <= set(told)
    with pytest.raises(Invalid):
        bench.wait("again")
    bench.jobs.register(JobKind("wait", work), owner="demo")


async def test_a_job_tells_how_far_it_is_what_it_finds_and_what_is_wrong(bench: Bench, clock: ManualClock):
    told: list[JobChanged] = []

    async def tell(event: JobChanged) -> None:
        told.append(event)

    async def work(context: JobContext, _params: Mapping[str, Any]) -> None:
        context.progress("looking", 1, 4)
        context.found(2)
        context.warn("scan.silent", "Two said nothing", "Check them")
        context.progress("reading", 9, 4)
        context.progress("tidying", 3)

    bench.events.subscribe(EventHandler(JobChanged, tell), owner="test")
    bench.jobs.register(JobKind("search", work), owner="demo")
    job = bench.jobs.submit("search")
    await clock.advance(0)
    assert [(each.state, each.phase, each.progress, each.done, each.total, each.found) for each in told] == [
        ("running", "", 0.0, 0, None, 0),
        ("running", "looking", 0.25, 1, 4, 0),
        ("running", "looking", 0.25, 1, 4, 2),
        ("running", "reading", 1.0, 9, 4, 2),
        ("running", "tidying", 0.0, 3, None, 2),
        ("succeeded", "tidying", 1.0, 3, None, 2),
    ]
    assert [(each.code, each.detail, each.remedy) for each in job.warnings] == [
        ("scan.silent", "Two said nothing", "Check them")
    ]


async def test_a_job_that_warns_without_end_does_not_fill_the_memory(bench: Bench, clock: ManualClock):
    async def work(context: JobContext, _params: Mapping[str, Any]) -> None:
        for number in range(WARNINGS_KEPT * 2):
            context.warn("x", str(number), "y")

    bench.jobs.register(JobKind("moan", work), owner="demo")
    job = bench.jobs.submit("moan")
    await clock.advance(0)
    assert len(job.warnings) == WARNINGS_KEPT


async def test_only_the_last_jobs_that_ended_are_remembered(bench: Bench, clock: ManualClock):
    bench.gate.set()
    jobs = []
    for number in range(ENDED_KEPT + 20):
        jobs.append(bench.wait(str(number)))
        await clock.advance(0)
    assert bench.jobs.all() == tuple(jobs[-ENDED_KEPT:])
    with pytest.raises(JobNotFound):
        bench.jobs.get(jobs[0].id)


async def test_no_more_than_a_bounded_number_may_wait(bench: Bench):
    bench.wait("running")
    waiting = [bench.wait(str(number)) for number in range(QUEUED_MOST)]
    with pytest.raises(TooManyRequests, match="jobs are waiting"):
        bench.wait("one too many")
    await bench.jobs.cancel(waiting[0].id)
    assert bench.wait("in its place").state is JobState.QUEUED


async def test_closing_cancels_what_runs_and_starts_nothing_more(bench: Bench, clock: ManualClock):
    running, waiting = bench.wait("running"), bench.wait("waiting")
    await clock.advance(0)
    await bench.jobs.close()
    bench.wait("late")
    await clock.advance(0)
    assert (running.state, waiting.state) == (JobState.CANCELLED, JobState.QUEUED)
    assert bench.begun == ["running"]
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("job:")] == []


steps = st.lists(st.tuples(st.sampled_from(["submit", "cancel", "finish", "turn"]), st.integers(0, 9)), max_size=30)


@settings(max_examples=50, deadline=None)
@given(steps=steps, workers=st.integers(1, 3))
def test_whatever_is_submitted_and_cancelled_runs_once_in_order_of_priority_or_never(
    steps: list[tuple[str, int]], workers: int
):
    async def play() -> None:
        clock = ManualClock()
        jobs = MemoryJobs(clock, EventBus(), workers=workers)
        begun: list[str] = []
        gates: dict[str, asyncio.Event] = {}

        async def work(_context: JobContext, params: Mapping[str, Any]) -> None:
            begun.append(params["name"])
            waiting = [job.priority for job in jobs.all() if job.state is JobState.QUEUED]
            assert params["priority"] <= min(waiting, default=math.inf)
            await gates[params["name"]].wait()

        jobs.register(JobKind("work", work), owner="demo")
        for number, (step, choice) in enumerate(steps):
            known = jobs.all()
            if step == "submit":
                gates[str(number)] = asyncio.Event()
                jobs.submit("work", {"name": str(number), "priority": choice}, priority=choice)
                await clock.advance(0)
            elif step == "cancel" and known:
                assert (await jobs.cancel(known[choice % len(known)].id)).state.ended
            elif step == "finish" and known:
                gates[known[choice % len(known)].params["name"]].set()
            else:
                await clock.advance(0)
            assert sum(job.state is JobState.RUNNING for job in jobs.all()) <= workers
        for gate in gates.values():
            gate.set()
        await clock.advance(0)
        assert all(job.state in (JobState.SUCCEEDED, JobState.CANCELLED) for job in jobs.all())
        assert len(set(begun)) == len(begun)
        done = {job.params["name"] for job in jobs.all() if job.state is JobState.SUCCEEDED}
        assert done <= set(begun)
        await jobs.close()

    asyncio.run(play())


async def test_the_time_left_follows_from_what_is_done_of_the_phase(bench: Bench, clock: ManualClock):
    left: list[tuple[float | None, dict[str, int]]] = []

    async def work(context: JobContext, _params: Mapping[str, Any]) -> None:
        def tell(phase: str, done: int, total: int | None = None) -> None:
            context.progress(phase, done, total)
            left.append((job.time_left_s, dict(job.counts)))

        tell("look", 0)
        tell("read", 0, 10)
        context.counted({"devices": 2})
        await clock.sleep(4)
        tell("read", 2, 10)
        await clock.sleep(4)
        tell("read", 8, 10)
        tell("read", 8, 24)
        tell("tidy", 8, 24)

    bench.jobs.register(JobKind("work", work), owner="demo")
    job = bench.jobs.submit("work")
    await clock.advance(10)
    assert [seconds for seconds, _counts in left] == [None, None, 16.0, 2.0, 16.0, None]
    assert left[-1][1] == job.counts == {"devices": 2}
    assert (job.state, job.time_left_s) == (JobState.SUCCEEDED, None)
