"""Waiting for what a system has recorded by asking its database."""

import asyncio
import time
from typing import Final

import asyncpg

from benchmarks.systems.base import PostgresDatabase

__all__ = ["wait_counted"]

_POLL: Final = 0.01


async def wait_counted(database: PostgresDatabase, query: str, count: int, stop_at: float) -> int:
    """Ask the server every 10 ms until the query's one number is so large or until that ``time.perf_counter()``.

    For systems that say when a job has run but not when that was recorded. It is asked from a
    connection whose statements are not counted.
    """
    connection = await asyncpg.connect(database.url(), server_settings={"pg_stat_statements.track": "none"})
    try:
        while True:
            found = int(await connection.fetchval(query))
            if found >= count or time.perf_counter() > stop_at:
                return found
            await asyncio.sleep(_POLL)
    finally:
        await connection.close()  # noqa: ASYNC102 - a worker process measures one thing and ends
