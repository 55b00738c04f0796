"""Claims whose commit was never answered: what they claimed is begun once it is known to be claimed."""

from collections.abc import Coroutine
from typing import Any, TypeVar, cast, final

from msgspec.structs import replace

from asyncsched.stores.base import Fired, Start
from asyncsched.stores.postgres_connections import Connections, UnknownFateError

__all__ = ["Claims"]

T = TypeVar("T")


@final
class Claims:
    """Remembers claims of unknown fate.

    Otherwise runs would be this node's in the store, renewed with its lease, and nobody would make them.
    """

    def __init__(self) -> None:
        self._unknown: list[UnknownFateError] = []
        self._left: list[Start] = []

    async def remembering(self, call: Coroutine[Any, Any, T]) -> T:
        """Make a claim, and take it down if nobody can tell whether it was committed."""
        try:
            return await call
        except UnknownFateError as error:
            self._unknown.append(error)
            raise

    async def settled(self, connections: Connections | None, node: str, limit: int) -> Fired | None:
        """Return what earlier claims have turned out to have claimed, at most ``limit`` runs of it.

        Runs are left out if the node goes by another id by now: they are taken over by whoever
        recovers them.

        Raises:
            StoreUnavailableError: that cannot be found out yet.
        """
        late = Fired()
        for error in tuple(self._unknown):
            fate = None if connections is None else await connections.fate_of(error.xid, error.proof)
            if fate is not None:
                self._unknown.remove(error)
            if fate:
                late = error.result if isinstance(error.result, Fired) else Fired()
                self._left += late.starts if isinstance(error.result, Fired) else cast("list[Start]", error.result)
                break
        self._left = [start for start in self._left if start.run.node == node]
        starts, self._left = self._left[:limit], self._left[limit:]
        late = replace(late, starts=tuple(starts))
        return None if late == Fired() else late
