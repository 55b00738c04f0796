"""What a newcomer's slips are answered with: each message names the value and what to write instead."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from asyncsched import ConfigurationError, Scheduler, SchedulerStateError, cron, every


async def job() -> None: ...


def untyped(value: Any) -> Any:
    """What a program without types would pass."""
    return value


SLIPS: Final[list[tuple[str, Callable[[], object], tuple[str, ...]]]] = [
    ("an hour too many", lambda: cron("0 25 * * *"), ("hour", "'25'", "0-23")),
    ("a field too few", lambda: cron("0 9 * *"), ("'0 9 * *'", "4 fields", "5 (minute hour")),
    ("a zone misspelt", lambda: cron("0 9 * * *", timezone="Europe/Helsinky"), ("did you mean 'Europe/Helsinki'",)),
    ("an interval of nothing", every, ("write for example every(minutes=5)",)),
    ("a path for a URL", lambda: Scheduler("jobs.db"), ("'jobs.db'", "sqlite:///relative.db")),
    ("a decorator without parentheses", lambda: Scheduler().job(untyped(job)), ("job", "write @s.job()", "every(")),
    ("an option misspelt", lambda: Scheduler().job(every(minutes=1), **untyped({"jiter": 3}))(job), ("'jitter'",)),
    (
        "a lambda for a file",
        lambda: Scheduler("sqlite:///never-opened.db").job(every(minutes=1), id="x")(lambda: None),
        ("is a lambda", "@task("),
    ),
]


@pytest.mark.parametrize(("slip", "words"), [pytest.param(slip, words, id=name) for name, slip, words in SLIPS])
def test_a_slip_in_a_definition_is_answered_with_the_remedy(slip: Callable[[], object], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        slip()
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


ADDED: Final[list[tuple[str, tuple[object, ...], tuple[str, ...]]]] = [
    ("a crontab text for an alias", (job, "0 9 * * *"), ("write cron('0 9 * * *')",)),
    ("a macro for an alias", (job, "@daily"), ("write cron('@daily')",)),
    ("a number for a trigger", (job, 5), ("trigger=5", "every(...)")),
    ("no function", (3,), ("3", "the function itself", "args=")),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("given", "words"), [pytest.param(given, words, id=name) for name, given, words in ADDED])
async def test_a_slip_in_a_call_is_answered_with_the_remedy(given: tuple[object, ...], words: tuple[str, ...]) -> None:
    async with Scheduler() as scheduler:
        with pytest.raises(ConfigurationError) as caught:
            await untyped(scheduler).add_job(*given)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


@pytest.mark.anyio
async def test_a_function_that_was_called_instead_of_named_is_told_apart() -> None:
    called = job()
    with pytest.raises(ConfigurationError, match="has been called already; pass the function itself"):
        await Scheduler().add_job(untyped(called), every(minutes=1))
    called.close()


@pytest.mark.anyio
async def test_a_call_before_the_start_names_async_with() -> None:
    with pytest.raises(SchedulerStateError, match="async with"):
        await Scheduler().run_job(job)
