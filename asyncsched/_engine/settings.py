"""The settings of one scheduler, checked. Frozen."""

from datetime import timedelta

import msgspec

from asyncsched._engine.policies import duration
from asyncsched.errors import ConfigurationError

__all__ = ["EngineSettings", "engine_settings"]

SHORTEST_LEASE_US = 1_000_000


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is run with; durations in microseconds."""

    name: str | None
    max_concurrent_runs: int
    shutdown_grace_us: int | None
    lease_us: int
    history_us: int | None
    start_paused: bool


def engine_settings(
    *,
    name: object,
    max_concurrent_runs: object,
    shutdown_grace: float | timedelta | None,
    lease: float | timedelta,
    history: float | timedelta | None,
    start_paused: object,
) -> EngineSettings:
    """Return the settings.

    Raises:
        ConfigurationError: one is out of range; the message names it.
    """
    if isinstance(max_concurrent_runs, bool) or not isinstance(max_concurrent_runs, int) or max_concurrent_runs < 1:
        raise ConfigurationError(f"max_concurrent_runs={max_concurrent_runs!r} must be an int of at least 1")
    if not (name is None or isinstance(name, str)):
        raise ConfigurationError(f"name={name!r} must be a text or None")
    lease_us = duration("lease", lease)
    if lease_us < SHORTEST_LEASE_US:
        raise ConfigurationError(f"lease={lease!r} is too short to be renewed in time; give at least 1 second")
    return EngineSettings(
        name=name,
        max_concurrent_runs=max_concurrent_runs,
        shutdown_grace_us=None if shutdown_grace is None else duration("shutdown_grace", shutdown_grace),
        lease_us=lease_us,
        history_us=None if history is None else duration("history", history),
        start_paused=bool(start_paused),
    )
