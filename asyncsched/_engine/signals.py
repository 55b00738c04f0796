"""SIGINT and SIGTERM: the first stops the scheduler, a second one cuts its grace short."""

import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from logging import getLogger
from typing import Final

import anyio

from asyncsched._engine.engine import Engine

__all__ = ["stopped_by_signals"]

logger: Final = getLogger("asyncsched")


@asynccontextmanager
async def stopped_by_signals(engine: Callable[[], Engine | None]) -> AsyncGenerator[None]:
    """Stop the engine that there is when a signal comes, while the block runs.

    Signals are only received in the main thread; elsewhere they are nobody's business here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    error: Exception | None = None
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as group:
            group.start_soon(_receive, signals, engine)
            try:
                yield
            except Exception as raised:  # noqa: BLE001 - raised out there, where no group wraps it
                error = raised
            group.cancel_scope.cancel()
    if error is not None:
        raise error


async def _receive(signals: AsyncIterator[signal.Signals], engine: Callable[[], Engine | None]) -> None:
    async for number in signals:
        running = engine()
        name = signal.Signals(number).name
        if running is None:
            logger.warning("%s: there is nothing to stop yet", name)
        elif running.host.stopping:
            logger.warning("%s again: running jobs are cancelled now", name)
            running.hurry()
        else:
            logger.warning("%s: stopping", name)
            running.host.signal()
