"""A span for every attempt of a run, with OpenTelemetry: ``pip install asyncsched[otel]``."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, final

try:
    from opentelemetry import context as telemetry
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, get_tracer, set_span_in_context
    from opentelemetry.util.types import AttributeValue
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(f"{_error}; tracing needs it: pip install 'asyncsched[otel]'") from _error

from asyncsched.context import current_job
from asyncsched.errors import Snooze
from asyncsched.run import Outcome, Run

__all__ = ["TracingMiddleware"]

_NOWHERE: Final = telemetry.Context()
_CANCELLED: Final = Status(StatusCode.ERROR, "cancelled")


@final
class TracingMiddleware:
    """Makes a span around every attempt: ``scheduler.add_middleware(TracingMiddleware())``.

    The span is named after the job's task, of the kind ``CONSUMER``, and the root of a trace of its
    own: a run does not belong to whatever started the scheduler. It is the current span in the job,
    be it a coroutine or a function in a thread; not in one that runs in another process.

    Its attributes are ``asyncsched.job.id``, ``asyncsched.run.id``, ``asyncsched.run.attempt``,
    ``asyncsched.run.cause``, ``asyncsched.run.fire_time`` (ISO 8601, UTC), ``asyncsched.run.lag``
    (seconds from the scheduled time to the start), ``asyncsched.executor``, ``asyncsched.store`` and
    at the end ``asyncsched.run.outcome``: ``succeeded``, ``failed``, ``snoozed`` or ``cancelled``
    (by a timeout as well). Arguments and results are not in it. An attempt that failed has the
    status ``ERROR``, ``error.type`` and an event ``exception``; one that was cancelled has the status.

    Args:
        tracer_provider: where the spans go; by default to the global provider.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer: Final = get_tracer("asyncsched", tracer_provider=tracer_provider)

    async def __call__(self, run: Run[Any], call_next: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Make the attempt inside of a span."""
        job = current_job()
        attributes = _attributes(run, job.executor)
        span = self._tracer.start_span(job.task, _NOWHERE, SpanKind.CONSUMER, attributes)
        token = telemetry.attach(set_span_in_context(span, _NOWHERE))
        try:
            outcome = await call_next()
        except BaseException:
            span.set_attribute("asyncsched.run.outcome", "cancelled")
            span.set_status(_CANCELLED)
            raise
        else:
            if span.is_recording():
                _conclude(span, outcome)
            return outcome
        finally:
            telemetry.detach(token)
            span.end()


def _attributes(run: Run[Any], executor: str) -> dict[str, AttributeValue]:
    started_at = run.started_at or run.scheduled_time
    return {
        "asyncsched.job.id": run.job_id,
        "asyncsched.run.id": run.id,
        "asyncsched.run.attempt": run.attempt,
        "asyncsched.run.cause": run.cause,
        "asyncsched.run.fire_time": run.fire_time.isoformat(),
        "asyncsched.run.lag": max(0.0, (started_at - run.scheduled_time).total_seconds()),
        "asyncsched.executor": executor,
        "asyncsched.store": run.store,
    }


def _conclude(span: Span, outcome: Outcome) -> None:
    """Write into a span what came of the attempt; the text of the error is bounded already."""
    is_snoozed = isinstance(outcome.exception, Snooze)
    span.set_attribute("asyncsched.run.outcome", "snoozed" if is_snoozed else outcome.kind)
    if outcome.kind == "cancelled":  # by a middleware inside
        span.set_status(_CANCELLED)
    error = outcome.error
    if error is None or is_snoozed:
        return
    span.set_status(Status(StatusCode.ERROR, f"{error.type}: {error.message}"))
    span.set_attribute("error.type", error.type)
    span.add_event(
        "exception",
        {
            "exception.type": error.type,
            "exception.message": error.message,
            "exception.stacktrace": error.traceback,
        },
    )
