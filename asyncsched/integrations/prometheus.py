"""Metrics of schedulers for Prometheus: ``pip install asyncsched[prometheus]``.

What has to be exact is counted by middleware, where the attempt is made; verdicts that are rarer
come from events, of which a reader that is thousands behind loses some, and that is counted too. A
scrape may come from any thread: it reads numbers that are there already.
"""

import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from logging import getLogger
from threading import Lock
from typing import Any, Final, final
from weakref import WeakKeyDictionary

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.metrics_core import GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(f"{_error}; metrics need it: pip install 'asyncsched[prometheus]'") from _error

from asyncsched.clock import SystemClock, to_us
from asyncsched.context import current_job
from asyncsched.errors import ConfigurationError
from asyncsched.events import (
    Event,
    EventsDropped,
    JobCancelled,
    JobCoalesced,
    JobError,
    JobLost,
    JobMissed,
    JobSkipped,
    JobTimedOut,
    RunEvent,
)
from asyncsched.health import Health
from asyncsched.run import Outcome, Run
from asyncsched.scheduler import Scheduler

__all__ = ["PrometheusMetrics"]

logger: Final = getLogger("asyncsched")

LAG_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
DURATION_SECONDS: Final = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400)

MOST_TASKS: Final = 500
"""How many tasks get a label of their own; lambdas and partials have a name each, and a program may make many."""

MOST_JOBS: Final = 10_000
"""Of how many jobs that ran here lately the task is remembered, for events, which name the job alone."""

OTHER: Final = "(other)"
"""The label of tasks beyond the limit, and of jobs that have not run here."""

_STATES: Final[dict[type[Event], str]] = {
    JobError: "failed",
    JobTimedOut: "timed_out",
    JobCancelled: "cancelled",
    JobCoalesced: "coalesced",
    JobLost: "lost",
    JobMissed: "missed",
    JobSkipped: "skipped",
}
_PREFIX: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@final
class PrometheusMetrics:
    """Counts and measures what a scheduler does, from its making until `close`.

    With the prefix ``asyncsched``:

    * ``asyncsched_runs_total{store, task, state}``: verdicts as this node saw them. Fires that did
      not run (``missed``, ``skipped``) count as often as they were, and once where they were too
      many to count.
    * ``asyncsched_lag_seconds{store, task}``: from the scheduled time to the start, each attempt.
    * ``asyncsched_duration_seconds{store, task}``: how long each attempt took; its ``_count`` is the
      number of attempts.
    * ``asyncsched_running{store, task}``: attempts under way.
    * ``asyncsched_oldest_due_seconds``: for how long the oldest fire that nobody has claimed has
      been due; 0 with none.
    * ``asyncsched_loop_lag_seconds``: `Health.loop_lag`.
    * ``asyncsched_events_dropped_total``: verdicts that were lost to ``runs_total``.

    Several schedulers may share a registry: their counts add up, and of the last two gauges the
    worst is shown; give each a prefix to tell them apart. What is measured is measured as middleware,
    so make this before other middleware is added, to have it included.

    Args:
        scheduler: stopped or running; counts go on over its stops and starts.
        registry: where the metrics are registered; by default the global one.
        prefix: what their names begin with.

    Raises:
        ConfigurationError: the prefix is no name, the registry has other metrics of these names, or
            the scheduler has these metrics there already.
    """

    def __init__(
        self, scheduler: Scheduler, *, registry: CollectorRegistry | None = None, prefix: str = "asyncsched"
    ) -> None:
        self._scheduler: Final = scheduler
        self._registry: Final = REGISTRY if registry is None else registry
        self._families: Final = _families_of(self._registry, prefix)
        self._jobs: Final[OrderedDict[tuple[str, str], str]] = OrderedDict()
        self._monotonic: Final = SystemClock().monotonic
        self._families.join(self._registry, scheduler)
        scheduler.add_middleware(self._measure)
        scheduler.add_listener(self._count, list(_STATES))

    def close(self) -> None:
        """Measure no more; with the last scheduler the metrics leave the registry. Again without harm."""
        if self._families.leave(self._registry, self._scheduler):
            self._scheduler.remove_middleware(self._measure)
            self._scheduler.remove_listener(self._count)

    async def _measure(self, run: Run[Any], call_next: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Measure one attempt; a middleware."""
        record, task = run.record, current_job().task
        series = self._families.series(run.store, task)
        self._remember(run, task)
        series.running.inc()
        series.lag.observe(max(0, (record.started_at or 0) - record.scheduled_time) / 1_000_000)
        began = self._monotonic()
        try:
            outcome = await call_next()
            if outcome.kind == "succeeded":
                series.succeeded.inc()
            return outcome
        finally:
            series.duration.observe(self._monotonic() - began)
            series.running.dec()
            self._remember(run, task)

    def _remember(self, run: Run[Any], task: str) -> None:
        self._jobs[run.store, run.job_id] = task
        if len(self._jobs) > MOST_JOBS:
            self._jobs.popitem(last=False)

    def _count(self, event: RunEvent | EventsDropped) -> None:
        """Count one verdict; a listener."""
        if isinstance(event, EventsDropped):
            self._families.dropped.inc(event.count)
            return
        task = self._jobs.get((event.store, event.job_id), OTHER)
        count = event.count if isinstance(event, JobCoalesced | JobMissed | JobSkipped) else 1
        self._families.verdicts(event.store, task, _STATES[type(event)]).inc(1 if count is None else count)


@final
class _Series:
    """What is measured of one task in one store."""

    __slots__ = ("duration", "lag", "running", "succeeded")

    def __init__(self, families: "_Families", store: str, task: str) -> None:
        self.succeeded = families.verdicts(store, task, "succeeded")
        self.lag = families.lag.labels(store, task)
        self.duration = families.duration.labels(store, task)
        self.running = families.running.labels(store, task)


@final
class _Families:
    """The metrics under one prefix in one registry, and the schedulers that they are of."""

    def __init__(self, prefix: str) -> None:
        labels = ("store", "task")
        self.runs: Final = Counter(
            f"{prefix}_runs", "Runs and fires by their verdict", (*labels, "state"), registry=None
        )
        self.lag: Final = Histogram(
            f"{prefix}_lag_seconds",
            "From the scheduled time to the start of an attempt",
            labels,
            registry=None,
            buckets=LAG_SECONDS,
        )
        self.duration: Final = Histogram(
            f"{prefix}_duration_seconds",
            "How long an attempt took",
            labels,
            registry=None,
            buckets=DURATION_SECONDS,
        )
        self.running: Final = Gauge(
            f"{prefix}_running", "Attempts under way", labels, registry=None, multiprocess_mode="livesum"
        )
        self.dropped: Final = Counter(f"{prefix}_events_dropped", "Verdicts that were not counted", registry=None)
        self._gauges: Final = _HealthGauges(prefix)
        self._series: Final[dict[tuple[str, str], _Series]] = {}

    def series(self, store: str, task: str) -> _Series:
        """Return what is measured of a task."""
        key = store, task
        found = self._series.get(key)
        if found is None:
            if len(self._series) >= MOST_TASKS and task != OTHER:
                return self.series(store, OTHER)
            found = self._series[key] = _Series(self, store, task)
        return found

    def verdicts(self, store: str, task: str, state: str) -> Counter:
        """Return what counts one verdict of a task."""
        is_known = (store, task) in self._series or len(self._series) < MOST_TASKS
        return self.runs.labels(store, task if is_known else OTHER, state)

    def join(self, registry: CollectorRegistry, scheduler: Scheduler) -> None:
        """Be of one more scheduler; with the first one the metrics are registered.

        Raises:
            ConfigurationError: it was of that one already, or names are taken.
        """
        gauges = self._gauges
        with _lock:
            if scheduler in gauges.schedulers:
                raise ConfigurationError(f"{scheduler!r} has metrics of these names there already; close those first")
            if not gauges.schedulers:
                _register(registry, self._collectors())
            gauges.schedulers = (*gauges.schedulers, scheduler)

    def leave(self, registry: CollectorRegistry, scheduler: Scheduler) -> bool:
        """Be of one scheduler less; with the last one the metrics are taken out. Return whether it was of that one."""
        gauges = self._gauges
        with _lock:
            if scheduler not in gauges.schedulers:
                return False
            gauges.schedulers = tuple(other for other in gauges.schedulers if other is not scheduler)
            if not gauges.schedulers:
                _unregister(registry, self._collectors())
            return True

    def _collectors(self) -> tuple[Collector, ...]:
        return self.runs, self.lag, self.duration, self.running, self.dropped, self._gauges


@final
class _HealthGauges(Collector):
    """What is read off the schedulers at a scrape, from whichever thread that comes."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._now_us = SystemClock().now_us
        self.schedulers: tuple[Scheduler, ...] = ()

    def describe(self) -> Iterable[Metric]:
        """Return the names, so that the registry refuses others of these names."""
        return self._metrics(0.0, 0.0)

    def collect(self) -> Iterable[Metric]:
        """Return the gauges; one that cannot be had does not spoil the rest of the scrape."""
        try:
            healths = [scheduler.health() for scheduler in self.schedulers]
        except Exception:
            logger.exception("the health of a scheduler could not be read")
            return ()
        oldest_due = max((self._age(health) for health in healths), default=0.0)
        return self._metrics(oldest_due, max((health.loop_lag.total_seconds() for health in healths), default=0.0))

    def _age(self, health: Health) -> float:
        if health.oldest_due is None:
            return 0.0
        return max(0, self._now_us() - to_us(health.oldest_due)) / 1_000_000

    def _metrics(self, oldest_due: float, loop_lag: float) -> Iterable[Metric]:
        return (
            GaugeMetricFamily(f"{self._prefix}_oldest_due_seconds", "Age of the oldest unclaimed fire", oldest_due),
            GaugeMetricFamily(f"{self._prefix}_loop_lag_seconds", "How late the event loop is", loop_lag),
        )


_lock: Final = Lock()
_known: Final[WeakKeyDictionary[CollectorRegistry, dict[str, _Families]]] = WeakKeyDictionary()


def _families_of(registry: CollectorRegistry, prefix: str) -> _Families:
    """Return the metrics under a prefix, which all schedulers with the same registry share."""
    if _PREFIX.fullmatch(prefix) is None:
        raise ConfigurationError(f"prefix={prefix!r} cannot begin a metric's name; use letters, digits and underscores")
    with _lock:
        families = _known.setdefault(registry, {})
        if prefix not in families:
            families[prefix] = _Families(prefix)
        return families[prefix]


def _register(registry: CollectorRegistry, collectors: Iterable[Collector]) -> None:
    """Register all of them, or none.

    Raises:
        ConfigurationError: a name is taken.
    """
    done: list[Collector] = []
    try:
        for collector in collectors:
            registry.register(collector)
            done.append(collector)
    except ValueError as error:
        _unregister(registry, done)
        raise ConfigurationError(f"{error}; give PrometheusMetrics another prefix") from error


def _unregister(registry: CollectorRegistry, collectors: Iterable[Collector]) -> None:
    for collector in collectors:
        registry.unregister(collector)
