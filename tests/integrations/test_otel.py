"""Tracing with the real SDK: one span an attempt, current in the job, with the verdict and without arguments."""

import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from asyncsched import Retry, RunFailed, Scheduler, Snooze, every, task
from asyncsched.integrations.otel import TracingMiddleware
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

SECRET = "correct horse battery staple"


def context_of(span: ReadableSpan) -> trace.SpanContext:
    """Its ids; the SDK calls them optional."""
    context: trace.SpanContext | None = span.get_span_context()
    assert context is not None
    return context


def current_span_id() -> int:
    return trace.get_current_span().get_span_context().span_id


@task("tests.tracing.coroutine")
async def coroutine(secret: str = "") -> int:
    await anyio.lowlevel.checkpoint()
    return current_span_id()


@task("tests.tracing.function")
def function(secret: str = "") -> int:
    return current_span_id()


@task("tests.tracing.failing")
async def failing(secret: str = "") -> None:
    raise LookupError("nothing there")


@task("tests.tracing.plain_failing")
def plain_failing(secret: str = "") -> None:
    raise LookupError("nothing there")


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(spans: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(spans))
    return made


@asynccontextmanager
async def traced(provider: TracerProvider, clock: VirtualClock | None = None) -> AsyncGenerator[Scheduler]:
    s = Scheduler(clock=clock, shutdown_grace=0)
    s.add_middleware(TracingMiddleware(provider))
    async with s:
        yield s


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return {name.removeprefix("asyncsched."): value for name, value in (span.attributes or {}).items()}


@pytest.mark.parametrize("job", [coroutine, function])
async def test_each_attempt_has_a_span_that_is_current_in_the_job(
    job: Callable[..., Any], provider: TracerProvider, spans: InMemorySpanExporter
) -> None:
    with provider.get_tracer("application").start_as_current_span("startup"):
        async with traced(provider) as s:
            ids = [await (await s.run_job(job)).wait() for _ in range(2)]
    *made, _ = spans.get_finished_spans()
    assert [context_of(span).span_id for span in made] == ids
    assert [span.parent for span in made] == [None, None]  # what started the scheduler has long ended by then
    assert len({context_of(span).trace_id for span in spans.get_finished_spans()}) == 3
    assert {span.kind for span in made} == {SpanKind.CONSUMER}
    assert [span.status.status_code for span in made] == [StatusCode.UNSET] * 2
    assert current_span_id() == 0


async def test_a_span_tells_which_attempt_it_is(provider: TracerProvider, spans: InMemorySpanExporter) -> None:
    clock = VirtualClock()
    async with traced(provider, clock) as s:
        await s.add_job(coroutine, every(minutes=1), id="beat", args=[SECRET])
        await clock.advance(seconds=60)
        (run,) = await s.get_runs()
    (span,) = spans.get_finished_spans()
    assert span.name == "tests.tracing.coroutine"
    assert attributes_of(span) == {
        "job.id": "beat",
        "run.id": run.id,
        "run.attempt": 1,
        "run.cause": "schedule",
        "run.fire_time": "2026-01-01T00:01:00+00:00",
        "run.lag": 0.0,
        "run.outcome": "succeeded",
        "executor": "async",
        "store": "default",
    }
    assert SECRET not in span.to_json()


@pytest.mark.parametrize(
    ("job", "executor"), [(failing, "async"), (plain_failing, "thread"), (plain_failing, "process")]
)
async def test_a_failure_is_in_the_span(
    job: Callable[..., Any], executor: str, provider: TracerProvider, spans: InMemorySpanExporter
) -> None:
    async with traced(provider) as s:
        wrong = await s.add_job(job, every(hours=1), args=[SECRET], executor=executor)
        with pytest.raises(RunFailed):
            await (await wrong.run_now()).wait()
    (span,) = spans.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "LookupError: nothing there")
    (event,) = span.events
    assert event.name == "exception"
    told = dict(event.attributes or {})
    assert (told["exception.type"], told["exception.message"]) == ("LookupError", "nothing there")
    assert 'raise LookupError("nothing there")' in str(told["exception.stacktrace"])
    assert attributes_of(span)["run.outcome"] == "failed"
    assert attributes_of(span)["error.type"] == "LookupError"
    assert SECRET not in span.to_json()


async def test_an_attempt_that_is_cut_short_ends_its_span(
    provider: TracerProvider, spans: InMemorySpanExporter
) -> None:
    clock = VirtualClock()

    async def endless() -> None:
        await clock.sleep(1000)

    async with traced(provider, clock) as s:
        await s.add_job(endless, every(minutes=1), id="timeout", timeout=5)
        await s.add_job(endless, every(minutes=1), id="cancelled")
        await clock.advance(seconds=66)
        for run in await s.get_runs(job_id="cancelled"):
            await run.cancel()
        await clock.advance(seconds=1)
    ended = {attributes_of(span)["job.id"]: span for span in spans.get_finished_spans()}
    assert set(ended) == {"timeout", "cancelled"}
    for span in ended.values():
        assert attributes_of(span)["run.outcome"] == "cancelled"
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "cancelled")


async def test_attempts_of_a_run_have_its_id_in_common(provider: TracerProvider, spans: InMemorySpanExporter) -> None:
    clock = VirtualClock()
    async with traced(provider, clock) as s:
        await s.add_job(failing, every(minutes=1), id="a", retry=Retry(max_attempts=2, delay=5, jitter=False))
        await clock.advance(seconds=65)
        (run,) = await s.get_runs(job_id="a")
    told = [attributes_of(span) for span in spans.get_finished_spans()]
    assert [(of["run.id"], of["run.attempt"], of["run.lag"]) for of in told] == [(run.id, 1, 0), (run.id, 2, 0)]


async def test_a_run_that_is_put_off_is_no_error(provider: TracerProvider, spans: InMemorySpanExporter) -> None:
    clock = VirtualClock()

    async def not_yet() -> None:
        raise Snooze(3600)

    async with traced(provider, clock) as s:
        await s.add_job(not_yet, every(minutes=1), id="a")
        await clock.advance(seconds=60)
    (span,) = spans.get_finished_spans()
    assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())
    assert attributes_of(span)["run.outcome"] == "snoozed"


async def test_what_a_job_traces_is_within_its_span(provider: TracerProvider, spans: InMemorySpanExporter) -> None:
    async def job() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(part)

    async def part() -> None:
        with provider.get_tracer("job").start_as_current_span("part"):
            await anyio.lowlevel.checkpoint()

    async with traced(provider) as s:
        await (await s.run_job(job)).wait()
    inner, outer = spans.get_finished_spans()
    assert inner.parent is not None
    assert inner.parent.span_id == context_of(outer).span_id
    assert context_of(inner).trace_id == context_of(outer).trace_id


async def test_without_an_sdk_it_costs_next_to_nothing_and_works() -> None:
    async with Scheduler() as s:
        s.add_middleware(TracingMiddleware())
        assert await (await s.run_job(coroutine)).wait() == 0


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_only_who_uses_an_extra_imports_it() -> None:
    assert python("import sys, asyncsched; print({'opentelemetry', 'prometheus_client'} & {*sys.modules})") == "set()"
    for module, package in (("otel", "opentelemetry"), ("prometheus", "prometheus_client")):
        without = f"import sys; sys.modules['{package}'] = None"
        program = f"{without}\ntry: import asyncsched.integrations.{module}\nexcept ImportError as error: print(error)"
        assert f"pip install 'asyncsched[{module}]'" in python(program)
