"""The fixtures of `asyncsched.testing.plugin`, as a user's suite meets them: run by pytest in an empty folder."""

import subprocess
import sys
from pathlib import Path
from typing import Final

CONFTEST: Final = """
import pytest

pytest_plugins = ["asyncsched.testing.plugin"]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param
"""

TESTS: Final = """
import pytest
import pytest_asyncio

from asyncsched import Scheduler, every


async def tick():
    return "tick"


async def three_ticks(scheduler, clock):
    await scheduler.add_job(tick, every(hours=1), id="tick")
    await clock.advance(hours=3)
    assert [run.state for run in await scheduler.get_runs(job_id="tick")] == ["succeeded"] * 3


@pytest.mark.anyio
async def test_under_anyio(scheduler, virtual_clock):
    async with scheduler:
        await three_ticks(scheduler, virtual_clock)


@pytest.mark.asyncio
async def test_under_pytest_asyncio(scheduler, virtual_clock):
    async with scheduler:
        await three_ticks(scheduler, virtual_clock)


@pytest_asyncio.fixture
async def started(scheduler):
    async with scheduler:
        yield scheduler


@pytest.mark.asyncio
async def test_a_generator_fixture_under_pytest_asyncio(started, virtual_clock):
    await three_ticks(started, virtual_clock)


@pytest.fixture
async def started_anywhere(scheduler, anyio_backend):
    async with scheduler:
        yield scheduler


@pytest.mark.anyio
async def test_a_generator_fixture_under_anyio(started_anywhere, virtual_clock):
    await three_ticks(started_anywhere, virtual_clock)
"""


def test_the_fixtures_serve_both_plugins_and_all_loops(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_ticks.py").write_text(TESTS)
    options = ["-q", "-p", "no:cacheprovider", "-W", "error", "-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
