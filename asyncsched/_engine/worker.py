"""Threads that work for the event loop: blocking calls are handed to them and their answers come back."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar, final

import anyio

from asyncsched._engine.bridge import Reply, soon_from_threads

__all__ = ["WorkerThread"]

T = TypeVar("T")


@final
class WorkerThread:
    """A daemon thread that runs callables one after the other, for either loop.

    A daemon, so that user code which never returns cannot keep the interpreter from exiting.
    """

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[tuple[Callable[[], Any], Callable[..., object]] | None] = SimpleQueue()
        self._soon = soon_from_threads()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def submit(self, func: Callable[[], T], then: Callable[[], object] | None = None) -> Reply[T]:
        """Queue a call, whose outcome is the reply's, whatever it raises.

        ``then``, which must not raise, is called in the loop's thread when the reply is there, waited for or not.
        """
        reply: Reply[T] = Reply()

        def settle(value: T | None, error: BaseException | None) -> None:
            reply.settle(value, error)
            if then is not None:
                then()

        self._queue.put((func, settle))
        return reply

    async def call(self, func: Callable[[], T]) -> T:
        """Run a call to its end: a cancellation from outside is held back until it is done."""
        reply = self.submit(func)
        with anyio.CancelScope(shield=True):
            await reply.settled()
        return reply.answer()

    def stop(self) -> None:
        """Let the thread end once it has done what is queued; does not wait for it."""
        self._queue.put(None)

    def join(self) -> None:
        """Wait for the thread's end; blocks."""
        self._thread.join()

    def _main(self) -> None:
        while (item := self._queue.get()) is not None:
            func, settle = item
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = func(), None
            except BaseException as raised:  # noqa: BLE001 - user code may raise anything; the caller gets it
                outcome = None, raised
            self._soon(settle, *outcome)
            del item, func, settle, outcome  # an idle thread keeps nothing of the last job alive
