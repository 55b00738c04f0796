"""One transaction, as operations see it; used inside the driver's loop."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias, final

from asyncsched.stores.sql import Row

__all__ = ["Proof", "Transaction"]

Proof: TypeAlias = tuple[str, tuple[Any, ...]]

_COUNTED: Final = "WITH written AS (STATEMENT RETURNING 1) SELECT count(*), pg_current_xact_id()::text FROM written"
_NAMED: Final = "WITH written AS (STATEMENT RETURNING id) SELECT array_agg(id), pg_current_xact_id()::text FROM written"


@final
class Transaction:
    """One transaction, or one connection that commits by itself; used inside the driver's loop.

    Attributes:
        connection: the driver's connection.
        xid: the id of the transaction, if one of its statements has returned it: without it a lost
            reply to the commit cannot be cleared up.
        proof: a question, with its values, that is true once what was written is there. Ids of transactions
            that a server lost with its last moments are given out again.
        is_ours: whether we commit it, and not the user.
    """

    __slots__ = ("_render", "connection", "is_ours", "proof", "xid")

    def __init__(self, connection: Any, render: Callable[[str], str], *, is_ours: bool = True) -> None:
        self.connection: Any = connection
        self.xid: str | None = None
        self.proof: Proof | None = None
        self.is_ours: bool = is_ours
        self._render = render

    async def rows(self, statement: str, *values: Any) -> list[Row]:
        """Return the rows of a statement, which names its tables as ``SCHEMA.table``."""
        found: list[Row] = await self.connection.fetch(self._render(statement), *values)
        return found

    async def row(self, statement: str, *values: Any) -> Row | None:
        """Return the first row, ``None`` without one."""
        found: Row | None = await self.connection.fetchrow(self._render(statement), *values)
        return found

    async def value(self, statement: str, *values: Any) -> Any:
        """Return the first column of the first row, ``None`` without one."""
        return await self.connection.fetchval(self._render(statement), *values)

    async def run(self, script: str) -> None:
        """Run statements without parameters, separated by semicolons."""
        await self.connection.execute(self._render(script))

    async def apply(self, statement: str, *values: Any) -> None:
        """Run a statement whose only answer is the id of its transaction."""
        self.xid = await self.value(statement, *values)

    async def write(self, statement: str, *values: Any) -> int:
        """Run an INSERT, UPDATE or DELETE; return how many rows it wrote."""
        counted = _COUNTED.replace("STATEMENT", statement)
        found = await self.row(counted, *values)
        assert found is not None  # noqa: S101 - an aggregate has one row
        self.xid = found[1]
        count: int = found[0]
        return count

    async def write_named(self, statement: str, *values: Any) -> set[str]:
        """Do the same; return the ids of the rows that it wrote."""
        found = await self.row(_NAMED.replace("STATEMENT", statement), *values)
        assert found is not None  # noqa: S101 - an aggregate has one row
        self.xid = found[1]
        return set(found[0] or ())
