"""Group commit of calls from many tasks: what gathers while a write is in flight is written together."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final, Generic, TypeVar, cast, final

import anyio

from asyncsched.errors import AsyncschedError

__all__ = ["Grouped"]

Q = TypeVar("Q")
A = TypeVar("A")


@final
class _Call(Generic[Q, A]):
    """One caller: what it asks for, and what it is told."""

    __slots__ = ("_answer", "_error", "begun", "is_abandoned", "request", "told")

    def __init__(self, request: Q) -> None:
        self.request = request
        self.begun = False
        self.is_abandoned = False
        self.told = anyio.Event()
        self._answer: A | None = None
        self._error: BaseException | None = None

    @property
    def is_settled(self) -> bool:
        return self._answer is not None or self._error is not None

    def settle(self, answer: A | Exception) -> None:
        if isinstance(answer, Exception):
            self._error = answer
        else:
            self._answer = answer
        self.told.set()

    def answer(self) -> A:
        if self._error is not None:
            raise self._error
        return cast("A", self._answer)


@final
class Grouped(Generic[Q, A]):
    """Hands requests of many tasks to one write at a time.

    There is no timer: the first caller writes at once, and whoever comes meanwhile is written with
    the next batch, by one of them.

    Args:
        write: writes a batch; returns an answer or an error for each request, in order. An answer is
            never ``None``. It puts the answers into the list that it is given, and holds a cancellation
            back while it writes what is not answered yet.
        most: how many requests one write takes.
    """

    def __init__(self, write: Callable[[Sequence[Q], list[A | Exception]], Awaitable[None]], most: int) -> None:
        self._write: Final = write
        self._most: Final = most
        self._waiting: list[_Call[Q, A]] = []
        self._is_writing = False

    async def call(self, request: Q) -> A:
        """Have a request written; return its answer, or raise its error.

        A cancellation either arrives before the write was begun, or is held back until it is done.
        """
        call = _Call[Q, A](request)
        self._waiting.append(call)
        if self._is_writing:
            await self._turn_of(call)
        if not call.is_settled:
            await self._lead(call)
        return call.answer()

    async def _turn_of(self, call: _Call[Q, A]) -> None:
        """Wait until the call was answered, or is the one to write."""
        try:
            await call.told.wait()
        except BaseException:
            await self._outlast(call)  # noqa: ASYNC102 - shielded, and bounded by the write's deadline
            if not (call.is_settled and _is_scope_cancelled()):
                raise

    async def _outlast(self, call: _Call[Q, A]) -> None:
        """Wait for the end of a write that is under way; give the call up if there is none."""
        if not call.begun:
            self._give_up(call)
            return
        with anyio.CancelScope(shield=True), self._given_up_unless_settled(call):
            await call.told.wait()

    @contextmanager
    def _given_up_unless_settled(self, call: _Call[Q, A]) -> Generator[None]:
        try:
            yield
        finally:
            if not call.is_settled:
                self._give_up(call)

    def _give_up(self, call: _Call[Q, A]) -> None:
        call.is_abandoned = True
        if call in self._waiting:
            self._waiting.remove(call)
        if call.told.is_set():  # it was its turn to write
            self._pass_on()

    async def _lead(self, call: _Call[Q, A]) -> None:
        """Write a batch that holds the call."""
        self._is_writing = True
        batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        for one in batch:
            one.begun = True
        answers: list[A | Exception] = []
        try:
            await self._write([one.request for one in batch], answers)
        except Exception as error:  # noqa: BLE001 - handed to each of the callers
            answers += [_copied(error) for _ in batch[len(answers) :]]
        except anyio.get_cancelled_exc_class():
            if not (answers and _is_scope_cancelled()):  # the first answer is the leader's
                raise
        finally:
            self._settle(batch, answers, call)
            self._pass_on()

    def _settle(self, batch: Sequence[_Call[Q, A]], answers: Sequence[A | Exception], leader: _Call[Q, A]) -> None:
        """Answer a batch; those without an answer wait again: the writer was cancelled before it came to them."""
        for one, answer in zip(batch, answers, strict=False):
            one.settle(answer)
        left = [one for one in batch[len(answers) :] if not (one is leader or one.is_abandoned)]
        for one in left:
            one.begun = False
        self._waiting[:0] = left

    def _pass_on(self) -> None:
        """Let the next one write, if someone waits."""
        self._is_writing = bool(self._waiting)
        if self._waiting:
            self._waiting[0].told.set()


def _is_scope_cancelled() -> bool:
    """Tell whether a cancellation is that of a scope, which is delivered again if it is passed over now."""
    return anyio.current_effective_deadline() == float("-inf")


def _copied(error: Exception) -> Exception:
    """Return an error of its own for a caller, as a traceback belongs to one task."""
    if not isinstance(error, AsyncschedError):
        return error
    twin = type(error).__new__(type(error), *error.args)  # not by its parameters, which are others than its args
    vars(twin).update(vars(error))
    twin.__cause__ = error
    return twin
