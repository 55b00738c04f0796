"""The sole importer of asyncio and trio.

Four things need the loop underneath anyio: a host task that belongs to nobody's cancel scope,
a call into the loop from a foreign thread that does not block that thread, telling the loops
apart, and a loop for asyncio-only drivers. trio is touched only if the application imported it.
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, Generic, Literal, Protocol, TypeVar, cast, final

import anyio
import anyio.lowlevel

from asyncsched.clock import process_id
from asyncsched.errors import SchedulerStateError

__all__ = [
    "DriverLoop",
    "Reply",
    "SoonCaller",
    "WorkerThread",
    "driver_loop",
    "driver_sleep",
    "forgive_native_cancellations",
    "leave_loop",
    "loop_identity",
    "loop_name",
    "native_cancellations",
    "soon_from_threads",
    "spawn_host",
    "within",
]

T = TypeVar("T")

_CLOSE_S: Final = 3.0
_DRIVER_THREAD: Final = "asyncsched-driver"

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
    """Calls a function in a loop, soon, without waiting for it; silently dropped when the loop is gone."""

    def __call__(self, func: Callable[..., object], /, *args: Any) -> None: ...


def soon_from_threads() -> SoonCaller:
    """Return the current loop's way to be called from foreign threads."""
    loop: Any = loop_identity()
    return _unless_gone(loop.run_sync_soon if loop_name() == "trio" else loop.call_soon_threadsafe)


def _unless_gone(enter: Callable[..., object]) -> SoonCaller:
    def soon(func: Callable[..., object], /, *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # trio's RunFinishedError is one, and a closed loop raises it
            enter(func, *args)

    return soon


@final
class Reply(Generic[T]):
    """What a worker thread will answer to one call."""

    __slots__ = ("_event", "_value", "done", "error")

    def __init__(self) -> None:
        self.done = False
        self._event: anyio.Event | None = None
        self._value: T | None = None
        self.error: BaseException | None = None

    def settle(self, value: T | None, error: BaseException | None) -> None:
        """Store the answer and wake whoever waits. In the loop's thread."""
        self._value, self.error, self.done = value, error, True
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
        try:
            if self.error is not None:
                raise self.error
            return cast("T", self._value)
        finally:
            del self  # the traceback of the error would lead back to the error


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


async def within(seconds: float, operation: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, inside the driver's loop; TimeoutError after that many seconds, when it has been cancelled."""
    async with asyncio.timeout(seconds):
        return await operation


async def driver_sleep(seconds: float) -> None:
    """Sleep for that many seconds, inside the driver's loop."""
    await asyncio.sleep(seconds)


def driver_loop() -> "DriverLoop":
    """Return where coroutines of an asyncio-only driver run when the current loop is the scheduler's.

    On asyncio that is the current loop. On trio it is an asyncio loop in a daemon thread, which the
    first call starts and `DriverLoop.close` ends.
    """
    return DriverLoop(asyncio.get_running_loop() if loop_name() == "asyncio" else None)


@final
class DriverLoop:
    """Runs operations, each as a task of its own with the caller's context variables, in the driver's loop."""

    def __init__(self, own: asyncio.AbstractEventLoop | None) -> None:
        self._own = self._loop = own
        self._process = process_id()
        self._soon = soon_from_threads() if own is None else _unless_gone(own.call_soon)
        self._thread: threading.Thread | None = None
        self._stop, self._ended = asyncio.Event(), Reply[None]()
        self._closed = False
        self._pending: set[Reply[Any]] = set()  # the scheduler's loop's
        self._tasks: dict[Reply[Any], asyncio.Task[Any]] = {}  # the driver's loop's

    async def run(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run an operation to its end and return or raise its outcome.

        A cancel scope's cancellation is held back until then and the outcome wins: the next checkpoint is
        the cancelled one. If the scope is cancelled already, nothing is begun. A native ``Task.cancel()``
        leaves the operation alone too; after its end CancelledError is raised instead of the outcome.

        Raises:
            ClosedResourceError: `close` came first; the operation was not begun, or has been cancelled.
            SchedulerStateError: this process was forked from the one that made the loop.
            RuntimeError: something within the operation cancelled it.
        """
        return await self._call(operation, forward=False)

    async def run_cancellable(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run an operation that is cancelled with its caller, once it has ended; otherwise as `run`.

        If it has an outcome all the same, that wins over a cancel scope's cancellation.
        """
        return await self._call(operation, forward=True)

    def soon(self, func: Callable[..., object], /, *args: Any) -> None:
        """Call a function, which must not raise, in the scheduler's loop soon; from inside the driver's loop.

        Never blocks; keeps the order of the calls; dropped when the scheduler's loop is gone.
        """
        self._soon(func, *args)

    async def close(self) -> None:
        """Cancel what is pending and end the helper loop, also in a cancelled scope; idempotent.

        An operation that withstands for 3 seconds is left behind, with the thread if there is one.
        """
        first, self._closed = not self._closed, True
        try:
            with anyio.move_on_after(_CLOSE_S, shield=True):
                await self._end(first=first and self._loop is not None)
        finally:
            self._thread = None
            self._over()

    async def _end(self, *, first: bool) -> None:
        if process_id() != self._process:
            return
        if first:
            self._enter(self._cancel, *self._pending)
            self._enter(self._stop.set)
        for reply in (*self._pending, *([self._ended] if self._thread else [])):
            await reply.settled()
        if self._thread is not None:
            self._thread.join()  # it has nothing left to do

    async def _call(self, operation: Callable[[], Coroutine[Any, Any, T]], *, forward: bool) -> T:
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._check()
        reply = Reply[T]()
        self._pending.add(reply)
        try:
            self._enter(self._begin, operation, reply)
            await self._outlast(reply, forward=forward)
            if isinstance(reply.error, asyncio.CancelledError):
                raise anyio.ClosedResourceError if self._closed else RuntimeError("the operation cancelled itself")
            return reply.answer()
        finally:
            del reply  # an error's traceback would lead back to it

    def _check(self) -> None:
        if process_id() != self._process:
            raise SchedulerStateError("the loop of the driver belongs to the parent process: make one after the fork")
        if self._closed:
            raise anyio.ClosedResourceError

    async def _outlast(self, reply: Reply[Any], *, forward: bool) -> None:
        """Wait for the end; raise the cancellation that wins over the outcome."""
        try:
            with anyio.CancelScope(shield=not forward):
                await reply.settled()
        except anyio.get_cancelled_exc_class():
            outcome_wins = forward and anyio.current_effective_deadline() == float("-inf")
            if forward:
                self._enter(self._cancel, reply)
            while not reply.done:
                with anyio.CancelScope(shield=True), contextlib.suppress(asyncio.CancelledError):  # noqa: ASYNC912 - until done
                    await reply.settled()
                    continue
                outcome_wins = False  # a native cancellation on top of the first
            if not outcome_wins or isinstance(reply.error, asyncio.CancelledError):
                raise

    def _enter(self, func: Callable[..., object], /, *args: Any) -> None:
        if self._own is not None:
            func(*args)
            return
        if self._loop is None:
            self._loop = _new_loop()
            self._thread = threading.Thread(target=partial(self._main, self._loop), name=_DRIVER_THREAD, daemon=True)
            self._thread.start()
        context = copy_context()
        leave_loop(context)
        with contextlib.suppress(RuntimeError):  # it has ended, and `_over` is on its way
            self._loop.call_soon_threadsafe(func, *args, context=context)

    def _main(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(self._stop.wait())
                if self._tasks:  # what was cancelled is still busy with that
                    runner.run(asyncio.wait(self._tasks.values()))
        finally:
            self._soon(self._over)

    def _begin(self, operation: Callable[[], Coroutine[Any, Any, Any]], reply: Reply[Any]) -> None:
        self._tasks[reply] = task = asyncio.get_running_loop().create_task(_outcome(operation))
        task.add_done_callback(partial(self._finish, reply))

    def _finish(self, reply: Reply[Any], task: asyncio.Task[Any]) -> None:
        del self._tasks[reply]
        value, error = (None, asyncio.CancelledError()) if task.cancelled() else task.result()
        (self._settle if self._own else partial(self._soon, self._settle))(reply, value, error)

    def _settle(self, reply: Reply[Any], value: Any, error: BaseException | None) -> None:
        if reply in self._pending:  # not given up by `close`
            self._pending.discard(reply)
            reply.settle(value, error)

    def _cancel(self, *replies: Reply[Any]) -> None:
        for task in filter(None, map(self._tasks.get, replies)):
            task.cancel()

    def _over(self) -> None:
        """Give up what is pending. In the scheduler's loop."""
        self._closed = True
        for reply in tuple(self._pending):
            self._settle(reply, None, asyncio.CancelledError())
        self._ended.settle(None, None)


async def _outcome(operation: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T | None, BaseException | None]:
    try:
        return await operation(), None
    except BaseException as error:  # noqa: BLE001 - it is the caller's, and SystemExit would end the driver's loop
        return None, error


def _new_loop() -> asyncio.AbstractEventLoop:
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - an extra

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()
