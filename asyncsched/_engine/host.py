"""The host task: owns the task group and everything that runs in it.

`async with Scheduler()` must hold no cancel scope open in the caller's task: set-up and clean-up run
in different tasks under pytest-asyncio, aiohttp and many a web framework. So starting a scheduler
starts one task that belongs to nobody, waits until it is ready, and stopping signals it and waits,
bounded. If the host dies, the error is kept and raised to whoever waits.
"""

from collections.abc import Awaitable, Callable
from logging import getLogger
from typing import Final, Literal, final

import anyio
from anyio.abc import TaskGroup

from asyncsched._engine.bridge import spawn_host

__all__ = ["Host", "SchedulerState"]

logger: Final = getLogger("asyncsched")

SchedulerState = Literal["stopped", "starting", "running", "paused", "draining", "failed"]


@final
class Host:
    """Runs ``serve`` in a task of its own, between `start` and `stop`.

    ``setup`` acquires what is needed, with the task group at hand; ``teardown`` releases it and is
    run, shielded, however the serving ends. Its argument tells whether the end was asked for.
    """

    def __init__(
        self,
        *,
        setup: Callable[[TaskGroup], Awaitable[None]],
        teardown: Callable[[bool], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        self._setup = setup
        self._teardown = teardown
        self._changed = changed
        self._stop = anyio.Event()
        self._ready = anyio.Event()
        self._done = anyio.Event()
        self.group: TaskGroup | None = None
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether the scheduler has come to its end, well or not."""
        return self._done.is_set()

    @property
    def stopping(self) -> bool:
        """Whether it has been asked to stop."""
        return self._stop.is_set()

    async def start(self) -> None:
        """Start the host task and wait until it is ready.

        Raises:
            Whatever ``setup`` raised; everything is released again then.
        """
        spawn_host(self._main, "asyncsched host")
        try:
            await self._ready.wait()
        except BaseException:
            self._stop.set()
            with anyio.CancelScope(shield=True):
                await self._done.wait()
            raise
        if self.error is not None:
            raise self.error

    def signal(self) -> None:
        """Ask the host to stop; does not wait."""
        self._stop.set()

    async def wait(self) -> None:
        """Wait for the end of the host.

        Raises:
            Whatever killed it.
        """
        await self._done.wait()
        if self.error is not None:
            raise self.error

    async def _main(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                self.group = group
                await self._live(group)
                group.cancel_scope.cancel()
        except BaseException as error:  # nothing may escape: on trio it would end the application
            self._failed(error)
            if not isinstance(error, Exception) and not isinstance(error, BaseExceptionGroup):
                raise  # the event loop itself is being taken down
        finally:
            self.group = None
            self._ready.set()
            self._done.set()
            self._changed()

    async def _live(self, group: TaskGroup) -> None:
        try:
            await self._setup(group)
            self._ready.set()
            await self._stop.wait()
        except Exception as error:  # kept for whoever started us; the teardown comes all the same
            self._failed(error)
        finally:
            with anyio.CancelScope(shield=True):
                await self._teardown(self._stop.is_set())
            if self._stop.is_set():  # a job that ignores its cancellation keeps the group open; nobody waits for it
                self._done.set()
                self._changed()

    def _failed(self, error: BaseException) -> None:
        if self.error is None and not self._done.is_set():
            self.error = error
            logger.critical("the scheduler has failed: %s", error, exc_info=error)
