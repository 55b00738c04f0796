"""Started executors, one of each kind for all tests of a module on one loop, as processes start slowly."""

from collections.abc import AsyncGenerator

import pytest

from asyncsched.executors import AsyncExecutor, Executor, InlineExecutor, ProcessExecutor, ThreadExecutor


@pytest.fixture(scope="module")
async def processes(anyio_backend: object) -> AsyncGenerator[ProcessExecutor]:
    """One worker process, replaced when a test has it die."""
    executor = ProcessExecutor(1)
    await executor.start()
    yield executor
    await executor.stop()


@pytest.fixture
async def threads(anyio_backend: object) -> AsyncGenerator[ThreadExecutor]:
    """Two threads at most."""
    executor = ThreadExecutor(2)
    await executor.start()
    yield executor
    await executor.stop()


@pytest.fixture(params=[AsyncExecutor, InlineExecutor])
async def on_loop(anyio_backend: object, request: pytest.FixtureRequest) -> AsyncGenerator[Executor]:
    """Each of the executors that run on the event loop."""
    executor: Executor = request.param()
    await executor.start()
    yield executor
    await executor.stop()


@pytest.fixture(params=["async", "thread", "process"])
async def executor(
    request: pytest.FixtureRequest, threads: ThreadExecutor, processes: ProcessExecutor
) -> AsyncGenerator[Executor]:
    """Each kind of executor, for plain functions; that on the loop blocks it meanwhile."""
    loop = AsyncExecutor()
    await loop.start()
    kinds: dict[object, Executor] = {"async": loop, "thread": threads, "process": processes}
    yield kinds[request.param]
    await loop.stop()
