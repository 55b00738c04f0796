"""What SQLite reports, as errors that say what to do about it."""

import contextlib
import sqlite3
from collections.abc import Generator
from pathlib import Path
from typing import Final

from asyncsched.errors import AsyncschedError, StoreSchemaError, StoreUnavailableError

__all__ = ["faults_of"]

_PRIMARY_CODE: Final = 0xFF
"""Extended result codes carry the primary one in their low byte (SQLite manual, "Result and Error Codes")."""

_REMEDIES: Final = {
    sqlite3.SQLITE_BUSY: "another process holds its lock for longer than a call waits; end that process or transaction",
    sqlite3.SQLITE_LOCKED: "another connection holds its lock; end that transaction",
    sqlite3.SQLITE_READONLY: "it cannot be written to; give this user write permission to the file and its directory",
    sqlite3.SQLITE_PERM: "access is denied; give this user read and write permission",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its directory exists and this user may write there",
    sqlite3.SQLITE_FULL: "the disk, or the limit set for the database, is full; make room",
    sqlite3.SQLITE_IOERR: "the disk or file system reports an I/O error; check it",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_PROTOCOL: "its lock cannot be had; is it on a network file system? Put it on a local one",
    sqlite3.SQLITE_INTERRUPT: "the statement was interrupted",
}
_BROKEN: Final = {
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database; nothing was changed; name another file",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a backup, or recover it with sqlite3's .recover command",
    sqlite3.SQLITE_ERROR: "its tables are not those of this version of asyncsched; restore it, or name another file",
    sqlite3.SQLITE_SCHEMA: "its tables were changed by someone else; restore it, or name another file",
}


@contextlib.contextmanager
def faults_of(path: Path) -> Generator[None]:
    """Turn what the driver raises into errors of ours.

    Raises:
        StoreUnavailableError: locked, read-only, full, unreachable, closed.
        StoreSchemaError: not a database, damaged, or not our tables.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(path, error) from error


def _translated(path: Path, error: sqlite3.Error) -> AsyncschedError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & _PRIMARY_CODE
    what = f"the job store {str(path)!r}: {error}"
    if primary in _BROKEN:
        return StoreSchemaError(f"{what}: {_BROKEN[primary]}")
    if primary == sqlite3.SQLITE_CANTOPEN and not path.parent.is_dir():
        return StoreUnavailableError(f"{what}: the directory {str(path.parent)!r} does not exist; create it")
    remedy = "" if primary is None else _REMEDIES.get(primary, "")
    return StoreUnavailableError(f"{what}: {remedy}" if remedy else what)
