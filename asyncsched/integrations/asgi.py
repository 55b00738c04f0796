"""Join the scheduler's lifespan with one that the application has already."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from asyncsched.scheduler import Scheduler

__all__ = ["with_scheduler"]

A = TypeVar("A")
S = TypeVar("S")


def with_scheduler(
    scheduler: Scheduler, lifespan: Callable[[A], AbstractAsyncContextManager[S]]
) -> Callable[[A], AbstractAsyncContextManager[S]]:
    """Return a lifespan in which the scheduler runs inside the application's own.

    The application's lifespan is entered first and left last, so that jobs may use what it opens.

    Args:
        scheduler: started and stopped with the application.
        lifespan: the application's own, as Starlette takes it.
    """

    @asynccontextmanager
    async def joined(app: A) -> AsyncGenerator[S]:
        async with lifespan(app) as state, scheduler:
            yield state

    return joined
