"""Where jobs live: the protocol, and the stores that come with asyncsched.

`SQLiteJobStore` and `PostgresJobStore` are imported when they are first asked for, so that their
drivers are loaded only then.
"""

from typing import TYPE_CHECKING, Any

from asyncsched.stores.base import JobStore
from asyncsched.stores.memory import MemoryJobStore

if TYPE_CHECKING:
    from asyncsched.stores.postgres import PostgresJobStore
    from asyncsched.stores.sqlite import SQLiteJobStore

__all__ = ["JobStore", "MemoryJobStore", "PostgresJobStore", "SQLiteJobStore"]


def __getattr__(name: str) -> Any:
    if name == "SQLiteJobStore":
        from asyncsched.stores.sqlite import SQLiteJobStore  # noqa: PLC0415 - loads a driver; see above

        return SQLiteJobStore
    if name == "PostgresJobStore":
        from asyncsched.stores.postgres import PostgresJobStore  # noqa: PLC0415 - loads a driver; see above

        return PostgresJobStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
