"""SIGINT and SIGTERM: the first stops the scheduler, a second one cuts its grace short."""

import signal
import threading
from logging import getLogger
from typing import Final

import anyio

from asyncsched._engine.engine import Engine

__all__ = ["serve_until_signal"]

logger: Final = getLogger("asyncsched")


async def serve_until_signal(engine: Engine) -> None:
    """Return when the engine has stopped, which the first signal asks it to.

    Signals are only received in the main thread; elsewhere this waits for `Scheduler.shutdown`.

    Raises:
        Whatever killed the engine.
    """
    if threading.current_thread() is not threading.main_thread():
        await engine.host.wait()
        return
    async with anyio.create_task_group() as group:
        group.start_soon(_receive, engine)
        await engine.host.finished()
        group.cancel_scope.cancel()
    await engine.host.wait()  # raised out here, it is not wrapped in a group


async def _receive(engine: Engine) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if engine.host.stopping:
                logger.warning("%s again: running jobs are cancelled now", signal.Signals(number).name)
                engine.hurry()
            else:
                logger.warning("%s: stopping", signal.Signals(number).name)
                engine.host.signal()
