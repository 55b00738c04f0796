"""The doors by which the test kit reaches what a scheduler keeps to itself; there are no others."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

from asyncsched.events import Event

if TYPE_CHECKING:
    from asyncsched._facade.life import Life
    from asyncsched.scheduler import Scheduler

__all__ = ["Tap", "life_of", "tapped"]


class Tap(Protocol):
    """What is told of every event in the very moment in which it is published."""

    def tell(self, batch: Sequence[Event]) -> None:
        """Take events of one class; must neither wait nor raise."""
        ...


def life_of(scheduler: "Scheduler") -> "Life":
    """Return what a scheduler is made of."""
    return scheduler._life  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


@contextmanager
def tapped(scheduler: "Scheduler", tap: Tap) -> Generator[None]:
    """Tell the tap of everything that is published while the block runs, over any number of starts and stops."""
    stream = _Stream(life_of(scheduler), tap)
    stream.open()
    try:
        yield
    finally:
        stream.leave()


class _Stream:
    """Stands among the streams of a broadcast, which closes them all when the scheduler stops."""

    def __init__(self, life: "Life", tap: Tap) -> None:
        self._broadcast = life.broadcast
        self._tap = tap
        self._is_over = False

    def open(self) -> None:
        broadcast = cast("Any", self._broadcast)
        broadcast._streams.append(self)  # noqa: SLF001 - a stream of another kind
        broadcast._routes.clear()  # noqa: SLF001

    def leave(self) -> None:
        self._is_over = True
        self._broadcast.unsubscribe(cast("Any", self))

    def wants(self, _event_type: type[Event]) -> bool:
        return True

    def offer(self, batch: Sequence[Event]) -> None:
        self._tap.tell(batch)

    def close(self) -> None:
        """Stay for the next start, unless it is over."""
        if not self._is_over:
            self.open()
