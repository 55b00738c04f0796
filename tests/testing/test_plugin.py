"""The fixtures of `asyncsched.testing.plugin`, as a user's suite meets them: run by pytest in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import asyncsched

CONFTEST: Final = """
pytest_plugins = ["asyncsched.testing.plugin"]
"""

ON_EVERY_LOOP: Final = """
import importlib.util

import pytest

UVLOOP = pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")


@pytest.fixture(
    params=["asyncio", pytest.param(("asyncio", {"use_uvloop": True}), marks=UVLOOP, id="uvloop"), "trio"]
)
def anyio_backend(request):
    return request.param
"""

SHARED: Final = """
import pytest

from asyncsched import JobExecuted, SchedulerShutdown, SchedulerStarted, every


async def tick():
    return "tick"


async def three_ticks(scheduler, clock):
    await scheduler.add_job(tick, every(hours=1), id="tick")
    await clock.advance(hours=3)
    assert [run.state for run in await scheduler.get_runs(job_id="tick")] == ["succeeded"] * 3


def check_events(log):
    assert [event.result for event in log.of(JobExecuted)] == ["tick"] * 3
    assert log.of(SchedulerStarted) and not log.of(SchedulerShutdown)
"""

UNDER_ANYIO: Final = """
from shared import *

pytestmark = pytest.mark.anyio


async def test_it(scheduler, virtual_clock, scheduler_events):
    async with scheduler:
        await three_ticks(scheduler, virtual_clock)
        check_events(scheduler_events)
    assert len(scheduler_events.of(SchedulerShutdown)) == 1


@pytest.fixture
async def started(scheduler, anyio_backend):
    async with scheduler:
        yield scheduler


async def test_a_generator_fixture(started, virtual_clock, scheduler_events):
    await three_ticks(started, virtual_clock)
"""

UNDER_ASYNCIO: Final = """
import pytest_asyncio
from shared import *

{mark}


async def test_it(scheduler, virtual_clock, scheduler_events):
    async with scheduler:
        await three_ticks(scheduler, virtual_clock)
        check_events(scheduler_events)
    assert len(scheduler_events.of(SchedulerShutdown)) == 1


@{fixture}.fixture
async def started(scheduler, scheduler_events):
    async with scheduler:
        yield scheduler


async def test_a_generator_fixture(started, virtual_clock, scheduler_events):
    await three_ticks(started, virtual_clock)
    check_events(scheduler_events)
"""

NEW_EACH_TIME: Final = """
def test_a_synchronous_test_may_look_at_them(scheduler, virtual_clock, scheduler_events):
    assert scheduler.state == "stopped"
    assert virtual_clock.now().isoformat() == "2026-01-01T00:00:00+00:00"
    assert scheduler_events.events == []
"""


def run_pytest(folder: Path, files: dict[str, str], *options: str) -> str:
    """Run pytest there with warnings as errors and return how it went, in the words of its last line."""
    for name, text in files.items():
        (folder / name).write_text(text)
    where = os.pathsep.join([str(Path(asyncsched.__file__).parent.parent), str(folder)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": where},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return re.sub(r" in .*", "", done.stdout.strip().splitlines()[-1])


def test_both_plugins_in_one_suite_and_all_loops(tmp_path: Path) -> None:
    files = {
        "conftest.py": CONFTEST + ON_EVERY_LOOP,
        "shared.py": SHARED,
        "test_anyio.py": UNDER_ANYIO,
        "test_asyncio.py": UNDER_ASYNCIO.format(mark="pytestmark = pytest.mark.asyncio", fixture="pytest_asyncio"),
        "test_sync.py": NEW_EACH_TIME,
    }
    options = ("-o", "asyncio_mode=strict", "-o", "asyncio_default_fixture_loop_scope=function")
    assert run_pytest(tmp_path, files, *options) in {"9 passed", "7 passed, 2 skipped"}


def test_pytest_asyncio_in_auto_mode_needs_no_marks(tmp_path: Path) -> None:
    files = {
        "conftest.py": CONFTEST,
        "shared.py": SHARED,
        "test_asyncio.py": UNDER_ASYNCIO.format(mark="", fixture="pytest"),
        "test_sync.py": NEW_EACH_TIME,
    }
    options = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")
    assert run_pytest(tmp_path, files, *options) == "3 passed"


def test_anyio_in_auto_mode_needs_no_marks_and_no_pytest_asyncio(tmp_path: Path) -> None:
    files = {
        "conftest.py": CONFTEST + ON_EVERY_LOOP,
        "shared.py": SHARED,
        "test_anyio.py": UNDER_ANYIO.replace("pytestmark = pytest.mark.anyio", ""),
    }
    options = ("-p", "no:asyncio", "-o", "anyio_mode=auto")
    assert run_pytest(tmp_path, files, *options) in {"6 passed", "4 passed, 2 skipped"}
