"""Stores by their URLs."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from asyncsched.config.values import nearest, path, require_known
from asyncsched.errors import ConfigurationError
from asyncsched.stores.redaction import redact

if TYPE_CHECKING:
    from asyncsched.stores.base import JobStore

__all__ = ["postgres_store", "sqlite_store", "store_from_url"]

_URLS: Final = "memory://, sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host/database"


def store_from_url(url: str) -> "JobStore":
    """Return the store that a URL names; it is not opened.

    Args:
        url: ``memory://``; ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, these two also with
            ``?synchronous=NORMAL``, and characters such as ``?`` in a path as ``%3F``; or
            ``postgresql://user:password@host/database``, also with ``?schema=name&pool_size=4`` and the
            parameters of the driver.

    Raises:
        ConfigurationError: it names no store; its password is not repeated.
    """
    scheme, separator, rest = url.partition("://")
    opener = _OPENERS.get(scheme) if separator else None
    if opener is None:
        known = f"did you mean {near}? " if (near := nearest(re.split(r"[:+]", url)[0], _OPENERS)) else ""
        raise _bad_url(url, f"it does not begin with the scheme of a store; {known}write {_URLS}")
    return opener(url, rest)


def _bad_url(url: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"the store URL {redact(url)!r} is not understood: {reason}")


def _memory(url: str, rest: str) -> "JobStore":
    if rest:
        raise _bad_url(url, "a memory store has neither a path nor parameters; write 'memory://'")
    from asyncsched.stores.memory import MemoryJobStore  # noqa: PLC0415 - loaded by those who use it

    return MemoryJobStore()


def _sqlite(url: str, rest: str) -> "JobStore":
    from urllib.parse import parse_qsl, unquote  # noqa: PLC0415 - as the store itself

    path, _, query = rest.partition("?")
    if not path.startswith("/"):
        intended = path if path and "@" not in path else "jobs.db"  # what stands before an @ may be a password
        raise _bad_url(url, f"a path follows three slashes; write 'sqlite:///{intended}' (four if absolute)")
    file = unquote(path[1:])
    if file in {"", ":memory:"}:
        raise _bad_url(url, "it names no file; write 'sqlite:///jobs.db', or 'memory://' for a store without one")
    options = dict(parse_qsl(query, keep_blank_values=True))
    require_known(options, ("synchronous",), f"the store URL {redact(url)!r}")
    return sqlite_store({"path": file, **options}, f"the store URL {redact(url)!r}")


def sqlite_store(options: Mapping[str, Any], place: str) -> "JobStore":
    """Make a SQLite store of ``path`` and, perhaps, ``synchronous``."""
    from asyncsched.stores.sqlite import SQLiteJobStore  # noqa: PLC0415 - loaded by those who use it

    require_known(options, ("path", "synchronous"), place)
    if "path" not in options:
        raise ConfigurationError(f"{place} names no file; add path='jobs.db'")
    return SQLiteJobStore(path(options["path"], f"{place}: path"), **{k: v for k, v in options.items() if k != "path"})


def _postgresql(url: str, _rest: str) -> "JobStore":
    return postgres_store({"dsn": url}, f"the store URL {redact(url)!r}")


def postgres_store(options: Mapping[str, Any], place: str) -> "JobStore":
    """Make a PostgreSQL store of ``dsn`` and, perhaps, ``schema`` and ``pool_size``."""
    require_known(options, ("dsn", "schema", "pool_size"), place)
    if "dsn" not in options:
        raise ConfigurationError(f"{place} names no database; add dsn='postgresql://user@host/database'")
    try:
        from asyncsched.stores.postgres import PostgresJobStore  # noqa: PLC0415 - loaded by those who use it
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise ConfigurationError(
            f"{place} needs asyncpg; install it with: pip install 'asyncsched[postgres]'"
        ) from None
    return PostgresJobStore(**options)


_OPENERS: Final[dict[str, Callable[[str, str], "JobStore"]]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "postgres": _postgresql,
}
