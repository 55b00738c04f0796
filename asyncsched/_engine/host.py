"""The host task: owns the task group and everything that runs in it.

`async with Scheduler()` must hold no cancel scope open in the caller's task: set-up and clean-up run
in different tasks under pytest-asyncio, aiohttp and many a web framework. So starting a scheduler
starts one task that belongs to nobody, waits until it is ready, and stopping signals it and waits,
bounded. What kills the scheduler is kept, as it was raised, and raised to whoever waits.

A service that breaks does not take the others down with it: it reports to `Host.fail`, and the
others live on until the clean-up ends them in order, so that what is over is still recorded.
"""

from collections.abc import Awaitable, Callable
from logging import getLogger
from typing import Final, Literal, final

import anyio
from anyio.abc import TaskGroup

from asyncsched._engine.bridge import spawn_host

__all__ = ["Host", "SchedulerState", "guarded"]

logger: Final = getLogger("asyncsched")

SchedulerState = Literal["stopped", "starting", "running", "paused", "draining", "failed"]


async def guarded(failed: Callable[[Exception], None], service: Callable[[], Awaitable[None]]) -> None:
    """Run a service and report what breaks it, instead of breaking its neighbours."""
    try:
        await service()
    except Exception as error:  # noqa: BLE001 - a programming error, a third-party store's for instance
        failed(error)


@final
class Host:
    """Runs ``serve`` in a task of its own, between `start` and `stop`.

    ``setup`` acquires what is needed, with the task group at hand; ``teardown`` releases it and is
    run, shielded, however the serving ends. Its argument tells whether the end was asked for. It is
    run a second time if the event loop itself is taken down in the middle of it.
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
        self._starting = anyio.CancelScope()
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
        """Whether it has been asked to stop, or has failed."""
        return self._stop.is_set()

    async def start(self) -> None:
        """Start the host task and wait until it is ready.

        A cancellation gives the start up, and is passed on once everything is released again.

        Raises:
            Whatever ``setup`` raised; everything is released again then.
        """
        spawn_host(self._main, "asyncsched host")
        try:
            await self._ready.wait()
            if self.error is not None:
                raise self.error  # noqa: TRY301 - what the setup raised, on the way of whatever ends the wait
        except BaseException:
            self._stop.set()
            self._starting.cancel()
            with anyio.CancelScope(shield=True):  # bounded, as the teardown is
                await self._done.wait()
            raise

    def signal(self) -> None:
        """Ask the host to stop; does not wait. A start that is under way is given up."""
        self._stop.set()
        if not self._ready.is_set():
            self._starting.cancel()

    def fail(self, error: BaseException) -> None:
        """End the scheduler because of an error; the first one is kept and raised to whoever waits."""
        if self._ready.is_set():
            logger.critical("the scheduler has failed: %s", error, exc_info=error)
        if self.error is None:
            self.error = error
        self._stop.set()
        self._changed()

    async def finished(self) -> None:
        """Wait for the end of the host, well or not."""
        await self._done.wait()

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
            if isinstance(error, anyio.get_cancelled_exc_class()):
                raise  # the event loop is being taken down
            self.fail(error)
            if not isinstance(error, Exception | BaseExceptionGroup):
                raise
        finally:
            self.group = None
            self._ended()

    async def _live(self, group: TaskGroup) -> None:
        try:
            with self._starting:
                await self._setup(group)
                self._ready.set()
            await self._stop.wait()
        except Exception as error:  # noqa: BLE001 - kept for whoever started us
            self.fail(error)
        finally:
            with anyio.CancelScope(shield=True):  # every step of the teardown is bounded
                await self._finish()

    async def _finish(self) -> None:
        try:
            await self._teardown(self._stop.is_set() and self.error is None)
        except Exception as error:  # noqa: BLE001 - kept for whoever waits
            self.fail(error)
        except anyio.get_cancelled_exc_class():  # on asyncio no shield holds when the loop ends every task
            await self._teardown(False)  # noqa: ASYNC102 - shielded by the caller; every step of it is bounded
            raise
        finally:
            self._ended()  # what will not stop may keep the group open; nobody waits for it

    def _ended(self) -> None:
        self._done.set()
        self._ready.set()
        self._changed()
