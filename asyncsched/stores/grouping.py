"""Group commit of calls from many tasks: what gathers while a write is in flight is written together."""

import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar, cast, final

import anyio

from asyncsched.errors import AsyncschedError

__all__ = ["Grouped"]

Q = TypeVar("Q")
A = TypeVar("A")


@final
class _Call(Generic[Q, A]):
    """One caller: what it asks for, and what it is told."""

    __slots__ = ("_answer", "_error", "begun", "request", "told")

    def __init__(self, request: Q) -> None:
        self.request = request
        self.begun = False
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
            never ``None``. It holds a cancellation back once it has begun, and puts the answers into
            the list that it is given before it ends.
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
            if not call.begun:
                self._give_up(call)
                raise
            with anyio.CancelScope(shield=True):  # it is being written: bounded by the deadline of the write
                await call.told.wait()
            if anyio.current_effective_deadline() != float("-inf"):
                raise  # not a cancel scope's, which would be delivered again, but the task's

    def _give_up(self, call: _Call[Q, A]) -> None:
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
            answers = [_copied(error) for _ in batch]
        finally:
            self._settle(batch, answers, call)
            self._pass_on()

    def _settle(self, batch: Sequence[_Call[Q, A]], answers: Sequence[A | Exception], leader: _Call[Q, A]) -> None:
        """Answer a batch; without answers its writer was cancelled before it began, and the others wait again."""
        if answers:
            for one, answer in zip(batch, answers, strict=True):
                one.settle(answer)
            return
        others = [one for one in batch if one is not leader]
        for one in others:
            one.begun = False
        self._waiting[:0] = others

    def _pass_on(self) -> None:
        """Let the next one write, if someone waits."""
        self._is_writing = bool(self._waiting)
        if self._waiting:
            self._waiting[0].told.set()


def _copied(error: Exception) -> Exception:
    """Return an error of its own for a caller, as a traceback belongs to one task."""
    if isinstance(error, AsyncschedError):
        twin = copy.copy(error)
        twin.__cause__ = error
        return twin
    return error
