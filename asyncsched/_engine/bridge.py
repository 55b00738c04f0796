"""The sole importer of asyncio and trio.

What needs the loop underneath anyio: host tasks in nobody's cancel scope, calls from threads that do not
wait, telling the loops apart, asyncio-only drivers. trio is touched only if the application imported it.
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, Generic, Literal, TypeVar, cast, final

import anyio
import anyio.lowlevel

from asyncsched.clock import process_id
from asyncsched.errors import SchedulerStateError

__all__ = [
    "DriverLoop",
    "Reply",
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
        return sys.modules["trio"].lowlevel.current_trio_token()
    return asyncio.get_running_loop()


def leave_loop(context: Context) -> None:
    """Let code that runs in a copied context, in a thread of its own, begin an event loop of its own."""
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:  # otherwise the copy still names the loop that it was made in
        context.run(sniffio.current_async_library_cvar.set, None)


def spawn_host(main: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
    """Start a task in none of the caller's scopes; it must let out nothing but the cancellation that ends the loop."""
    if loop_name() == "trio":
        sys.modules["trio"].lowlevel.spawn_system_task(main, name=name)
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


def soon_from_threads() -> Callable[..., bool]:
    """Return what calls a function in the current loop, soon, from any thread.

    It returns whether the call will be made: it is dropped when the loop is gone.
    """
    loop: Any = loop_identity()
    return _unless_gone(loop.run_sync_soon if loop_name() == "trio" else loop.call_soon_threadsafe)


def _unless_gone(enter: Callable[..., object]) -> Callable[..., bool]:
    def soon(func: Callable[..., object], /, *args: Any) -> bool:
        try:
            enter(func, *args)
        except RuntimeError:  # trio's RunFinishedError is one, and a closed loop raises it
            return False
        return True

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
        if self.error is not None:
            raise self.error
        return cast("T", self._value)


async def within(seconds: float, operation: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, inside the driver's loop; TimeoutError after that many seconds, when it has been cancelled."""
    async with asyncio.timeout(seconds):
        return await operation


async def driver_sleep(seconds: float) -> None:
    """Sleep for that many seconds, inside the driver's loop."""
    await asyncio.sleep(seconds)


def driver_loop() -> "DriverLoop":
    """Return where an asyncio-only driver lives: the current loop, or under trio one of ours in a daemon thread."""
    return DriverLoop(asyncio.get_running_loop() if loop_name() == "asyncio" else None)


@final
class DriverLoop:
    """Runs operations, each as a task of its own with the caller's context variables, in the driver's loop."""

    def __init__(self, own: asyncio.AbstractEventLoop | None) -> None:
        self._own = self._loop = own
        self._soon = soon_from_threads() if own is None else _unless_gone(own.call_soon)
        self._process = process_id()
        self._thread: threading.Thread | None = None
        self._stop, self._ended, self._closed = asyncio.Event(), Reply[None](), False
        self._pending: dict[Reply[Any], Callable[[], object]] = {}  # wakes the caller; the scheduler's loop's
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
        try:
            with anyio.move_on_after(3.0, shield=True):
                await self._end()
        finally:
            self._thread = None
            self._over()

    async def _end(self) -> None:
        first, self._closed = not self._closed, True
        if self._loop is None or self._process != process_id():
            return
        if first:
            self._enter(self._cancel, *self._pending)
            self._enter(self._stop.set)
        for reply in (*self._pending, *([self._ended] if self._thread else [])):
            await reply.settled()
        if self._thread is not None:
            self._thread.join()  # it has nothing left to do

    async def _call(self, operation: Callable[[], Coroutine[Any, Any, T]], *, forward: bool) -> T:
        if self._closed or process_id() != self._process:  # asyncio knows no current task after a fork
            raise self._refusal()
        await anyio.lowlevel.checkpoint_if_cancelled()
        reply = Reply[T]()
        try:
            self._enter(self._begin, operation, reply)
            self._pending[reply] = bool  # does nothing: `_outlast` waits for the reply itself
            await (self._parked(reply) if self._own is None and not forward else self._outlast(reply, forward=forward))
            if isinstance(reply.error, asyncio.CancelledError):
                raise self._refusal()
            return reply.answer()
        finally:
            reply.error = None  # its traceback leads to this frame

    def _refusal(self) -> Exception:
        if process_id() != self._process:
            return SchedulerStateError("a driver loop cannot be used in a forked process: make one there")
        closed = self._closed or self._stop.is_set()
        return anyio.ClosedResourceError() if closed else RuntimeError("the operation cancelled itself")

    async def _parked(self, reply: Reply[Any]) -> None:
        """Wait for the end on trio, where a cancellation can be refused: the quick way."""
        import trio  # noqa: PLC0415 - the application's choice, not ours

        self._pending[reply] = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

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
            loop = _new_loop()
            self._thread = threading.Thread(target=self._main, args=(loop,), name="asyncsched-driver", daemon=True)
            self._thread.start()
            self._loop = loop
        context = copy_context()
        leave_loop(context)
        with contextlib.suppress(RuntimeError):  # it has ended, and `_over` is on its way
            self._loop.call_soon_threadsafe(func, *args, context=context)

    def _main(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner, contextlib.ExitStack() as ending:
                ending.callback(self._stop.set)  # also when the loop ends by itself, before its tasks are cancelled
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
        answer = partial(self._soon, self._settle) if self._own is None else self._settle
        answer(reply, value, error)

    def _settle(self, reply: Reply[Any], value: Any, error: BaseException | None) -> None:
        if (wake := self._pending.pop(reply, None)) is not None:  # not given up by `close`
            reply.settle(value, error)
            wake()

    def _cancel(self, *replies: Reply[Any]) -> None:
        for task in filter(None, map(self._tasks.get, replies)):
            task.cancel()

    def _over(self) -> None:  # in the scheduler's loop
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
