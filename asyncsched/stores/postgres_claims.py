"""Claims whose commit was never answered: what they claimed is begun once it is known to be claimed."""

from collections.abc import Coroutine
from typing import Any, TypeVar, cast, final

from msgspec.structs import replace

from asyncsched.stores.base import Fired, Start
from asyncsched.stores.postgres_connections import Connections, UnknownFateError

__all__ = ["Claims"]

T = TypeVar("T")
C = TypeVar("C", Fired, list[Start])


@final
class Claims:
    """Remembers claims of unknown fate.

    Otherwise runs would be this node's in the store, renewed with its lease, and nobody would make them.
    """

    def __init__(self) -> None:
        self._unknown: list[UnknownFateError] = []

    async def remembering(self, call: Coroutine[Any, Any, T]) -> T:
        """Make a claim, and take it down if nobody can tell whether it was committed."""
        try:
            return await call
        except UnknownFateError as error:
            self._unknown.append(error)
            raise

    async def settled(self, connections: Connections | None, kind: type[C], node: str) -> C | None:
        """Return an earlier claim of that kind that has turned out to be committed.

        Its runs are left out if the node goes by another id by now: they are taken over by whoever
        recovers them.

        Raises:
            StoreUnavailableError: that cannot be found out yet.
        """
        for error in [one for one in self._unknown if isinstance(one.result, kind)]:
            fate = None if connections is None else await connections.fate_of(error.xid)
            if fate is not None:
                self._unknown.remove(error)
            if fate:
                return cast("C", _of_node(error.result, node))
        return None


def _of_node(result: object, node: str) -> Fired | list[Start]:
    starts = [
        start
        for start in (result.starts if isinstance(result, Fired) else cast("list[Start]", result))
        if start.run.node == node
    ]
    return replace(result, starts=starts) if isinstance(result, Fired) else starts
