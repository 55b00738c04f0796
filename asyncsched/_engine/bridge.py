"""The sole importer of asyncio and trio.

Three things need the loop underneath anyio: a host task that belongs to nobody's cancel scope,
a call into the loop from a foreign thread that does not block that thread, and telling the loops
apart for asyncio-only drivers. trio is touched only if the application imported it.
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from queue import SimpleQueue
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, cast, final

import anyio

__all__ = [
    "Reply",
    "SoonCaller",
    "WorkerThread",
    "forgive_native_cancellations",
    "leave_loop",
    "loop_identity",
    "loop_name",
    "native_cancellations",
    "soon_from_threads",
    "spawn_host",
]

T = TypeVar("T")

_hosts: Final[set[asyncio.Task[None]]] = set()


def loop_name() -> Literal["asyncio", "trio"]:
    """Return which loop runs the current task.

    In trio's guest mode both live in one thread; there trio is asked first, as it runs the task.
    """
    trio = sys.modules.get("trio")
    return "trio" if trio is not None and trio.lowlevel.in_trio_task() else "asyncio"


def loop_identity() -> object:
    """Return something that is the same for every call within one event loop, and cheap."""
    if loop_name() == "trio":
        import trio  # noqa: PLC0415 - the application's choice, not ours

        return trio.lowlevel.current_trio_token()
    return asyncio.get_running_loop()


def leave_loop(context: Context) -> None:
    """Let code that runs in a copied context, in a thread of its own, begin an event loop of its own."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:  # otherwise the copy still names the loop that it was made in
        context.run(sniffio.current_async_library_cvar.set, None)


def spawn_host(main: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Start a task that belongs to no cancel scope and no task group of the caller's.

    Args:
        main: must not let an exception out, save the cancellation that ends the loop itself.
        name: the task's name.
    """
    if loop_name() == "trio":
        import trio  # noqa: PLC0415 - the application's choice, not ours

        trio.lowlevel.spawn_system_task(main, name=name)
        return
    task = asyncio.get_running_loop().create_task(main(), name=name)
    _hosts.add(task)
    task.add_done_callback(_hosts.discard)


def native_cancellations() -> Callable[[], int]:
    """Return what counts the unanswered requests to cancel the task that calls it; for this loop.

    asyncio counts them on the task. trio has no such thing, so there it is always 0.
    """
    if loop_name() == "trio":
        return lambda: 0

    def count() -> int:
        task = asyncio.current_task()
        return 0 if task is None else task.cancelling()

    return count


async def forgive_native_cancellations() -> None:
    """Take every request to cancel the current task off it, also one that is still to be delivered.

    To be called on asyncio only, and only while no cancel scope around the task is cancelled, as the
    requests are then nobody's but the code's that has just run in it.
    """
    task = asyncio.current_task()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # what was requested last, and not met yet, is delivered here
    while task is not None and task.cancelling() and anyio.current_effective_deadline() > float("-inf"):
        task.uncancel()


class SoonCaller(Protocol):
    """Calls a function in the loop's thread, soon, from any thread, without waiting for it."""

    def __call__(self, func: Callable[..., object], /, *args: Any) -> None:
        """Hand the call over; silently dropped when the loop is gone."""
        ...


def soon_from_threads() -> SoonCaller:
    """Return the current loop's way to be called from foreign threads."""
    if loop_name() == "trio":
        import trio  # noqa: PLC0415 - the application's choice, not ours

        token = trio.lowlevel.current_trio_token()

        def into_trio(func: Callable[..., object], /, *args: Any) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(func, *args)

        return into_trio
    loop = asyncio.get_running_loop()

    def into_asyncio(func: Callable[..., object], /, *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(func, *args)

    return into_asyncio


@final
class Reply(Generic[T]):
    """What a worker thread will answer to one call."""

    __slots__ = ("_error", "_event", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._event: anyio.Event | None = None
        self._value: T | None = None
        self._error: BaseException | None = None

    def settle(self, value: T | None, error: BaseException | None) -> None:
        """Store the answer and wake whoever waits. In the loop's thread."""
        self._value, self._error, self.done = value, error, True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> T:
        """Wait for the answer and return or raise it; a cancellation leaves the call going on in its thread."""
        await self.settled()
        return self.answer()

    async def settled(self) -> None:
        """Wait until there is an answer."""
        if self._event is None:
            self._event = anyio.Event()
            if self.done:
                self._event.set()
        await self._event.wait()

    def answer(self) -> T:
        """Return the answer, or raise it; there must be one."""
        if self._error is not None:
            raise self._error
        return cast("T", self._value)


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
        """Queue a call.

        Args:
            func: runs in the thread; whatever it raises is the reply's.
            then: is called in the loop's thread when the reply is there, whether or not somebody still
                waits for it; it must not raise.
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
            value: Any = None
            error: BaseException | None = None
            try:
                value = func()
            except BaseException as raised:  # noqa: BLE001 - user code may raise anything; the caller gets it
                error = raised
            self._soon(settle, value, error)
            del item, func, settle, value, error  # an idle thread keeps nothing of the last job alive
