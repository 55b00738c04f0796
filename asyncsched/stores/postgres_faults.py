"""What PostgreSQL and its driver report, as errors that say what to do about it."""

from typing import Final

import asyncpg

from asyncsched.errors import AsyncschedError, SerializationError, StoreSchemaError, StoreUnavailableError

__all__ = ["is_conflict", "is_lost", "is_of_driver", "is_read_only", "translated"]

# Codes and classes of codes: PostgreSQL documentation, appendix A.
_CONFLICTS: Final = frozenset({"40001", "40P01"})
_LOST: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "53300"})
_READ_ONLY: Final = "25006"
_BAD_VALUES: Final = frozenset({"22", "23"})
_BAD_TABLES: Final = frozenset({"3F000", "42P01", "42703", "42P10", "42804", "42P02", "42P07", "42710", "42809"})
_REMEDIES: Final = {
    "28": "the server refuses the login; check user, password and its pg_hba.conf",
    "3D": "there is no such database; create it",
    "42704": "the URL has a parameter that the server does not know; ours are schema and pool_size",
    "42501": "this role lacks a privilege; grant it, or let an owner create the schema first",
    "53100": "the server's disk is full; make room",
    "53300": "the server has no connection left; lower pool_size, or raise its max_connections",
    "57P03": "the server is starting up or shutting down",
    "25006": "it is read-only: a standby, or one that lost its role; name the primary",
    "57014": "the statement took too long, or someone cancelled it",
}


def is_lost(error: BaseException) -> bool:
    """Tell whether the connection that raised it is not to be used again."""
    if isinstance(error, asyncpg.PostgresError):
        return isinstance(error, asyncpg.PostgresConnectionError) or _state(error) in _LOST
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, asyncpg.exceptions.DataError)
    return not isinstance(error, Exception) or isinstance(error, OSError | TimeoutError | asyncpg.InternalClientError)


def is_conflict(error: BaseException) -> bool:
    """Tell whether the transaction only met another one, and is to be tried again."""
    return isinstance(error, asyncpg.PostgresError) and _state(error) in _CONFLICTS


def is_read_only(error: BaseException) -> bool:
    """Tell whether the server does not take writes."""
    return isinstance(error, asyncpg.PostgresError) and _state(error) == _READ_ONLY


def is_of_driver(error: BaseException) -> bool:
    """Tell whether the driver or the operating system raised it, and not code of ours or the user's."""
    return isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError | OSError)


def translated(label: str, error: BaseException) -> AsyncschedError:
    """Return the error of ours for what the driver raised; it shows no password.

    Args:
        label: the store as people see it.
        error: from the driver or the operating system.
    """
    if isinstance(error, AsyncschedError):
        return error
    if isinstance(error, asyncpg.exceptions.DataError):
        return SerializationError(f"a value cannot be stored: {error}")
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(label, error)
    what = "it did not answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
    return StoreUnavailableError(f"the job store {label!r} cannot be reached: {what}")


def _of_server(label: str, error: asyncpg.PostgresError) -> AsyncschedError:
    state = _state(error)
    if state[:2] in _BAD_VALUES:
        return SerializationError(f"a value cannot be stored: {error}")
    what = f"the job store {label!r}: {error}"
    if state in _BAD_TABLES:
        return StoreSchemaError(f"{what}: its tables are not those of this version of asyncsched; name another schema")
    remedy = _REMEDIES.get(state) or _REMEDIES.get(state[:2], "")
    return StoreUnavailableError(f"{what}: {remedy}" if remedy else what)


def _state(error: asyncpg.PostgresError) -> str:
    return getattr(error, "sqlstate", None) or ""
